from __future__ import annotations

import pytest

from diagnose.rules.wrong_mode import WrongMode
from diagnose.values import Severity
from tests.rules.probes import findings


def test_eval_mode_in_training() -> None:
    (finding,) = findings(WrongMode(), probe__modes={"training": ["backbone.1", "backbone.5"], "validation": []})
    assert finding.severity is Severity.ERROR
    assert finding.where == "self.backbone.1"
    assert finding.message == "2 batch norm or dropout modules stand in eval mode in training: backbone.1, backbone.5"
    assert "call .train() on the module after loading it" in finding.fix
    assert finding.evidence == {"modules": 2}


def test_train_mode_in_validation() -> None:
    (finding,) = findings(WrongMode(), probe__modes={"training": [], "validation": [f"d{i}" for i in range(6)]})
    assert "6 batch norm or dropout modules stand in train mode in validation: d0, d1, d2, d3 and 2 more" in finding.message
    assert "remove .train() from the validation code" in finding.fix


def test_both_are_two_findings() -> None:
    assert len(findings(WrongMode(), probe__modes={"training": ["a"], "validation": ["b"]})) == 2


def test_functional_dropout_in_validation() -> None:
    (finding,) = findings(WrongMode(), probe__modes={"training": [], "validation": [], "dropping": ["F.dropout(p=0.5)"] * 2})
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("F.dropout(p=0.5) drops values in validation as well, 2 calls in a step")
    assert "training=self.training" in finding.fix


def test_the_right_modes_are_clean() -> None:
    assert findings(WrongMode(), probe__modes={"training": [], "validation": []}) == []


def test_stored_statistics_that_fit_the_data_do_no_harm_yet() -> None:
    modes = {"training": ["backbone.1", "backbone.5"], "apart": {"backbone.1": 0.12, "backbone.5": 0.49}, "validation": []}
    (finding,) = findings(WrongMode(), probe__modes=modes)
    assert finding.severity is Severity.INFO
    assert finding.where == "self.backbone.5"
    assert finding.message.startswith("2 batch norm modules stand in eval mode in training; their stored statistics fit the data so far")
    assert "requires_grad_(False)" in finding.fix
    assert finding.evidence == {"modules": 2, "apart": 0.49, "threshold": 0.5}


@pytest.mark.parametrize(
    "apart",
    [{"backbone.1": 0.12, "backbone.5": 0.51}, {"backbone.1": 0.12}, {}],
    ids=["one does not fit", "the other has seen no data, or is a dropout", "nothing is known"],
)
def test_stored_statistics_that_do_not_fit(apart: dict[str, float]) -> None:
    (finding,) = findings(WrongMode(), probe__modes={"training": ["backbone.1", "backbone.5"], "apart": apart, "validation": []})
    assert finding.severity is Severity.ERROR
