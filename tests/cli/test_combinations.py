"""Every model with every kind of data and every loss: it trains, or is refused with one reason before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from diagnose.cli import setup
from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import config
from diagnose.cli.usage import options
from diagnose.models.losses import FITTING

DATA = ("digits", "iris", "moons", "diabetes", "tokens")
SMALL = {"hidden": [8], "channels": [4], "width": 8, "heads": 2, "layers": 1, "blocks": 1, "code": 2}
TAKES = {  # what a network can be given
    "logistic": {"digits", "iris", "moons", "diabetes"},
    "mlp": {"digits", "iris", "moons", "diabetes"},
    "cnn": {"digits"},
    "resnet": {"digits"},
    "gru": set(DATA),
    "transformer": set(DATA),
    "autoencoder": {"digits", "iris", "diabetes"},  # a moon has two numbers: a code of two is no narrower
}
TASK = {"digits": "classes", "iris": "classes", "moons": "classes", "diabetes": "values", "tokens": "tokens"}


def settings(*words: str) -> dict[str, Any]:
    plain = OmegaConf.to_container(config(Arguments(command="train"), "train", list(words)).config, resolve=True)
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """The settings of each option of a group."""
    text = tmp_path_factory.mktemp("text") / "t.txt"
    text.write_text("what goes around comes around. " * 40)
    chosen = {(group, name): settings(f"{group}={name}")[group] for group in ("model", "loss") for name in options(group)}
    chosen |= {("data", name): settings(f"data={name}")["data"] for name in DATA}
    chosen["data", "tokens"]["path"] = str(text)
    for name in TAKES:
        node = chosen["model", name]
        node.update(
            {k: v for k, v in SMALL.items() if k in node and isinstance(node[k], list) == isinstance(v, list) and name != "logistic"}
        )
    return chosen


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])


def works(model: str, data: str, loss: str) -> bool:
    task = "reconstruction" if model == "autoencoder" else TASK[data]
    return data in TAKES[model] and (loss == "auto" or task in FITTING[loss]) and (loss != "bce_with_logits" or data == "moons")


def test_the_table_names_every_model() -> None:
    assert set(TAKES) == set(options("model"))
    assert set(options("loss")) == {"auto", *FITTING}


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("model", TAKES)
def test_what_can_work_trains_and_the_rest_is_refused(
    model: str, data: str, parts: dict[tuple[str, str], Any], tmp_path: Path, threads: None
) -> None:
    own = settings(
        "trainer.accelerator=cpu",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1",
        "callbacks.checkpoint=null",
    )
    own |= {"model": parts["model", model], "data": parts["data", data]}
    for loss in options("loss"):
        own["loss"] = parts["loss", loss]
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
