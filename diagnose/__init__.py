"""A linter and a doctor for PyTorch Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diagnose.values import Diagnosis as Diagnosis
from diagnose.values import Finding as Finding
from diagnose.values import Outcome as Outcome
from diagnose.values import Severity as Severity

if TYPE_CHECKING:
    from diagnose.evaluation import evaluate as evaluate
    from diagnose.experiments.check import check as check

__version__ = "0.1.0"
__all__ = ["Diagnosis", "Finding", "Outcome", "Severity", "check", "evaluate"]

LAZY = {"check": "diagnose.experiments.check", "evaluate": "diagnose.evaluation"}  # they import torch


def __getattr__(name: str) -> Any:
    if name in LAZY:
        from importlib import import_module

        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module 'diagnose' has no attribute {name!r}")
