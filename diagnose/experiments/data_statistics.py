"""What the loaders hold, before training: statistics, order, overlap, shift and conflicts, as facts of the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnose.experiments import data_identity, data_shift, data_windows
from diagnose.experiments.data_boxes import left_behind
from diagnose.experiments.data_collating import collated
from diagnose.experiments.data_copies import Unreadable
from diagnose.experiments.data_encoding import encoding
from diagnose.experiments.data_fields import Target, describe, describe_target, target
from diagnose.experiments.data_ignored import ignored
from diagnose.experiments.data_leak import telling
from diagnose.experiments.data_numbering import numbering
from diagnose.experiments.data_order import order
from diagnose.experiments.data_own_labels import own_labels
from diagnose.experiments.data_padding import counted, filled, padding
from diagnose.experiments.data_reading import read
from diagnose.experiments.data_roles import Roles, assign
from diagnose.experiments.data_sample import ENOUGH, Sample
from diagnose.experiments.data_sampling import sampling
from diagnose.experiments.data_scaling import scaling
from diagnose.experiments.data_simple import simple
from diagnose.experiments.data_transfer import transfer
from diagnose.experiments.data_turned import turned
from diagnose.experiments.data_two_loaders import two_loaders
from diagnose.experiments.loader_batches import chosen_rows
from diagnose.namespace import is_combined
from diagnose.record import Record

FACTS = (
    "data.order",
    "data.numbering",
    "data.sampling",
    "data.ignored",
    "data.counted",
    "data.filled",
    "data.overlap",
    "data.shift",
    "data.conflicts",
    "data.telling",
    "data.turned",
    "data.boxes",
    "data.collated",
    "data.two_loaders",
    "data.scaling",
    "data.encoding",
    "data.own_labels",
    "data.simple",
    "data.transfer",
    "data.padding",
)


def measure_data(
    record: Record,
    train: Any,
    val: Any | None,
    *,
    roles: Mapping[str, str],
    loss: Mapping[str, Any] | None,
    held: Mapping[str, Any] | None = None,
    batches: int = 64,
    samples: int = 4096,
    seconds: float = 3.0,
) -> None:
    """Read the loaders and write what they hold into ``record``; nothing of them, and no random state, is changed.

    Args:
        record: Gets the facts below; what could not be measured is skipped there with its reason.
        train: Whatever Lightning accepts as training loaders.
        val: The same for validation; each loader of a list is read by itself.
        roles: Path of a field (as from `diagnose.experiments.batches.leaves`) → ``"input"`` or ``"target"``. Where it names no target, the
        last
            field of the size of the loss's target is taken for it; where it is empty, the last integer field with one value per row.
        loss: The primary loss call: ``kind`` (its name in `torch.nn.functional`), ``input_shape``, ``target_shape``, ``target_dtype``,
            ``classes``, ``fixed`` (see `anatomy.examine`), ``ignore_index``;
            ``input_normalised`` where the network begins with a normalisation, ``embedded`` where it begins with an embedding,
            ``input_max``, the largest absolute value that its first layer with weights was given; ``nonfinite_handled`` where the loss of a
            batch with NaN was finite. ``None`` where no loss call was seen.
        held: What the loss of a validation step takes for targets, see `loss_arguments.asked_of`.
        batches: Most batches read of a loader (more where they are so small that they hold fewer than 1024 rows).
        samples: Most rows read of a loader.
        seconds: Time after which reading of the training loaders, and of all validation loaders, ends.

    Facts:
        - ``data``: loader (``"train"``, ``"val/0"``, ``"val/1"`` …) → ``order``, ``batches``, ``batch_size`` (of the first), ``samples``
          (rows read), ``total`` (rows in an epoch or ``None``), ``coverage`` (share read or ``None``), ``drawn`` (share of the data set
          that the first epoch of somebody's own sampler takes, or ``None``), ``inputs`` (paths), ``target`` (path or ``None``),
          ``guessed`` (of ``"input"``, ``"target"``), ``loss`` (as given) and ``fields``: path → see `describe`; the target's entry has
          ``target``, see `describe_target`.
        - ``data.order``: see `order`, and ``guessed``: whether the target is a guess.
        - ``data.numbering``: see `data_numbering.numbering`.
        - ``data.sampling``, ``data.ignored``: see `data_sampling.sampling` and `data_ignored.ignored`.
        - ``data.overlap``: loader → see `data_identity.overlap`, and ``estimate``: ``share`` over the share of training that was read;
          ``index_share``: the share of its rows that both take from one and the same data set, ``None`` where that is not known.
        - ``data.shift``: loader → ``inputs`` (path → see `data_shift.inputs`), ``labels`` (see `data_shift.labels`, or ``None``),
          ``values`` (see `data_shift.values`, or ``None``), ``loss`` (its kind).
        - ``data.conflicts``: see `data_identity.conflicts`.
        - ``data.telling``, ``data.turned``, ``data.scaling``: see `data_leak.telling`, `data_turned.turned` and `data_scaling.scaling`.
        - ``data.boxes``, ``data.collated``, ``data.two_loaders``: see `data_boxes.left_behind`, `data_collating.collated` and
          `data_two_loaders.two_loaders`.
        - ``data.counted``: see `data_padding.counted`; only where the loss takes the targets as the loader gives them.
        - ``data.filled``: see `data_padding.filled`, of the first validation loader.
        - ``data.encoding``, ``data.own_labels``, ``data.padding``: see `data_encoding.encoding`, `data_own_labels.own_labels` and
          `data_padding.padding`, of the first validation loader.
        - ``data.simple``, ``data.transfer``: see `data_simple.simple` and `data_transfer.transfer`, of the first validation loader.
    """
    try:
        first = read(train, batches=batches, samples=samples, seconds=seconds)
    except Unreadable as reason:
        for name in ("data", *FACTS):
            record.skip(name, f"training data: {reason}")
        return
    parts = assign(first, roles, loss)
    facts = {"train": _facts(first, parts, loss)}
    others: dict[str, Sample] = {}
    reasons = []
    loaders = _separate(val)
    for number, loader in enumerate(loaders):
        try:
            others[f"val/{number}"] = read(loader, batches=batches, samples=samples, seconds=seconds / len(loaders))
            facts[f"val/{number}"] = _facts(others[f"val/{number}"], parts, loss)
        except Unreadable as reason:
            reasons.append(f"val/{number}: {reason}")
    record.add("data", facts)
    found = target(first, parts.target, loss) if parts.target else None
    _order(record, first, found, parts)
    _keep(record, "data.numbering", numbering(first, found), "targets are no classes, or no batch lacks one")
    _keep(record, "data.sampling", sampling(first, found), "no sampler weighs the rows of each class alike")
    hidden = ignored(first, parts.target, loss) if parts.target else None
    _keep(record, "data.ignored", hidden, "the loss ignores no class, or none that stands between others")
    filler = counted(first, parts.target, loss) if parts.target and "target" not in parts.guessed else None
    _keep(record, "data.counted", filler, "the loss scores no padding of sequences")
    column = telling(first, parts.inputs, found) if found is not None else None
    _keep(record, "data.telling", column, "the training batches are no table of at least 100 rows with one target each")
    fit = turned(first, parts.inputs, parts.target) if parts.target else None
    _keep(record, "data.turned", fit, "there are no 32 training rows of an image with a target for each of its pixels")
    _keep(record, "data.boxes", left_behind(first, train), "no field of the training data holds boxes of an image, by its numbers")
    mixed = collated(first, train, parts)
    _keep(record, "data.collated", mixed, "no collate function of its own gives rows that are found again, beside targets of their own")
    _keep(record, "data.two_loaders", two_loaders(train, parts), "inputs and targets come of one loader")
    scaled = scaling(first, parts.inputs, parts.target) if parts.target else None
    _keep(record, "data.scaling", scaled, "no training rows have one scale of input and target together that the input alone has not")
    _identity(record, first, others, found, parts, loss, (train, loaders), "; ".join(reasons) or "there is no validation loader")
    _shift(record, first, others, found, parts, loss, "; ".join(reasons) or "there is no validation loader")
    theirs = filled(first, others["val/0"], held) if "val/0" in others else None
    _keep(record, "data.filled", theirs, "the loss of validation scores no padding of sequences")
    plain = encoded = favoured = carried = padded = None
    if "val/0" in others and parts.target and "target" not in parts.guessed:
        targets = found, target(others["val/0"], parts.target, loss)
        encoded = encoding(first, others["val/0"], parts.inputs, targets)
        favoured = own_labels(first, others["val/0"], parts.inputs, targets)
        padded = padding(first, others["val/0"], parts.target, loss)
        if len(parts.inputs) == 1:
            plain = simple(first, others["val/0"], parts.inputs[0], targets)
            carried = transfer(first, others["val/0"], parts.inputs[0], targets)
    _keep(record, "data.encoding", encoded, "no column of a table has values that recur in training and validation and tell the target")
    why = "there is no table of numbers with 200 training and 100 validation rows and one number or one of two classes each"
    _keep(record, "data.own_labels", favoured, f"{why}, or no other column tells the target")
    _keep(record, "data.simple", plain, "there are no 50 validation rows of one field of numbers with one class, value or vector each")
    why = "there are no 400 training and 100 validation rows of one field with one class or value each"
    _keep(record, "data.transfer", carried, why)
    _keep(record, "data.padding", padded, "validation scores no target at places of a value that training ignores")


def _keep(record: Record, name: str, fact: dict[str, Any] | None, reason: str) -> None:
    """The fact, or why there is none."""
    if fact is None:
        record.skip(name, reason)
    else:
        record.add(name, fact)


def _separate(val: Any) -> list[Any]:
    if is_combined(val):
        val = val.iterables
    if val is None:
        return []
    return list(val.values()) if isinstance(val, dict) else list(val) if isinstance(val, (list, tuple)) else [val]


def _facts(sample: Sample, parts: Roles, loss: Mapping[str, Any] | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"order": sample.order, "batches": len(sample.sizes), "batch_size": sample.sizes[0], "samples": sample.count}
    facts |= {"total": sample.total, "coverage": sample.coverage, "drawn": sample.drawn}
    facts |= {"inputs": list(parts.inputs), "target": parts.target}
    facts |= {"guessed": list(parts.guessed), "loss": None if loss is None else dict(loss)}
    facts["fields"] = {path: describe(sample, path) for path in sample.fields}
    if parts.target is not None and parts.target in facts["fields"]:
        own = facts["fields"][parts.target]
        own["target"] = describe_target(target(sample, parts.target, loss), own)
    return facts


def _order(record: Record, sample: Sample, found: Target | None, parts: Roles) -> None:
    if found is None or found.kind not in ("class", "value"):
        record.skip("data.order", "the training batches have no field with one target per row")
        return
    if sample.cut:
        record.skip("data.order", f"the training data are slow: {few(sample)}")
        return
    facts = order(sample, found)
    if facts is None:
        record.skip("data.order", "the order cannot be judged from one batch or one target")
    else:
        record.add("data.order", {**facts, "guessed": "target" in parts.guessed})


def few(sample: Sample) -> str:
    """How little was read."""
    return f"time ran out after {len(sample.sizes)} of its batches, at least {ENOUGH} are needed"


def _sole_item(loader: Any) -> bool:
    """Whether a data set has but one item."""
    try:
        return len(loader.dataset) == 1
    except (AttributeError, TypeError):
        return False


def _identity(
    record: Record,
    sample: Sample,
    others: Mapping[str, Sample],
    found: Target | None,
    parts: Roles,
    loss: Mapping[str, Any] | None,
    loaders: tuple[Any, list[Any]],
    reason: str,
) -> None:
    rows = data_identity.keys(sample, parts.inputs)
    if getattr(loaders[0], "batch_sampler", loaders[0]) is None or (_sole_item(loaders[0]) and sample.sizes[0] > 1):
        for name in ("data.overlap", "data.conflicts"):
            record.skip(name, "an item of the data set is a whole batch, and its rows need not be samples: nodes of one graph, for example")
        return
    if rows is None:
        record.skip("data.overlap", "the training batches have no input field with one entry per row")
        record.skip("data.conflicts", "the training batches have no input field with one entry per row")
        return
    kind = data_identity.variety(sample, parts.inputs, rows)
    if found is None or found.kind not in ("class", "value"):
        record.skip("data.conflicts", "the training batches have no field with one target per row")
    elif "target" in parts.guessed and found.kind == "value" and not sample.fields[str(parts.target)][0].is_floating_point():
        record.skip("data.conflicts", "no loss is seen to get the last field, and its whole numbers may be names of things (users, items)")
    else:
        record.add("data.conflicts", data_identity.conflicts(rows, found, kind))
    result = {}
    for name, other in others.items():
        held_out = data_identity.keys(other, parts.inputs)
        if held_out is None:
            continue
        theirs = target(other, parts.target, loss) if parts.target else None
        facts = data_identity.overlap(rows, held_out, kind, (found, theirs))
        mine, own = chosen_rows(loaders[0]), chosen_rows(loaders[1][int(name.removeprefix("val/"))])
        shared = len(mine[1] & own[1]) / len(own[1]) if mine and own and mine[0] == own[0] and own[1] else None
        facts |= {"estimate": min(1.0, facts["share"] / (sample.coverage or 1.0)), "index_share": shared}
        result[name] = {**facts, "windows": max((data_windows.shared(sample, other, path) for path in parts.inputs), default=0.0)}
    if result:
        record.add("data.overlap", result)
    else:
        record.skip("data.overlap", reason if not others else "the validation batches do not have the training batches' input fields")


def _shift(
    record: Record,
    sample: Sample,
    others: Mapping[str, Sample],
    found: Target | None,
    parts: Roles,
    loss: Mapping[str, Any] | None,
    reason: str,
) -> None:
    if not others:
        record.skip("data.shift", reason)
        return
    slow = [f"{name}: {few(one)}" for name, one in (("train", sample), *others.items()) if one.cut]
    if slow:
        record.skip("data.shift", f"the data are slow: {'; '.join(slow)}")
        return
    result = {}
    for name, other in others.items():
        facts: dict[str, Any] = {"inputs": {}, "labels": None, "values": None, "loss": None if loss is None else loss["kind"]}
        for path in parts.inputs:
            if sample.fields[path][0].is_floating_point() and (one := data_shift.inputs(sample, other, path)) is not None:
                facts["inputs"][path] = one
        theirs = target(other, parts.target, loss) if parts.target else None
        if found is not None and theirs is not None:
            if found.kind == theirs.kind == "class":
                facts["labels"] = data_shift.labels(found, theirs)
            elif found.kind == theirs.kind == "value":
                facts["values"] = data_shift.values(found, theirs)
        result[name] = facts
    record.add("data.shift", result)
