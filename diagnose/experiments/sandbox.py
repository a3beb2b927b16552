"""A place to try a module out: a copy of it under a real Trainer, with everything outside left as it was."""

from __future__ import annotations

import copy
import logging
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.parameter import UninitializedParameter
from torch.utils.data import DataLoader, IterableDataset


class ProbesDone(Exception):
    """Ends the probing Trainer's fit before its first batch."""


class Unusable(Exception):
    """The module cannot be tried out; the text says why, the cause keeps the user's own traceback."""


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the random state of Python, numpy, torch and CUDA as it was."""
    python, array, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and Lightning's messages: they would speak of the copy, not of the user's own run."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def copied(module: LightningModule) -> LightningModule:
    """A deep copy of the module without the Trainer it may be attached to.

    Raises:
        Unusable: The module cannot be copied.
    """
    attached = {name: module.__dict__[name] for name in ("_trainer", "_fabric") if module.__dict__.get(name) is not None}
    try:
        for name in attached:
            module.__dict__[name] = None
        return copy.deepcopy(module)
    except Exception as error:
        raise Unusable(f"the module cannot be copied ({type(error).__name__}: {error})") from error
    finally:
        module.__dict__.update(attached)


class Sandbox:
    """A copy of a module, attached to a Trainer with its optimizers set up; made by `sandbox`.

    Attributes:
        module: The copy.
        trainer: The Trainer it is attached to.
        batches: Training batches, as the loader gave them.
        held_out: Validation batches, or ``[]``.
        logged: Names that the copy's steps passed to ``log``, with the stage: ``{"val_loss": "validation"}``.
    """

    def __init__(self, module: LightningModule, trainer: Trainer, batches: list[Any], held_out: list[Any]) -> None:
        self.module, self.trainer, self.batches, self.held_out = module, trainer, batches, held_out
        self.logged: dict[str, str] = {}
        self.stage = "training"
        module.__dict__["log"] = self._log
        module.__dict__["log_dict"] = self._log_dict
        self.optimizers: list[torch.optim.Optimizer] = list(trainer.optimizers)
        self._start: dict[int, tuple[Tensor, Tensor]] = {}
        self._modes: dict[torch.nn.Module, bool] = {}

    def _log(self, name: str, value: object, *args: Any, **options: Any) -> None:
        self.logged[name] = self.stage

    def _log_dict(self, values: Mapping[str, object], *args: Any, **options: Any) -> None:
        for name in values:
            self.logged[name] = self.stage

    def remember(self) -> None:
        """Take the present weights, buffers and modes as those that `reset` goes back to."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        self._start = {id(t): (t, t.detach().clone()) for t in tensors if not isinstance(t, UninitializedParameter)}
        self._modes = {m: m.training for m in self.module.modules()}

    def reset(self) -> None:
        """Back to the remembered weights, buffers and modes; gradients and optimizer states are cleared."""
        with torch.no_grad():
            for tensor, value in self._start.values():
                if tensor.shape == value.shape:
                    tensor.copy_(value)
        for module, mode in self._modes.items():
            module.training = mode
        for parameter in self.module.parameters():
            parameter.grad = None
        for optimizer in self.optimizers:
            optimizer.state.clear()

    def move(self, batch: Any) -> Any:
        """The batch on the module's device, through the module's own transfer hooks and the precision's input conversion."""
        batch = self.trainer.precision_plugin.convert_input(batch)
        batch = self.trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return self.trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    def training_step(self, batch: Any, index: int = 0) -> tuple[Tensor | None, Any]:
        """Run the module's own ``training_step``; returns its loss (``None`` where it gave none) and all it returned.

        Under manual optimisation the step also updates the copy's weights.
        """
        self.stage = "training"
        with self.trainer.precision_plugin.train_step_context(), torch.enable_grad():
            output = self.module.training_step(*_arguments(self.module.training_step, batch, index))
        return _loss(output), output

    def validation_step(self, batch: Any, index: int = 0) -> Any:
        self.stage = "validation"
        with self.trainer.precision_plugin.val_step_context():
            return self.module.validation_step(*_arguments(self.module.validation_step, batch, index))


def _arguments(step: Callable[..., Any], batch: Any, index: int) -> tuple[Any, ...]:
    from inspect import Parameter, signature

    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(signature(step).parameters.values())
    if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        return (batch, index)
    wanted = sum(p.kind in kinds and p.default is Parameter.empty for p in parameters)
    return (batch, index, 0)[: max(1, min(3, wanted if wanted > 1 else len([p for p in parameters if p.kind in kinds][:2])))]


def _loss(output: Any) -> Tensor | None:
    loss = output.get("loss") if isinstance(output, dict) else output
    return loss if isinstance(loss, Tensor) and loss.numel() == 1 else None


