"""Callbacks for any Lightning Trainer: they watch training, change nothing, and keep what they see in a record."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diagnose.callbacks.activations import ActivationMonitor as ActivationMonitor
    from diagnose.callbacks.clipping import GradientClipping as GradientClipping
    from diagnose.callbacks.confusion_matrix import ConfusionMatrix as ConfusionMatrix
    from diagnose.callbacks.doctor import Doctor as Doctor
    from diagnose.callbacks.gradients import GradientMonitor as GradientMonitor
    from diagnose.callbacks.hidden_tsne import HiddenTSNE as HiddenTSNE
    from diagnose.callbacks.losses import LossMonitor as LossMonitor
    from diagnose.callbacks.snapshots import SnapshotEnsemble as SnapshotEnsemble
    from diagnose.callbacks.updates import UpdateMonitor as UpdateMonitor

HOMES = {
    "ActivationMonitor": "activations",
    "ConfusionMatrix": "confusion_matrix",
    "Doctor": "doctor",
    "GradientClipping": "clipping",
    "GradientMonitor": "gradients",
    "HiddenTSNE": "hidden_tsne",
    "LossMonitor": "losses",
    "SnapshotEnsemble": "snapshots",
    "UpdateMonitor": "updates",
}
__all__ = [
    "ActivationMonitor",
    "ConfusionMatrix",
    "Doctor",
    "GradientClipping",
    "GradientMonitor",
    "HiddenTSNE",
    "LossMonitor",
    "SnapshotEnsemble",
    "UpdateMonitor",
]


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(f"diagnose.callbacks.{HOMES[name]}"), name)
    raise AttributeError(f"module 'diagnose.callbacks' has no attribute {name!r}; it has {', '.join(__all__)}")
