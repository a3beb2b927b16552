"""Modules and optimizers that take steps in ways of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

from tests.callbacks.identity import Run, digest
from tests.callbacks.trainings import Jobs, Module, fit, mlp, noisy

job = Jobs()


class SharpnessAware(torch.optim.Optimizer):
    """Climbs to the worst point nearby, differentiates again there, and steps from where it was (Foret et al. 2021)."""

    def __init__(self, params: Any, lr: float, rho: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        assert closure is not None
        closure = torch.enable_grad()(closure)
        loss = closure()
        moved = [(p, p.grad.clone(), group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([gradient.norm() for _, gradient, _ in moved]).norm() + 1e-12
        for p, gradient, group in moved:
            p.add_(gradient, alpha=group["rho"] / float(norm))
        closure()
        for p, gradient, group in moved:
            p.sub_(gradient, alpha=group["rho"] / float(norm)).sub_(p.grad, alpha=group["lr"])
        return loss


@job("sharpness-aware: two passes in one step")
def _(run: Run) -> None:
    fit(run, Module(noisy(), SharpnessAware))


class SharpnessAwareByHand(Module):
    """The same by hand, over an ordinary optimizer."""

    def __init__(self) -> None:
        super().__init__(noisy())
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        self.seen.append(digest(batch))
        optimizer: Any = self.optimizers()
        self.manual_backward(self.loss(batch))
        with torch.no_grad():
            pushes = [0.05 * p.grad for p in self.parameters() if p.grad is not None]
            for p, push in zip(self.parameters(), pushes, strict=True):
                p.add_(push)
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        with torch.no_grad():
            for p, push in zip(self.parameters(), pushes, strict=True):
                p.sub_(push)
        optimizer.step()
        optimizer.zero_grad()


@job("sharpness-aware by hand: two backward passes for one step")
def _(run: Run) -> None:
    fit(run, SharpnessAwareByHand())


class ScheduleFree(torch.optim.Optimizer):
    """Trains at one point and evaluates at an average of others; `train` and `eval` change places (Defazio et al. 2024)."""

    def __init__(self, params: Any, lr: float, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "k": 0, "training": True})

    @torch.no_grad()
    def _weigh(self, training: bool) -> None:
        for group in self.param_groups:
            if group["training"] != training:
                weight = 1 - group["beta"] if training else 1 - 1 / group["beta"]
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], weight)
                group["training"] = training

    def train(self) -> None:
        self._weigh(True)

    def eval(self) -> None:
        self._weigh(False)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = torch.enable_grad()(closure)() if closure is not None else None
        for group in self.param_groups:
            assert group["training"], "stepped in evaluation"
            group["k"] += 1
            for p in group["params"]:
                if p.grad is not None:
                    z = self.state[p].setdefault("z", p.clone())
                    p.lerp_(z, 1 / group["k"]).add_(p.grad, alpha=group["lr"] * (group["beta"] * (1 - 1 / group["k"]) - 1))
                    z.sub_(p.grad, alpha=group["lr"])
        return loss


class Free(Module):
    """Changes the optimizer's mode in its hooks, as that optimizer asks for."""

    def _all(self, mode: str) -> None:
        optimizers: Any = self.optimizers(use_pl_optimizer=False)
        getattr(optimizers, mode)()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._all("train")

    def on_validation_epoch_start(self) -> None:
        self._all("eval")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._all("eval")


@job("an optimizer with modes of its own (schedule-free)")
def _(run: Run) -> None:
    fit(run, Free(noisy(), ScheduleFree))