class _Probe(Callback):
    """Calls a function where training would begin, and ends the fit there."""

    def __init__(self, function: Callable[[Trainer, LightningModule], None]) -> None:
        self.function = function

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.function(trainer, pl_module)
        raise ProbesDone


@contextmanager
def generators_kept(loader: Any) -> Iterator[None]:
    """Leave the random generators of a loader and its sampler as they were."""
    owners = (loader, getattr(loader, "sampler", None), getattr(getattr(loader, "batch_sampler", None), "sampler", None))
    kept = {id(g): (g, g.get_state()) for o in owners if isinstance(g := getattr(o, "generator", None), torch.Generator)}
    try:
        yield
    finally:
        for generator, state in kept.values():
            generator.set_state(state)


def first_batches(loader: Any, count: int) -> list[Any]:
    """Up to ``count`` batches through a fresh iterator, in this process.

    A stream is read from a copy of its data set, so that training misses nothing. Of several loaders the first is read.

    Raises:
        Unusable: The loader gives nothing, raises, or is a plain iterator that reading would use up.
    """
    loader = first_loader(loader)
    if loader is None:
        raise Unusable("there is no loader")
    if hasattr(loader, "__next__"):
        raise Unusable("the loader is an iterator: reading it would take its batches away from training")
    try:
        with generators_kept(loader):
            if isinstance(loader, DataLoader):
                loader = _in_process(loader)
            batches = []
            for batch in loader:
                batches.append(batch)
                if len(batches) >= count:
                    break
    except Exception as error:
        raise Unusable(f"the loader raised {type(error).__name__}: {error}") from error
    if not batches:
        raise Unusable("the loader gave no batch")
    return batches


def _in_process(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The same loader without worker processes; a stream's data set is copied."""
    stream = isinstance(loader.dataset, IterableDataset)
    if not stream and loader.num_workers == 0:
        return loader
    shared: dict[str, Any] = {"num_workers": 0, "collate_fn": loader.collate_fn, "generator": loader.generator}
    if stream:
        return DataLoader(copy.deepcopy(loader.dataset), batch_size=loader.batch_size, drop_last=loader.drop_last, **shared)
    if loader.batch_sampler is not None:
        return DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, **shared)
    return DataLoader(loader.dataset, batch_size=None, sampler=loader.sampler, **shared)


def first_loader(loaders: Any) -> Any:
    """The first of a list, tuple or dict of loaders, or the loader itself."""
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    return (first_loader(loaders[0]) if loaders else None) if isinstance(loaders, (list, tuple)) else loaders


@contextmanager
def stopped_trainer_settings() -> Iterator[None]:
    """Lightning sets deterministic and inference switches of torch while a Trainer runs: put them back."""
    deterministic, precision = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_float32_matmul_precision(precision)


def run_in_sandbox(
    module: LightningModule,
    batches: list[Any],
    held_out: list[Any],
    use: Callable[[Sandbox], None],
    *,
    settings: dict[str, Any] | None = None,
) -> None:
    """Copy the module, attach the copy to a Trainer of its own (``configure_optimizers`` and all) and call ``use`` with it.

    Args:
        module: The user's module; it, its gradients, modes and the random state stay as they are.
        batches: Training batches.
        held_out: Validation batches.
        use: Called once with the sandbox, where training would begin.
        settings: Arguments of the Trainer (``precision``, ``max_epochs`` ...).

    Raises:
        Unusable: The module cannot be copied, or cannot be set up for training; the cause is the user's own error.
    """
    failure: list[BaseException] = []

    def probe(trainer: Trainer, twin: LightningModule) -> None:
        try:
            with torch.enable_grad():
                use(Sandbox(twin, trainer, batches, held_out))
        except Exception as error:
            failure.append(error)

    options: dict[str, Any] = {"max_epochs": 100, "accelerator": "auto", "devices": 1, **(settings or {})}
    length = int(options.pop("length", len(batches)))
    options |= {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {"num_sanity_val_steps": 0, "callbacks": [_Probe(probe)], "limit_val_batches": 0}
    with random_state_kept(), quiet(), stopped_trainer_settings():
        twin = copied(module)
        try:
            Trainer(**options).fit(twin, _Batches(batches, length))
        except ProbesDone:
            pass
        except Exception as error:
            raise Unusable(f"the module cannot be set up for training ({type(error).__name__}: {error})") from error
    if failure:
        raise failure[0]


class _Batches:
    """A loader of the given length that repeats batches: the probing Trainer asks only for its length."""

    def __init__(self, batches: list[Any], length: int) -> None:
        self.batches, self.length = batches, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.length):
            yield self.batches[index % len(self.batches)]
