"""Configs from what people type."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from diagnose.cli.arguments import Arguments, UsageError, parse
from diagnose.cli.compose import Composed, combinations, config, normalise, quoted
from diagnose.cli.usage import GROUPS

NAMES = [
    "epoch=3-step=40.ckpt",
    "my runs/a, b [1] {2}/it's.ckpt",
    "C:\\models\\last.ckpt",
    "back\\",
    "q'",
    'd"q',
    "x\\'y",
    "#1%&;.ckpt",
    "~/a@b:c.ckpt",
]


def composed(*argv: str) -> Composed:
    arguments = parse(["train", *argv])
    return config(arguments, "train", normalise(arguments.words, arguments.config_dir))


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_taken_as_typed(name: str) -> None:
    assert composed(f"ckpt_path={name}").config.ckpt_path == name


def test_a_quoted_path_and_null_stay_as_they_are() -> None:
    assert quoted("ckpt_path='a=b'") == "ckpt_path='a=b'"
    assert quoted("ckpt_path=null") == "ckpt_path=null"
    assert OverridesParser.create().parse_override(quoted("ckpt_path='a=b'")).value() == "a=b"


def test_a_list_is_not_taken_for_a_path() -> None:
    assert composed("model.hidden=[64,32]").config.model.hidden == [64, 32]


@pytest.mark.parametrize("word", ["model=cnn", "+model=cnn", "++model=cnn"])
def test_a_group_is_chosen_with_and_without_plus(word: str) -> None:
    assert composed(word).config.model._target_ == "diagnose.models.networks.cnn"


@pytest.mark.parametrize("group", GROUPS)
def test_both_spellings_mean_the_same_for_every_group(group: str) -> None:
    from diagnose.cli.usage import options

    for option in options(group):
        assert composed(f"{group}={option}").config == composed(f"+{group}={option}").config


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["modle=mlp"], r"the config has no key 'modle'; did you mean 'model'\?"),
        (["+modle=mlp"], r"the config has no key 'modle'; did you mean 'model'\?\n\+\+modle=... adds it all the same"),
        (
            ["model=mpl"],
            r"model has no option 'mpl'; did you mean 'mlp'\?\nthe options are autoencoder, cnn, gru, logistic, mlp, resnet, transformer",
        ),
        (["trainer.max_epoch=3"], r"no key 'trainer.max_epoch'; did you mean 'trainer.max_epochs'\?"),
        (["+trainer.max_epoch=3"], r"no key 'trainer.max_epoch'; did you mean 'max_epochs'\?"),
        (["model=cnn", "model.chanels=[8]"], r"no key 'model.chanels'; did you mean 'model.channels'\?"),
        (["zzzzzz=1"], r"the config has no key 'zzzzzz'\n--cfg job shows all keys; \+zzzzzz=... adds a new one"),
        (["mlp"], "expected key=value, got 'mlp'"),
        (["seed=1,2"], "seed=1,2 names several values; add --multirun to run once for each"),
        (["seed=[1"], r"quote a value that holds , = \[ \] \{ \} or spaces"),
        (["seed=${nowhere}"], "the config cannot be resolved: .*'nowhere' not found"),
        (["model=null"], "the config has no model\nchoose one by model=autoencoder"),
        (["rules.vanishing-gradiend.ratio=1"], "no rule has the code or name 'vanishing-gradiend'"),
        (["--config-dir", "nowhere"], "--config-dir: there is no folder 'nowhere'"),
        (["--config-path", "nowhere"], "--config-path: there is no folder 'nowhere'"),
    ],
)
def test_errors_name_the_word_and_the_nearest(words: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        composed(*words)
    assert len(str(caught.value).splitlines()) <= 6


def test_a_new_key_may_be_added() -> None:
    assert composed("+trainer.max_steps=5").config.trainer.max_steps == 5
    assert composed("++modle=mlp").config.modle == "mlp"


def test_thresholds_of_rules_have_a_short_form() -> None:
    assert composed("rules.vanishing-gradient.ratio=1e-4").config.rules.options == {"T302": {"ratio": 1e-4}}
    assert composed("rules.T302.ratio=1e-4").config.rules.options == {"T302": {"ratio": 1e-4}}
    assert composed("rules.select=[M,T3]").config.rules.select == ["M", "T3"]


def test_multirun_makes_one_run_per_combination() -> None:
    runs = list(combinations(normalise(["seed=1,2", "model=mlp,cnn", "ckpt_path=a,b"], "")))
    assert runs == [[f"seed={s}", f"model={m}", "ckpt_path='a,b'"] for s in (1, 2) for m in ("mlp", "cnn")]


def test_an_own_folder_adds_options_to_groups(tmp_path: Path) -> None:
    (tmp_path / "it's [conf]" / "optimizer").mkdir(parents=True)
    (tmp_path / "it's [conf]" / "optimizer" / "slow.yaml").write_text("_target_: torch.optim.SGD\nlr: 1.0e-5\n")
    found = composed("--config-dir", str(tmp_path / "it's [conf]"), "optimizer=slow", "model=cnn").config
    assert (found.optimizer.lr, "channels" in found.model) == (1e-5, True)


def test_an_own_primary_config_uses_the_groups_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [model: cnn, data: digits, optimizer: momentum, trainer: default, _self_]\nseed: 3\n")
    found = composed("--config-path", str(tmp_path), "--config-name", "mine")
    assert (found.config.seed, found.config.fail_on, found.config.optimizer.momentum) == (3, "error", 0.9)
    assert found.folder.startswith("outputs/train/")


def test_a_saved_config_has_values_and_no_choices(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(composed("seed=3").config))
    found = composed("--config-path", str(tmp_path), "model.hidden=[8]")
    assert (found.config.seed, found.config.model.hidden) == (3, [8])
    with pytest.raises(UsageError, match="holds the values of model, not a choice of it\nset single values"):
        composed("--config-path", str(tmp_path), "model=cnn")


def test_interpolations_are_kept_in_what_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGNOSE_TOKEN", "hush")
    found = composed("+api_token=${oc.env:DIAGNOSE_TOKEN}")
    assert "hush" not in OmegaConf.to_yaml(found.config)


def test_the_runs_folder_follows_output_dir_and_hydra() -> None:
    assert composed("output_dir=my runs").folder.startswith("my runs/train/")
    assert composed("hydra.run.dir=here").folder == "here"


def test_the_config_knows_its_command() -> None:
    assert config(Arguments(command="check"), "check", []).config.command == "check"
