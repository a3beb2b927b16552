"""The numbers of a loader against scikit-learn, also where a class is absent, never predicted, or alone."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from diagnose.measure.summary import fingerprint, summary

RNG = np.random.default_rng(3)


def classified(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    target = RNG.integers(0, classes, n)
    logits = RNG.normal(size=(n, classes))
    logits[np.arange(n), target] += 1.5
    return target, (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 7, 12])
def test_classes(classes: int) -> None:
    target, probability = classified(700, classes)
    guess = probability.argmax(1)
    entry = summary("multiclass", target, guess, probability, classes=classes)
    ranked = probability[:, 1] if classes == 2 else probability
    expected = {
        "accuracy": metrics.accuracy_score(target, guess),
        "balanced_accuracy": metrics.balanced_accuracy_score(target, guess),
        "macro_f1": metrics.f1_score(target, guess, average="macro"),
        "mcc": metrics.matthews_corrcoef(target, guess),
        "kappa": metrics.cohen_kappa_score(target, guess),
        "log_loss": metrics.log_loss(target, probability),
        "roc_auc": metrics.roc_auc_score(target, ranked, multi_class="ovr"),
        "average_precision": metrics.average_precision_score(target, ranked),
    }
    expected |= {f"top_{k}_accuracy": metrics.top_k_accuracy_score(target, probability, k=k) for k in (2, 3, 5, 10) if k < classes / 2}
    for name, value in expected.items():
        assert entry[name] == pytest.approx(value, abs=1e-6), name
        low, high = entry["intervals"][name]
        assert low < entry[name] < high, name
    for name in ("brier", "ece"):
        low, high = entry["intervals"][name]
        assert low <= entry[name] <= high
    for c, row in enumerate(entry["per_class"]):
        if classes > 2:
            assert row["roc_auc"] == pytest.approx(metrics.roc_auc_score(target == c, probability[:, c]), abs=1e-6)
            assert row["average_precision"] == pytest.approx(metrics.average_precision_score(target == c, probability[:, c]), abs=1e-6)
    assert len(entry["curves"]) == (1 if classes == 2 else classes)
    assert ("thresholds" in entry) == (classes == 2)
    json.dumps(entry, allow_nan=False)


def test_baselines_are_those_of_constant_predictors() -> None:
    target, probability = classified(900, 6)
    target[target == 5] = 0
    entry = summary("multiclass", target, probability.argmax(1), probability, classes=6)
    share = np.bincount(target, minlength=6) / 900
    always = np.tile(share, (900, 1))
    baseline = entry["baseline"]
    assert baseline["accuracy"] == metrics.accuracy_score(target, np.zeros(900))
    assert baseline["kappa"] == metrics.cohen_kappa_score(target, np.zeros(900)) == 0
    assert baseline["log_loss"] == pytest.approx(metrics.log_loss(target, always, labels=range(6)))
    assert baseline["brier"] == pytest.approx(((always - np.eye(6)[target]) ** 2).sum(1).mean())
    assert baseline["top_2_accuracy"] == pytest.approx(np.sort(share)[-2:].sum())
    assert baseline["roc_auc"] == 0.5
    assert baseline["average_precision"] == pytest.approx(np.mean(share[:5]))
    assert baseline["names"]["log_loss"] == "class shares"


def test_an_input_independent_model_is_the_mean_over_permutations() -> None:
    target, probability = classified(300, 3)
    guess = probability.argmax(1)
    entry = summary("multiclass", target, guess, probability, classes=3)["independent"]
    drawn = [RNG.permutation(300) for _ in range(600)]
    assert entry["accuracy"] == pytest.approx(np.mean([(guess[i] == target).mean() for i in drawn]), abs=0.005)
    assert entry["log_loss"] == pytest.approx(np.mean([metrics.log_loss(target, probability[i]) for i in drawn]), abs=0.02)
    values, guesses = RNG.normal(size=300), RNG.normal(size=300) + 1
    own = summary("regression", values, guesses)["independent"]
    assert own["mae"] == pytest.approx(np.abs(values[:, None] - guesses).mean())
    assert own["rmse"] == pytest.approx(np.sqrt(((values[:, None] - guesses) ** 2).mean()))


@pytest.mark.parametrize(
    ("target", "prediction"),
    [([0, 0, 2, 2], [0, 2, 2, 0]), ([0, 1, 2, 2], [0, 0, 0, 0]), ([1, 1, 1, 1], [1, 1, 1, 1]), ([1, 1, 1, 1], [0, 0, 2, 0])],
    ids=["absent", "never predicted", "single", "single and wrong"],
)
def test_classes_without_samples(target: list[int], prediction: list[int]) -> None:
    probability = np.full((4, 3), 0.2)
    probability[np.arange(4), prediction] = 0.6
    entry = summary("multiclass", np.array(target), np.array(prediction), probability, classes=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average in ("macro", "micro", "weighted"):
            found = metrics.precision_recall_fscore_support(target, prediction, average=average, zero_division=0)[:3]
            assert list(entry[average].values()) == pytest.approx(list(found))
    assert entry["zero_division"].startswith("undefined for a class without samples")
    assert ("roc_auc" in entry) == (len(set(target)) > 1)
    json.dumps(entry, allow_nan=False)


def test_labels() -> None:
    target = (RNG.random((300, 4)) < 0.3).astype(int)
    target[:, 3] = 0
    probability = np.clip(RNG.random((300, 4)) * 0.6 + target * 0.3, 0, 1)
    entry = summary("multilabel", target, (probability > 0.5).astype(int), probability, classes=4)
    assert entry["roc_auc"] == pytest.approx(metrics.roc_auc_score(target[:, :3], probability[:, :3]))
    assert entry["average_precision"] == pytest.approx(metrics.average_precision_score(target[:, :3], probability[:, :3]))
    for name in ("accuracy", "macro_f1", "hamming_loss", "roc_auc", "average_precision"):
        low, high = entry["intervals"][name]
        assert low < entry[name] < high
    usual = np.tile(target.mean(0) > 0.5, (300, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert entry["baseline"]["macro_f1"] == pytest.approx(metrics.f1_score(target, usual, average="macro", zero_division=0))


def test_values() -> None:
    target = RNG.gamma(2.0, size=500)
    prediction = target + RNG.normal(size=500) * 0.3 + 0.1
    bounds = {"0.8": (prediction - 0.1 - 1.2816 * 0.3, prediction - 0.1 + 1.2816 * 0.3), "": (target - 1, target + 1)}
    entry = summary("regression", target, prediction, bounds=bounds)
    error = prediction - target
    assert entry["residuals"]["mean"] == pytest.approx(error.mean())
    assert entry["residuals"]["median_absolute"] == pytest.approx(metrics.median_absolute_error(target, prediction))
    assert entry["residuals"]["quantiles"]["0.95"] == pytest.approx(np.quantile(error, 0.95))
    assert sum(entry["residuals"]["count"]) == 500
    tenths = entry["by_quantile"]
    assert [row["n"] for row in tenths] == [50] * 10
    assert sum(row["mae"] * row["n"] for row in tenths) / 500 == pytest.approx(entry["mae"])
    lowest = np.argsort(target)[:50]
    assert tenths[0]["bias"] == pytest.approx(error[lowest].mean())
    nominal, always = entry["coverage"]
    assert nominal["nominal"] == 0.8
    assert nominal["coverage"] == np.mean((bounds["0.8"][0] <= target) & (target <= bounds["0.8"][1]))
    assert nominal["low"] < nominal["coverage"] < nominal["high"]
    assert nominal["coverage"] == pytest.approx(0.8, abs=0.1)
    assert nominal["width"] == pytest.approx(2 * 1.2816 * 0.3)
    lower, upper = bounds["0.8"]
    missed = 10 * (np.maximum(lower - target, 0) + np.maximum(target - upper, 0)).mean()
    assert nominal["score"] == pytest.approx(nominal["width"] + missed)
    assert (always["nominal"], always["coverage"], always["score"]) == (None, 1.0, None)


def test_equal_targets_share_a_part() -> None:
    target = np.array([0.0] * 90 + [1.0] * 10)
    assert [row["n"] for row in summary("regression", target, target * 0.5)["by_quantile"]] == [90, 10]
    assert summary("regression", np.ones(5), np.ones(5))["by_quantile"][0]["n"] == 5


def test_next_tokens() -> None:
    target, probability = classified(400, 9)
    entry = summary("next-token", target, probability.argmax(1), probability, classes=9)
    assert entry["perplexity"] == pytest.approx(np.exp(metrics.log_loss(target, probability)))
    low, high = entry["intervals"]["perplexity"]
    assert low < entry["perplexity"] < high
    share = np.bincount(target) / 400
    assert entry["baseline"]["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    loss = -np.log(probability[np.arange(400), target])
    without = summary("next-token", target, probability.argmax(1), classes=9, loss=loss)
    assert without["perplexity"] == pytest.approx(entry["perplexity"])


def test_tokens_of_one_sequence_are_not_independent() -> None:
    """Each sequence is one token nine times over: intervals must be those of the sequences, not three times narrower."""
    target, probability = classified(200, 5)
    single = summary("next-token", target, probability.argmax(1), probability, classes=5)
    many, group = np.repeat(np.arange(200), 9), np.repeat(np.arange(200), 9)
    entry = summary("next-token", target[many], probability[many].argmax(1), probability[many], classes=5, group=group + 7)
    assert (entry["n"], entry["groups"]) == (1800, 200)
    for name in ("accuracy", "macro_f1", "log_loss", "perplexity", "brier", "roc_auc"):
        assert entry[name] == pytest.approx(single[name], rel=1e-6)
        low, high = single["intervals"][name]
        assert entry["intervals"][name] == pytest.approx([low, high], abs=0.15 * (high - low)), name
    loss = -np.log(probability[np.arange(200), target])[many]
    without = summary("next-token", target[many], probability[many].argmax(1), classes=5, loss=loss, group=group)
    assert without["intervals"]["perplexity"] == pytest.approx(entry["intervals"]["perplexity"], rel=1e-3)


def test_fingerprints_tell_samples_apart() -> None:
    one: Any = np.array([0, 1, 2])
    assert fingerprint(one) == fingerprint(one.astype(np.uint8))
    assert fingerprint(one) != fingerprint(one[::-1])
    assert fingerprint(one) != fingerprint(one.astype(float))
    assert fingerprint(np.array([0.1])) == fingerprint(np.array([0.1], dtype=np.float32))
    assert fingerprint(one) == summary("multiclass", one, one, classes=3)["fingerprint"]


def test_predictions_dealt_at_random_are_the_mean_over_permutations() -> None:
    rng = np.random.default_rng(5)
    target, prediction = rng.integers(0, 3, 60), rng.choice(3, 60, p=[0.6, 0.3, 0.1])
    found = summary("multiclass", target, prediction, classes=3)["independent"]
    dealt = [rng.permutation(prediction) for _ in range(4000)]
    assert found["accuracy"] == pytest.approx(np.mean([metrics.accuracy_score(target, p) for p in dealt]), abs=0.005)
    assert found["macro_f1"] == pytest.approx(
        np.mean([metrics.f1_score(target, p, average="macro", zero_division=0) for p in dealt[:1000]]), abs=0.01
    )
    assert (found["mcc"], found["kappa"]) == (0.0, 0.0)
    yes, said = rng.random((60, 3)) < 0.4, rng.random((60, 3)) < 0.5
    found = summary("multilabel", yes, said, classes=3)["independent"]
    dealt = [said[rng.permutation(60)] for _ in range(2000)]
    assert found["accuracy"] == pytest.approx(np.mean([(yes == p).all(1).mean() for p in dealt]), abs=0.005)
    assert found["hamming_loss"] == pytest.approx(np.mean([(yes != p).mean() for p in dealt]), abs=0.005)
