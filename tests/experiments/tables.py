"""Loaders of tables whose facts are known, and what `measure_data` says of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

CE = {"kind": "cross_entropy", "input_shape": [50, 3], "target_shape": [50], "target_dtype": "int64", "classes": 3, "ignore_index": -100}
MSE = {"kind": "mse_loss", "input_shape": [50], "target_shape": [50], "target_dtype": "float32", "classes": None}
XY = {"batch[0]": "input", "batch[1]": "target"}


def facts(train: Any, val: Any = None, *, loss: Any = CE, roles: Any = XY) -> Record:
    record = Record()
    measure_data(record, train, val, roles=roles, loss=loss, seconds=math.inf)
    return record


def loader(*tensors: Tensor, shuffle: bool = False, size: int = 50) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*tensors), batch_size=size, shuffle=shuffle)


def table(n: int = 400, width: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def classes(n: int = 400, seed: int = 0) -> Tensor:
    return torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(seed))
