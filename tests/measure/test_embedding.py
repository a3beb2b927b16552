from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.metrics import silhouette_score
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from diagnose.measure.embedding import components, measure, project, subsample

RNG = np.random.default_rng(3)
LABELS = np.repeat(np.arange(5), 24)
CLOUDS = RNG.normal(size=(5, 16))[LABELS] * 2 + RNG.normal(size=(120, 16))


def test_clusters_are_seen_and_measured() -> None:
    found = project(CLOUDS, labels=LABELS)
    assert (found.method, found.n, found.dim, found.note) == ("t-SNE", 120, 16, "")
    assert found.perplexity == 30.0
    assert found.xy.shape == (120, 2)
    assert found.knn_accuracy is not None
    assert found.knn_accuracy > 0.9
    own = KNeighborsClassifier(5).fit(found.xy, LABELS).score(found.xy, LABELS)
    assert own > 0.9, "the classes stand together in the map"
    assert found.trustworthiness is not None
    assert found.trustworthiness > 0.9


def test_the_numbers_are_those_of_scikit_learn() -> None:
    found = project(CLOUDS, labels=LABELS)
    assert found.silhouette == pytest.approx(silhouette_score(CLOUDS, LABELS), abs=1e-5)
    scores = cross_val_score(KNeighborsClassifier(10), CLOUDS, LABELS, cv=LeaveOneOut())
    assert found.knn_accuracy == pytest.approx(scores.mean(), abs=1e-6)


def test_it_is_the_same_each_time_and_leaves_the_random_state() -> None:
    np.random.seed(4)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    one, two = project(CLOUDS, labels=LABELS), project(CLOUDS, labels=LABELS)
    assert np.array_equal(one.xy, two.xy)
    assert np.array_equal(np.random.get_state()[1], before)  # type: ignore[index]


def test_perplexity_is_bounded_by_the_samples() -> None:
    assert project(CLOUDS[:16]).perplexity == 5.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_huge_and_tiny_numbers(scale: float) -> None:
    assert project(CLOUDS * scale, labels=LABELS).method == "t-SNE"


def test_rows_that_are_not_finite_are_left_out() -> None:
    features = CLOUDS.copy()
    features[3, 0], features[7, 2] = np.nan, np.inf
    found = project(features, labels=LABELS)
    assert found.note == "2 rows with NaN or infinity were left out"
    assert found.n == 118
    assert not {3, 7} & set(found.rows.tolist())


@pytest.mark.parametrize(
    ("features", "method", "note"),
    [
        (CLOUDS[:4], "none", "4 usable samples are too few"),
        (np.full((20, 3), np.nan), "none", "0 usable samples are too few"),
        (np.zeros((20, 0)), "none", "no features"),
        (np.full((20, 3), 7.0), "none", "the layer is constant"),
        (np.arange(20.0)[:, None], "PCA", "one direction only"),
        (np.outer(np.arange(20.0), [1.0, 2.0]), "PCA", "one direction only"),
        (np.repeat(np.eye(3), 8, axis=0), "PCA", "only 3 of 24 rows are distinct"),
        (np.repeat(CLOUDS[:10], 4, axis=0), "t-SNE", "only 10 of 40 rows are distinct"),
    ],
)
def test_what_has_no_map_gets_a_note(features: np.ndarray, method: str, note: str) -> None:
    found = project(features, labels=np.arange(len(features)) % 2)
    assert found.method == method
    assert note in found.note
    assert len(found.xy) == len(found.rows)
    assert np.isfinite(found.xy).all()


def test_a_constant_layer_is_known_as_such() -> None:
    found = project(np.full((30, 4), 2.0), labels=np.repeat([0, 1], 15))
    assert (found.effective_rank, found.knn_accuracy, found.chance) == (0.0, 0.5, 0.5)


def test_effective_rank() -> None:
    assert project(RNG.normal(size=(4000, 4)), cap=4000).effective_rank == pytest.approx(4.0, abs=0.05)
    assert project(np.outer(RNG.normal(size=50), np.ones(6))).effective_rank == pytest.approx(1.0, abs=1e-6)


def test_without_opentsne_principal_components_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    found = project(CLOUDS, labels=LABELS)
    assert found.method == "PCA"
    assert found.note == "openTSNE is not installed: principal components are shown"
    assert found.perplexity is None


def test_components_keep_distances() -> None:
    for table in (CLOUDS, CLOUDS.T):
        centred = table - table.mean(0)
        scores, shares = components(centred)
        assert shares.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(scores @ scores.T, centred @ centred.T, atol=1e-8)


def test_one_class_has_no_accuracy() -> None:
    notes: list[str] = []
    assert measure(CLOUDS, np.zeros(120), None, notes) == {"chance": 1.0}
    assert notes == ["the samples have one class only"]


def test_a_choice_keeps_the_shares_of_the_classes() -> None:
    labels = np.repeat([0, 1, 2], [800, 195, 5])
    rows = subsample(np.arange(1000), 100, labels, seed=0)
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(labels[rows])
    assert counts[2] >= 1
    assert counts[:2].tolist() == pytest.approx([80, 19], abs=2)
    assert len(subsample(np.arange(1000), 100, None, seed=0)) == 100


@pytest.mark.parametrize(
    ("features", "labels", "text"),
    [
        (np.zeros((3, 2, 2)), None, r"expected features of shape \(n, d\), got \(3, 2, 2\)"),
        (np.zeros((3, 2)), [1], "for each of 3 rows, got 1"),
    ],
)
def test_shapes_that_do_not_fit(features: np.ndarray, labels: list[int] | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        project(features, labels=labels)
