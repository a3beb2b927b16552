"""Samples in three parts: split, filled, normalised and loaded in batches, with everything that is fitted fitted on the training part."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from diagnose.data.noise import noisy
from diagnose.identity import fingerprint
from diagnose.namespace import LightningDataModule

NORMALISATIONS = ("z-score", "min-max", "none")
SAMPLERS = ("shuffle", "balanced")
Loader = DataLoader[tuple[torch.Tensor, ...]]
Pair = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What was read: inputs, targets, and what they are.

    Attributes:
        x: Inputs, shape ``(n, ...)``; numbers, where NaN is missing, or token numbers.
        y: Class numbers ``(n,)``, values ``(n, k)``, or the next tokens ``(n, t)``.
        task: ``classes``, ``values`` or ``tokens``.
        class_names: A name per class or token; empty for values.
        notes: What was done on reading, in sentences.
        ordered: Whether neighbours belong together, so that the parts must be runs of samples.
        feature_names: A name per column of a table; empty else.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    task: str = "classes"
    class_names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ordered: bool = False
    feature_names: list[str] = field(default_factory=list)


class Parts(LightningDataModule):
    """Samples as training, validation and test part: stratified by class, without replacement, seeded.

    The test part is read only by the final evaluation.

    Args:
        samples: What was read.
        batch_size: Samples per batch; ``None`` takes the whole training part.
        val_share: Share of the samples for validation.
        test_share: Share of the samples for the test.
        normalise: ``z-score``, ``min-max`` or ``none``; per feature (images: per channel), fitted on the training part. Constant
            features become zero, or the lower bound.
        bounds: Where ``min-max`` puts the smallest and the largest value of the training part.
        sampler: ``shuffle``, or ``balanced``: drawn with replacement, each class as often.
        input_noise: Standard deviation of Gaussian noise on the inputs of training batches, after normalisation and in standard deviations
            of each feature in the training part; of constant features none. Neither validation, nor test, nor the measuring of training
            data sees it.
        num_workers: Worker processes of the loaders.
        seed: Seed of the split and of the training order.

    Attributes:
        inputs: Shape of one sample.
        outputs: Number of classes, tokens or values.
        vocabulary: Number of tokens; 0 for numbers.
        class_counts: Samples per class in the training part; empty for values and tokens.
        target_scale: Mean and standard deviation of each value in the training part; zeros and ones else.
        notes: What was done to the data, in sentences.
        feature_names: A name per column of a table; ``None`` else.

    Raises:
        ValueError: An option that is not known or out of range, or a split with too few samples of a class.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        batch_size: int | None = 64,
        val_share: float = 0.15,
        test_share: float = 0.2,
        normalise: str = "z-score",
        bounds: Sequence[float] = (0.0, 1.0),
        sampler: str = "shuffle",
        input_noise: float = 0.0,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for key, value, known in (("normalise", normalise, NORMALISATIONS), ("sampler", sampler, SAMPLERS)):
            if value not in known:
                raise ValueError(f"data.{key} must be one of {', '.join(known)}, got {value!r}")
        if len(bounds) != 2 or not bounds[0] < bounds[1]:
            raise ValueError(f"data.bounds must be two numbers, the lower first, got {list(bounds)!r}")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"data.batch_size must be at least 1, got {batch_size!r}")
        if num_workers < 0:
            raise ValueError(f"data.num_workers must be at least 0, got {num_workers!r}")
        if not (isinstance(input_noise, int | float) and 0 <= input_noise < math.inf):
            raise ValueError(f"data.input_noise must be a number of standard deviations, at least 0, got {input_noise!r}")
        if input_noise and samples.task == "tokens":
            raise ValueError(f"data.input_noise={input_noise!r} needs numbers, the data have tokens; use model.dropout")
        if not (val_share > 0 and test_share > 0 and val_share + test_share < 1):
            raise ValueError(
                f"data.val_share and data.test_share must be above 0 and together below 1, got {val_share!r} and {test_share!r}"
            )
        if sampler == "balanced" and samples.task != "classes":
            raise ValueError(f"data.sampler=balanced needs classes, the data have {samples.task}")
        self.task, self.class_names, self.notes = samples.task, samples.class_names or None, list(samples.notes)
        self.feature_names = samples.feature_names or None
        self.inputs: tuple[int, ...] = samples.x.shape[1:]
        self.outputs = samples.y.shape[1] if samples.task == "values" else len(samples.class_names)
        self.vocabulary = self.outputs if samples.task == "tokens" else 0
        self.num_workers, self.sampler, self.seed = num_workers, sampler, seed
        parts = _split(samples, val_share, test_share, seed)
        if samples.task != "tokens":
            parts, notes = _filled(parts)
            self._unit = _unit(parts["train"][0], normalise, (float(bounds[0]), float(bounds[1])))
            parts = {name: (self._unit.normalised(x), y) for name, (x, y) in parts.items()}
            self.notes += notes
        self._parts = parts
        x, y = parts["train"]
        self.input_noise = float(input_noise)
        self._deviation = torch.from_numpy(input_noise * x.std(_axes(x), keepdims=True, dtype=np.float64)).float() if input_noise else None
        self.class_counts: list[int] = np.bincount(y, minlength=self.outputs).tolist() if samples.task == "classes" else []
        values = y.astype(np.float64) if samples.task == "values" else np.zeros((1, 1))
        self.target_scale = (values.mean(0).tolist(), np.where(values.std(0) > 0, values.std(0), 1.0).tolist())
        self.batch_size = batch_size or len(y)
        if self.batch_size > len(y):
            raise ValueError(
                f"data.batch_size={batch_size} is larger than the training part of {len(y)} samples; choose at most {len(y) // 2}"
            )

    def original(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Inputs of a batch in the unit in which they were read, as far as single precision goes."""
        return x.astype(np.float64) if self.task == "tokens" else self._unit.original(x)

    def part(self, name: str) -> TensorDataset:
        """The samples of ``train``, ``val`` or ``test``."""
        x, y = self._parts[name]
        return TensorDataset(torch.from_numpy(x), torch.from_numpy(y))

    def fingerprints(self) -> dict[str, str]:
        """Sixteen digits per part that tell its samples apart, as the model gets them: inputs and targets in their order."""
        return {name: fingerprint(pair) for name, pair in self._parts.items()}

    def reseeded(self, seed: int, *, bootstrap: bool = False) -> Parts:
        """The same parts in the order, and with the noise, of another seed.

        Args:
            seed: In place of the own one.
            bootstrap: Whether the training part is drawn anew from itself with replacement, of classes from each as many as it has.
        """
        other = copy.copy(self)
        other.seed = seed
        if bootstrap:
            x, y = self._parts["train"]
            rng = np.random.default_rng(seed)
            groups = [np.flatnonzero(y == k) for k in np.unique(y)] if self.task == "classes" else [np.arange(len(y))]
            rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
            other._parts = {**self._parts, "train": (x[rows], y[rows])}
        return other

    def train_dataloader(self) -> Loader:
        data = self.part("train")
        drop = len(data) % self.batch_size == 1  # batch norm cannot take a batch of one
        generator = torch.Generator().manual_seed(self.seed)
        chosen: dict[str, Any] = {"shuffle": True, "generator": generator}
        if self.sampler == "balanced":
            share = 1 / torch.tensor(self.class_counts, dtype=torch.float64)
            chosen = {"sampler": WeightedRandomSampler(share[data.tensors[1]].tolist(), len(data), generator=generator)}
        return DataLoader(data, self.batch_size, drop_last=drop, num_workers=self.num_workers, **chosen)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Training batches get ``input_noise``."""
        trainer = self.trainer
        if self._deviation is None or trainer is None or not trainer.training:
            return batch
        x, *rest = batch
        place = (self.seed, trainer.global_rank, trainer.fit_loop.total_batch_idx + 1)  # -1 before the first batch
        return [noisy(x, self._deviation, place), *rest]

    def val_dataloader(self) -> Loader:
        return DataLoader(self.part("val"), self.batch_size, num_workers=self.num_workers)

    def test_dataloader(self) -> Loader:
        return DataLoader(self.part("test"), self.batch_size, num_workers=self.num_workers)


def _split(samples: Samples, val_share: float, test_share: float, seed: int) -> dict[str, Pair]:
    x, y = samples.x, samples.y
    classes = samples.task == "classes"
    try:
        options: dict[str, Any] = {"shuffle": False} if samples.ordered else {"random_state": seed}
        rest, test = train_test_split(np.arange(len(y)), test_size=test_share, stratify=y if classes else None, **options)
        train, val = train_test_split(rest, test_size=val_share / (1 - test_share), stratify=y[rest] if classes else None, **options)
    except ValueError as error:
        raise ValueError(f"the data cannot be split by data.val_share={val_share} and data.test_share={test_share}: {error}") from error
    for part, rows in (("train", train), ("val", val), ("test", test)):
        if classes and len(np.unique(y[rows])) < 2:
            raise ValueError(f"the {part} part has {len(rows)} samples of one class; raise its share")
        if samples.task == "values" and len(rows) < 2:
            raise ValueError(f"the {part} part has {len(rows)} samples, at least 2 are needed; raise its share")
    return {"train": (x[train], y[train]), "val": (x[val], y[val]), "test": (x[test], y[test])}


def _axes(x: NDArray[Any]) -> tuple[int, ...]:
    """Over what a feature is measured: samples, the steps of sequences ``(n, steps, features)``, all pixels of a channel of images."""
    return {1: (0,), 2: (0,), 3: (0, 1)}.get(x.ndim, (0, *range(2, x.ndim)))


def _filled(parts: dict[str, Pair]) -> tuple[dict[str, Pair], list[str]]:
    """Missing numbers become the median of their feature in the training part."""
    missing = {name: np.isnan(x) for name, (x, _) in parts.items()}
    count = sum(int(m.sum()) for m in missing.values())
    if not count:
        return parts, []
    x = parts["train"][0]
    empty = missing["train"].all(0)
    median = np.zeros(x.shape[1:])
    median[~empty] = np.nanmedian(x[:, ~empty], 0)
    done = {name: (np.where(missing[name], median, x).astype(np.float32), y) for name, (x, y) in parts.items()}
    return done, [f"{count} missing values were filled with the median of their feature in the training part."]


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """How a feature was normalised: ``low + (x - offset) * factor``; a constant one has the factor 0."""

    offset: NDArray[np.float64] | float = 0.0
    factor: NDArray[np.float64] | float = 1.0
    low: float = 0.0

    def normalised(self, x: NDArray[Any]) -> NDArray[np.float32]:
        return (self.low + (x - self.offset) * self.factor).astype(np.float32)

    def original(self, x: NDArray[Any]) -> NDArray[np.float64]:
        width = np.divide(1.0, self.factor, out=np.zeros_like(self.factor, dtype=np.float64), where=np.asarray(self.factor) != 0)
        return np.asarray(self.offset + (x - self.low) * width, dtype=np.float64)


def _unit(x: NDArray[Any], how: str, bounds: tuple[float, float]) -> Unit:
    """The normalisation that is fitted on the training part."""
    if how == "none":
        return Unit()
    x = x.astype(np.float64)
    axes = _axes(x)
    if how == "z-score":
        offset, width, low, scale = x.mean(axes, keepdims=True), x.std(axes, keepdims=True), 0.0, 1.0
    else:
        offset, width = x.min(axes, keepdims=True), np.ptp(x, axes, keepdims=True)
        low, scale = bounds[0], bounds[1] - bounds[0]
    factor = np.where(width > 1e-12 * np.maximum(np.abs(offset), 1e-300), scale / np.where(width > 0, width, 1.0), 0.0)
    return Unit(offset=offset, factor=factor, low=low)
