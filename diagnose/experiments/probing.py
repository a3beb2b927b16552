"""The probes of a module, in the order in which they run: each costs only itself when it fails."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.anatomy import examine
from diagnose.experiments.batches import leaves, roles
from diagnose.experiments.copying import Unusable, told
from diagnose.experiments.curriculum import changes_data, shared_state
from diagnose.experiments.data_statistics import measure_data
from diagnose.experiments.dependence import swap_samples
from diagnose.experiments.fields import SILENT, swap_fields
from diagnose.experiments.future import change_future
from diagnose.experiments.initial import initial_loss, signal_scale
from diagnose.experiments.joining import pairs_named
from diagnose.experiments.learning import learn
from diagnose.experiments.loaders import first_batches, first_loader, length
from diagnose.experiments.loss_arguments import class_weights, columns_set, label_statistics, target_statistics
from diagnose.experiments.mixture import blend
from diagnose.experiments.modes import validate
from diagnose.experiments.modules_seen import Anatomy
from diagnose.experiments.neighbours import CLEAR, NOTHING, learn_from_neighbours
from diagnose.experiments.one_pass import learn_in_one_pass
from diagnose.experiments.overfit import MOST_STEPS, RATES, overfit_batch, train
from diagnose.experiments.pairing import pair
from diagnose.experiments.recurrence import reach_back
from diagnose.experiments.reduction import double_batch
from diagnose.experiments.rescaled import standardised_targets
from diagnose.experiments.run_facts import describe_plan
from diagnose.experiments.sandbox import Sandbox, quiet, random_state_kept, run_in_sandbox
from diagnose.experiments.sources import sources
from diagnose.experiments.unpenalised import without_penalty
from diagnose.experiments.viewing import exchanged_axes
from diagnose.measure.asked import asked
from diagnose.measure.losses import LossCall, task
from diagnose.namespace import LightningDataModule, LightningModule, Trainer
from diagnose.record import Record
from diagnose.rules import diagnose as judge

BATCHES = 24
BOUNDS: dict[str, Any] = {"batches": 16, "samples": 1024, "seconds": 1.0}  # of reading data at the start of a fit
AGAIN = 5  # steps
PROBES = tuple(
    f"probe.{name}"
    for name in (
        *("step", "parameters", "modes", "linearity", "norms", "dropout"),
        *("initial_loss", "initialization", "recurrence", "dependence", "fields", "pairing", "mixture", "views", "future", "reduction"),
        *("overfit", "learning"),
    )
)


def gather(
    record: Record,
    module: LightningModule,
    train: Any,
    val: Any,
    *,
    trainer: Trainer | None = None,
    datamodule: LightningDataModule | None = None,
    short: bool = False,
    steps: int = 0,
    patience: float = float("inf"),
    strict: bool = False,
) -> None:
    """Run the probes and write what they find into ``record``; ``short`` leaves out those that train more than ``steps`` steps."""
    if "source" not in record:
        record.add("source", sources(module))
    if changed := changes_data(module, train, trainer):
        record.add("data.changed_by", changed)
    probing = Probing(record, strict)
    with random_state_kept(), quiet():
        batches = probing.part("probe.step", lambda: first_batches(train, 6 if short else BATCHES))
        if not batches:
            skip_all(record, record.missing.get("probe.step", "no batch could be read"))
            return
        held_out = probing.part("probe.validation", lambda: first_batches(first_loader(val), 4)) or []
        settings = trainer_settings(train, trainer, len(batches))
        look = probing.part("data.changed_by", lambda: shared_state(module, train))

        def use(sandbox: Sandbox) -> None:
            sandbox.patience = patience
            before = look(sandbox.module) if look is not None else None
            _examine(sandbox, probing, train, val, short, steps)
            if look is not None and look(sandbox.module) != before:
                record.add("data.changed_by", f"{type(module).__name__}.training_step")
            probing.part("run", lambda: describe_plan(sandbox, trainer, record))

        try:
            given: dict[str, Any] = {"settings": settings, "loader": first_loader(train), "datamodule": datamodule}
            if trainer is not None and not short:  # at the start of a fit they have frozen what they freeze
                given["callbacks"] = trainer.callbacks  # type: ignore[attr-defined]
            run_in_sandbox(module, batches, held_out, use, **given)
        except Exception as error:  # a fault of the user's in setting up, or one of ours between two probes
            if strict:
                raise
            for name in PROBES:
                if name not in record:
                    record.skip(name, str(error) if isinstance(error, Unusable) else f"the probes raised {told(error)}")
            if "data" in record or "data" in record.missing:
                return
            probing.part("data", lambda: measure_data(record, train, val, roles={}, loss=None))


def skip_all(record: Record, reason: str) -> None:
    """Write the reason why no probe ran."""
    for name in (*PROBES, "data"):
        if name not in record:
            record.skip(name, reason)


class Probing:
    """Runs probes one by one: what one raises is the reason why it did not run, and costs no other."""

    def __init__(self, record: Record, strict: bool) -> None:
        self.record, self.strict = record, strict

    def part(self, name: str, probe: Callable[[], Any]) -> Any:
        try:
            return probe()
        except Unusable as error:
            self.record.skip(name, str(error))
        except Exception as error:
            if self.strict:
                raise
            self.record.skip(name, f"the probe raised {told(error)}")
        return None


def _examine(sandbox: Sandbox, probing: Probing, train: Any, val: Any, short: bool, steps: int) -> None:
    record, module = probing.record, sandbox.module
    for hook in ("on_train_start", "on_train_epoch_start"):  # modules may set modes or weights there
        probing.part("probe.hooks", getattr(module, hook))
    materialise(sandbox)
    sandbox.remember()
    anatomy: Anatomy | None = probing.part("probe.step", lambda: examine(sandbox, record))
    sandbox.reset()
    for name in PROBES[1:6]:
        if name not in record and name not in record.missing:
            record.skip(name, record.missing.get("probe.step", "the step was not taken apart"))
    call = anatomy.call if anatomy is not None else None
    found = roles(sandbox.move(sandbox.batches[0]), call.target if call is not None else None)
    step = record.facts.get("probe.step", {})
    loss = None
    if call is not None:
        step = _targets(sandbox, call, found, record)
        begins = _begins(module, anatomy)
        shapes = {"input_shape": step["input_shape"], "target_shape": step["target_shape"], "target_dtype": step["target_dtype"]}
        loss = {
            "kind": call.kind,
            "classes": step["classes"],
            "fixed": step["fixed"],
            **shapes,
            "input_normalised": begins == "norm",
            "embedded": begins == "embedding",
        }
        loss |= {"input_max": anatomy.input_max if anatomy is not None else None, "nonfinite_handled": _handles_nonfinite(sandbox, step)}
        loss |= {k: call.options[k] for k in ("ignore_index", "label_smoothing") if k in call.options}
    held = probing.part("probe.validation", lambda: validate(sandbox, record))
    bounds: dict[str, Any] = BOUNDS if short else {"seconds": sandbox.patience / 20}
    probing.part("data", lambda: measure_data(record, train, val, roles=found, loss=loss, held=held, **bounds))
    record.add("task", _task(record, call))
    record.add("optimizers", [type(o).__name__ for o in sandbox.optimizers])
    if unheeded := asked(sandbox.module):
        record.add("asked", unheeded)
    probes: dict[str, Callable[[], None]] = {
        "probe.initial_loss": lambda: initial_loss(sandbox, record),
        "probe.initialization": lambda: signal_scale(sandbox, record),
        "probe.recurrence": lambda: reach_back(sandbox, record),
        "probe.dependence": lambda: _dependence(sandbox, record),
        "probe.joined": lambda: pairs_named(sandbox.batches, record),
        "probe.fields": lambda: _fields(sandbox, record),
        "probe.pairing": lambda: pair(sandbox, record),
        "probe.mixture": lambda: blend(sandbox, record),
        "probe.views": lambda: exchanged_axes(sandbox, record),
        "probe.future": lambda: change_future(sandbox, record),
        "probe.reduction": lambda: double_batch(sandbox, record),
    }
    for name, probe in probes.items():
        if step.get("raised"):
            record.skip(name, f"the module's own training_step raised {step['raised']}")
        else:
            probing.part(name, probe)
            sandbox.reset()
    why = step.get("raised") or ("no loss was found in the step" if call is None else "")
    if why or call is None or (short and steps < MOST_STEPS):
        why = why or f"left to diagnose.check: it trains {MOST_STEPS} steps, and a twentieth of this run has {steps}"
        record.skip("probe.overfit", why)
        record.skip("probe.learning", why)
        return
    probing.part("probe.overfit", lambda: overfit_batch(sandbox, call, record))
    if short:
        record.skip("probe.learning", "left to diagnose.check: it trains on many batches")
        return
    targets = [path for path, role in found.items() if role == "target"]
    known = judge(record).at_or_above("error")
    if known:
        record.skip("probe.learning", f"not needed: {known[0].rule} is found already")
        return
    probing.part("probe.unpenalised", lambda: without_penalty(sandbox, record))
    probing.part("probe.learning", lambda: learn(sandbox, targets, record))
    if record.facts.get("probe.learning", {}).get("held_out", CLEAR) < NOTHING:
        probing.part("probe.once", lambda: learn_in_one_pass(sandbox, train, record))
        if record.facts.get("probe.once", {}).get("held_out", 0.0) < NOTHING:
            probing.part("probe.neighbours", lambda: learn_from_neighbours(sandbox, first_loader(train), targets, record))
    probing.part("probe.rescaled", lambda: standardised_targets(sandbox, record))


def _dependence(sandbox: Sandbox, record: Record) -> None:
    swap_samples(sandbox, record)
    if record.facts.get("probe.dependence", {}).get("swapped") == 0.0:  # outputs start at zero in healthy networks too: look again
        torch.manual_seed(0)
        train(sandbox, sandbox.batches, AGAIN, RATES[0])
        swap_samples(sandbox, record)


def _fields(sandbox: Sandbox, record: Record) -> None:
    if record.facts.get("probe.dependence", {}).get("swapped") == 0.0:
        record.skip("probe.fields", "the outputs do not depend on any field")
        return
    swap_fields(sandbox, record)
    if any(entry["change"] <= SILENT for entry in record.facts.get("probe.fields", ())):  # as where a gate starts at zero: look again
        torch.manual_seed(0)
        train(sandbox, sandbox.batches, AGAIN, RATES[0])
        swap_fields(sandbox, record)


def _targets(sandbox: Sandbox, call: LossCall, found: dict[str, str], record: Record) -> dict[str, Any]:
    """Complete ``probe.step`` by the statistics of the targets in all batches that were read, where they are a tensor of the batch.

    And by the columns that are ever ``set`` (see `columns_set`), with ``fixed``: whether some weight has an axis as long as their number.
    """
    step: dict[str, Any] = record.facts["probe.step"]
    paths = [path for path, role in found.items() if role == "target"]
    every = [t for batch in sandbox.batches for p, t in leaves(batch) if p in paths]
    if every and all(t.dim() for t in every):
        joined = LossCall(call.kind, call.input, torch.cat([t.reshape(-1) for t in every]), None, call.options)
        step = {**step, "labels": label_statistics(joined), "target": target_statistics(joined), "class_weights": class_weights(joined)}
        record.add("probe.step", step)
    if columns := columns_set(call, sandbox.batches):
        shapes = [p.shape for p in sandbox.module.parameters() if not isinstance(p, UninitializedParameter)]
        step = {**step, "set": {**columns, "fixed": any(columns["units"] in shape for shape in shapes)}}
        record.add("probe.step", step)
    return step


def materialise(sandbox: Sandbox) -> None:
    """Give lazy layers their shapes by one forward pass, and put their weights into the optimizers that ignored them."""
    if any(isinstance(p, UninitializedParameter) for p in sandbox.module.parameters()):
        sandbox.training_step(sandbox.move(sandbox.batches[0]))


def _handles_nonfinite(sandbox: Sandbox, step: dict[str, Any]) -> bool:
    """Whether a batch with NaN or infinity in it gave a finite loss."""
    losses = step.get("loss", [])
    return any(
        isfinite(loss) and any(not torch.isfinite(t).all() for _, t in leaves(batch) if t.is_floating_point() and t.layout is torch.strided)
        for batch, loss in zip(sandbox.batches, losses, strict=False)
    )


def _begins(module: LightningModule, anatomy: Anatomy | None) -> str:
    """Whether the first module that computes anything is a ``norm`` or an ``embedding``, else ``""``."""
    named = dict(module.named_modules())
    for name in anatomy.ran if anatomy is not None else ():
        kind = type(named[name]).__name__
        if not list(named[name].children()) and kind not in ("Flatten", "Identity", "Dropout", "Unflatten"):
            return "norm" if "Norm" in kind else "embedding" if "Embedding" in kind else ""
    return ""


def _task(record: Record, call: LossCall | None) -> dict[str, Any]:
    kind, classes = task(call) if call is not None else ("unknown", None)
    if kind == "multiclass" and "probe.future" in record:
        kind = "next-token"
    fact = {"kind": kind, "loss": call.kind if call is not None else "", "classes": classes, "class_names": None}
    found = call.name if call is not None and call.written else "the loss call"
    fact |= {"written": call is not None and call.written, "name": call.name if call is not None else ""}
    return {**fact, "extracted_by": f"{found} in training_step"}


def trainer_settings(train: Any, trainer: Trainer | None, count: int) -> dict[str, Any]:
    """Arguments for the probing Trainer after the user's own Trainer, or Lightning's defaults."""
    settings: dict[str, Any] = {"length": max(1, length(train) or 1000)}
    if trainer is not None:
        device, limit = trainer.strategy.root_device, trainer.limit_train_batches
        settings |= {"precision": trainer.precision, "max_epochs": trainer.max_epochs or 100}
        settings |= {"accelerator": device.type, "devices": [device.index or 0] if device.type == "cuda" else 1}
        settings |= {"accumulate_grad_batches": trainer.accumulate_grad_batches}
        if limit is not None:
            settings["length"] = max(1, min(settings["length"], limit) if isinstance(limit, int) else int(limit * settings["length"]))
        if trainer.max_steps > 0:
            settings["max_steps"] = trainer.max_steps
    return settings
