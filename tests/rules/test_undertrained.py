"""Rule T320: runs that end too soon."""

from __future__ import annotations

import numpy as np

from diagnose.rules.undertrained import Undertrained
from diagnose.values import Severity
from tests.rules.training import falling, findings, not_run, training


def test_both_losses_still_falling_is_found() -> None:
    (found,) = findings(Undertrained(), training(np.linspace(2, 0.5, 300), val__loss=np.linspace(2, 0.6, 10)))
    assert found.severity == Severity.INFO


def test_losses_that_levelled_off_are_healthy() -> None:
    assert findings(Undertrained(), training(falling(2.0, 0.5), val__loss=falling(2.0, 0.6, 20, noise=0.01))) == ()


def test_a_run_that_stopped_early_is_not_judged() -> None:
    record = training(np.linspace(2, 0.5, 300), run={"stopped": "no improvement"}, val__loss=np.linspace(2, 0.6, 10))
    assert not_run(Undertrained(), record) == "the run did not come to its planned end"
