"""Rule M207."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, run
from diagnose.rules.non_finite_input import NonFiniteInput
from diagnose.rules.wording import listed
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class NoGradient(Rule):
    """A parameter that takes part in the forward pass and has an optimizer gets no gradient: the graph is cut on the way.

    ## What it measures
    Over three training steps: which trainable parameters any function was given, and which received a gradient. Where several optimizers
    take turns there are as many steps as each needs to have one, up to twelve; what waits for its turn longer is not judged. Those that
    were used, stand in an optimizer and never got one are reported, and so are those whose gradient is zero because every way from them to
    the loss leads through a rounding or a sign. Parameters that nothing used are reported as `info`, and so are those of which the outputs
    do not depend at all, as a pass with other values shows: there input-independent speaks.

    ## Why it matters
    `detach()`, `.data`, `torch.no_grad()`, `argmax` and a trip through numpy cut the graph silently, and `round`, `floor` and `sign` have a
    gradient of zero. Everything before the cut keeps its random initial values, while the rest learns around it, so that the loss goes down
    and the fault stays hidden.

    ## When it is wrong
    Frozen parameters (`requires_grad=False`) and those in no optimizer (a teacher, a target network) are passed over. What runs but rests
    in the first phase of a training is tried in epochs 4, 16, 64 and 1000, too; what a hook or a count of its own switches on later looks
    cut. A rounding whose gradient is passed straight through cuts nothing.

    ## What to try
    Look between the named module and the loss for detach, .data, no_grad, .item(), numpy or argmax. Where it is meant, freeze the
    parameters with `requires_grad_(False)` and leave them out of the optimizer.

    ## References
    rll-research/cic issue 5 and lucidrains/CoCa-pytorch issue 6 (encoders that never learned); torchtest2.
    """

    code = "M207"
    name = "no-gradient"
    severity = Severity.ERROR
    needs = ("probe.parameters",)
    explains = (
        "frozen-parameter",
        "vanishing-gradient",
        "input-independent",
        "poor-initialization",
        "misaligned-labels",
        "missing-nonlinearity",
        "learning-rate-too-low",  # of what is left to learn
        "underfitting",
    )

    def judge(self, record: Record) -> Iterator[Finding]:
        raised = record.facts.get("probe.step", {}).get("raised")
        if raised:
            raise NotRun(f"training_step raised {raised}")
        entries = record.facts["probe.parameters"]["registered"]
        if entries and record.facts["probe.parameters"].get("losses", 1) == 0:
            if any(f.severity is Severity.ERROR for f in run(NonFiniteInput(), record).findings):
                raise NotRun("the input is not finite, and such batches may be left out")
            yield self.finding(
                "training_step returned no loss with a gradient, so no parameter changes",
                where=record.source("training_step") or "training_step",
                fix="return the loss from training_step, as the tensor that it was computed as",
                parameters=len(entries),
            )
            return
        entries = [e for e in entries if not e.get("waits")]
        silent = record.facts.get("probe.dependence", {}).get("unheard", ())
        cut = [e for e in entries if e["used"] and e["optimized"] and not e["reached"] and e["name"] not in silent]
        unheard = [e for e in entries if e["used"] and e["optimized"] and not e["reached"] and e["name"] in silent]
        flat = [e for e in entries if e["reached"] and e.get("flat") and e["optimized"]]
        unused = [e for e in entries if not e["used"] and not e["reached"] and e["optimized"]]
        lost = (
            "run in the forward pass but get no gradient",
            "look for detach, .data, no_grad, numpy or argmax between this module and the loss",
        )
        aside = "run in the forward pass, but nothing that they compute reaches the outputs", "use in forward what they return"
        zero = (
            "get a gradient of zero, since a rounding or a sign stands between them and the loss",
            "pass the gradient straight through: x + (x.round() - x).detach()",
        )
        idle = "did not run in training_step and get no gradient", "remove the module, or check that it should run"
        alarms, infos = ((cut, lost), (flat, zero)), ((unheard, aside), (unused, idle))
        every = [*((self.severity, *entry) for entry in alarms), *((Severity.INFO, *entry) for entry in infos)]
        for severity, group, (text, fix) in every:
            if not group:
                continue
            modules = sorted({e["name"].rpartition(".")[0] or e["name"] for e in group})
            share = sum(e["size"] for e in group) / max(1, sum(e["size"] for e in entries))
            names = listed(modules)
            yield self.finding(
                f"{len(group)} parameters ({share:.0%} of the trainable weights) of {names} {text}",
                where=f"self.{modules[0]}",
                fix=fix,
                severity=severity,
                parameters=len(group),
                share=share,
            )