class Overriding(Module):
    """Overrides every hook of the optimisation."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * min(1.0, (self.trainer.global_step + 1) / 5)  # a warm-up
        if batch_idx % 3 == 1:
            optimizer_closure()  # the gradients are made, and go into the next step
        else:
            optimizer.step(closure=optimizer_closure)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        optimizer.zero_grad(set_to_none=batch_idx % 2 == 0)

    def configure_gradient_clipping(self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None) -> None:
        nn.utils.clip_grad_norm_(self.parameters(), 0.3 if self.current_epoch else 0.1)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step(epoch=self.current_epoch)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]

    def on_after_backward(self) -> None:
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(torch.randn_like(parameter.grad), alpha=1e-3)  # noise on gradients

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1), "interval": "epoch"}]


@job("optimizer_step, optimizer_zero_grad, clipping, scheduler step and backward overridden")
def _(run: Run) -> None:
    fit(run, Overriding(noisy(), momentum=0.9))


@job("LBFGS under an overridden step, clipped")
def _(run: Run) -> None:
    class Line(Module):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer.step(closure=optimizer_closure)

    fit(run, Line(mlp(nn.Tanh()), torch.optim.LBFGS, 0.5, max_iter=4, line_search_fn="strong_wolfe"), gradient_clip_val=0.5)


@job("torch's own averages of weights, by hand")
def _(run: Run) -> None:
    class Averaging(Module):
        def __init__(self) -> None:
            super().__init__(noisy())
            average: Any = get_ema_multi_avg_fn
            self.ema = AveragedModel(self.net, multi_avg_fn=average(0.9), use_buffers=True)
            self.swa = AveragedModel(self.net)

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.ema.update_parameters(self.net)

        def on_train_epoch_end(self) -> None:
            self.swa.update_parameters(self.net)
            loader: Any = self.trainer.train_dataloader
            update_bn((batch[0] for batch in loader), self.swa)

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("ema", F.cross_entropy(self.ema(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = self.optimizer(self.net.parameters(), lr=self.lr)
            return [optimizer], [SWALR(optimizer, swa_lr=0.01)]

    fit(run, Averaging())


@job("a penalty on gradients, differentiated twice")
def _(run: Run) -> None:
    class Penalised(Module):
        def loss(self, batch: Any) -> Tensor:
            x = batch[0].clone().requires_grad_()
            with torch.enable_grad():
                scores = self.net(x)
                (slope,) = torch.autograd.grad(scores.square().sum(), x, create_graph=self.training)
            penalty: Tensor = slope.square().mean()
            return F.cross_entropy(scores, batch[1]) + 0.1 * penalty

    fit(run, Penalised(mlp(nn.Softplus())), inference_mode=False)


@job("torch.func: gradients of samples and a vectorised Jacobian in the step")
def _(run: Run) -> None:
    class Vectorised(Module):
        def loss(self, batch: Any) -> Tensor:
            weights: dict[str, Tensor] = dict(self.net.named_parameters())

            def one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
                return F.cross_entropy(torch.func.functional_call(self.net, weights, x[None]), y[None])

            each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0), randomness="different")(weights, *batch)
            noise = torch.stack([g.var(0).mean() for g in each.values()]).sum()
            jacobian = torch.func.vmap(torch.func.jacrev(lambda x: self.net(x[None])[0]), randomness="different")(batch[0])
            total: Tensor = super().loss(batch) + 0.1 * noise + 0.01 * jacobian.square().mean()
            return total

    fit(run, Vectorised(mlp(nn.GELU(), nn.Dropout(0.2))), limit_val_batches=0)


@job("hooks of the user's own on modules and gradients")
def _(run: Run) -> None:
    class Hooked(Module):
        def __init__(self) -> None:
            super().__init__(noisy())
            first: Any = self.net

            def halve(p: Tensor) -> None:
                assert p.grad is not None
                p.grad.mul_(0.5)

            first[0].register_forward_hook(lambda module, given, output: output * 1.1)
            first[-1].register_forward_pre_hook(lambda module, given: (given[0] + 0.01,))
            first[0].weight.register_hook(lambda gradient: gradient * 0.5)
            first[-1].register_full_backward_hook(lambda module, given, output: (given[0] * 0.9,))
            first[-1].weight.register_post_accumulate_grad_hook(halve)

    fit(run, Hooked())


@job("an optimizer that steps in the backward pass")
def _(run: Run) -> None:
    class Fused(Module):
        def __init__(self) -> None:
            super().__init__(noisy())
            self.automatic_optimization = False

        def configure_optimizers(self) -> None:
            own: dict[Tensor, Any] = {p: torch.optim.SGD([p], lr=self.lr) for p in self.parameters()}

            def step(p: Tensor) -> None:
                own[p].step()
                own[p].zero_grad()

            for p in self.parameters():
                p.register_post_accumulate_grad_hook(step)  # type: ignore[no-untyped-call]

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            return loss.detach()

    fit(run, Fused())


@job("parametrised, spectral and weight-normalised layers, pruned and quantised weights")
def _(run: Run) -> None:
    from torch.nn.utils import parametrizations, prune

    first, second, third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
    parametrizations.weight_norm(first)
    parametrizations.spectral_norm(second)
    prune.random_unstructured(third, "weight", 0.3)  # type: ignore[no-untyped-call]
    fit(run, Module(mlp(nn.PReLU(), first, nn.SiLU(), second, nn.Hardtanh(inplace=True), third, nn.RReLU(inplace=True))))


@job("torch.func: a loss of transforms alone")
def _(run: Run) -> None:
    class Functional(Module):
        def loss(self, batch: Any) -> Tensor:
            weights: dict[str, Tensor] = dict(self.net.named_parameters())

            def one(x: Tensor, y: Tensor) -> Tensor:
                return F.cross_entropy(torch.func.functional_call(self.net, weights, x[None]), y[None])

            each: Tensor = torch.func.vmap(one)(*batch)
            return each.mean()

    fit(run, Functional(mlp(nn.ReLU())))
