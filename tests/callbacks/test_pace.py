from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from diagnose.callbacks.pace import give_back, resident_memory


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
