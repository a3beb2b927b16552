"""Every model with every kind of data and loss trains, or is refused with one reason before anything starts.

Those that train take turns with the first weights, optimizers and schedules, so that each of these meets each other one.
"""

from __future__ import annotations

from itertools import combinations, product
from math import isfinite, lcm
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from diagnose.cli import setup
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import config
from diagnose.cli.usage import options
from diagnose.models.losses import FITTING

DATA = ("digits", "iris", "moons", "diabetes", "tokens")  # with every loss
FILES = ("csv", "npz", "image_folder", "blobs")  # with their usual loss
AXES = ("init", "optimizer", "scheduler")
SMALL = {"hidden": [8], "channels": [4], "width": 8, "heads": 2, "layers": 1, "blocks": 1, "code": 2}
TABLES = {"digits", "iris", "moons", "diabetes", "csv", "npz", "image_folder", "blobs"}
TAKES = {  # what a network can be given
    "logistic": TABLES,
    "mlp": TABLES,
    "cnn": {"digits", "image_folder"},
    "resnet": {"digits", "image_folder"},
    "gru": {*TABLES, "tokens"},
    "transformer": {*TABLES, "tokens"},
    "autoencoder": TABLES - {"moons", "blobs"},  # a point has two numbers: a code of two is no narrower
}
TASK = {"diabetes": "values", "npz": "values", "tokens": "tokens"}  # the others have classes


def settings(*words: str) -> dict[str, Any]:
    plain = OmegaConf.to_container(config(Arguments(command="train"), "train", list(words)).config, resolve=True)
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """The settings of each option of a group."""
    folder = tmp_path_factory.mktemp("data")
    chosen = {(group, name): settings(f"{group}={name}")[group] for group in ("model", "loss", *AXES) for name in options(group)}
    chosen |= {("data", name): settings(f"data={name}")["data"] for name in (*DATA, *FILES)}
    for name, made in files(folder).items():
        chosen["data", name].update(made)
    for name in TAKES:
        node = chosen["model", name]
        node.update(
            {k: v for k, v in SMALL.items() if k in node and isinstance(node[k], list) == isinstance(v, list) and name != "logistic"}
        )
    return chosen


def files(folder: Path) -> dict[str, dict[str, Any]]:
    """A text, a table of numbers and names, arrays with values to predict, and images of two classes."""
    rng = np.random.default_rng(0)
    (folder / "t.txt").write_text("what goes around comes around. " * 40)
    rows = [f"{rng.normal():.3f},{'abc'[i % 3]},{'yes' if i % 2 else 'no'}" for i in range(120)]
    (folder / "t.csv").write_text("\n".join(["size,colour,sold", *rows]))
    np.savez(folder / "t.npz", x=rng.normal(size=(120, 5)), y=rng.normal(size=120))
    for k, kind in enumerate(("cat", "dog")):
        (folder / "images" / kind).mkdir(parents=True)
        for i in range(60):
            Image.fromarray(rng.integers(50 * k, 200, (8, 8), dtype=np.uint8)).save(folder / "images" / kind / f"{i}.png")
    return {
        "tokens": {"path": str(folder / "t.txt")},
        "csv": {"path": str(folder / "t.csv"), "target": "sold"},
        "npz": {"path": str(folder / "t.npz")},
        "image_folder": {"path": str(folder / "images")},
    }


def works(model: str, data: str, loss: str) -> bool:
    task = "reconstruction" if model == "autoencoder" else TASK.get(data, "classes")
    return data in TAKES[model] and (loss == "auto" or task in FITTING[loss]) and (loss != "bce_with_logits" or data == "moons")


def losses(data: str) -> list[str]:
    return ["auto"] if data in FILES else options("loss")


WORKING = [c for c in product(TAKES, (*DATA, *FILES), options("loss")) if c[2] in losses(c[1]) and works(*c)]


def turn(number: int) -> dict[str, str]:
    """Which first weights, optimizer and schedule the run of a number has."""
    names = {group: options(group) for group in AXES}
    shifted = number + number // lcm(len(names["optimizer"]), len(names["scheduler"]))  # they would meet the same ones again
    places = {"init": number, "optimizer": number, "scheduler": shifted}
    return {group: names[group][place % len(names[group])] for group, place in places.items()}


def test_the_table_names_every_model() -> None:
    assert set(TAKES) == set(options("model"))
    assert set(options("loss")) == {"auto", *FITTING}
    assert {"moons", *FILES, *DATA} | {"breast_cancer", "wine", "parquet"} == set(options("data"))


def test_first_weights_optimizers_and_schedules_meet_each_other() -> None:
    turns = [turn(number) for number in range(len(WORKING))]
    for one, other in combinations(AXES, 2):
        assert {(t[one], t[other]) for t in turns} == set(product(options(one), options(other))), f"{one} and {other}"


@pytest.mark.slow
@pytest.mark.parametrize("data", [*DATA, *FILES])
@pytest.mark.parametrize("model", TAKES)
def test_what_can_work_trains_and_the_rest_is_refused(model: str, data: str, parts: dict[tuple[str, str], Any], tmp_path: Path) -> None:
    own = settings(
        "trainer.accelerator=cpu",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1",
        "callbacks.checkpoint=null",
    )
    own |= {"model": parts["model", model], "data": parts["data", data]}
    for loss in losses(data):
        own["loss"] = parts["loss", loss]
        if works(model, data, loss):
            own |= {group: parts[group, name] for group, name in turn(WORKING.index((model, data, loss))).items()}
        module, said = None, ""
        try:
            setup.prepare(own)
            source = setup.data(own)
            module = setup.module(own, source)
        except UsageError as error:
            said = str(error)
        assert (module is not None) == works(model, data, loss), f"{model} {data} {loss}: {said or 'not refused'}"
        if module is None:
            assert 1 <= len(said.splitlines()) <= 6
            continue
        own["trainer"]["enable_checkpointing"] = False
        trainer = setup.trainer(own, tmp_path, [], module)
        trainer.fit(module, datamodule=source)
        assert trainer.global_step == 2
        assert isfinite(float(trainer.callback_metrics["val/loss"]))
