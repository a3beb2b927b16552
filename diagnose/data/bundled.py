"""Data sets that scikit-learn ships or makes: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

from diagnose.namespace import LightningDataModule

NORMALISATIONS = ("z-score", "min-max", "none")
Loader = DataLoader[tuple[torch.Tensor, ...]]


class Bundled(LightningDataModule):
    """A classification data set in three parts: stratified, without replacement, seeded.

    The test part is read only by the final evaluation.

    Args:
        name: ``digits``, ``breast_cancer``, ``wine``, ``iris`` or ``moons``.
        batch_size: Samples per batch.
        val_share: Share of the samples for validation.
        test_share: Share of the samples for the test.
        normalise: ``z-score``, ``min-max`` (to [0, 1]) or ``none``; per feature (images: over all pixels), fitted on the training part.
            Constant features become zero.
        num_workers: Worker processes of the loaders.
        seed: Seed of the split and of the training order.
        samples: Number of samples, for data that are made.
        noise: Standard deviation of their noise.

    Attributes:
        inputs: Shape of one sample.
        class_names: One name per class.

    Raises:
        ValueError: An option that is not known or out of range, or a split with too few samples of a class.
    """

    def __init__(
        self,
        name: str = "digits",
        *,
        batch_size: int = 64,
        val_share: float = 0.15,
        test_share: float = 0.2,
        normalise: str = "z-score",
        num_workers: int = 0,
        seed: int = 0,
        samples: int = 2000,
        noise: float = 0.2,
    ) -> None:
        super().__init__()
        if normalise not in NORMALISATIONS:
            raise ValueError(f"data.normalise must be one of {', '.join(NORMALISATIONS)}, got {normalise!r}")
        if batch_size < 1:
            raise ValueError(f"data.batch_size must be at least 1, got {batch_size!r}")
        if not (val_share > 0 and test_share > 0 and val_share + test_share < 1):
            raise ValueError(
                f"data.val_share and data.test_share must be above 0 and together below 1, got {val_share!r} and {test_share!r}"
            )
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        x, y, self.class_names = _load(name, samples, noise, seed)
        self.inputs: tuple[int, ...] = x.shape[1:]
        self._parts = _split(x, y, val_share, test_share, seed)
        self._parts = _normalised(self._parts, normalise)
        smallest = len(self._parts["train"][1])
        if batch_size > smallest:
            raise ValueError(
                f"data.batch_size={batch_size} is larger than the training part of {smallest} samples; choose at most {smallest // 2}"
            )

    @property
    def outputs(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def part(self, name: str) -> TensorDataset:
        """The samples of ``train``, ``val`` or ``test``."""
        x, y = self._parts[name]
        return TensorDataset(torch.from_numpy(x), torch.from_numpy(y))

    def _loader(self, name: str) -> Loader:
        train = name == "train"
        data = self.part(name)
        drop = train and len(data) % self.batch_size == 1  # batch norm cannot take a batch of one
        generator = torch.Generator().manual_seed(self.seed) if train else None
        return DataLoader(data, self.batch_size, shuffle=train, drop_last=drop, num_workers=self.num_workers, generator=generator)

    def train_dataloader(self) -> Loader:
        return self._loader("train")

    def val_dataloader(self) -> Loader:
        return self._loader("val")

    def test_dataloader(self) -> Loader:
        return self._loader("test")


def _load(name: str, samples: int, noise: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], list[str]]:
    if name == "digits":
        bunch: Any = datasets.load_digits()
        return bunch.images[:, None].astype(np.float32), bunch.target.astype(np.int64), [str(n) for n in bunch.target_names]
    if name == "moons":
        x, y = datasets.make_moons(samples, noise=noise, random_state=seed)
        return x.astype(np.float32), y.astype(np.int64), ["upper", "lower"]
    loaders = {"breast_cancer": datasets.load_breast_cancer, "wine": datasets.load_wine, "iris": datasets.load_iris}
    if name not in loaders:
        raise ValueError(f"data.name must be one of digits, moons, {', '.join(loaders)}, got {name!r}")
    bunch = loaders[name]()
    return bunch.data.astype(np.float32), bunch.target.astype(np.int64), [str(n) for n in bunch.target_names]


Parts = dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]


def _split(x: NDArray[np.float32], y: NDArray[np.int64], val_share: float, test_share: float, seed: int) -> Parts:
    try:
        rest, test = train_test_split(np.arange(len(y)), test_size=test_share, stratify=y, random_state=seed)
        train, val = train_test_split(rest, test_size=val_share / (1 - test_share), stratify=y[rest], random_state=seed)
    except ValueError as error:
        raise ValueError(f"the data cannot be split by data.val_share={val_share} and data.test_share={test_share}: {error}") from error
    for part, rows in (("train", train), ("val", val), ("test", test)):
        if len(np.unique(y[rows])) < 2:
            raise ValueError(f"the {part} part has {len(rows)} samples of one class; raise its share")
    return {"train": (x[train], y[train]), "val": (x[val], y[val]), "test": (x[test], y[test])}


def _normalised(parts: Parts, how: str) -> Parts:
    x = parts["train"][0].astype(np.float64)
    axes = tuple(range(x.ndim)) if x.ndim > 2 else (0,)
    if how == "none":
        return parts
    low, high = (x.mean(axes), x.std(axes)) if how == "z-score" else (x.min(axes), x.max(axes) - x.min(axes))
    scale = np.where(high > 0, high, 1.0)
    return {name: (((x - low) / scale).astype(np.float32), y) for name, (x, y) in parts.items()}
