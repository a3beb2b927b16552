from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_score
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from diagnose.measure import plane_maps
from diagnose.measure.embedding import components, project, subsample
from diagnose.measure.neighbourhood import measure
from diagnose.measure.plane_maps import turn

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
    assert project(RNG.normal(size=(4000, 4)), method="PCA").effective_rank == pytest.approx(4.0, abs=0.05)
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
        scores, shares, directions = components(centred)
        assert shares.sum() == pytest.approx(1.0)
        np.testing.assert_allclose(scores @ scores.T, centred @ centred.T, atol=1e-8)
        np.testing.assert_allclose(centred @ directions, scores, atol=1e-8)


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


def test_the_numbers_hold_for_ties_blocks_and_maps() -> None:
    rng = np.random.default_rng(1)
    features, place, labels = rng.normal(size=(1203, 7)), rng.normal(size=(1203, 2)), rng.integers(0, 4, 1203)
    found = measure(features, labels, place, [])
    assert found["trustworthiness"] == pytest.approx(trustworthiness(features, place, n_neighbors=10), abs=1e-6)
    assert found["silhouette"] == pytest.approx(silhouette_score(features, labels), abs=1e-6)
    scores = KNeighborsClassifier(11).fit(features, labels).kneighbors(features, return_distance=False)[:, 1:]
    votes = np.array([np.bincount(labels[row], minlength=4).argmax() for row in scores])
    assert found["knn_accuracy"] == pytest.approx((votes == labels).mean(), abs=1e-6)


def test_new_samples_are_placed_among_their_kind_and_the_map_stays() -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(4, 12)) * 4
    labels, new = np.repeat(np.arange(4), 40), np.repeat(np.arange(4), 5)
    found = project(centres[labels] + rng.normal(size=(160, 12)), labels=labels)
    before = found.xy.copy()
    features = centres[new] + rng.normal(size=(20, 12))
    features[3, 2] = np.nan
    place = found.transform(features)
    assert np.isnan(place[3]).all()
    known = np.arange(20) != 3
    guess = KNeighborsClassifier(5).fit(found.xy, labels).predict(place[known])
    assert (guess == new[known]).mean() > 0.95
    assert np.array_equal(found.xy, before)
    line = project(np.outer(np.arange(20.0), [1.0, 2.0]))
    np.testing.assert_allclose(line.transform(np.outer([0.0, 19.0], [1.0, 2.0])), line.xy[[0, -1]], atol=1e-9)
    with pytest.raises(ValueError, match=r"expected features of shape \(m, 12\), as the map was made of, got \(2, 3\)"):
        found.transform(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="there is no map to place samples in: the layer is constant"):
        project(np.zeros((20, 3))).transform(np.zeros((2, 3)))


def test_a_map_that_starts_from_another_shows_the_same_samples_in_like_places() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(6), 50)
    early = rng.normal(size=(6, 20))[labels] * 2 + rng.normal(size=(300, 20))
    late = early @ np.linalg.qr(rng.normal(size=(20, 20)))[0] * 3  # the same layer, turned
    first = project(early, labels=labels, cap=200)
    alone, after = project(late, labels=labels, cap=200, seed=9), project(late, labels=labels, cap=200, seed=9, start=first)
    assert after.rows.tolist() == first.rows.tolist()
    assert alone.rows.tolist() != first.rows.tolist()

    def likeness(one: np.ndarray, two: np.ndarray) -> float:
        return float(np.corrcoef(one.ravel(), two.ravel())[0, 1])

    assert likeness(first.xy, after.xy) > 0.9
    holed = late.copy()
    holed[first.rows[0]] = np.nan
    assert project(holed, start=first).rows.tolist() == first.rows[1:].tolist()


@pytest.mark.parametrize("degrees", [0, 70, 180])
@pytest.mark.parametrize("mirrored", [1.0, -1.0])
def test_a_map_is_turned_to_lie_as_an_earlier_one(degrees: int, mirrored: float) -> None:
    early = np.random.default_rng(0).normal(size=(30, 2)) * [3.0, 1.0] + 5.0
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    late = (early - 5.0) @ np.array([[c, s], [-s, c]]) * [mirrored, 1.0]
    np.testing.assert_allclose(late @ turn(late, early), early - 5.0, atol=1e-12)
    assert np.array_equal(turn(late, None), np.eye(2))


def test_more_samples_are_placed_in_a_map_that_was_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane_maps, "turn", lambda place, before: np.array([[0.0, 1.0], [-1.0, 0.0]]))
    found = project(CLOUDS, labels=LABELS)
    guess = KNeighborsClassifier(5).fit(found.xy, LABELS).predict(found.transform(CLOUDS))
    assert (guess == LABELS).mean() > 0.95


def test_principal_components_can_be_asked_for_and_what_there_is_not_is_named() -> None:
    found = project(CLOUDS, labels=LABELS, method="PCA")
    assert (found.method, found.perplexity) == ("PCA", None)
    np.testing.assert_allclose(found.transform(CLOUDS[:5]), found.xy[:5], atol=1e-9)
    with pytest.raises(ValueError, match="expected a map by t-SNE, PCA, UMAP, got 'lda'"):
        project(CLOUDS, method="lda")


def test_umap_where_it_is_installed() -> None:
    if find_spec("umap") is None:
        with pytest.raises(ImportError, match="needs umap-learn, which is not installed: pip install umap-learn, or choose"):
            project(CLOUDS, method="UMAP")
        return
    found = project(CLOUDS, labels=LABELS, method="UMAP")
    assert (found.method, found.xy.shape, found.transform(CLOUDS[:3]).shape) == ("UMAP", (120, 2), (3, 2))
    assert np.array_equal(found.xy, project(CLOUDS, labels=LABELS, method="UMAP").xy)
