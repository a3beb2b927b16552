"""``evaluate``, from checkpoints and from tables."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from diagnose.record import Record

Cli = Callable[..., int]


def only_run(root: Path) -> Path:
    (folder,) = (p.parent for p in (root / "outputs/evaluate").glob("*/*/.hydra"))
    return folder


def test_a_checkpoint_brings_the_config_of_its_run(cli: Cli, trained: Path, tmp_path: Path) -> None:
    before = Record.read(trained / "record")
    assert cli("evaluate", f"ckpt_path={trained / before.facts['run']['checkpoint']}") in (0, 1)
    after = Record.read(only_run(tmp_path) / "record")
    assert after.facts["evaluation"] == before.facts["evaluation"]
    assert after.facts["config"]["model"]["hidden"] == [8]
    assert (only_run(tmp_path) / "report.html").is_file()


def test_without_a_run_beside_it_the_overrides_describe_the_model(
    cli: Cli, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "epoch=1, last [x].ckpt"
    moved.write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes())
    assert cli("evaluate", f"ckpt_path={moved}", "data=iris", "model.hidden=[8]") in (0, 1)
    capsys.readouterr()
    assert cli("evaluate", f"ckpt_path={moved}", "data=iris", "model.hidden=[9]") == 2
    error = capsys.readouterr().err
    assert "belongs to another model than the config describes:" in error
    assert "size mismatch for net.1.weight" in error
    assert "choose the model as it was trained" in error
    assert len(error.splitlines()) <= 6
    assert len(list((tmp_path / "outputs/evaluate").glob("*/*/.hydra"))) == 1


class Hostile:
    """A pickle that would make a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("planted"),)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is damaged or no checkpoint: expected the zip archive that torch.save writes"),
        (b"PK\x03\x04 cut off", "is damaged or no checkpoint"),
        ("truncated", "is damaged or no checkpoint"),
        ("flipped", "is damaged"),
        ({"weights": 1}, "is no Lightning checkpoint: it has no 'state_dict'"),
        ([1], "is no Lightning checkpoint: it has no 'state_dict'"),
        ({"state_dict": {"a": Hostile()}}, "is refused: it holds more than weights, or is damaged"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: Any, text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        torch.save({"state_dict": {"w": torch.zeros(1000)}}, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "truncated" else whole.replace(b"state_dict", b"state\xff\xff\xff\xff\xff"))
    else:
        torch.save(content, path)
    assert cli("evaluate", "ckpt_path=x.ckpt", "data=iris") == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.splitlines()) <= 6
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "evaluate needs ckpt_path=FILE (a checkpoint) or predictions=FILE (a .csv, .npz or .parquet table)"),
        (["ckpt_path=https://example.org/a=b.ckpt"], "ckpt_path must be a file, got 'https://example.org/a=b.ckpt'"),
        (["predictions=no where.csv"], "there is no file 'no where.csv'"),
    ],
)
def test_what_is_missing_is_said(words: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("evaluate", *words) == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_evaluated_without_torch(tmp_path: Path) -> None:
    rows = [f"{k % 3},{k % 3 if k % 5 else (k + 1) % 3}" for k in range(60)]
    (tmp_path / "a=b, c.csv").write_text("\n".join(["target,prediction", *rows]))
    code = "import sys\nfrom diagnose.cli import main\nstatus = main(sys.argv[1:])\nassert 'torch' not in sys.modules\nsys.exit(status)"
    done = subprocess.run([sys.executable, "-c", code, "evaluate", "predictions=a=b, c.csv"], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    facts = Record.read(only_run(tmp_path) / "record").facts
    assert facts["evaluation"]["test"]["accuracy"] == pytest.approx(0.8)
    assert facts["run"]["predictions"] == "a=b, c.csv"


def test_columns_and_metadata_of_a_table(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"r{k},{k % 2},{(k + (k % 4 == 0)) % 2},{'north' if k % 4 == 0 else 'south'}" for k in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["id,label,prediction,site", *rows]))
    assert cli("evaluate", "predictions=t.csv", "columns.target=label") in (0, 1)
    record = Record.read(only_run(tmp_path) / "record")
    assert record.facts["evaluation"]["test"]["slices"]["slices"][0]["value"] == "north"
    assert record.arrays["test/id"].tolist()[:2] == ["r0", "r1"]
    capsys.readouterr()
    assert cli("evaluate", "predictions=t.csv") == 2
    assert "name it by columns.target=NAME" in capsys.readouterr().err


def test_the_task_of_a_table_can_be_set(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("target,prediction\n" + "".join(f"{k},{k + 1}\n" for k in range(30)))
    assert cli("evaluate", "predictions=t.csv", "task=regression") in (0, 1)
    assert Record.read(only_run(tmp_path) / "record").facts["evaluation"]["test"]["mae"] == 1.0
    assert cli("evaluate", "predictions=t.csv", "task=ranking") == 2
    assert "expected a task among binary, multiclass, multilabel, regression, next-token, got 'ranking'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["target,prediction,prob_a,prob_b", "a,a,0.5,0.5", "c,a,0.5,0.5"], "column 'target' holds 'c', which is none of the classes a, b"),
        (["target,prob_a,prob_b", "a,0.5,0.5", "b,nan,0.5"], "'prob_a' has no value, or NaN, in row 2 (1 such row)"),
        (["target,prediction", "0.5,inf", "1.5,1"], "'prediction' holds inf in row 1, expected a finite number (1 such row)"),
        (["target,prediction", "a,0"], "'target' holds names such as 'a', 'prediction' holds numbers such as '0': write both alike"),
        ([], "t.csv is empty"),
    ],
)
def test_bad_tables_leave_nothing_behind(lines: list[str], text: str, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert cli("evaluate", "predictions=t.csv") == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.splitlines()) <= 6
    assert [f.name for f in tmp_path.iterdir()] == ["t.csv"]


