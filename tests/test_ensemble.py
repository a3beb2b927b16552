"""Ensembles in Python: members that are asked, left out, compared; and the panel of the report."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from diagnose.ensemble import Member, evaluate_ensemble, mc_dropout
from diagnose.record import Record
from diagnose.report import build_report, write_report
from diagnose.report.terminal import print_summary
from diagnose.values import Diagnosis
from tests.browser import browser


class Net(lightning.LightningModule):
    def __init__(self, seed: int = 0, dropout: float = 0.5, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, classes))

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])


class Value(Net):
    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])


def loader(*, values: bool = False) -> DataLoader[Any]:
    x = torch.randn(90, 5, generator=torch.Generator().manual_seed(3))
    return DataLoader(TensorDataset(x, x[:, :1] if values else x[:, :3].argmax(1)), batch_size=40)


def ensemble(record: Record) -> dict[str, Any]:
    fact: dict[str, Any] = record.facts["ensemble"]
    return fact


def test_the_mean_is_that_of_the_models_own_probabilities(tmp_path: Path) -> None:
    models = [Net(seed) for seed in range(3)]
    record = Record(tmp_path / "record")
    found = evaluate_ensemble(models, loader(), record=record, layers=[], train_seconds=(2.0, 6.0))
    x, y = loader().dataset.tensors  # type: ignore[attr-defined]
    p = torch.stack([model.eval().net(x).softmax(-1) for model in models]).mean(0).detach()
    assert np.allclose(record.arrays["test/probability"], p, atol=1e-6)
    assert found.metrics["accuracy"] == pytest.approx(float((p.argmax(1) == y).float().mean()))
    size = sum(q.numel() for q in models[0].parameters())
    assert ensemble(record)["cost"]["parameters"] == [size, 3 * size]
    assert ensemble(record)["cost"]["train_seconds"] == [2.0, 6.0]
    assert len([r for r in ensemble(record)["rows"] if r["role"] == "member"]) == 3
    record.close()
    assert Record.read(tmp_path / "record").facts["ensemble"]["n"] == 90


def test_dropout_that_is_on_gives_other_predictions_each_time_and_leaves_no_trace() -> None:
    model = Net()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    record = Record()
    evaluate_ensemble(mc_dropout(model, 6, seed=1), loader(), record=record, layers=[], beside=Member(name="without", module=model))
    fact = ensemble(record)
    assert fact["disagreement"]["mean"] > 0.05
    assert [row["role"] for row in fact["rows"]] == ["member"] * 6 + ["beside", "mean", "vote"]
    assert fact["cost"]["parameters"][0] == fact["cost"]["parameters"][1]
    again = Record()
    evaluate_ensemble(mc_dropout(model, 6, seed=1), loader(), record=again, layers=[])
    assert np.array_equal(record.arrays["test/probability"], again.arrays["test/probability"])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training for module in model.modules())


def test_a_member_that_diverged_is_left_out_by_name() -> None:
    models = [Net(seed) for seed in range(3)]
    with torch.no_grad():
        models[1].net.get_parameter("4.weight").fill_(torch.nan)
    record = Record()
    evaluate_ensemble(models, loader(), record=record, layers=[], failed={"member 4": "RuntimeError: out of memory"})
    fact = ensemble(record)
    assert fact["failed"] == {"member 4": "RuntimeError: out of memory", "member 2": "its predictions are not finite"}
    assert [row["name"] for row in fact["rows"]] == ["member 1", "member 3", "mean", "vote"]
    section = next(s for s in build_report(record, Diagnosis()).sections if s.name == "ensemble")
    assert section.notes[1] == (
        "2 of 4 members are in it. Left out: member 4: RuntimeError: out of memory; member 2: its predictions are not finite."
    )


def test_values_have_a_mean_and_a_spread() -> None:
    models = [Value(seed, classes=1) for seed in range(3)]
    record = Record()
    evaluate_ensemble(models, loader(values=True), record=record, layers=[])
    x = loader(values=True).dataset.tensors[0]  # type: ignore[attr-defined]
    each = torch.stack([model.eval().net(x)[:, 0] for model in models]).detach()
    assert np.allclose(np.ravel(record.arrays["test/prediction"]), each.mean(0), atol=1e-5)
    assert ensemble(record)["disagreement"]["spread"] == pytest.approx(float(each.std(0).mean()), rel=1e-4)
    rows = next(s for s in build_report(record, Diagnosis()).sections if s.name == "ensemble").tables[0].rows
    assert [row[0] for row in rows] == ["member 1", "member 2", "member 3", "mean"]


@pytest.mark.filterwarnings("ignore:Your `test_dataloader`'s sampler has shuffling enabled")
def test_what_is_no_ensemble_is_refused() -> None:
    with pytest.raises(ValueError, match="an ensemble needs at least two members with finite predictions, 1 of 1 have them"):
        evaluate_ensemble([Net()], loader())
    shuffled: DataLoader[Any] = DataLoader(loader().dataset, batch_size=40, shuffle=True, generator=torch.Generator())
    with pytest.raises(ValueError, match="'member 2' saw other samples than 'member 1': expected a loader that does not shuffle"):
        evaluate_ensemble([Net(), Net(1)], shuffled, layers=[])
    with pytest.raises(ValueError, match=r"Net has no nn.Dropout with p above 0: each pass would give the same"):
        mc_dropout(Net(dropout=0.0))
    with pytest.raises(ValueError, match="an ensemble needs at least two passes, got 1"):
        mc_dropout(Net(), 1)


def test_the_page_and_the_terminal_show_members_mean_and_vote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    record = Record()
    evaluate_ensemble([Net(seed) for seed in range(3)], loader(), record=record, layers=[], kind="seeds")
    report = build_report(record, Diagnosis())
    written = write_report(report, tmp_path)
    assert "### Members" in written["md"].read_text()
    print_summary(report, Console(width=100))
    printed = capsys.readouterr().out
    assert "member 3" in printed
    assert "vote" in printed
    assert "3 members from different seeds." in printed
    with browser() as page:
        page.open(written["html"])
        shown = str(page.evaluate("document.querySelector('#ensemble').innerText"))
        wide = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "mutual information: doubt that comes from their disagreement" in shown
    assert "Cost" in shown
    assert wide
