from __future__ import annotations

import numpy as np
import pytest

from diagnose.measure.label_errors import BLOCK, label_errors


def confident_joint(probability: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Equation 1 of the paper, sample by sample."""
    classes = probability.shape[1]
    usual = [probability[target == k, k].mean() if (target == k).any() else np.inf for k in range(classes)]
    joint, suspects = np.zeros((classes, classes), dtype=int), []
    for row, label in enumerate(target):
        reached = [k for k in range(classes) if probability[row, k] >= usual[k]]
        if reached:
            best = max(reached, key=lambda k: probability[row, k])
            joint[label, best] += 1
            if best != label:
                suspects.append(row)
    return joint, suspects


@pytest.mark.parametrize("n", [300, BLOCK + 11])
def test_the_suspects_are_those_of_the_paper(n: int) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, n)
    target = np.where(rng.random(n) < 0.1, rng.integers(0, 4, n), true)
    target[target == 3] = 2  # a class without a label
    logits = rng.normal(size=(n, 4))
    logits[np.arange(n), true] += 3
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    joint, suspects = confident_joint(probability, target)
    found = label_errors(probability, target, listed=n)
    assert found["n"] == len(suspects)
    assert {s["row"] for s in found["samples"]} == set(suspects)
    assert {(a, b): count for a, b, count in found["pairs"]} == {
        (a, b): joint[a, b] for a in range(4) for b in range(4) if a != b and joint[a, b]
    }
    own = [s["self_confidence"] for s in found["samples"]]
    assert own == sorted(own)
    scale = np.bincount(target, minlength=4) / np.maximum(joint.sum(1), 1)
    assert found["estimated"] == pytest.approx(((joint.sum(1) - np.diag(joint)) * scale).sum())


def test_planted_errors_are_listed_first() -> None:
    probability = np.tile([[0.9, 0.1], [0.1, 0.9]], (50, 1))
    target = np.tile([0, 1], 50)
    target[10], probability[10] = 1, [0.99, 0.01]
    found = label_errors(probability, target)
    assert found["samples"] == [{"row": 10, "label": 1, "suggested": 0, "self_confidence": 0.01, "probability": 0.99}]
    assert found["pairs"] == [[1, 0, 1]]
