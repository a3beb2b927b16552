"""Small trainings of packages for tables, molecules, cells, equations, routes and self-supervision."""

from __future__ import annotations

from typing import Any, ClassVar

from scripts.foreign_demos import QUIET, Trained


def table(rows: int, seed: int) -> Any:
    """Rows with a class that two columns and a kind decide."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 4)), columns=list("abcd"))
    frame["kind"] = random.choice(["red", "green", "blue"], rows)
    frame["target"] = ((frame["a"] + frame["b"] + (frame["kind"] == "red")) > 0).astype(int)
    return frame


def tabular(callbacks: list[Any], kind: str = "CategoryEmbeddingModelConfig") -> Trained:
    """A classifier of mixed columns."""
    import pytorch_tabular.models
    from pytorch_tabular import TabularModel
    from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

    model = TabularModel(
        data_config=DataConfig(target=["target"], continuous_cols=list("abcd"), categorical_cols=["kind"]),
        model_config=getattr(pytorch_tabular.models, kind)(task="classification"),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            batch_size=16, max_epochs=3, accelerator="cpu", devices=1, checkpoints=None, progress_bar="none", load_best=False, seed=7
        ),
        verbose=False,
    )
    model.fit(train=table(240, 0), validation=table(60, 1), callbacks=callbacks or None)
    return model.model, model.datamodule.train_dataloader(), model.datamodule.val_dataloader()


def tabular_ft_transformer(callbacks: list[Any]) -> Trained:
    """The same by attention over columns."""
    return tabular(callbacks, "FTTransformerConfig")


def chemprop(callbacks: list[Any]) -> Trained:
    """Message passing over molecules."""
    import numpy as np
    from chemprop import data, models, nn
    from lightning.pytorch import Trainer

    smiles = ["C" * n + tail for n in range(1, 16) for tail in ("O", "N", "C(=O)O", "Cl", "c1ccccc1")]
    points = [data.MoleculeDatapoint.from_smi(s, np.array([len(s) / 10 + s.count("O")])) for s in smiles]
    sets = [data.MoleculeDataset(part) for part in (points[::2], points[1::2])]
    scaler = sets[0].normalize_targets()
    sets[1].normalize_targets(scaler)
    train, val = (data.build_dataloader(part, batch_size=8, num_workers=0, shuffle=part is sets[0]) for part in sets)
    output = nn.UnscaleTransform.from_standard_scaler(scaler)
    module = models.MPNN(nn.BondMessagePassing(d_h=32), nn.MeanAggregation(), nn.RegressionFFN(input_dim=32, output_transform=output))
    Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def scvi(callbacks: list[Any]) -> Trained:
    """A variational autoencoder of counts."""
    import scvi as package

    package.settings.seed = 7
    cells = package.data.synthetic_iid()
    package.model.SCVI.setup_anndata(cells, batch_key="batch", labels_key="labels")
    model = package.model.SCVI(cells, n_hidden=16, n_latent=5)
    model.train(max_epochs=3, accelerator="cpu", check_val_every_n_epoch=1, callbacks=callbacks, **{**QUIET, "enable_progress_bar": False})
    return model.module, None, None


def deeptab(callbacks: list[Any]) -> Trained:
    """A classifier of mixed columns in the manner of scikit-learn."""
    from deeptab.models import MLPClassifier

    model, data = MLPClassifier(), table(240, 0)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "callbacks": callbacks}
    model.fit(data.drop(columns="target"), data["target"], max_epochs=3, random_state=7, batch_size=32, **options)
    return model._task_model, None, None


def pina(callbacks: list[Any]) -> Trained:
    """Poisson's equation, learned from its residuals: the step differentiates twice before it has a loss."""
    import torch
    from pina import Condition, Trainer
    from pina.domain import CartesianDomain
    from pina.equation import Equation, FixedValue
    from pina.model import FeedForward
    from pina.operator import laplacian
    from pina.problem import SpatialProblem
    from pina.solver import PINN

    def residual(inputs: Any, outputs: Any) -> Any:
        force = torch.sin(inputs.extract(["x"]) * torch.pi) * torch.sin(inputs.extract(["y"]) * torch.pi)
        return laplacian(outputs, inputs, components=["u"], d=["x", "y"]) - force

    edge, inside = CartesianDomain({"x": [0, 1], "y": 0}), CartesianDomain({"x": [0, 1], "y": [0, 1]})

    class Poisson(SpatialProblem):  # type: ignore[misc]
        output_variables: ClassVar = ["u"]
        spatial_domain = inside
        domains: ClassVar = {"edge": edge, "inside": inside}
        conditions: ClassVar = {
            "edge": Condition(domain="edge", equation=FixedValue(0.0)),
            "inside": Condition(domain="inside", equation=Equation(residual)),
        }

    problem = Poisson()
    problem.discretise_domain(16, "random", domains=["edge", "inside"])
    solver = PINN(problem, FeedForward(input_dimensions=2, output_dimensions=1, layers=[10, 10]))
    Trainer(solver, max_epochs=30, accelerator="cpu", batch_size=8, train_size=0.8, val_size=0.2, callbacks=callbacks, **QUIET).train()
    return solver, None, None


