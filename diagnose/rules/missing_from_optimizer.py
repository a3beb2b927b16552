"""Rule M208."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import run
from diagnose.values import Finding, Severity

STOOD = 2  # epochs


@dataclass(frozen=True, kw_only=True)
class MissingFromOptimizer(Rule):
    """A parameter that gets a gradient is in no optimizer, so that it never changes.

    ## What it measures
    The parameters that received a gradient in a training step, against those of all optimizers that `configure_optimizers` returned.
    Parameters that the module does not know, since they live in a plain list or dict, are found by the functions that used them.
    In training also those that were thawed, or added, after it began: they get gradients, no optimizer holds them, and they stood still
    for an epoch after the one in which they thawed; while training goes on, for two. Where an optimizer took others that thawed, and only
    those of batch norms stand outside, they were left out on purpose, as `BaseFinetuning` does with `train_bn=False`.

    ## Why it matters
    Such weights keep their first values. Those in a plain Python list also stay out of checkpoints and do not move to the GPU.

    ## When it is wrong
    Part of a network may be kept fixed by leaving it out of the optimizer. Set `requires_grad_(False)` on it: that says so, saves its
    gradients, and is silent here. Where only batch norms beside frozen weights are left out it is an `info`: `BaseFinetuning.freeze` thaws
    them by default. A backbone that such a callback will freeze is known to `check` where it is given the Trainer, or where it is frozen.

    ## What to try
    Keep submodules in `nn.ModuleList` or `nn.ModuleDict`, and give the optimizer `self.parameters()`: it passes over what is frozen.
    Weights that were left out and thaw later need `optimizer.add_param_group`; `BaseFinetuning.unfreeze_and_add_param_group` does it.

    ## References
    pytorch issues 715 and 59925.
    """

    code = "M208"
    name = "missing-from-optimizer"
    severity = Severity.ERROR
    needs = ("probe.parameters",)
    explains = ("frozen-parameter", "misaligned-labels", "input-independent", "learning-rate-too-low", "underfitting")

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["probe.parameters"]
        if not seen["optimizers"]:
            raise NotRun("configure_optimizers returned no optimizer")
        stray = seen["unregistered"]
        if stray:
            owners = _owners(stray)
            yield self.finding(
                f"{len(stray)} parameters ({sum(e['size'] for e in stray)} weights) of {', '.join(owners[:4])} are used but "
                "not registered with the module, so they are in no optimizer",
                where=f"self.{owners[0]}",
                fix="keep the layers in nn.ModuleList or nn.ModuleDict instead of a plain list or dict",
                parameters=len(stray),
            )
        left = [e for e in seen["registered"] if e["reached"] and not e["optimized"]]
        if left:
            modules = _owners(left)
            share = sum(e["size"] for e in left) / max(1, sum(e["size"] for e in seen["registered"]))
            norms = bool(seen.get("frozen")) and all(e.get("norm") for e in left)  # what freezing all but batch norms leaves
            yield self.finding(
                f"{len(left)} parameters ({share:.0%} of the trainable weights) of {', '.join(modules[:4])} get gradients but "
                "are in no optimizer",
                where=f"self.{modules[0]}",
                fix=f"add them in configure_optimizers{_place(record)}, or freeze them with requires_grad_(False)",
                severity=Severity.INFO if norms else None,
                parameters=len(left),
                share=share,
            )
        yield from self._thawed(record)

    def _thawed(self, record: Record) -> Iterator[Finding]:
        """Weights that were frozen, or were not there, when the optimizers were made."""
        facts = record.facts.get("thawed", {"parameters": [], "trainable": 0})
        needed = 1 if run(record).get("finished") else STOOD
        late = [e for e in facts["parameters"] if e["epochs"] >= needed]
        chosen = bool(facts.get("taken")) and all(e.get("norm") for e in late)  # the rest of their network is in an optimizer
        if late and not chosen:
            modules = _owners(late)
            share = sum(e["size"] for e in late) / facts["trainable"]
            yield self.finding(
                f"{len(late)} parameters ({share:.0%} of the trainable weights) of {', '.join(modules[:4])}, thawed or added in training, "
                "get gradients but are in no optimizer",
                where=f"self.{modules[0]}",
                fix=f"give the optimizer all parameters from the start{_place(record)}, or add these by add_param_group when they thaw",
                parameters=len(late),
                share=share,
                epochs=max(e["epochs"] for e in late),
            )


def _owners(parameters: Sequence[Mapping[str, Any]]) -> list[str]:
    """The modules that hold some parameters, each once."""
    return sorted({e["name"].rpartition(".")[0] or e["name"] for e in parameters})


def _place(record: Record) -> str:
    place = record.source("configure_optimizers")
    return f" ({place})" if place else ""
