from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules.misaligned_labels import MisalignedLabels
from diagnose.values import Severity
from tests.rules.probes import findings, not_run

SHUFFLED: dict[str, Any] = {
    "train": 25.0,
    "held_out": -0.4,
    "samples": 400,
    "steps": 400,
    "losses": [2.3, 0.5],
    "real": 0.5,
    "shuffled": 0.5,
}


def judge(**changes: Any) -> list[Any]:
    return findings(MisalignedLabels(), probe__learning={**SHUFFLED, **changes})


def test_labels_that_belong_to_other_rows() -> None:
    (finding,) = judge()
    assert finding.severity is Severity.WARNING
    assert finding.where == "the pairs of input and target in the training loader"
    assert "after 400 steps the predictions match the labels of the batches trained on (25.0 standard deviations" in finding.message
    assert "but not those of 400 other samples (-0.4)" in finding.message
    assert "a shuffle, sort or join that moved only one of the two" in finding.fix
    assert finding.evidence == {"held_out": -0.4, "clear": 2.0, "train": 25.0, "gain": 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"held_out": 40.0},
        {"held_out": 2.01},
        {"train": 5.9},  # it has learned nothing at all: another rule's matter
        {"real": 0.44},  # the true labels are learned better than shuffled ones
    ],
)
def test_what_holds_on_other_batches_is_clean(changes: dict[str, float]) -> None:
    assert judge(**changes) == []


def test_learned_data_need_no_shuffled_run() -> None:
    fact = {k: v for k, v in SHUFFLED.items() if k not in ("real", "shuffled")}
    assert findings(MisalignedLabels(), probe__learning={**fact, "held_out": 12.0}) == []


def test_a_shuffled_loss_of_zero_is_no_division() -> None:
    assert judge(shuffled=0.0) == []


def test_too_few_samples() -> None:
    reason = not_run(MisalignedLabels(), probe__learning={**SHUFFLED, "samples": 99})
    assert reason == "too short: 99 held-out samples, at least 100 are needed"