def lightly(callbacks: list[Any]) -> Trained:
    """BYOL: a network learns from its own moving average."""
    import copy

    import torch
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from pytorch_lightning import LightningModule, Trainer
    from torch import nn
    from torch.utils.data import DataLoader

    class Byol(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            convolution = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
            self.online = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), BYOLProjectionHead(8, 16, 8))
            self.prediction, self.criterion = BYOLPredictionHead(8, 16, 8), NegativeCosineSimilarity()
            self.momentum = copy.deepcopy(self.online)
            deactivate_requires_grad(self.momentum)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            update_momentum(self.online, self.momentum, m=0.99)
            views = [batch + 0.1 * torch.randn_like(batch) for _ in range(2)]
            ours = [self.prediction(self.online(view)) for view in views]
            theirs = [self.momentum(view).detach() for view in views]
            return (self.criterion(ours[0], theirs[1]) + self.criterion(ours[1], theirs[0])) / 2

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.06)

    data: Any = DataLoader(torch.randn(96, 1, 12, 12), batch_size=16, shuffle=True)  # type: ignore[arg-type]
    module = Byol()
    Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, data)
    return module, data, None


def uncertainty(callbacks: list[Any]) -> Trained:
    """A routine for classes with mixup, and its metrics of calibration."""
    import torch
    from lightning.pytorch import Trainer
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from torch_uncertainty.routines import ClassificationRoutine

    x = torch.randn(160, 6)
    data = TensorDataset(x, x[:, :3].argmax(1))
    train, val = DataLoader(data, batch_size=16, shuffle=True), DataLoader(data, batch_size=32)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    mixup = {"mixtype": "mixup", "mixup_alpha": 1.0}
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    module = ClassificationRoutine(net, 3, nn.CrossEntropyLoss(), optim_recipe=adam, mixup_params=mixup)
    Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def uq_box(callbacks: list[Any]) -> Trained:
    """A network with distributions for weights, on dicts."""
    from functools import partial

    import torch
    from lightning.pytorch import LightningDataModule, Trainer
    from lightning_uq_box.uq_methods import BNN_VI_ELBO_Regression
    from torch import nn
    from torch.utils.data import DataLoader

    rows: Any = [{"input": x, "target": x.sin()} for x in torch.randn(160, 1)]

    class Data(LightningDataModule):
        def train_dataloader(self) -> Any:
            return DataLoader(rows, batch_size=16, shuffle=True)

        def val_dataloader(self) -> Any:
            return DataLoader(rows[:40], batch_size=16)

    data = Data()
    net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 2))
    adam = partial(torch.optim.Adam, lr=0.01)
    module = BNN_VI_ELBO_Regression(net, optimizer=adam, criterion=nn.MSELoss(), burnin_epochs=1)
    Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, **QUIET).fit(module, datamodule=data)
    return module, data.train_dataloader(), data.val_dataloader()


def rl4co(callbacks: list[Any]) -> Trained:
    """A policy for the travelling salesman, by reinforcement against a roll-out of its earlier self."""
    from rl4co.envs import TSPEnv
    from rl4co.models import AttentionModel
    from rl4co.utils import RL4COTrainer

    policy = {"embed_dim": 16, "num_encoder_layers": 1, "num_heads": 2}
    sizes = {"batch_size": 32, "train_data_size": 320, "val_data_size": 64, "test_data_size": 64}
    module = AttentionModel(TSPEnv(generator_params={"num_loc": 8}), baseline="rollout", policy_kwargs=policy, **sizes)
    RL4COTrainer(max_epochs=2, accelerator="cpu", devices=1, callbacks=callbacks, **QUIET).fit(module)
    return module, None, None
