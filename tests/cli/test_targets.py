"""What a ``_target_`` of the config may call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from diagnose.cli.arguments import UsageError
from diagnose.cli.targets import ALLOWED, build, locate


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "logging.os.system",
        "builtins.eval",
        "torch.load",
        "torch.hub.load",
        "torch.utils.cpp_extension.load_inline",
        "subprocess.check_output",
        "pathlib.Path.write_text",
        "diagnose.experiments.replay.replay",
        "diagnose.cli.main",
        "torchvision.models.resnet18",
    ],
)
def test_what_lies_outside_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match=rf"_target_ '{target}' is outside diagnose.models, "):
        locate(target, ALLOWED)


@pytest.mark.parametrize("target", ["torch.nn.modules.module.torch.load", "torch.optim.optimizer.functools.partial"])
def test_a_way_through_an_allowed_module_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match=r"leads to '.+', outside .+; it is not called"):
        locate(target, ALLOWED)


@pytest.mark.parametrize("target", ["lightning.pytorch.LightningModule.load_from_checkpoint", "torch.nn.functional.relu"])
def test_functions_of_libraries_are_refused(target: str) -> None:
    with pytest.raises(UsageError, match=r"only classes may be named|is not called"):
        locate(target, ALLOWED)


def test_only_an_own_package_is_offered_for_allowing() -> None:
    with pytest.raises(UsageError, match=r"a package of your own is allowed by allow_targets=\[mine\]"):
        locate("mine.Model", ALLOWED)
    with pytest.raises(UsageError) as caught:
        locate("torch.load", ALLOWED)
    assert "allow_targets" not in str(caught.value)


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.system", "command": "touch planted"}]},
        {"_target_": "torch.nn.ModuleList", "modules": [{"_target_": "os.system", "command": "touch planted"}]},
        {"_target_": "torch.nn.ReLU", "inplace": {"deep": {"_target_": "os.system", "command": "touch planted"}}},
    ],
)
def test_nested_targets_are_refused_and_nothing_runs(node: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"_target_ 'os.system' is outside"):
        build(node, "model")
    assert os.listdir(tmp_path) == []


def test_nested_nodes_are_built_first() -> None:
    made = build(
        {"_target_": "torch.nn.ModuleList", "modules": [{"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}]}, "model"
    )
    assert isinstance(made[0], torch.nn.Linear)


def test_an_own_package_is_used_when_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text("import torch\nclass Net(torch.nn.Module):\n    pass\ndef make(n):\n    return Net()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(build({"_target_": "my_nets.make", "n": 1}, "model", ["my_nets"])).__name__ == "Net"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("torch.nn.Linaer", "_target_ 'torch.nn.Linaer' is not there"),
        ("nowhere.Net", "cannot be imported: there is no module 'nowhere'"),
        ("broken.Net", "cannot be imported: No module named 'absent_package'\ninstall the package 'absent_package'"),
    ],
)
def test_what_is_not_there_is_said(target: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("import absent_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=text):
        locate(target, (*ALLOWED, "nowhere", "broken"))


def test_arguments_that_a_target_refuses_are_named() -> None:
    with pytest.raises(UsageError, match=r"model: .*unexpected keyword argument 'depth'"):
        build({"_target_": "torch.nn.ReLU", "depth": 3}, "model")
