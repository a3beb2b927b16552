"""Rule T301: the first NaN or infinity."""

from __future__ import annotations

import numpy as np

from diagnose.rules.non_finite import NonFinite
from diagnose.values import Severity
from tests.rules.training import falling, findings, not_run, training

FOUND = {
    "what": "activation",
    "module": "net.3",
    "operation": "log",
    "direction": "forward",
    "step": 17,
    "epoch": 0,
    "batch": 17,
    "file": "",
}


def test_the_place_is_named() -> None:
    (found,) = findings(NonFinite(), training([1.0] * 17 + [np.nan], facts={"nonfinite": FOUND}))
    assert found.where == "net.3"
    assert "the activation of net.3 (log) is NaN or infinite in batch 17 (epoch 0, step 17)" in found.message
    assert found.severity == Severity.ERROR


def test_a_saved_step_is_named() -> None:
    (found,) = findings(NonFinite(), training([np.nan], facts={"nonfinite": {**FOUND, "file": "a.pt"}}))
    assert "python -m diagnose replay a.pt" in found.message


def test_losses_alone_are_enough() -> None:
    (found,) = findings(NonFinite(), training([1.0, 2.0, np.inf, np.nan]))
    assert found.evidence["batch"] == 2


def test_finite_losses_are_healthy() -> None:
    assert findings(NonFinite(), training(falling(2.3, 0.1))) == ()


def test_where_nobody_looked_it_does_not_run() -> None:
    record = training([1.0])
    record.skip("nonfinite", "nobody looked")
    assert not_run(NonFinite(), record) == "nobody looked"
