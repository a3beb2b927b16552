"""Rule T308: swings without progress."""

from __future__ import annotations

import numpy as np

from diagnose.record import Record
from diagnose.rules.oscillating_loss import OscillatingLoss
from tests.rules.training import falling, findings, not_run, training


def test_swings_are_found() -> None:
    waves = 1 + 0.8 * np.sin(np.arange(400) / 3.0)
    (found,) = findings(OscillatingLoss(), training(waves * (1 + 0.02 * np.random.default_rng(0).standard_normal(400))))
    assert found.evidence["turns"] >= 8


def test_momentum_that_keeps_it_swinging_is_named() -> None:
    waves = 1 + 0.8 * np.sin(np.arange(400) / 3.0)
    facts = {"config_keys": {"momentum": "optimizer.momentum"}}
    run = {"optimizers": [{"name": "SGD", "lr": 0.1, "momentum": 0.999}]}
    (found,) = findings(OscillatingLoss(), training(waves, run=run, facts=facts))
    assert (found.where, found.override) == ("momentum", "optimizer.momentum=0.9")
    assert "1e+03 times the learning rate" in found.message


def test_swings_that_are_nothing_beside_what_was_lost_are_healthy() -> None:
    waves = 0.004 * (1 + 0.8 * np.sin(np.arange(800) / 6.0))
    fall = np.exp(-np.arange(800) / 30)
    assert findings(OscillatingLoss(), training(waves + fall)) == ()
    assert len(findings(OscillatingLoss(), training(50 * waves + fall))) == 1


def test_plain_noise_is_healthy() -> None:
    assert findings(OscillatingLoss(), training(2 + 0.3 * np.random.default_rng(0).standard_normal(400))) == ()


def test_a_falling_loss_is_healthy() -> None:
    assert findings(OscillatingLoss(), training(falling(2.3, 0.1, 400))) == ()


def test_few_batches_are_too_short() -> None:
    assert "too short" in not_run(OscillatingLoss(), training([1.0, 2.0] * 20))


def test_momentum_that_outlasts_the_run_is_named_by_its_swings() -> None:
    rng = np.random.default_rng(0)
    loss = list(0.65 + 0.1 * rng.standard_normal(300))
    swinging = [0.7 + 0.12 * (-1) ** i for i in range(20)]

    def record(momentum: float, held: list[float]) -> Record:
        run = {"optimizers": [{"name": "SGD", "lr": 0.002, "momentum": momentum}]}
        return training(loss, run=run, val__loss=held)

    (found,) = findings(OscillatingLoss(), record(0.999, swinging))
    assert found.where == "momentum"
    assert "remembers 1e+03 steps of a run of 300" in found.message
    assert findings(OscillatingLoss(), record(0.9, swinging)) == ()
    assert findings(OscillatingLoss(), record(0.999, [0.7 - 0.02 * i for i in range(20)])) == ()


def test_a_first_moment_of_adam_that_outlasts_the_run_is_found() -> None:
    swinging = [0.77, 0.62, 0.39, 0.21, 0.30, 0.18, 0.25, 0.13, 0.20, 0.12, 0.19, 0.14]
    adam = {"name": "Adam", "lr": 0.01, "momentum": 0.0, "betas": [0.999, 0.999]}
    (found,) = findings(OscillatingLoss(), training(falling(1.0, 0.1), run={"optimizers": [adam]}, val__loss=swinging))
    assert "momentum remembers 1e+03 steps of a run of 300" in found.message
    usual = {**adam, "betas": [0.9, 0.999]}
    assert findings(OscillatingLoss(), training(falling(1.0, 0.1), run={"optimizers": [usual]}, val__loss=swinging)) == ()
