"""Kinds of steps: how a module, its optimizers and its precision go from a batch to new weights."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn

from tests.callbacks.identity import Run, digest
from tests.callbacks.trainings import CLASSES, Jobs, Module, fit, mlp, noisy

job = Jobs()


class Adversarial(Module):
    """Two optimizers and two schedulers, stepped by hand, clipped by hand."""

    def __init__(self) -> None:
        super().__init__(noisy())
        self.automatic_optimization = False
        self.critic = nn.Sequential(nn.Linear(CLASSES, 4), nn.LeakyReLU(), nn.Linear(4, 1))

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        self.seen.append(digest(batch))
        optimizers: Any = self.optimizers()
        first, second = optimizers
        self.toggle_optimizer(first)
        loss = self.loss(batch) - 0.1 * self.critic(self(batch[0])).mean()
        first.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(first, 0.5)
        first.step()
        self.untoggle_optimizer(first)
        critic = self.critic(self(batch[0]).detach()).square().mean()
        second.zero_grad()
        self.manual_backward(critic)
        second.step()
        self.log_dict({"g": loss, "d": critic})
        schedulers: Any = self.lr_schedulers()
        for scheduler in schedulers:
            scheduler.step()

    def configure_optimizers(self) -> Any:
        optimizers = [torch.optim.Adam(part.parameters(), lr=0.01) for part in (self.net, self.critic)]
        return optimizers, [torch.optim.lr_scheduler.ExponentialLR(o, 0.9) for o in optimizers]


@job("manual optimisation with two optimizers")
def _(run: Run) -> None:
    fit(run, Adversarial())


@job("accumulated gradients, clipped by norm")
def _(run: Run) -> None:
    fit(run, Module(noisy()), rows=40, accumulate_grad_batches=2, gradient_clip_val=0.2)


@job("bf16-mixed")
def _(run: Run) -> None:
    fit(run, Module(noisy(), torch.optim.Adam), precision="bf16-mixed")


@job("fp16 with a scaler that skips steps, on the CPU")
def _(run: Run) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
    fit(run, Module(noisy()), plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    run.parts["scaler"] = digest(scaler.state_dict())


@job("LBFGS, which calls its closure many times")
def _(run: Run) -> None:
    fit(run, Module(mlp(nn.Tanh()), torch.optim.LBFGS, 0.5, max_iter=4))


@job("fused Adam")
def _(run: Run) -> None:
    fit(run, Module(noisy(), torch.optim.Adam, 0.01, fused=True))


@job("steps that are skipped, losses that are not finite")
def _(run: Run) -> None:
    class Rough(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx == 1 else {"loss": loss * float("nan"), "other": (1, None)} if batch_idx == 2 else {"loss": loss}

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            for parameter in self.parameters():
                parameter.grad = torch.nan_to_num(parameter.grad) if parameter.grad is not None else None

    fit(run, Rough(noisy()))
