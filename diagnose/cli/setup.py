"""From a composed config to the objects of a run: data, module, callbacks, Trainer."""

from __future__ import annotations

import logging
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diagnose.callbacks import GradientClipping
from diagnose.cli import runs
from diagnose.cli.arguments import UsageError
from diagnose.cli.job import Job, versions
from diagnose.cli.targets import ALLOWED, build, locate
from diagnose.data.parts import Parts
from diagnose.experiments.hidden_layers import Layers
from diagnose.identity import commit
from diagnose.measure.embedding import check_method
from diagnose.models.heads import HeadedLearner, with_heads
from diagnose.models.initial import initialise
from diagnose.models.learner import Learner
from diagnose.models.losses import loss_named
from diagnose.namespace import DATA_MODULES, HOMES, MODULES, Callback, LightningDataModule, LightningModule, Trainer, from_home, home
from diagnose.record import Record

KEYS = {
    "learning_rate": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "momentum": "optimizer.momentum",
    "batch_size": "data.batch_size",
    "gradient_clip_val": "trainer.gradient_clip_val",
    "max_epochs": "trainer.max_epochs",
    "accumulate_grad_batches": "trainer.accumulate_grad_batches",
    "dropout": "model.dropout",
    "patience": "callbacks.early_stopping.patience",
    "norm": "model.norm",
    "activation": "model.activation",
    "hidden": "model.hidden",
    "normalise": "data.normalise",
    "scheduler": "scheduler",
}


def config_keys(config: dict[str, Any]) -> dict[str, str]:
    """Concepts that rules know, with the keys of this config that set them."""

    def holds(key: str) -> bool:
        node: Any = config
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    return {concept: key for concept, key in KEYS.items() if holds(key)}


def describe(record: Record, job: Job, command: str) -> None:
    """Write what is known of a run before it starts: its config, the keys of its config, its seed and versions."""
    record.add("config", runs.redacted(job.composed.config))
    record.add("config_keys", config_keys(job.settings))
    known = {"git": commit(str(Path.cwd())), "versions": versions(), "interrupted": ""}
    record.add("run", {"command": command, "seed": job.settings["seed"], **known})


def fingerprint(record: Record, data: LightningDataModule) -> None:
    """Write what tells the samples of a run from others, where they are ours."""
    if isinstance(data, Parts):
        record.add("fingerprints", data.fingerprints())


def prepare(config: dict[str, Any]) -> None:
    """Seed, threads and quiet libraries; to be called once before anything of a run is built."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning_fabric"):  # the last imported speaks for both
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(lightning|pytorch_lightning|lightning_fabric)\.")
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    if (seed := config["seed"]) is None or not 0 <= seed < 2**32:
        raise UsageError(f"seed must be a whole number from 0 to {2**32 - 1}, got {seed!r}")
    if (given := config["threads"]) is not None and (not isinstance(given, int) or given < 1):
        raise UsageError(f"threads must be null or a whole number of at least 1, got {given!r}")
    threads = given or (1 if builtin(config) else None)  # networks of this size are slower on several
    if threads:
        torch.set_num_threads(threads)
    HOMES[0].seed_everything(seed, workers=True, verbose=False)


def builtin(config: dict[str, Any]) -> bool:
    """Whether the model is one of ours: a network that `Learner` trains."""
    return str(config["model"].get("_target_", "")).startswith("diagnose.models.")


def data(config: dict[str, Any]) -> LightningDataModule:
    """The data module; it gets the run's seed where it takes one."""
    node = config["data"]
    extra = {"seed": int(config["seed"])} if str(node.get("_target_", "")).startswith("diagnose.") and "seed" not in node else {}
    module = build(node, "data", config["allow_targets"], **extra)
    if not isinstance(module, DATA_MODULES):
        raise UsageError(f"data._target_ must name a LightningDataModule, {node['_target_']!r} gave a {type(module).__qualname__}")
    return module


def module(config: dict[str, Any], source: LightningDataModule) -> LightningModule:
    """The module: a network of ours with its optimizer and scheduler, or the user's own LightningModule."""
    node, allow = config["model"], config["allow_targets"]
    if not builtin(config):
        own = build(node, "model", allow)
        if not isinstance(own, MODULES):
            raise UsageError(f"model._target_ must name a LightningModule, {node['_target_']!r} gave a {type(own).__qualname__}")
        return own
    if not hasattr(source, "inputs") or not hasattr(source, "outputs"):
        raise UsageError("the networks of diagnose need a data module with `inputs` (shape of a sample) and `outputs` (number of classes)")
    task = "reconstruction" if node["_target_"].endswith(".autoencoder") else str(getattr(source, "task", "classes"))
    if task == "reconstruction" and getattr(source, "input_noise", False):
        raise UsageError("data.input_noise and model=autoencoder: it would learn the noise too, as its inputs are its targets; set 0")
    loss, outputs = loss_of(config, source, task)
    net = build(node, "model", allow, inputs=source.inputs, outputs=outputs, **vocabulary(node, source))
    ensemble = config.get("ensemble") or {}
    learner = HeadedLearner if ensemble.get("kind") == "heads" else Learner
    try:
        if learner is HeadedLearner:
            with_heads(net, ensemble["members"])
    except ValueError as error:
        raise UsageError(f"ensemble=heads: {error}") from error
    try:
        batch = next(iter(source.train_dataloader()))[0] if (config.get("init") or {}).get("name") == "lsuv" else None
        initialise(net, **(config.get("init") or {}), batch=batch)
    except (TypeError, ValueError) as error:
        raise UsageError(f"init: {error}") from error
    settings = dict(config["optimizer"])
    decay_all = bool(settings.pop("decay_all", True))
    if not 0 <= (momentum := settings.get("momentum") or 0.0) < 1:  # torch takes it, and the steps grow without end
        raise UsageError(f"optimizer.momentum must be at least 0 and below 1, got {momentum!r}")
    optimizer = partial(locate(settings.pop("_target_"), (*ALLOWED, *allow)), **settings)
    scale = getattr(source, "target_scale", ((0.0,), (1.0,)))
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
        return learner(net, optimizer, config.get("scheduler"), loss=loss, task=task, target_scale=scale, decay_all=decay_all)
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer or scheduler: {error}") from error


