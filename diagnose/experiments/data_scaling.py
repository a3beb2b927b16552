"""Whether each window of a series was scaled together with the values that are to be predicted from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from diagnose.experiments.data_sample import Sample

LEAST, MOST = 32, 256  # rows
SAME = 1e-3  # of the spread of all values: what a scale differs by from row to row where it is the same
APART = 0.1  # of the rows: where at least it is another one in the inputs alone
SCALES: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "mean and deviation": (lambda x: x.mean(1), lambda x: x.std(1, correction=0)),
    "least and largest value": (lambda x: x.amin(1), lambda x: x.amax(1)),
    "largest magnitude": (lambda x: x.abs().amax(1),),
}


def scaling(sample: Sample, inputs: Sequence[str], path: str) -> dict[str, Any] | None:
    """By which scale input and target of each row are the same, taken together, while neither of the two is alone.

    Of fields with one axis or two besides the rows: values in the order of time, or steps by channel. A target with one axis is held
    against each channel.

    Returns:
        ``path`` (of the input), ``channel`` (``None`` for a field of one axis), ``by`` (a key of `SCALES`), ``rows``, and ``apart``: the
        share of the rows of which the input alone has another scale. ``None`` where there is none, or the values are few and recur.
    """
    target = sample.of(path)
    if target is None or not target.is_floating_point() or target.dim() not in (2, 3) or len(target) < LEAST:
        return None
    target = target[:MOST]
    for name in inputs:
        whole = sample.of(name)
        given = whole[:MOST] if whole is not None else None
        if name == path or given is None or not given.is_floating_point() or given.dim() not in (2, 3) or given.shape[1] < 3:
            continue
        for channel in range(given.shape[2] if given.dim() == 3 else 1):
            past = given[:, :, channel] if given.dim() == 3 else given
            if target.dim() == 2 or target.shape[2] == 1:
                ahead = target.reshape(len(target), -1)
            elif given.dim() == 3 and target.shape[2] == given.shape[2]:
                ahead = target[:, :, channel]
            else:
                continue
            found = _together(past.double(), ahead.double())
            if found is not None:
                return {"path": name, "channel": channel if given.dim() == 3 else None, "rows": len(target), **found}
    return None


def _together(past: Tensor, ahead: Tensor) -> dict[str, Any] | None:
    whole = torch.cat([past, ahead], 1)
    spread = float(whole.std())
    if not spread > 0 or not torch.isfinite(whole).all() or len(ahead.unique()) < len(ahead):  # type: ignore[no-untyped-call]
        return None
    for name, measures in SCALES.items():
        both, *alone = (torch.stack([m(values) for m in measures]) for values in (whole, past, ahead))
        common = both.median(1, keepdim=True).values
        apart, target = (float(((one - common).abs() > SAME * spread).any(0).double().mean()) for one in alone)
        if bool(((both - common).abs() <= SAME * spread).all()) and min(apart, target) >= APART:
            return {"by": name, "apart": apart}
    return None
