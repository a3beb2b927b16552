"""Values of the wrong kind, and keys without their group."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig

from diagnose.cli.arguments import UsageError, parse
from diagnose.cli.compose import config, normalise
from diagnose.cli.job import chosen_rules
from diagnose.cli.runs import checkpoint_file
from diagnose.cli.setup import prepare


def composed(*argv: str) -> DictConfig:
    arguments = parse(["train", *argv])
    return config(arguments, "train", normalise(arguments.words, arguments.config_dir)).config


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("seed=abc", "seed must be a whole number, such as 7; got 'abc'"),
        ("data.batch_size=2.5", "data.batch_size must be a whole number, such as 64; got 2.5"),
        ("trainer.max_epochs=[1]", r"trainer.max_epochs must be a whole number, such as 40; got \[1\]"),
        ("optimizer.lr=fast", "optimizer.lr must be a number, such as 0.003; got 'fast'"),
        ("optimizer.lr=true", "optimizer.lr must be a number, such as 0.003; got True"),
        ("model.hidden=64", r"model.hidden must be a list, such as \[128, 64\]; got 64"),
        ("trust_checkpoint=no", "trust_checkpoint must be true or false, such as false; got 'no'"),
        ("allow_targets=mine", r"allow_targets must be a list, such as \[\]; got 'mine'"),
    ],
)
def test_a_value_of_another_kind_is_refused(word: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"^{text}$"):
        composed(word)


@pytest.mark.parametrize(
    "word",
    [
        "trainer.devices=auto",
        "trainer.devices=[0]",
        "trainer.precision=16",
        "trainer.deterministic=true",
        "trainer.limit_train_batches=3",
        "trainer.gradient_clip_val=null",
        "optimizer.lr=1",
        "data.batch_size=${seed}",
        "rules.select=M",
        "rules.ignore=[D104]",
        "callbacks.early_stopping=null",
        "+trainer.max_steps=abc",
    ],
)
def test_what_has_several_kinds_or_is_new_is_not(word: str) -> None:
    composed(word)


def test_the_kind_is_that_of_the_chosen_option(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("_target_: mine.Net\nhidden: 64\n")
    assert composed("--config-dir", str(tmp_path), "model=mine", "model.hidden=32").model.hidden == 32
    with pytest.raises(UsageError, match=r"model.hidden must be a whole number, such as 64"):
        composed("--config-dir", str(tmp_path), "model=mine", "model.hidden=[32]")


@pytest.mark.parametrize("word", ["lr=0.1", "+lr=0.1", "trainer.lr=0.1"])
def test_a_key_without_its_group_is_found(word: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'optimizer.lr'\?"):
        composed(word)


def test_a_config_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "primary.yaml").write_text("seed: 1\n")
    with pytest.raises(UsageError, match=r"^--config-name: there is no primry.yaml; did you mean 'primary'\?\nin "):
        composed("--config-path", str(tmp_path), "--config-name", "primry")


@pytest.mark.parametrize(
    ("seed", "threads", "text"),
    [
        (-1, None, "seed must be a whole number from 0 to 4294967295, got -1"),
        (None, None, "seed must be a whole number from 0 to 4294967295, got None"),
        (7, 0, "threads must be null or a whole number of at least 1, got 0"),
        (7, "all", "threads must be null or a whole number of at least 1, got 'all'"),
    ],
)
def test_seed_and_threads_are_checked(seed: int | None, threads: object, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        prepare({"seed": seed, "threads": threads, "model": {}})


def test_a_threshold_is_a_number() -> None:
    with pytest.raises(UsageError, match=r"rules.vanishing-gradient.ratio must be a number, such as .+; got 'small'"):
        chosen_rules({"options": {"T302": {"ratio": "small"}}})
    with pytest.raises(UsageError, match="got None"):
        chosen_rules({"options": {"T302": {"ratio": None}}})


@pytest.mark.parametrize("url", ["https://example.org/a.ckpt", "s3://bucket/a.ckpt", "file:///a.ckpt"])
def test_nothing_is_fetched(url: str) -> None:
    with pytest.raises(UsageError, match=f"^ckpt_path must be a file, got '{url}'\ndownload it first, from a source that you trust$"):
        checkpoint_file(url)