OWN = """
from enum import Enum
import lightning, torch
from torch import nn

class Kind(Enum):
    SMALL = 1

class Model(lightning.LightningModule):
    def __init__(self, width, kind="small"):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def test_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

class Data(lightning.LightningDataModule):
    def __init__(self, rows=60):
        super().__init__()
        x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))
        self.data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long())

    def test_dataloader(self):
        return torch.utils.data.DataLoader(self.data, 16)
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of the user's own in the current folder, and its checkpoints elsewhere."""
    (tmp_path / "own_models").mkdir()
    (tmp_path / "own_models" / "__init__.py").write_text("")
    (tmp_path / "own_models" / "small.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("own_models")]:
        monkeypatch.delitem(sys.modules, name)
    small = importlib.import_module("own_models.small")
    (tmp_path / "elsewhere").mkdir()
    for name, module in {"plain": small.Model(6), "odd": small.Model(6, small.Kind.SMALL)}.items():
        trainer = lightning.Trainer(max_epochs=0, logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.strategy.connect(module)
        trainer.save_checkpoint(tmp_path / "elsewhere" / f"{name}.ckpt")
    return small


NAMED = ("module=own_models.small.Model", "data=own_models.small.Data")


def test_a_checkpoint_of_another_project(cli: Cli, foreign: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("evaluate", "ckpt_path=elsewhere/plain.ckpt", *NAMED, "data.rows=45") in (0, 1)
    record = Record.read(only_run(tmp_path) / "record")
    assert record.facts["evaluation"]["test"]["n"] == 45
    assert record.facts["config"]["model"] == {"_target_": "own_models.small.Model"}
    assert "optimizer" not in record.facts["config"], "what this model was trained with is not known"
    module = foreign.Model.load_from_checkpoint(tmp_path / "elsewhere/plain.ckpt", weights_only=True)
    logits = module.net(foreign.Data(45).data.tensors[0])
    assert record.arrays["test/prediction"].tolist() == logits.argmax(1).tolist()


def test_what_weights_only_loading_refuses_needs_trust(cli: Cli, foreign: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("evaluate", "ckpt_path=elsewhere/odd.ckpt", *NAMED) == 2
    error = capsys.readouterr().err
    assert "is refused: it holds more than weights, or is damaged\nit holds own_models.small.Kind, such as a hyper-parameter\n" in error
    assert "if you trust its source: trust_checkpoint=true (loading it can then run code)" in error
    assert not (tmp_path / "outputs").exists()
    assert cli("evaluate", "ckpt_path=elsewhere/odd.ckpt", *NAMED, "trust_checkpoint=true") in (0, 1)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("module=own_models.small.Model",), "module needs data beside it: data=my.pkg.DataModule, or one of diagnose such as data=iris"),
        (("module=mlp", "data=iris"), "module must be the import path of a class, such as my.pkg.Model; got 'mlp'"),
        (("module=own_models.small.Modle", NAMED[1]), "_target_ 'own_models.small.Modle' is not there"),
        (("module=own_models.small.Kind", NAMED[1]), "module must name a LightningModule, 'own_models.small.Kind' is none"),
        ((*NAMED, "module.width=7"), "belongs to another model than the config describes:"),
        ((*NAMED, "module.widht=7"), "Model takes no argument 'widht'; did you mean 'width'?\nit takes width, kind"),
        ((*NAMED, "module.width=wide"), "Model cannot be made from the checkpoint 'elsewhere/plain.ckpt':"),
        ((NAMED[0], "data=own_models.small.Model"), "data: Model.__init__() missing 1 required positional argument: 'width'"),
    ],
)
def test_classes_that_do_not_fit(
    words: tuple[str, ...], text: str, cli: Cli, foreign: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("evaluate", "ckpt_path=elsewhere/plain.ckpt", *words) == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.splitlines()) <= 6
    assert not (tmp_path / "outputs").exists()


def test_fewer_class_names_than_classes(cli: Cli, foreign: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own_models" / "small.py").write_text(OWN + '    class_names = ["low", "high"]\n')
    importlib.reload(foreign)
    assert cli("evaluate", "ckpt_path=elsewhere/plain.ckpt", *NAMED) == 2
    assert "expected 3 class names, one per class, got 2: ['low', 'high']" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_two_tables_are_there_before_the_first_is_evaluated(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("target,prediction\n0,1\n1,1\n")
    assert cli("evaluate", "predictions=[a.csv,b.csv]") == 2
    assert "there is no file 'b.csv'" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_a_table_is_told_from_others(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("target,prediction\n0,1\n1,1\n")
    assert cli("evaluate", "predictions=a.csv") in (0, 1)
    record = Record.read(only_run(tmp_path) / "record")
    assert record.facts["run"]["predictions_sha256"] == hashlib.sha256((tmp_path / "a.csv").read_bytes()).hexdigest()
    assert "model" not in record.facts["config"], "a network of the defaults has made none of these predictions"
    assert "torch" not in record.facts["run"]["versions"]
    assert "checkpoint" not in capsys.readouterr().out


def test_a_checkpoint_and_its_data_are_told_from_others(trained: Path) -> None:
    record = Record.read(trained / "record")
    run = record.facts["run"]
    assert run["checkpoint_sha256"] == hashlib.sha256((trained / run["checkpoint"]).read_bytes()).hexdigest()
    marks = record.facts["fingerprints"]
    assert list(marks) == ["train", "val", "test"]
    assert len(set(marks.values())) == 3
