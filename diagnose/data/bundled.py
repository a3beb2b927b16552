"""Data sets that scikit-learn ships or makes: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import datasets

from diagnose.data.parts import Parts, Samples

TABLES = ("breast_cancer", "wine", "iris")
NAMES = ("digits", "moons", *TABLES, "diabetes", "blobs")


class Bundled(Parts):
    """One of `NAMES`.

    Args:
        name: ``diabetes`` has values to predict, the others classes.
        samples: Number of samples, for data that are made (``moons``, ``blobs``).
        noise: Standard deviation of their noise.
        centers: Number of blobs.
        seed: Seed of the split, of the training order and of data that are made.
        options: As in `Parts`.

    Raises:
        ValueError: An option that is not known or out of range.
    """

    def __init__(
        self, name: str = "digits", *, samples: int = 2000, noise: float = 0.2, centers: int = 3, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(read(name, samples, noise, centers, seed), seed=seed, **options)


def read(name: str, samples: int, noise: float, centers: int, seed: int) -> Samples:
    """The samples of a name."""
    if name not in NAMES:
        raise ValueError(f"data.name must be one of {', '.join(NAMES)}, got {name!r}")
    if noise < 0:
        raise ValueError(f"data.noise must be at least 0, got {noise!r}")
    if name == "moons":
        x, y = datasets.make_moons(samples, noise=noise, random_state=seed)
        return Samples(x=x.astype(np.float32), y=y.astype(np.int64), class_names=["upper", "lower"])
    if name == "blobs":
        if centers < 2:
            raise ValueError(f"data.centers must be at least 2, got {centers!r}")
        x, y = datasets.make_blobs(samples, centers=centers, cluster_std=noise, center_box=(-2, 2), random_state=seed)
        return Samples(x=x.astype(np.float32), y=y.astype(np.int64), class_names=[f"blob {k}" for k in range(centers)])
    if name == "diabetes":
        bunch: Any = datasets.load_diabetes()
        names = [str(name) for name in bunch.feature_names]
        return Samples(x=bunch.data.astype(np.float32), y=bunch.target.astype(np.float32)[:, None], task="values", feature_names=names)
    bunch = getattr(datasets, f"load_{name}")()
    image = name == "digits"
    return Samples(
        x=(bunch.images[:, None] if image else bunch.data).astype(np.float32),
        y=bunch.target.astype(np.int64),
        class_names=[str(n) for n in bunch.target_names],
        feature_names=[] if image else [str(n) for n in bunch.feature_names],
    )
