"""What rules read from the facts of a run."""

from __future__ import annotations

import pytest

from diagnose.record import Record
from diagnose.rules import NotRun
from diagnose.rules.evidence import planned_steps, refuse_early
from tests.rules.training import RUN


def begun(per_batch: float, batches: int, **facts: object) -> Record:
    """A run of ten epochs of 30 batches, of which some are done, with this many optimizer steps in each."""
    record = Record()
    record.add("run", {**RUN, "automatic_optimization": False, "max_epochs": 10, "batches_per_epoch": 30, "finished": False, **facts})
    for batch in range(batches):
        record.append({"train/loss": 1.0}, step=int(batch * per_batch), epoch=batch // 30, batch=batch)
    return record


@pytest.mark.parametrize(("per_batch", "steps"), [(1, 300), (2, 600), (0.25, 75), (0, 300)])  # 0: steps that Lightning does not count
def test_steps_of_a_manual_run_are_planned_as_they_were_taken(per_batch: float, steps: int) -> None:
    assert planned_steps(begun(per_batch, 200)) == pytest.approx(steps, rel=0.01)
    assert planned_steps(begun(per_batch, 200, automatic_optimization=True, accumulate=2)) == 150
    assert planned_steps(begun(per_batch, 200, max_steps=77)) == 77


@pytest.mark.parametrize("per_batch", [1, 2, 0.25])
def test_half_of_a_manual_run_is_half_of_it(per_batch: float) -> None:
    refuse_early(begun(per_batch, 152), 0.5)
    with pytest.raises(NotRun, match=r"too early: 4\d% of the run is done, 50% is needed"):
        refuse_early(begun(per_batch, 140), 0.5)
