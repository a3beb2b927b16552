"""A linter and a doctor for PyTorch Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diagnose.values import Diagnosis as Diagnosis
from diagnose.values import Finding as Finding
from diagnose.values import Outcome as Outcome
from diagnose.values import Severity as Severity

if TYPE_CHECKING:
    from diagnose.evaluation import evaluate as evaluate
    from diagnose.experiments.batch_size import batch_size as batch_size
    from diagnose.experiments.check import check as check
    from diagnose.experiments.rate_range import lr_range as lr_range

__version__ = "0.1.0"
__all__ = ["Diagnosis", "Finding", "Outcome", "Severity", "batch_size", "check", "evaluate", "lr_range"]

LAZY = {  # they import torch
    "batch_size": "diagnose.experiments.batch_size",
    "check": "diagnose.experiments.check",
    "evaluate": "diagnose.evaluation",
    "lr_range": "diagnose.experiments.rate_range",
}


def __getattr__(name: str) -> Any:
    if name in LAZY:
        from importlib import import_module

        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module 'diagnose' has no attribute {name!r}")