def loss_of(config: dict[str, Any], source: Any, task: str) -> tuple[torch.nn.Module, int]:
    """The loss, and how many outputs of the network it takes."""
    settings = dict(config.get("loss") or {"name": "auto"})
    counts = getattr(source, "class_counts", ()) if task == "classes" else ()
    try:
        loss = loss_named(settings.pop("name", "auto"), task, counts, **settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"loss: {error}") from error
    return loss, 1 if isinstance(loss, torch.nn.BCEWithLogitsLoss) else source.outputs


def vocabulary(node: dict[str, Any], source: Any) -> dict[str, int]:
    """The number of tokens, for networks that take tokens; the others are refused."""
    tokens = int(getattr(source, "vocabulary", 0))
    takes = node["_target_"].rpartition(".")[0] == "diagnose.models.sequences"
    if tokens and not takes:
        raise UsageError(
            f"model={node['_target_'].rpartition('.')[2]} takes numbers, the data have tokens; choose model=transformer or gru"
        )
    return {"vocabulary": tokens} if takes else {}


def check_layers(config: dict[str, Any], module: LightningModule) -> None:
    """Whether ``layers`` names layers of the module, and there is such a ``projection``, asked before the training and not after it."""
    try:
        Layers(module, config["layers"])
    except ValueError as error:
        raise UsageError(f"layers: {error}") from error
    try:
        check_method(config["projection"])
    except (ValueError, ImportError) as error:
        raise UsageError(f"projection: {error}") from error


def callbacks(config: dict[str, Any], folder: Path, module: LightningModule) -> list[Callback]:
    """Lightning's own callbacks from the config (early stopping, checkpoints, whatever else is named there), of the module's namespace."""
    made: list[Callback] = []
    for name, node in (config.get("callbacks") or {}).items():
        if name != "doctor" and node:
            extra = {"dirpath": folder / "checkpoints"} if name in ("checkpoint", "snapshots") else {}
            target = re.sub(r"^lightning\.pytorch\.", f"{home(module).__name__}.", str(node.get("_target_", "")))
            made.append(build({**node, "_target_": target}, f"callbacks.{name}", config["allow_targets"], **extra))
    return made


def logger(config: dict[str, Any], folder: Path, module: LightningModule) -> Any:
    """The logger of the group ``logger``, inside the run's folder."""
    name = (config.get("logger") or {"name": "none"})["name"]
    if name == "none":
        return False
    if name == "csv":
        return from_home(module, "loggers.CSVLogger")(folder, name="", version="")
    if name == "tensorboard":
        try:
            return from_home(module, "loggers.TensorBoardLogger")(folder, name="tensorboard", version="")
        except ModuleNotFoundError as error:
            raise UsageError("logger=tensorboard needs the package tensorboard\npip install lightning-diagnose[tensorboard]") from error
    raise UsageError(f"logger.name must be none, csv or tensorboard, got {name!r}")


def trainer(config: dict[str, Any], folder: Path, extra: list[Callback], module: LightningModule) -> Trainer:
    """The Trainer; all that it writes goes into the run's folder."""
    options = dict(config["trainer"])
    if options.get("max_epochs") is not None and int(options["max_epochs"]) < 1:
        raise UsageError(
            f"trainer.max_epochs must be at least 1, got {options['max_epochs']}\n"
            "to look at a model without training: python -m diagnose check"
        )
    if options.get("gradient_clip_val") is None:
        options.pop("gradient_clip_algorithm", None)
    try:
        made: Trainer = home(module).Trainer(
            **{"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, **options},
            default_root_dir=folder,
            logger=logger(config, folder, module),
            callbacks=extra,
        )
        for callback in extra:
            if isinstance(callback, GradientClipping):
                callback.check(made)
    except (TypeError, ValueError, RuntimeError, from_home(module, "utilities.exceptions.MisconfigurationException")) as error:
        raise UsageError(f"trainer: {str(error).splitlines()[0]}") from error
    return made
