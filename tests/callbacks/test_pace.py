from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule

from diagnose.callbacks.notes import Notes
from diagnose.callbacks.pace import Pace, give_back, resident_memory
from diagnose.record import Record


@pytest.mark.skipif(not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    held = [torch.zeros(500) for _ in range(20_000)]
    last = held[-1]  # keeps the end of the heap, so that it is not given back by itself
    del held
    before = resident_memory()
    give_back()
    assert resident_memory() < before - 10e6
    assert not last.any()


def test_other_systems_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back()


@pytest.mark.parametrize(("kind", "recorded"), [("cuda", [3e8]), ("cpu", None)])
def test_memory_of_the_gpu_is_what_its_allocator_counts(monkeypatch: pytest.MonkeyPatch, kind: str, recorded: list[float] | None) -> None:
    held = {torch.device("cuda"): 300_000_000}
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: held[device])
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(kind)), optimizers=[])
    pace = Pace()
    pace.notes = Notes(Record())
    pace.start(trainer, LightningModule())
    pace.notes.step, pace.notes.seldom = 12, True
    pace.before_batch(LightningModule(), None, 0)
    pace.notes.flush()
    record = pace.notes.record
    assert ("memory/device" in record) == (recorded is not None)
    if recorded:
        assert record.series("memory/device").value.tolist() == recorded
