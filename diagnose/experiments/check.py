"""What can be known before training: probes on a copy of the module, judged by the rules."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.copying import Unusable
from diagnose.experiments.loaders import own_loaders
from diagnose.experiments.probing import gather, skip_all
from diagnose.experiments.sandbox import quiet, random_state_kept
from diagnose.namespace import DATA_MODULES, MODULES, NAMES, LightningDataModule, LightningModule, Trainer
from diagnose.record import Record
from diagnose.rules import Rule
from diagnose.rules import diagnose as judge
from diagnose.values import Diagnosis

LARGEST = 100_000_000


@dataclass(frozen=True, slots=True)
class State:
    """What tells whether a module was trained or changed: how often each weight was written to, what is frozen, and all modes."""

    weights: dict[int, tuple[int, bool]]
    lazy: frozenset[int]
    modes: tuple[bool, ...]

    @classmethod
    def of(cls, module: LightningModule) -> State:
        lazy = {id(p) for p in module.parameters() if isinstance(p, UninitializedParameter)}
        weights = {id(p): (p._version, p.requires_grad) for p in module.parameters() if id(p) not in lazy}
        return cls(weights, frozenset(lazy), tuple(m.training for m in module.modules()))

    def holds(self, module: LightningModule) -> bool:
        """Whether nothing has changed since, but for lazy weights that were made beside others."""
        now = State.of(module)
        made = now.weights.keys() - self.weights.keys()
        kept = {key: value for key, value in now.weights.items() if key not in made}
        return kept == self.weights and now.modes == self.modes and (not made or (made <= self.lazy and bool(kept)))


_evidence: weakref.WeakKeyDictionary[LightningModule, tuple[State, dict[str, Any], dict[str, str]]] = weakref.WeakKeyDictionary()


def check(
    module: LightningModule,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    *,
    datamodule: LightningDataModule | None = None,
    trainer: Trainer | None = None,
    record: Record | None = None,
    rules: Iterable[Rule] | None = None,
    patience: float = 60.0,
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
        patience: Seconds that the short trainings (one batch by heart, learning from a few batches) may take together; what does not fit
            is ``not-run``. The training data are read for a twentieth of it at most, and so are those of validation.
        strict: Raise what a probe or rule raises, where it would otherwise be ``not-run`` or ``crashed``.

    Raises:
        TypeError: ``module`` is not a LightningModule.
        ValueError: ``patience`` is not above zero.
    """
    module = getattr(module, "_orig_mod", module)  # torch.compile wraps it
    if not isinstance(module, MODULES):
        raise TypeError(f"expected a LightningModule of {' or '.join(NAMES)}, got {type(module).__module__}.{type(module).__qualname__}")
    if not patience > 0:
        raise ValueError(f"expected patience in seconds, above zero, got {patience!r}")
    record = Record() if record is None else record
    if isinstance(train_dataloaders, DATA_MODULES):
        train_dataloaders, datamodule = None, train_dataloaders
    try:
        if train_dataloaders is None:
            with random_state_kept(), quiet():
                train_dataloaders, val_dataloaders, datamodule = own_loaders(module, datamodule, val_dataloaders, trainer)
        loaders = train_dataloaders, val_dataloaders
        gather(record, module, *loaders, trainer=trainer, datamodule=datamodule, patience=patience, strict=strict)
    except Unusable as error:
        if strict:
            raise
        skip_all(record, str(error))
    _evidence[module] = (State.of(module), dict(record.facts), dict(record.missing))
    return judge(record, rules, strict=strict)


def fast_probes(record: Record, trainer: Trainer, module: LightningModule) -> None:
    """The probes at the start of a fit: those that cost a few steps each, together about as much as ten training batches.

    Where a twentieth of the run has the 450 steps that learning one batch by heart may take, that is tried as well.
    Where `check` has seen this very module, and neither its weights nor its modes nor what is frozen have changed since, its evidence is
    taken over and nothing runs; lazy layers beside others may have got their weights meanwhile.
    """
    known = _evidence.get(module)
    if known is not None and known[0].holds(module):
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
        skip_all(record, f"left to diagnose.check: {why}")
        return
    data: LightningDataModule | None = getattr(trainer, "datamodule", None)
    gather(
        record,
        module,
        trainer.train_dataloader,
        trainer.val_dataloaders,
        trainer=trainer,
        datamodule=data,
        short=True,
        steps=_spare(trainer),
    )


def _spare(trainer: Trainer) -> int:
    """A twentieth of the batches that the run is planned for; 0 where its length is open."""
    planned = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
    return int(planned / 20) if 0 < planned < float("inf") else 0
