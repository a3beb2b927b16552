"""Predictions of a step: those it returns, those a user's function gives, or the arguments of its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from diagnose.measure.losses import Predictions, predictions, primary

Extract = Callable[[Any, Any], Any]


def given(output: Any) -> Predictions | None:
    """Predictions from what ``extract`` or a step gave: a mapping with ``preds`` and ``target``, or a pair.

    Scores of shape ``(n, C)`` beside class indices are taken as probabilities where they are, else through softmax; numbers of shape
    ``(n,)`` from 0 to 1 beside the classes 0 and 1 as the probability of class 1; everything else as classes or values.
    """
    if isinstance(output, Mapping):
        if "preds" not in output or "target" not in output:
            return None
        scores, target = output["preds"], output["target"]
    elif isinstance(output, tuple) and len(output) == 2:
        scores, target = output
    else:
        return None
    scores, target = torch.as_tensor(scores).detach(), torch.as_tensor(target).detach()
    if not scores.is_floating_point():
        count = int(max(scores.max().item(), target.max().item())) + 1 if len(target) else 0
        wrong = (scores != target).float()
        if scores.dim() > 1:
            return Predictions("multilabel", scores, target, None, wrong.mean(1), scores.shape[1])
        return Predictions("multiclass" if count > 2 else "binary", scores, target.long(), None, wrong, max(2, count))
    scores = scores.float()
    if not target.is_floating_point() and scores.dim() == target.dim() + 1:
        scores = scores.movedim(1, -1).reshape(-1, scores.shape[1])
        group = torch.arange(target.numel()) // max(1, target[:1].numel())
        target = target.reshape(-1)
        sums = scores.sum(1)
        p = scores if bool((scores >= 0).all() and (sums - 1).abs().max() < 1e-3) else scores.softmax(1)
        loss = -p.gather(1, target[:, None].long()).clamp_min(1e-12).log().squeeze(1)
        return Predictions("binary" if p.shape[1] == 2 else "multiclass", p.argmax(1), target.long(), p, loss, p.shape[1], group)
    if not target.is_floating_point() and scores.shape == target.shape and bool(((scores >= 0) & (scores <= 1)).all()):
        loss = nn.functional.binary_cross_entropy(scores, target.float(), reduction="none")
        if scores.dim() > 1:
            return Predictions("multilabel", (scores > 0.5).long(), target.long(), scores, loss.mean(1), scores.shape[1])
        return Predictions("binary", (scores > 0.5).long(), target.long(), torch.stack([1 - scores, scores], 1), loss, 2)
    error = (scores - target.float()).square()
    return Predictions("regression", scores, target.float(), None, error.flatten(1).mean(1) if error.dim() > 1 else error, 0)


def found_in(output: Any, batch: Any, calls: Sequence[Any], extract: Extract | None) -> tuple[Predictions | None, str, str]:
    """Predictions of a step, how they were found, and the name of the loss."""
    if extract is not None:
        return given(extract(output, batch)), "extract=", ""
    if isinstance(output, Mapping) and (own := given(output)) is not None:
        return own, 'the "preds" and "target" that the step returns', ""
    loss = output.get("loss") if isinstance(output, Mapping) else output
    call = primary(calls, loss if isinstance(loss, Tensor) and loss.numel() == 1 else None)
    if call is None:
        return None, "", ""
    found = predictions(call)
    if found is not None and found.task in ("binary", "multiclass") and call.target is not None:
        sequences = next_tokens(batch, call.target)
        if sequences:
            flat = call.target.dim() == 1 and found.group is not None
            group = found.group // (len(call.target) // sequences) if flat and found.group is not None else found.group
            found = replace(found, task="next-token", group=group)
    return found, f"the arguments of {call.kind}", call.kind


def next_tokens(batch: Any, target: Tensor) -> int:
    """The number of sequences, where the targets are the tokens of the batch, each one place earlier (a next-token model), else 0.

    A batch may hold the tokens as they are (the targets are then all but the first) or the first and the last ``T`` apart.
    """
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (tuple, list)) else (batch,)
    for tokens in parts:
        if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.is_floating_point() or tokens.shape[1] < 3:
            continue
        rows, length = tokens.shape
        for width in (length, length - 1):
            if target.is_floating_point() or target.numel() != rows * width:
                continue
            later = target.reshape(rows, width)[:, : length - 1]
            known = later >= 0  # what is left out has a negative number
            same = (later == tokens[:, 1:].to(later.device))[known]
            if len(same) and same.float().mean() > 0.95 and not torch.equal(later, tokens[:, : length - 1].to(later.device)):
                return rows
    return 0
