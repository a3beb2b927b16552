"""Differences of two models against scipy, scikit-learn and plain resampling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, chi2
from sklearn import metrics

from diagnose.measure.paired import Difference, Predicted, differences, joint, mcnemar, per_class, unpaired

RNG = np.random.default_rng(8)
N, K = 400, 4


def model(target: np.ndarray, strength: float) -> Predicted:
    logits = RNG.normal(size=(len(target), K))
    logits[np.arange(len(target)), target] += strength
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.log(probability[np.arange(len(target)), target])
    return Predicted(prediction=probability.argmax(1), probability=probability, loss=loss)


TARGET = RNG.integers(0, K, N)
ONE, OTHER = model(TARGET, 1.0), model(TARGET, 1.6)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 5), (3, 9), (20, 35), (499, 501)])
def test_mcnemar_is_the_binomial_test(lost: int, won: int) -> None:
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected)


def test_mcnemar_of_many_changes_is_chi_squared() -> None:
    assert mcnemar(900, 1000) == pytest.approx(chi2.sf((100 - 1) ** 2 / 1900, 1))
    assert mcnemar(900, 1000) == pytest.approx(binomtest(900, 1900).pvalue, rel=0.01)


def scored(rows: np.ndarray, predicted: Predicted) -> dict[str, float]:
    assert predicted.probability is not None
    y, guess, p = TARGET[rows], predicted.prediction[rows], predicted.probability[rows]
    return {
        "accuracy": metrics.accuracy_score(y, guess),
        "macro_f1": metrics.f1_score(y, guess, average="macro"),
        "mcc": metrics.matthews_corrcoef(y, guess),
        "log_loss": metrics.log_loss(y, p),
        "roc_auc": metrics.roc_auc_score(y, p, multi_class="ovr"),
        "average_precision": metrics.average_precision_score(y, p),
    }


def test_intervals_are_those_of_resampling_the_samples() -> None:
    found = {d.metric: d for d in differences("multiclass", TARGET, ONE, OTHER, classes=K)}
    drawn: dict[str, list[float]] = {}
    for _ in range(300):
        rows = RNG.integers(N, size=N)
        one, other = scored(rows, ONE), scored(rows, OTHER)
        for name in one:
            drawn.setdefault(name, []).append(other[name] - one[name])
    one, other = scored(np.arange(N), ONE), scored(np.arange(N), OTHER)
    for name, values in drawn.items():
        assert (found[name].first, found[name].second) == pytest.approx((one[name], other[name]), abs=1e-9)
        assert (found[name].low, found[name].high) == pytest.approx(
            np.percentile(values, [2.5, 97.5]), abs=0.25 * np.ptp(values) / 4 + 0.005
        )
        assert found[name].verdict == "better"
    assert found["accuracy"].p == mcnemar(
        int(((ONE.prediction == TARGET) & (OTHER.prediction != TARGET)).sum()),
        int(((ONE.prediction != TARGET) & (OTHER.prediction == TARGET)).sum()),
    )


def test_a_model_does_not_differ_from_itself() -> None:
    for d in differences("multiclass", TARGET, ONE, ONE, classes=K):
        assert (d.change, d.low, d.high, d.p, d.verdict) == (0, 0, 0, 1, "open"), d.metric


def test_pairing_sees_what_intervals_of_each_do_not() -> None:
    worse = ONE.prediction.copy()
    right = np.flatnonzero(worse == TARGET)[:12]
    worse[right] = (worse[right] + 1) % K
    found = differences("multiclass", TARGET, Predicted(prediction=ONE.prediction), Predicted(prediction=worse), classes=K)[0]
    assert (found.metric, found.verdict) == ("accuracy", "worse")
    assert found.p == pytest.approx(2 / 2**12)


def test_values_and_labels_and_tokens() -> None:
    y = RNG.normal(size=300)
    near, far = Predicted(prediction=y + RNG.normal(size=300) * 0.1), Predicted(prediction=y + RNG.normal(size=300))
    found = {d.metric: d for d in differences("regression", y, near, far)}
    assert list(found) == ["rmse", "mae", "r2"]
    assert {d.verdict for d in found.values()} == {"worse"}
    assert found["rmse"].second == pytest.approx(metrics.root_mean_squared_error(y, far.prediction))
    labels = (RNG.random((200, 3)) < 0.4).astype(int)
    noisy = np.where(RNG.random((200, 3)) < 0.2, 1 - labels, labels)
    found = {d.metric: d for d in differences("multilabel", labels, Predicted(prediction=noisy), Predicted(prediction=labels))}
    assert found["hamming_loss"].verdict == "better"
    assert found["macro_f1"].first == pytest.approx(metrics.f1_score(labels, noisy, average="macro"))
    without = [Predicted(prediction=m.prediction, loss=m.loss) for m in (ONE, OTHER)]
    tokens = {d.metric: d for d in differences("next-token", TARGET, *without, classes=K)}
    assert tokens["perplexity"].second == pytest.approx(np.exp(np.mean(OTHER.loss)))  # type: ignore[arg-type]


def test_joint_cells_hold_both_matrices() -> None:
    one, other = joint(TARGET, ONE.prediction, OTHER.prediction, K)
    for cells, predicted in ((one, ONE), (other, OTHER)):
        expected = metrics.confusion_matrix(TARGET, predicted.prediction)
        for own, known in zip(cells.totals(), (np.diag(expected), expected.sum(1), expected.sum(0)), strict=True):
            assert np.array_equal(own, known)
    wide = joint(TARGET * 300, ONE.prediction * 300, OTHER.prediction * 300, 1000)
    assert sorted(wide[0].count) == sorted(one.count)


def test_classes_have_differences_of_their_own() -> None:
    rows = per_class(TARGET, ONE.prediction, OTHER.prediction, K + 1)
    assert [row["class"] for row in rows] == [0, 1, 2, 3, 4]
    expected = metrics.f1_score(TARGET, OTHER.prediction, average=None)
    assert [row["f1"][1] for row in rows[:K]] == pytest.approx(list(expected))
    for row in rows[:K]:
        assert row["low"] <= row["f1"][1] - row["f1"][0] <= row["high"]
    assert np.isnan(rows[K]["low"])


def test_without_pairs_both_intervals_add_up() -> None:
    one, other = {"accuracy": 0.8, "intervals": {"accuracy": [0.7, 0.9]}}, {"accuracy": 0.9, "intervals": {"accuracy": [0.8, 1.0]}}
    found = unpaired("accuracy", one, other)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.1 - 0.1 * 2**0.5, 0.1 + 0.1 * 2**0.5))
    assert found.verdict == "open"
    assert unpaired("mcc", one, other) is None


def test_lower_is_better_for_losses() -> None:
    assert Difference(metric="rmse", first=1, second=0.5, low=-0.6, high=-0.4, p=0.001).verdict == "better"
    assert Difference(metric="r2", first=1, second=0.5, low=-0.6, high=-0.4, p=0.001).verdict == "worse"


def test_samples_of_one_group_do_not_make_a_difference_surer() -> None:
    many = np.repeat(np.arange(N), 4)
    pair = []
    for model in (ONE, OTHER):
        assert model.probability is not None
        assert model.loss is not None
        pair.append(Predicted(prediction=model.prediction[many], probability=model.probability[many], loss=model.loss[many]))
    single = {d.metric: d for d in differences("next-token", TARGET, ONE, OTHER, classes=K)}
    grouped = {d.metric: d for d in differences("next-token", TARGET[many], *pair, classes=K, group=many)}
    for name in ("log_loss", "macro_f1", "roc_auc", "perplexity"):
        wide = single[name].high - single[name].low
        assert (grouped[name].low, grouped[name].high) == pytest.approx((single[name].low, single[name].high), abs=0.15 * wide), name
