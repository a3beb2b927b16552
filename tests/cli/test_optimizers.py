"""What each option of the group ``optimizer`` does to a weight, written out."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from diagnose.cli.arguments import Arguments
from diagnose.cli.compose import config
from diagnose.cli.targets import locate
from diagnose.cli.usage import options

RATE, DECAY, BETA = 0.1, 0.5, 0.9
SECOND = sqrt(0.99 * 0.01 + 0.01)  # root of rmsprop's running mean square after two gradients of 1


def weights(name: str, *words: str) -> list[float]:
    """A weight of 1 after each of two steps with the gradient 1."""
    composed = config(Arguments(command="train"), "train", [f"optimizer={name}", f"optimizer.lr={RATE}", *words]).config
    plain = OmegaConf.to_container(composed.optimizer, resolve=True)
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items()}
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    settings.pop("decay_all")
    made = locate(settings.pop("_target_"), ("torch",))([weight], **settings)
    found = []
    for _ in range(2):
        weight.grad = torch.ones_like(weight)
        made.step()
        found.append(float(weight.detach()))
    return found


PLAIN = {
    "sgd": [1 - RATE, 1 - 2 * RATE],
    "momentum": [1 - RATE, 1 - RATE - RATE * (1 + BETA)],  # v = 1, then 0.9 v + 1
    "nesterov": [1 - RATE * (1 + BETA), 1 - RATE * (1 + BETA) - RATE * (1 + BETA * (1 + BETA))],
    "rmsprop": [1 - RATE / 0.1, 1 - RATE / 0.1 - RATE / SECOND],
    "adam": [1 - RATE, 1 - 2 * RATE],  # both means, corrected, are 1
    "adamw": [1 - RATE, 1 - 2 * RATE],
}


def test_every_option_is_here() -> None:
    assert set(PLAIN) == set(options("optimizer"))


@pytest.mark.parametrize("name", PLAIN)
def test_two_steps_without_decay(name: str) -> None:
    assert weights(name, "optimizer.weight_decay=0.0") == pytest.approx(PLAIN[name], abs=1e-6)


def test_decay_is_a_part_of_the_gradient_but_in_adamw() -> None:
    decay = f"optimizer.weight_decay={DECAY}"
    assert weights("sgd", decay)[0] == pytest.approx(1 - RATE * (1 + DECAY))
    assert weights("adam", decay)[0] == pytest.approx(1 - RATE, abs=1e-6)  # divided by itself: of what size the decay is does not show
    assert weights("adamw", decay)[0] == pytest.approx(1 - RATE * DECAY - RATE, abs=1e-6)
