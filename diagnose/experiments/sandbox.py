"""A place to try a module out: a copy of it under a real Trainer, with everything outside left as it was."""

from __future__ import annotations

import copy
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from diagnose.experiments.batches import fresh
from diagnose.experiments.copying import Unusable, copied, told
from diagnose.experiments.keeping import left_as_it_was
from diagnose.namespace import Callback, LightningDataModule, LightningModule, Trainer, from_home, home


class ProbesDone(Exception):
    """Ends the probing Trainer's fit before its first batch."""


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


class Sandbox:
    """A copy of a module, attached to a Trainer with its optimizers set up; made by `sandbox`.

    Attributes:
        module: The copy.
        trainer: The Trainer it is attached to.
        batches: Training batches, as the loader gave them.
        held_out: Validation batches, or ``[]``.
        ready_made: The items of the data set are batches (``batch_size=None``), so their first axis need not be samples.
        patience: Seconds that trainings of the copy may still take.
        logged: Names that the copy's steps passed to ``log``, with the stage: ``{"val_loss": "validation"}``.
    """

    def __init__(
        self, module: LightningModule, trainer: Trainer, batches: list[Any], held_out: list[Any], *, ready_made: bool = False
    ) -> None:
        self.module, self.trainer, self.batches, self.held_out, self.ready_made = module, trainer, batches, held_out, ready_made
        self.patience = float("inf")
        self.logged: dict[str, str] = {}
        self.stage = "training"
        module.__dict__["log"] = self._log
        module.__dict__["log_dict"] = self._log_dict
        # without configure_optimizers Lightning uses a mock of its own
        self.optimizers: list[torch.optim.Optimizer] = [
            o for o in trainer.optimizers if type(o) is not from_home(module, "core.optimizer._MockOptimizer")
        ]
        self._start: dict[int, tuple[Tensor, Tensor]] = {}
        self._modes: dict[torch.nn.Module, bool] = {}

    def _log(self, name: str, value: object, *args: Any, **options: Any) -> None:
        self.logged[name] = self.stage

    def _log_dict(self, dictionary: Mapping[str, object], *args: Any, **options: Any) -> None:
        for name in dictionary:
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
        """A copy of the batch on the module's device, through the user's own transfer hooks and the precision's input conversion."""
        batch = self.trainer.precision_plugin.convert_input(fresh(batch))
        batch = self.trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return self.trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    def training_step(self, batch: Any, index: int = 0) -> tuple[Tensor | None, Any]:
        """Run the module's own ``training_step``; returns its loss (``None`` where it gave none) and all it returned.

        Under manual optimisation the step also updates the copy's weights.
        """
        self.stage = "training"
        with self.trainer.precision_plugin.train_step_context(), torch.enable_grad():
            self.module.on_train_batch_start(batch, index)
            output = self.module.training_step(*_arguments(self.module.training_step, batch, index))
        return _loss(output), output

    def validation_step(self, batch: Any, index: int = 0) -> Any:
        self.stage = "validation"
        with self.trainer.precision_plugin.val_step_context():
            self.module.on_validation_batch_start(batch, index)
            return self.module.validation_step(*_arguments(self.module.validation_step, batch, index))


def _arguments(step: Callable[..., Any], batch: Any, index: int) -> tuple[Any, ...]:
    from inspect import Parameter, signature

    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(signature(step).parameters.values())
    if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        return (batch, index)
    if parameters and parameters[0].name == "dataloader_iter":
        return (iter([(batch, index, 0)]),)
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
    loader: Any = None,
    datamodule: LightningDataModule | None = None,
    callbacks: Iterable[Callback] = (),
) -> None:
    """Copy the module, attach the copy to a Trainer of its own (``configure_optimizers`` and all) and call ``use`` with it.

    Args:
        module: The user's module; it, its gradients, modes and the random state stay as they are.
        batches: Training batches.
        held_out: Validation batches.
        use: Called once with the sandbox, where training would begin.
        settings: Arguments of the Trainer (``precision``, ``max_epochs`` ...).
        loader: Where the batches came from, for modules that ask the Trainer for their data set.
        datamodule: Its transfer hooks are applied to the batches.
        callbacks: Of the user's Trainer: those that freeze parts of a module before training freeze them in the copy.

    Raises:
        Unusable: The module cannot be copied, or cannot be set up for training; the cause is the user's own error.
    """
    failure: list[BaseException] = []

    def probe(trainer: Trainer, twin: LightningModule) -> None:
        try:
            with torch.enable_grad():
                use(Sandbox(twin, trainer, batches, held_out, ready_made=getattr(loader, "batch_sampler", loader) is None))
        except BaseException as error:  # an interrupt as well: Lightning would turn it into an exit
            failure.append(error)

    options: dict[str, Any] = {"max_epochs": 100, "accelerator": "cpu", **(settings or {})}
    data = _Batches(batches, int(options.pop("length", len(batches))), loader)
    options |= {
        "logger": from_home(module, "loggers.logger.DummyLogger")(),
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    options |= {"num_sanity_val_steps": 0, "callbacks": [_Probe(probe)], "devices": 1, "limit_val_batches": 0}
    with random_state_kept(), quiet(), stopped_trainer_settings(), _not_compiled(), left_as_it_was(module):
        twin = copied(module)
        twin.__dict__["configure_callbacks"] = lambda: []  # they may write files or reach out to servers
        try:
            for callback in callbacks:
                if isinstance(callback, from_home(module, "callbacks.finetuning.BaseFinetuning")):
                    callback.freeze_before_training(twin)
            trainer = home(module).Trainer(**options)
            if datamodule is None:
                trainer.fit(twin, data)
            else:
                trainer.fit(twin, datamodule=_with_batches(datamodule, data))
        except ProbesDone:
            pass
        except Exception as error:
            raise Unusable(f"the module cannot be set up for training ({told(error)})") from error
    if failure:
        raise failure[0]


def _not_compiled() -> Any:
    """Run compiled modules as they were written: hooks and modes would have them compiled again and again."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _with_batches(datamodule: LightningDataModule, data: _Batches) -> LightningDataModule:
    """A shallow copy of a data module, set up already, that gives the batches."""
    twin = copy.copy(datamodule)
    vars(twin).update(prepare_data=lambda: None, setup=lambda stage: None, teardown=lambda stage: None)
    vars(twin).update(train_dataloader=lambda: data, val_dataloader=lambda: [])
    return twin


class _Batches:
    """A loader of the given length that repeats batches: the probing Trainer asks only for its length."""

    def __init__(self, batches: list[Any], length: int, loader: Any = None) -> None:
        self.batches, self.length = batches, length
        for name in ("dataset", "batch_size"):
            if hasattr(loader, name):
                setattr(self, name, getattr(loader, name))

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.length):
            yield self.batches[index % len(self.batches)]
