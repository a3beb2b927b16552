"""Rule T319: memory that grows step by step."""

from __future__ import annotations

import numpy as np

from diagnose.record import Record
from diagnose.rules.memory_growth import MemoryGrowth
from tests.rules.training import findings, not_run, training


def test_steady_growth_is_found() -> None:
    (found,) = findings(MemoryGrowth(), training(memory__rss=np.linspace(5e8, 2e9, 60)))
    assert found.evidence["grown"] > 1e8


def test_a_cache_that_fills_is_healthy() -> None:
    assert findings(MemoryGrowth(), training(memory__rss=[*np.linspace(5e8, 2e9, 15), *[2e9] * 45])) == ()


def test_a_single_jump_is_healthy() -> None:
    assert findings(MemoryGrowth(), training(memory__rss=[1e9] * 40 + [2e9] * 20)) == ()


def test_a_short_run_that_grows_in_proportion_to_its_steps_is_found() -> None:
    assert len(findings(MemoryGrowth(), training(memory__rss=np.linspace(5e8, 8e8, 12)))) == 1
    assert findings(MemoryGrowth(), training(memory__rss=5e8 + 3e8 * (1 - np.exp(-np.arange(12.0) / 3)))) == ()
    assert findings(MemoryGrowth(), training(memory__rss=[5e8] * 6 + [8e8] * 6)) == ()


def test_growth_on_the_gpu_is_found_where_the_process_does_not_grow() -> None:
    (found,) = findings(MemoryGrowth(), training(memory__rss=[1e9] * 60, memory__device=np.linspace(5e8, 2e9, 60)))
    assert found.message.startswith("the memory of the GPU grew from")
    assert findings(MemoryGrowth(), training(memory__rss=[1e9] * 60, memory__device=[5e8, *[2e9] * 59])) == ()


def test_few_records_are_too_short() -> None:
    assert "too short" in not_run(MemoryGrowth(), training(memory__rss=[1e9] * 5))


def graphs(held: float, seen: float) -> Record:
    return training(labels={"memory__graphs": ["held", "of"]}, memory__graphs=[[held, seen]] * 3, memory__rss=[1e9] * 40)


def test_graphs_of_all_earlier_steps_are_found_before_memory_shows_them() -> None:
    (found,) = findings(MemoryGrowth(), graphs(19, 20))
    assert found.evidence["held"] == 0.95


def test_graphs_of_a_few_steps_are_healthy() -> None:
    assert findings(MemoryGrowth(), graphs(4, 20)) == ()  # a buffer of the latest outputs
    assert findings(MemoryGrowth(), graphs(3, 3)) == ()
