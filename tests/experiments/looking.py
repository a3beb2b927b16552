"""Take a training step of a module apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diagnose.experiments.anatomy import examine
from diagnose.experiments.modules_seen import Anatomy
from diagnose.record import Record
from tests.experiments.odd import loaders, sandboxed


def look(module: Any, *tensors: Tensor) -> tuple[Record, Anatomy]:
    found: list[Anatomy] = []
    record = sandboxed(module, loaders(*tensors)[0], lambda sandbox, record: found.append(examine(sandbox, record)))
    return record, found[0]
