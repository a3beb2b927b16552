"""The numbers of predicted values as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.measure import bootstrap, regression
from diagnose.measure.given import Bounds
from diagnose.measure.json_values import plain, plain_tree


def value_summary(target: NDArray[Any], prediction: NDArray[Any], seed: int, bounds: Bounds | None = None) -> dict[str, Any]:
    """Errors with intervals beside those of the mean of the targets; of single outputs also residuals, tenths, coverage."""
    columns = regression.moments(target, prediction)
    numbers = regression.errors(columns.mean(0))
    drawn = regression.errors(bootstrap.resampled_means(columns, seed=seed))
    mean = np.broadcast_to(np.asarray(target, dtype=np.float64).mean(0), np.shape(target))
    flat: Mapping[str, Any] = regression.errors(regression.moments(target, np.array(mean)).mean(0))
    entry: dict[str, Any] = {
        "task": "regression",
        "n": len(columns),
        **{k: plain(v) for k, v in numbers.items()},
        "intervals": {k: [plain(v) for v in bootstrap.interval(values)] for k, values in drawn.items()},
        "baseline": {"name": "mean of the targets", **{k: plain(v) for k, v in flat.items()}},
        "residuals": plain_tree(regression.residuals(target, prediction)),
    }
    if np.ndim(target) == 1:
        entry["independent"] = {"name": "own predictions dealt at random", **plain_tree(regression.dealt(target, prediction))}
        entry["by_quantile"] = plain_tree(regression.by_quantile(target, prediction))
        if bounds:
            entry["coverage"] = plain_tree(regression.coverage(np.asarray(target, dtype=np.float64), bounds))
    return entry
