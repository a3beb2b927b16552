"""What can be known before training: probes on a copy of the module, judged by the rules."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.anatomy import MODAL, Anatomy, examine
from diagnose.experiments.batches import leaves, roles
from diagnose.experiments.copying import Unusable, told
from diagnose.experiments.data_statistics import measure_data
from diagnose.experiments.dependence import change_future, double_batch, evaluating, swap_samples
from diagnose.experiments.functional_dropout import WatchDropout
from diagnose.experiments.initial import initial_loss, signal_scale
from diagnose.experiments.loaders import first_batches, first_loader, length, own_loaders
from diagnose.experiments.loss_arguments import label_statistics, target_statistics
from diagnose.experiments.neighbours import CLEAR, NOTHING, learn_from_neighbours
from diagnose.experiments.overfit import learn, overfit_batch
from diagnose.experiments.sandbox import Sandbox, quiet, random_state_kept, run_in_sandbox
from diagnose.measure.losses import LossCall, watch_losses
from diagnose.namespace import DATA_MODULES, MODULES, NAMES, LightningDataModule, LightningModule, Trainer
from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules import diagnose as judge
from diagnose.values import Diagnosis

BATCHES = 24
LARGEST = 100_000_000
BOUNDS: dict[str, Any] = {"batches": 16, "samples": 1024, "seconds": 1.0}  # of reading data at the start of a fit
_evidence: weakref.WeakKeyDictionary[LightningModule, tuple[int, dict[str, Any], dict[str, str]]] = weakref.WeakKeyDictionary()


def check(
    module: LightningModule,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    *,
    datamodule: LightningDataModule | None = None,
    trainer: Trainer | None = None,
    record: Record | None = None,
    rules: Iterable[Rule] | None = None,
    strict: bool = False,
) -> Diagnosis:
    """Find what is wrong with a module, its loss and its data before training.

    Probes run on a copy, under a Trainer of their own, on up to 24 batches: the module, its gradients and modes, the loaders and the
    random state are left as they were. What a probe cannot do is ``not-run`` in the diagnosis, with the reason.

    Args:
        module: Any LightningModule, unchanged.
        train_dataloaders: As for ``Trainer.fit``; by default the module's own ``train_dataloader``.
        val_dataloaders: As for ``Trainer.fit``; may be ``None``.
        datamodule: In place of the loaders.
        trainer: The Trainer that will be used: its precision, length and callbacks are taken into account. It is not run.
        record: Where to keep the evidence.
        rules: The rules to judge by, from `diagnose.rules.build`; all of them by default.
        strict: Raise what a probe or rule raises, where it would otherwise be ``not-run`` or ``crashed``.

    Raises:
        TypeError: ``module`` is not a LightningModule.
    """
    module = getattr(module, "_orig_mod", module)  # torch.compile wraps it
    if not isinstance(module, MODULES):
        raise TypeError(f"expected a LightningModule of {' or '.join(NAMES)}, got {type(module).__module__}.{type(module).__qualname__}")
    record = Record() if record is None else record
    if isinstance(train_dataloaders, DATA_MODULES):
        train_dataloaders, datamodule = None, train_dataloaders
    try:
        if train_dataloaders is None:
            with random_state_kept(), quiet():
                train_dataloaders, val_dataloaders, datamodule = own_loaders(module, datamodule, val_dataloaders, trainer)
        gather(record, module, train_dataloaders, val_dataloaders, trainer=trainer, datamodule=datamodule, strict=strict)
    except Unusable as error:
        if strict:
            raise
        _skip_all(record, str(error))
    _evidence[module] = (_version(module), dict(record.facts), dict(record.missing))
    return judge(record, rules, strict=strict)


def fast_probes(record: Record, trainer: Trainer, module: LightningModule) -> None:
    """The probes at the start of a fit: those that cost a few steps each, together about as much as ten training batches.

    Where `check` has seen this very module and its weights have not changed since, its evidence is taken over and nothing runs.
    """
    known = _evidence.get(module)
    if known is not None and known[0] == _version(module):
        for name, value in known[1].items():
            if name not in record.facts:
                record.add(name, value)
        for name, reason in known[2].items():
            if name not in record:
                record.skip(name, reason)
        return
    size = sum(p.numel() for p in module.parameters() if not isinstance(p, UninitializedParameter))
    if trainer.world_size > 1 or size > LARGEST:
        why = "several processes" if trainer.world_size > 1 else f"the module has {size:.2g} weights and would be copied"
        _skip_all(record, f"left to diagnose.check: {why}")
        return
    data: LightningDataModule | None = getattr(trainer, "datamodule", None)
    gather(record, module, trainer.train_dataloader, trainer.val_dataloaders, trainer=trainer, datamodule=data, short=True)


def _version(module: LightningModule) -> int:
    """Changes when any weight is written to."""
    return sum(p._version + id(p) for p in module.parameters() if not isinstance(p, UninitializedParameter))


def _skip_all(record: Record, reason: str) -> None:
    for name in (*PROBES, "data"):
        if name not in record:
            record.skip(name, reason)


def gather(
    record: Record,
    module: LightningModule,
    train: Any,
    val: Any,
    *,
    trainer: Trainer | None = None,
    datamodule: LightningDataModule | None = None,
    short: bool = False,
    strict: bool = False,
) -> None:
    """Run the probes and write what they find into ``record``; ``short`` leaves out those that train."""
    if "source" not in record:
        record.add("source", sources(module))
    probing = Probing(record, strict)
    with random_state_kept(), quiet():
        batches = probing.part("probe.step", lambda: first_batches(train, 6 if short else BATCHES))
        if not batches:
            _skip_all(record, record.missing.get("probe.step", "no batch could be read"))
            return
        held_out = probing.part("probe.validation", lambda: first_batches(first_loader(val), 4)) or []
        settings = _settings(train, trainer, len(batches))

        def use(sandbox: Sandbox) -> None:
            _examine(sandbox, probing, train, val, short)

        try:
            run_in_sandbox(module, batches, held_out, use, settings=settings, loader=first_loader(train), datamodule=datamodule)
        except Exception as error:  # a fault of the user's in setting up, or one of ours between two probes
            if strict:
                raise
            for name in PROBES:
                if name not in record:
                    record.skip(name, str(error) if isinstance(error, Unusable) else f"the probes raised {told(error)}")
            if "data" in record or "data" in record.missing:
                return
            probing.part("data", lambda: measure_data(record, train, val, roles={}, loss=None))


PROBES = tuple(
    f"probe.{name}"
    for name in (
        *("step", "parameters", "modes", "linearity", "norms", "dropout"),
        *("initial_loss", "initialization", "dependence", "future", "reduction", "overfit", "learning"),
    )
)


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


def _examine(sandbox: Sandbox, probing: Probing, train: Any, val: Any, short: bool) -> None:
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
        shapes = {"input_shape": step["input_shape"], "target_shape": step["target_shape"], "target_dtype": step["target_dtype"]}
        loss = {"kind": call.kind, "classes": step["classes"], **shapes, "input_normalised": _normalises(module, anatomy)}
        loss |= {"input_max": anatomy.input_max if anatomy is not None else None, "nonfinite_handled": _handles_nonfinite(sandbox, step)}
        loss |= {k: call.options[k] for k in ("ignore_index", "label_smoothing") if k in call.options}
    probing.part("data", lambda: measure_data(record, train, val, roles=found, loss=loss, **(BOUNDS if short else {})))
    record.add("task", _task(record))
    record.add("optimizers", [type(o).__name__ for o in sandbox.optimizers])
    probing.part("probe.validation", lambda: validate(sandbox, record))
    probes: dict[str, Callable[[], None]] = {
        "probe.initial_loss": lambda: initial_loss(sandbox, record),
        "probe.initialization": lambda: signal_scale(sandbox, record),
        "probe.dependence": lambda: swap_samples(sandbox, record),
        "probe.future": lambda: change_future(sandbox, record),
        "probe.reduction": lambda: double_batch(sandbox, record),
    }
    for name, probe in probes.items():
        if step.get("raised"):
            record.skip(name, f"the module's own training_step raised {step['raised']}")
        else:
            probing.part(name, probe)
            sandbox.reset()
    if short or step.get("raised") or call is None:
        why = "left to diagnose.check: it trains" if short else step.get("raised") or "no loss function of torch was called"
        record.skip("probe.overfit", why)
        record.skip("probe.learning", why)
        return
    probing.part("probe.overfit", lambda: overfit_batch(sandbox, call, record))
    if (
        record.facts.get("probe.dependence", {}).get("swapped") == 0.0
    ):  # outputs start at zero in healthy networks too: look again after training
        torch.manual_seed(0)
        probing.part("probe.dependence", lambda: swap_samples(sandbox, record))
    targets = [path for path, role in found.items() if role == "target"]
    known = judge(record).at_or_above("error")
    if known:
        record.skip("probe.learning", f"not needed: {known[0].rule} is found already")
        return
    probing.part("probe.learning", lambda: learn(sandbox, targets, record))
    if record.facts.get("probe.learning", {}).get("held_out", CLEAR) < NOTHING:
        probing.part("probe.neighbours", lambda: learn_from_neighbours(sandbox, first_loader(train), targets, record))


def _targets(sandbox: Sandbox, call: LossCall, found: dict[str, str], record: Record) -> dict[str, Any]:
    """Complete ``probe.step`` by the statistics of the targets in all batches that were read, where they are a tensor of the batch."""
    step: dict[str, Any] = record.facts["probe.step"]
    paths = [path for path, role in found.items() if role == "target"]
    every = [t for batch in sandbox.batches for p, t in leaves(batch) if p in paths]
    if every and all(t.dim() for t in every):
        joined = LossCall(call.kind, call.input, torch.cat([t.reshape(-1) for t in every]), None, call.options)
        step = {**step, "labels": label_statistics(joined), "target": target_statistics(joined)}
        record.add("probe.step", step)
    return step


def materialise(sandbox: Sandbox) -> None:
    """Give lazy layers their shapes by one forward pass, and put their weights into the optimizers that ignored them."""
    if any(isinstance(p, UninitializedParameter) for p in sandbox.module.parameters()):
        sandbox.training_step(sandbox.move(sandbox.batches[0]))


def validate(sandbox: Sandbox, record: Record) -> None:
    """Run one validation step as Lightning does, to see its modes and what it logs.

    Completes ``probe.modes`` (``validation``: modules that stood in train mode; ``dropping``: dropout called as a function that drops in
    validation although no module stands in train mode) and writes ``probe.logged``: names passed to ``log`` and their stage.
    """
    if sandbox.held_out:
        with evaluating(sandbox.module), torch.no_grad(), watch_losses(), WatchDropout() as dropout:
            for hook in ("on_validation_start", "on_validation_epoch_start"):
                getattr(sandbox.module, hook)()
            sandbox.validation_step(sandbox.move(sandbox.held_out[0]))
            modal = [n for n, m in sandbox.module.named_modules() if m.training and _modal(m)]
        if "probe.modes" in record:
            dropping = [] if modal else dropout.found
            record.add("probe.modes", {**record.facts["probe.modes"], "validation": modal, "dropping": dropping})
    record.add("probe.logged", dict(sandbox.logged))


def _modal(module: torch.nn.Module) -> bool:
    return isinstance(module, MODAL) and getattr(module, "p", 1.0) > 0


def _handles_nonfinite(sandbox: Sandbox, step: dict[str, Any]) -> bool:
    """Whether a batch with NaN or infinity in it gave a finite loss."""
    losses = step.get("loss", [])
    return any(
        isfinite(loss) and any(not torch.isfinite(t).all() for _, t in leaves(batch) if t.is_floating_point() and t.layout is torch.strided)
        for batch, loss in zip(sandbox.batches, losses, strict=False)
    )


def _normalises(module: LightningModule, anatomy: Anatomy | None) -> bool:
    """Whether the first module that computes anything is a normalisation or an embedding."""
    named = dict(module.named_modules())
    for name in anatomy.ran if anatomy is not None else ():
        kind = type(named[name]).__name__
        if not list(named[name].children()) and kind not in ("Flatten", "Identity", "Dropout", "Unflatten"):
            return "Norm" in kind or "Embedding" in kind
    return False


def _task(record: Record) -> dict[str, Any]:
    step = record.facts.get("probe.step", {})
    kind = step.get("kind", "")
    task = {"cross_entropy": "multiclass", "nll_loss": "multiclass", "": "unknown"}.get(kind, "regression")
    if kind.startswith("binary"):
        task = "multilabel" if len(step["input_shape"]) > 1 and step["input_shape"][1] > 1 else "binary"
    if "probe.future" in record:
        task = "next-token" if task == "multiclass" else task
    return {
        "kind": task,
        "loss": kind,
        "classes": step.get("classes"),
        "class_names": None,
        "extracted_by": "the loss call in training_step",
    }


def _settings(train: Any, trainer: Trainer | None, count: int) -> dict[str, Any]:
    """Arguments for the probing Trainer after the user's own Trainer, or Lightning's defaults."""
    settings: dict[str, Any] = {"length": max(1, length(train) or 1000)}
    if trainer is not None:
        device = trainer.strategy.root_device
        settings |= {"precision": trainer.precision, "max_epochs": trainer.max_epochs or 100}
        settings |= {"accelerator": device.type, "devices": [device.index or 0] if device.type == "cuda" else 1}
        if trainer.max_steps > 0:
            settings["max_steps"] = trainer.max_steps
    return settings


def sources(module: LightningModule) -> dict[str, str]:
    """Where the user's own hooks stand: ``{"training_step": "model.py:31"}``."""
    places = {}
    for hook in ("training_step", "validation_step", "forward", "configure_optimizers", "__init__"):
        function = getattr(type(module), hook, None)
        try:
            file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
        if file and "lightning" not in Path(file).parts:
            places[hook] = f"{Path(file).name}:{line}"
    return places
