"""No test sees what the one before it did."""

from __future__ import annotations

import logging
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

RNG = np.random.default_rng(7)
INTERRUPT = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background of a shell
FIRST = np.random.default_rng(7).random()


@pytest.mark.parametrize("again", [False, True])
def test_every_test_starts_alike_whatever_the_others_leave(again: bool) -> None:
    assert RNG.random() == FIRST
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == pytest.approx((0.844422, 0.548814, 0.496257), abs=1e-6)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (1, False)
    assert signal.getsignal(signal.SIGINT) is INTERRUPT
    assert logging.getLogger("lightning.pytorch").level < logging.ERROR
    assert "LEFT_BY_A_TEST" not in os.environ
    assert list(Path.cwd().iterdir()) == []

    os.environ["LEFT_BY_A_TEST"] = "1"
    Path("left").touch()
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGINT, lambda *_: None)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
