"""Steps of the module's own optimizer on a copy, as the range test and the search for a batch size take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from diagnose.experiments.copying import Unusable, told
from diagnose.experiments.loaders import first_batches, first_loader, own_loaders
from diagnose.experiments.probing import trainer_settings
from diagnose.experiments.sandbox import Sandbox, quiet, random_state_kept, run_in_sandbox
from diagnose.namespace import DATA_MODULES, MODULES, NAMES, LightningDataModule, LightningModule, Trainer


def tried(
    module: LightningModule,
    train: Any,
    use: Callable[[Sandbox, Any], None],
    *,
    datamodule: LightningDataModule | None,
    trainer: Trainer | None,
    count: int,
) -> str:
    """Call ``use`` with a sandbox around the module and with its training loader; returns why that was not possible, or ``""``.

    Args:
        module: Any LightningModule; it and the loaders stay as they were.
        train: As for ``Trainer.fit``.
        use: Called once.
        datamodule: In place of ``train``.
        trainer: The Trainer that will be used: its precision, device and clipping are taken over.
        count: The most batches to read.

    Raises:
        TypeError: ``module`` is not a LightningModule.
    """
    module = getattr(module, "_orig_mod", module)  # torch.compile wraps it
    if not isinstance(module, MODULES):
        raise TypeError(f"expected a LightningModule of {' or '.join(NAMES)}, got {type(module).__module__}.{type(module).__qualname__}")
    if isinstance(train, DATA_MODULES):
        train, datamodule = None, train

    def inside(sandbox: Sandbox) -> None:
        if not sandbox.module.automatic_optimization:
            raise Unusable("manual optimisation: the module takes its own steps")
        if len(sandbox.optimizers) != 1:
            raise Unusable(f"the module has {len(sandbox.optimizers) or 'no'} optimizers, expected one")
        sandbox.remember()
        try:
            use(sandbox, train)
        except Unusable:
            raise
        except Exception as error:
            raise Unusable(f"a step raised {told(error)}") from error

    try:
        with random_state_kept(), quiet():
            if train is None:
                train, _, datamodule = own_loaders(module, datamodule, [], trainer)
            batches = first_batches(train, count)
            settings = trainer_settings(train, trainer, len(batches))
            if trainer is not None:
                settings |= {"gradient_clip_val": trainer.gradient_clip_val, "gradient_clip_algorithm": trainer.gradient_clip_algorithm}
            run_in_sandbox(module, batches, [], inside, settings=settings, loader=first_loader(train), datamodule=datamodule)
    except Unusable as error:
        return str(error)
    return ""


def gradients(sandbox: Sandbox, batch: Any, index: int = 0) -> torch.Tensor:
    """Put the gradients of the module's own loss on a batch into its parameters; returns the loss.

    Raises:
        Unusable: The step gives no loss, or one without a gradient.
    """
    sandbox.optimizers[0].zero_grad()
    loss, _ = sandbox.training_step(sandbox.move(batch), index)
    if loss is None or not loss.requires_grad:
        raise Unusable("training_step gave no loss with a gradient")
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def step(sandbox: Sandbox, batch: Any, index: int = 0) -> float:
    """One step of the module's own optimizer, its gradients clipped as the Trainer clips them; returns the loss before it."""

    def closure() -> torch.Tensor:
        loss = gradients(sandbox, batch, index)
        trainer = sandbox.trainer
        sandbox.module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        return loss

    optimizer = sandbox.optimizers[0]
    return float(optimizer.step(closure))  # type: ignore[arg-type]
