"""Several optimizers, each with a loss of its own."""

from __future__ import annotations

import numpy as np
import pytest

from diagnose.rules.evidence import single_loss
from diagnose.rules.games import players
from tests.rules.playing import ROWS, game
from tests.rules.training import training


def test_players_have_their_own_loss_pace_and_gradient() -> None:
    maker, critic = players(game(losses=([0.7] * 10 + [2.0] * 30, [1.3] * ROWS), pulls=[0.3] * ROWS))
    assert (maker.name, critic.name) == ("maker (Adam 0)", "critic (Adam 1)")
    assert (maker.rate, critic.rate) == (1e-3, 2e-3)
    assert (maker.pace, critic.pace) == (4e-3, 5e-3)
    assert maker.course == (0.7, 2.0)
    assert maker.watched == ROWS
    assert maker.pulls[0] == pytest.approx(0.3 * 2**0.5)


def test_a_single_weight_is_no_player() -> None:
    assert [p.name for p in players(game(critic={"weights": 1}))] == ["maker (Adam 0)"]


def test_one_loss_for_all_is_no_game() -> None:
    shared = game(losses=([0.7] * ROWS, [0.7] * ROWS))
    assert single_loss(shared)
    assert list(players(shared)) == []
    assert not single_loss(game())


def test_optimizers_that_take_turns_may_play_against_each_other() -> None:
    turns = np.where(np.arange(ROWS)[:, None] % 2 == [0, 1], 0.7, np.nan)
    assert not single_loss(training([0.7] * 60, labels={"loss__optimizers": ["a", "b"]}, loss__optimizers=turns))


def test_before_the_end_of_the_run_nobody_is_judged() -> None:
    assert list(players(training([2.0] * 60))) == []
