"""Small trainings of modules as people write them over other libraries: graphs, language, pictures, metrics between samples."""

from __future__ import annotations

from typing import Any

from scripts.foreign_demos import QUIET, Trained


def geometric(callbacks: list[Any]) -> Trained:
    """A classifier of graphs with torch_geometric, whose batches are objects of its own, in its own data module."""
    import lightning
    import torch
    from torch.nn import functional as F
    from torch_geometric.data import Data
    from torch_geometric.data.lightning import LightningDataset
    from torch_geometric.nn import GCNConv, global_mean_pool

    def graph(label: int) -> Any:
        nodes = int(torch.randint(5, 12, ()))
        ends = torch.randint(0, nodes, (2, 2 * nodes))
        return Data(x=torch.randn(nodes, 4) + label, edge_index=ends, y=torch.tensor([label]))

    class Graphs(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = GCNConv(4, 16), GCNConv(16, 16), torch.nn.Linear(16, 2)

        def forward(self, x: Any, edge_index: Any, batch: Any) -> Any:
            x = F.relu(self.first(x, edge_index))
            x = F.dropout(self.second(x, edge_index).relu(), 0.2, self.training)
            return self.head(global_mean_pool(x, batch))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return F.cross_entropy(self(batch.x, batch.edge_index, batch.batch), batch.y)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            loss = F.cross_entropy(self(batch.x, batch.edge_index, batch.batch), batch.y)
            self.log("val_loss", loss, batch_size=batch.num_graphs)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    data = LightningDataset([graph(i % 2) for i in range(96)], [graph(i % 2) for i in range(32)], batch_size=8)
    module = Graphs()
    lightning.Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, datamodule=data)
    return module, data.train_dataloader(), data.val_dataloader()


def transformers(callbacks: list[Any]) -> Trained:
    """A causal language model of Hugging Face, which computes its own loss and answers with an object."""
    import lightning
    import torch
    from torch.utils.data import DataLoader
    from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

    class Language(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            output = self.model(**batch)
            self.log("train_loss", output.loss)
            return output.loss

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            output = self.model(**batch)
            self.log("val_loss", output.loss)
            return output

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3)
            schedule = get_linear_schedule_with_warmup(optimizer, 5, 36)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    tokens = torch.randint(0, 7, (128, 12)).cumsum(1) % 40
    rows: Any = [{"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row)} for row in tokens]
    train, val = DataLoader(rows[:96], batch_size=8, shuffle=True), DataLoader(rows[96:], batch_size=8)
    module = Language()
    lightning.Trainer(max_epochs=3, accelerator="cpu", gradient_clip_val=1.0, callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def transformers_bert(callbacks: list[Any]) -> Trained:
    """A classifier of texts of Hugging Face with its body frozen for the first epoch, after `BackboneFinetuning`."""
    import lightning
    import torch
    from lightning.pytorch.callbacks import BaseFinetuning
    from torch.utils.data import DataLoader
    from transformers import BertConfig, BertForSequenceClassification, DataCollatorWithPadding

    class Padding(DataCollatorWithPadding):  # type: ignore[misc]
        def __call__(self, features: Any) -> Any:
            longest = max(len(f["input_ids"]) for f in features)
            ids = torch.tensor([f["input_ids"] + [0] * (longest - len(f["input_ids"])) for f in features])
            return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([f["label"] for f in features])}

    class Thawing(BaseFinetuning):
        def freeze_before_training(self, pl_module: Any) -> None:
            self.freeze(pl_module.model.bert)

        def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.model.bert, optimizer)

    class Texts(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
            self.model = BertForSequenceClassification(BertConfig(vocab_size=40, num_labels=2, max_position_embeddings=16, **sizes))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.model(**batch)["loss"]

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.model(**batch).loss)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=3e-3)

    rows: Any = []
    for i in range(160):
        ids = torch.randint(1, 20, (4 + i % 9,)) + 20 * (i % 2) - (i % 2)
        rows.append({"input_ids": ids.tolist(), "label": i % 2})
    train, val = (DataLoader(part, batch_size=8, shuffle=part is rows[:128], collate_fn=Padding(None)) for part in (rows[:128], rows[128:]))
    module = Texts()
    lightning.Trainer(max_epochs=3, accelerator="cpu", callbacks=[Thawing(), *callbacks], **QUIET).fit(module, train, val)
    return module, train, val


