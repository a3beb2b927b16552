"""Small trainings of what Lightning itself ships, and of what stands in its examples."""

from __future__ import annotations

from typing import Any

QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
Trained = tuple[Any, Any, Any]  # the module, its training loader and its validation loader (None where the project keeps them to itself)


def boring(callbacks: list[Any]) -> Trained:
    """Lightning's own, with a data module."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

    module, data = BoringModel(), BoringDataModule()
    Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, datamodule=data)
    return module, data.train_dataloader(), data.val_dataloader()


def boring_by_hand(callbacks: list[Any]) -> Trained:
    """The same under manual optimisation."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import ManualOptimBoringModel

    module = ManualOptimBoringModel()
    Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module)
    return module, module.train_dataloader(), module.val_dataloader()


def demo_transformer(callbacks: list[Any]) -> Trained:
    """Lightning's language model, on sums of random tokens."""
    import torch
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.transformer import LightningTransformer
    from torch.utils.data import DataLoader

    tokens = torch.randint(0, 50, (96, 13)).cumsum(1) % 50
    rows: Any = [(row[:-1], row[1:]) for row in tokens]
    data, val = DataLoader(rows[:80], batch_size=8), DataLoader(rows[80:], batch_size=8)
    module: Any = LightningTransformer(vocab_size=50)
    module.prepare_data = lambda: None  # it would download WikiText
    Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data, val)
    return module, data, val


def demo_lstm(callbacks: list[Any]) -> Trained:
    """Truncated back-propagation by hand."""
    import torch
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.lstm import LightningLSTM, SequenceSampler
    from torch.utils.data import DataLoader

    tokens = torch.randint(0, 50, (161, 13)).cumsum(1) % 50
    rows: Any = [(row[:-1], row[1:]) for row in tokens[:160]]
    data: Any = DataLoader(rows, batch_sampler=SequenceSampler(rows, batch_size=20))
    module: Any = LightningLSTM(vocab_size=50)
    module.prepare_data = lambda: None  # it would download WikiText
    Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data)
    return module, data, None


def gan(callbacks: list[Any]) -> Trained:
    """As in Lightning's examples: two optimizers by hand, each toggled."""
    import lightning
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader

    class Gan(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.generator = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.LeakyReLU(0.2, inplace=True), nn.Linear(32, 2))
            self.discriminator = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2, inplace=True), nn.Linear(32, 1))

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizers: Any = self.optimizers()
            of_generator, of_discriminator = optimizers
            noise = torch.randn(len(batch), 8)
            ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
            self.toggle_optimizer(of_generator)
            loss = F.binary_cross_entropy_with_logits(self.discriminator(self.generator(noise)), ones)
            self.log("g_loss", loss)
            self.manual_backward(loss)
            of_generator.step()
            of_generator.zero_grad()
            self.untoggle_optimizer(of_generator)
            self.toggle_optimizer(of_discriminator)
            real = F.binary_cross_entropy_with_logits(self.discriminator(batch), ones)
            fake = F.binary_cross_entropy_with_logits(self.discriminator(self.generator(noise).detach()), zeros)
            self.manual_backward((real + fake) / 2)
            of_discriminator.step()
            of_discriminator.zero_grad()
            self.untoggle_optimizer(of_discriminator)

        def configure_optimizers(self) -> Any:
            return [torch.optim.Adam(part.parameters(), lr=2e-4, betas=(0.5, 0.999)) for part in (self.generator, self.discriminator)], []

    circle = torch.rand(640, 1) * 6.28
    data: Any = DataLoader(torch.cat([circle.cos(), circle.sin()], 1), batch_size=16)  # type: ignore[arg-type]
    module = Gan()
    lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data)
    return module, data, None
