from __future__ import annotations

from typing import Any

import pytest

from diagnose.rules.missing_from_optimizer import MissingFromOptimizer
from diagnose.values import Severity
from tests.rules.probes import findings, not_run, outcome


def weight(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "size": 10, "used": True, "reached": True, "optimized": True, **changes}


def facts(registered: list[dict[str, Any]], unregistered: list[dict[str, Any]] | None = None, optimizers: int = 1) -> dict[str, Any]:
    return {"registered": registered, "unregistered": unregistered or [], "optimizers": optimizers, "losses": 3}


def test_a_head_that_was_forgotten() -> None:
    lost = [weight("head.weight", optimized=False), weight("head.bias", optimized=False)]
    (finding,) = findings(MissingFromOptimizer(), probe__parameters=facts([weight("body.weight", size=20), *lost]))
    assert finding.severity is Severity.ERROR
    assert finding.where == "self.head"
    assert finding.message == "2 parameters (50% of the trainable weights) of head get gradients but are in no optimizer"
    assert finding.fix == "add them in configure_optimizers (model.py:50), or freeze them with requires_grad_(False)"
    assert finding.evidence == {"parameters": 2, "share": 0.5}


def test_layers_in_a_plain_list() -> None:
    stray = [{"name": "blocks[0].weight", "size": 64}, {"name": "blocks[0].bias", "size": 8}, {"name": "blocks[1].weight", "size": 64}]
    (finding,) = findings(MissingFromOptimizer(), probe__parameters=facts([weight("head.weight")], stray))
    assert finding.where == "self.blocks[0]"
    assert "3 parameters (136 weights) of blocks[0], blocks[1] are used but not registered with the module" in finding.message
    assert "nn.ModuleList or nn.ModuleDict" in finding.fix


def test_a_parameter_of_the_module_itself() -> None:
    (finding,) = findings(MissingFromOptimizer(), probe__parameters=facts([weight("scale", optimized=False)]))
    assert finding.where == "self.scale"


def test_without_a_source_the_fix_has_no_place() -> None:
    done = outcome(MissingFromOptimizer(), {"probe.parameters": facts([weight("a.w", optimized=False)])}, source=False)
    assert done.findings[0].fix.startswith("add them in configure_optimizers, or freeze")


def test_all_in_the_optimizer_is_clean() -> None:
    assert findings(MissingFromOptimizer(), probe__parameters=facts([weight("a.w"), weight("b.w")])) == []
    teacher = weight("teacher.w", reached=False, optimized=False)  # no gradient wanted, none given
    assert findings(MissingFromOptimizer(), probe__parameters=facts([weight("a.w"), teacher])) == []


def test_without_an_optimizer() -> None:
    reason = not_run(MissingFromOptimizer(), probe__parameters=facts([weight("a.w", optimized=False)], optimizers=0))
    assert reason == "configure_optimizers returned no optimizer"


@pytest.mark.parametrize(("epochs", "finished", "count"), [(0, True, 0), (1, False, 0), (1, True, 1), (2, False, 1)])
def test_weights_that_thawed_in_training(epochs: int, finished: bool, count: int) -> None:
    late = [{"name": f"encoder.{name}", "size": 30, "epochs": epochs} for name in ("weight", "bias")]
    told = findings(
        MissingFromOptimizer(),
        probe__parameters=facts([weight("head.weight")]),
        thawed={"parameters": late, "trainable": 80},
        run={"finished": finished},
    )
    assert len(told) == count
    for finding in told:
        assert finding.severity is Severity.ERROR
        assert finding.where == "self.encoder"
        assert finding.message == (
            "2 parameters (75% of the trainable weights) of encoder, thawed or added in training, get gradients but are in no optimizer"
        )
        assert finding.fix == (
            "give the optimizer all parameters from the start (model.py:50), or add these by add_param_group when they thaw"
        )
        assert finding.evidence == {"parameters": 2, "share": 0.75, "epochs": epochs}


@pytest.mark.parametrize(
    ("norms", "taken", "count"),
    [((True, True), 500, 0), ((True, True), 0, 1), ((True, False), 500, 1)],
    ids=["left out when the rest was taken", "nothing was taken", "another layer was left out too"],
)
def test_batch_norms_left_out_of_what_thawed(norms: tuple[bool, bool], taken: int, count: int) -> None:
    late = [{"name": f"encoder.{i}.weight", "size": 30, "epochs": 3, "norm": norm} for i, norm in enumerate(norms)]
    thawed = {"parameters": late, "taken": taken, "trainable": 600}
    assert len(findings(MissingFromOptimizer(), probe__parameters=facts([weight("head.weight")]), thawed=thawed)) == count


@pytest.mark.parametrize(
    ("norms", "frozen", "severity"),
    [((True, True), 4, Severity.INFO), ((True, True), 0, Severity.ERROR), ((True, False), 4, Severity.ERROR)],
    ids=["beside frozen weights", "nothing is frozen", "another layer was left out too"],
)
def test_batch_norms_that_are_in_no_optimizer(norms: tuple[bool, bool], frozen: int, severity: Severity) -> None:
    left = [weight(f"encoder.{i}.weight", optimized=False, norm=norm) for i, norm in enumerate(norms)]
    (finding,) = findings(MissingFromOptimizer(), probe__parameters={**facts([weight("head.weight"), *left]), "frozen": frozen})
    assert finding.severity is severity