def metric_learning(callbacks: list[Any]) -> Trained:
    """Embeddings by pytorch-metric-learning: triplets mined in each batch, and a loss with weights of its own."""
    import lightning
    import torch
    from pytorch_metric_learning import losses, miners
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Embeddings(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
            self.triplets, self.arcs = losses.TripletMarginLoss(), losses.ArcFaceLoss(4, 8)
            self.miner = miners.MultiSimilarityMiner()

        def loss(self, batch: Any) -> Any:
            embedded = self.net(batch[0])
            return self.triplets(embedded, batch[1], self.miner(embedded, batch[1])) + 0.1 * self.arcs(embedded, batch[1])

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.loss(batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.loss(batch))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.003)

    y = torch.arange(256) % 4
    data = TensorDataset(torch.randn(4, 8)[y] + 0.5 * torch.randn(256, 8), y)
    train = DataLoader(torch.utils.data.Subset(data, range(192)), batch_size=16, shuffle=True)
    val = DataLoader(torch.utils.data.Subset(data, range(192, 256)), batch_size=16)
    module = Embeddings()
    lightning.Trainer(max_epochs=4, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def circles(rows: int, size: int) -> Any:
    """Noisy pictures of discs `(rows, 3, size, size)` and where the discs are `(rows, 1, size, size)`."""
    import torch

    place = torch.linspace(-1, 1, size)
    middle, radius = torch.rand(2, rows, 1, 1) - 0.5, 0.3 + 0.3 * torch.rand(rows, 1, 1)
    mask = ((place[None, :, None] - middle[0]).square() + (place[None, None] - middle[1]).square() < radius.square()).float()[:, None]
    return mask + 0.5 * torch.randn(rows, 3, size, size), mask


def segmentation(callbacks: list[Any]) -> Trained:
    """A U-Net of segmentation_models_pytorch by Dice loss, as in its example for Lightning, with numbers kept over the epoch."""
    import lightning
    import segmentation_models_pytorch as smp
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    class Discs(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(16, 8, 8), in_channels=3, classes=1)
            self.register_buffer("mean", torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1))
            self.criterion = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)
            self.kept: list[Any] = []

        def forward(self, image: Any) -> Any:
            return self.model((image - self.mean) / 0.5)

        def shared_step(self, batch: Any) -> Any:
            image, mask = batch
            assert image.ndim == 4
            logits = self.forward(image)
            loss = self.criterion(logits, mask)
            numbers = smp.metrics.get_stats((logits.sigmoid() > 0.5).long(), mask.long(), mode="binary")
            self.kept.append({"loss": loss.detach(), "stats": numbers})
            return loss

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.shared_step(batch)

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            return self.shared_step(batch)

        def on_validation_epoch_end(self) -> None:
            numbers = [torch.cat([k["stats"][i] for k in self.kept]) for i in range(4)]
            self.log("valid_dataset_iou", smp.metrics.iou_score(*numbers, reduction="micro"), prog_bar=True)
            self.kept.clear()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=2e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12, eta_min=1e-5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "frequency": 1}}

    data = TensorDataset(*circles(48, 32))
    train = DataLoader(torch.utils.data.Subset(data, range(36)), batch_size=6, shuffle=True)
    val = DataLoader(torch.utils.data.Subset(data, range(36, 48)), batch_size=6)
    module = Discs()
    lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def monai(callbacks: list[Any]) -> Trained:
    """A volume segmented by MONAI: tensors with metadata, random transforms, sliding windows in validation."""
    import lightning
    import torch
    from monai.data import CacheDataset, DataLoader, decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.metrics import DiceMetric
    from monai.networks.nets import UNet
    from monai.transforms import AsDiscrete, Compose, EnsureTyped, RandFlipd, RandGaussianNoised
    from monai.utils import set_determinism

    class Organs(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2), norm="batch")
            self.criterion, self.metric = DiceCELoss(to_onehot_y=True, softmax=True), DiceMetric(include_background=False)
            self.after, self.truth = AsDiscrete(argmax=True, to_onehot=2), AsDiscrete(to_onehot=2)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.criterion(self.net(batch["image"]), batch["label"])}

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            output = sliding_window_inference(batch["image"], (16, 16, 16), 2, self.net)
            self.log("val_loss", self.criterion(output, batch["label"]), batch_size=len(output))
            self.metric([self.after(o) for o in decollate_batch(output)], [self.truth(t) for t in decollate_batch(batch["label"])])

        def on_validation_epoch_end(self) -> None:
            self.log("val_dice", self.metric.aggregate().item())
            self.metric.reset()

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    set_determinism(7)
    noisy, mask = circles(24, 16)
    volumes = [
        {"image": n[:1, None].repeat(1, 16, 1, 1), "label": m[:, None].repeat(1, 16, 1, 1)} for n, m in zip(noisy, mask, strict=True)
    ]
    changed = Compose([EnsureTyped(["image", "label"]), RandFlipd(["image", "label"], 0.5, 0), RandGaussianNoised("image", 0.5)])
    train = DataLoader(CacheDataset(volumes[:18], changed, progress=False), batch_size=3, shuffle=True)
    val = DataLoader(CacheDataset(volumes[18:], EnsureTyped(["image", "label"]), progress=False), batch_size=2)
    module = Organs()
    lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val
