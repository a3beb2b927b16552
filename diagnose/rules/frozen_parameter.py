"""Rule T313."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule, require
from diagnose.rules.evidence import losses, planned_steps, refuse_early, refuse_games, run, update_of
from diagnose.rules.games import players
from diagnose.rules.wording import listed
from diagnose.statistics import finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class FrozenParameter(Rule):
    """A layer that has an optimizer and a gradient never changes.

    ## What it measures
    Whether any weight of the module has moved from where it was when training began. If none has after at least `batches` batches with a
    loss and three times as many as are accumulated, in `done` of the run (under manual optimisation at its end), that is an error: the
    message says whether an optimizer was seen to step, and whether its rate is zero. Otherwise, layers whose trainable weights moved by
    exactly nothing in each of at least `records` measured steps, although a gradient was there (possibly zero) and other layers moved; or
    had no gradient in any of them, in a run that is over, although the loss reached them before training and an optimizer holds them. Also
    layers that move, but at their pace would not come to `far` of their size by the end of the run and go less than `slow` of the way of
    the fastest layer, while their gradient is at least `pull` of that layer's: then it is their rate that holds them, unless no group has
    less than `alike` of the rate of any other. Of several optimizers that have a loss each, one that never stepped by the end, though
    `batches` backward passes left it gradients, is an error, and so is one that stepped as often and moved none of its weights in `records`
    measured steps. One that never stepped nor got a gradient, in a run of as many batches and two epochs that came to its planned end, is
    a warning, unless another one that stepped holds its layers as well.

    And an attribute `requires_grad` that was given to a module: its parameters do not follow it. They are then frozen still, or trained
    although they were to be frozen. And a callback or module that thaws what is frozen at an epoch or step to which the run does not come,
    by the name and value of its attribute (`unfreeze_at_epoch=10` in a run of 5 epochs); a value above `never` times the run's length is
    taken for "never".

    And whether the linear layer whose results a loss of classes is given is frozen as torch drew it, together with other layers: of
    `weights` or more none lies beyond the bound of a uniform distribution and the largest but `hair` over their number below it, and their
    distance from that distribution (Kolmogorov and Smirnov) is at most `uniform` over the root of their number. A frozen layer that was
    trained has weights beyond the bound.

    ## Why it matters
    The layer is trained in the configuration and not in fact: a zero learning rate, a gradient that is always zero, weights that are
    overwritten after each step.

    ## When it is wrong
    A run without an optimizer is not judged. Layers without any gradient are left to no-gradient and count as unused here, layers with a
    tiny one to vanishing-gradient. Rates that decay from layer to layer, as in fine-tuning, do so by far less than `slow`. Very small
    rates in half precision round to no change, which is reported rightly. A last layer that is frozen at random on purpose, in a network
    of which other layers are frozen, too, is reported wrongly; where it alone is frozen, or a hook thaws layers, nothing is said.

    ## What to try
    Look at the learning rate of this layer's parameter group, and at what lies between the layer and the loss. Where nothing moves: an
    overridden `optimizer_step` has to call `optimizer.step(closure=optimizer_closure)`, a manual one `optimizer.step()`.

    ## References
    SageMaker Debugger (weights unchanged over three steps, rtol 1e-5).
    """

    code = "T313"
    name = "frozen-parameter"
    severity = Severity.WARNING
    needs = ("weights/moved", "train/loss", "run")
    instead = ("asked", "awaited", "probe.frozen_head")
    explains = ("learning-rate-too-low", "underfitting", "undertrained")

    batches: int = 30
    done: float = 0.3
    records: int = 5
    far: float = 1e-3
    slow: float = 1e-4
    pull: float = 0.01
    alike: float = 0.1
    never: float = 20.0
    weights: int = 100
    hair: float = 10.0
    uniform: float = 1.95

    def judge(self, record: Record) -> Iterator[Finding]:
        unheeded = record.facts.get("asked")
        if unheeded:
            yield from map(self._unheeded, unheeded)
            return
        late = self._too_late(record)
        if late is not None:
            yield late
            return
        random = self._random_head(record)
        if random is not None:
            yield random
            return
        require(record, *self.needs)
        if not record.series("weights/moved").value.any():
            yield self._standstill(record)
            return
        idle = list(self._idle(record))
        if idle:
            yield from idle
            return
        refuse_games(record)
        for need in ("update_ratio/layers", "grad_norm/layers"):
            if need not in record:
                raise NotRun(record.missing.get(need, f"{need} was not recorded"))
        updates, gradients = record.series("update_ratio/layers"), record.series("grad_norm/layers")
        if len(updates) < self.records:
            raise NotRun(f"too short: {len(updates)} measured steps, at least {self.records} are needed")
        moved = np.nanmax(np.nan_to_num(updates.value, nan=0.0, posinf=1.0), axis=0)
        if not moved.any():
            raise NotRun("no layer moved in a measured step: the optimizer may step elsewhere")
        fastest, cleared = int(moved.argmax()), list[str]()
        for place, name in enumerate(updates.labels):
            column = finite(updates.value[:, place])
            if len(column) < self.records or name not in gradients.labels:
                continue
            norms = finite(gradients.column(name))
            if not len(norms) and moved[place] == 0 and self._cleared(record, name):
                cleared.append(name)
            if len(norms) < self.records:
                continue
            if moved[place] == 0:
                why = "its gradient is zero" if norms.max() == 0 else f"its gradient has a norm of {median(norms):.2g}"
                said = f"{name} did not change in any of {len(column)} measured steps; {why}"
            elif self._held(record, name, updates.labels[fastest]):
                said = (
                    f"a step moves {name} by {median(column):.1g} of its size, {updates.labels[fastest]} by "
                    f"{median(finite(updates.value[:, fastest])):.1g}, though its gradient is not much smaller"
                )
            else:
                continue
            yield self.finding(
                said,
                where=name,
                fix="look at the learning rate of its parameter group and at what stands between it and the loss",
                steps=len(column),
                update=median(column),
                gradient=median(norms),
            )
        if cleared:
            yield self.finding(
                f"{listed(cleared)} had no gradient in any of "
                f"{len(updates)} measured steps and did not change, though the loss reached them at first and an optimizer holds them",
                where=cleared[0],
                fix="look for what takes the gradients away before the step: a hook that waits for an epoch that the run does not come to",
                steps=len(updates),
                layers=len(cleared),
            )

    def _unheeded(self, entry: Mapping[str, Any]) -> Finding:
        """An attribute of a module that was to freeze or thaw its parameters."""
        name, wanted = entry["name"], entry["wanted"]
        return self.finding(
            f"{name}.requires_grad = {wanted} was set on a module, which does nothing to its parameters: {entry['parameters']} of them are "
            f"{'frozen still' if wanted else 'trained all the same'}",
            where=name,
            fix=f"call self.{name}.requires_grad_({wanted})" + (", and see that the optimizer holds them" if wanted else ""),
            parameters=entry["parameters"],
        )

    def _too_late(self, record: Record) -> Finding | None:
        """What is frozen until a moment that the run does not reach."""
        waiting, facts = record.facts.get("awaited") or {}, record.facts.get("run", {})
        for moment in waiting.get("moments", ()):
            length = planned_steps(record) if moment["unit"] == "steps" else facts.get("max_epochs")
            if length and length <= moment["at"] <= self.never * length and (moment["unit"] or facts.get("finished")):
                said = f"{moment['who']} is {moment['at']} in a run of {length:g} {moment['unit'] or 'epochs'}"
                return self.finding(
                    f"{said}, which ends before it thaws {listed(waiting['frozen'])}",
                    where=waiting["frozen"][0],
                    fix=f"thaw it before the end: set {moment['who'].rpartition('.')[2]} below {length:g}, or train for longer",
                    at=moment["at"],
                    length=length,
                    limit=self.never,
                )
        return None

    def _random_head(self, record: Record) -> Finding | None:
        """The last layer, frozen at the values that it was drawn with."""
        seen = record.facts.get("probe.frozen_head")
        if seen is None or seen["weights"] < self.weights or not seen["others"] or record.facts.get("awaited"):
            return None
        count = seen["weights"]
        if not 1 - self.hair / count <= seen["largest"] <= 1 + 1e-6 or seen["distance"] > self.uniform / count**0.5:
            return None
        if not any(e["reached"] and e["optimized"] for e in record.facts.get("probe.parameters", {}).get("registered", ())):
            return None
        if "grad_norm/layers" in record and seen["name"] in record.series("grad_norm/layers").labels:
            return None  # thawed meanwhile
        return self.finding(
            f"{seen['name']}, the last layer before the loss, is frozen at the random values that torch drew: all {count} weights "
            f"lie within their first bounds, and layers before it are trained",
            where=seen["name"],
            fix=f"train it: call self.{seen['name']}.requires_grad_(True) after the other layers are frozen",
            weights=count,
            largest=seen["largest"],
            distance=seen["distance"],
            limit=self.uniform / count**0.5,
        )

    def _idle(self, record: Record) -> Iterator[Finding]:
        """Of several optimizers those that leave their weights where they were."""
        known, done = list(players(record, weights=1)), run(record)
        over = done.get("finished") and done.get("epochs_done", 0) > 1 and len(record.series("train/loss")) >= self.batches
        stepped = {layer for player in known if player.steps for layer in player.layers}
        for player in known:
            severity = Severity.ERROR
            if not player.steps and player.trainable and not player.waiting and over and not stepped & {*player.layers}:
                said = f"the optimizer of {player.name} never stepped, and no backward pass left it a gradient"
                fix = "look at the condition under which it is to step: global_step counts the steps of all optimizers"
                severity = Severity.WARNING
            elif not player.steps and player.waiting >= self.batches:
                said = f"the optimizer of {player.name} never stepped, though {player.waiting} backward passes left it gradients"
                fix = "call its step() after the backward pass of its loss"
            elif player.steps >= self.batches and player.watched >= self.records and not len(player.updates):
                without = "" if len(player.pulls) else " without any gradient"
                said = f"the optimizer of {player.name} stepped {player.steps} times{without}, and none of its weights has moved"
                fix = (
                    "look at its learning rate"
                    if len(player.pulls)
                    else "clear its gradients before the backward pass, not between it and the step"
                )
            else:
                continue
            yield self.finding(
                said,
                where=record.source("training_step") or player.name,
                fix=fix,
                severity=severity,
                steps=player.steps,
                passes=player.waiting,
                limit=self.batches,
            )

    def _standstill(self, record: Record) -> Finding:
        """No weight has moved since training began.

        Raises:
            NotRun: There is no optimizer, or it may come to step yet.
        """
        facts = run(record)
        if not facts.get("optimizers"):
            raise NotRun("the run has no optimizer")
        refuse_early(record, 1.0 if not facts.get("automatic_optimization", True) else self.done)
        needed = max(self.batches, 3 * int(facts.get("accumulate") or 1))
        seen = len(losses(record, needed))
        rates = np.nan_to_num(record.series("lr").value) if "lr" in record else np.ones(1)  # groups that came later
        stepped, idle = "grad_norm/total" in record, not rates.any()
        if not stepped and "zero_grad/backwards" in record:
            why, fix = (
                "the optimizer steps without any gradient",
                "clear the gradients before the backward pass, not between it and the step",
            )
        elif not stepped:
            why, fix = "no optimizer was seen to step", "call optimizer.step(closure=optimizer_closure) in optimizer_step, in every batch"
        elif idle:
            why, fix = "the learning rate is 0", "look at the learning rate and at what the scheduler multiplies it by"
        else:
            why, fix = "the optimizer steps without moving them", "give the optimizer self.parameters(), and look at the gradients"
        return self.finding(
            f"no weight has changed in {seen} batches: {why}",
            where=record.source("optimizer_step") if not stepped else "optimizer",
            fix=fix,
            severity=Severity.ERROR,
            batches=seen,
            limit=needed,
            stepped=stepped,
        )

    def _cleared(self, record: Record, name: str) -> bool:
        """Whether, in a run that is over, a layer is in an optimizer and the loss reached it before training."""
        known = record.facts.get("probe.parameters", {}).get("registered", ())
        own = [e for e in known if e["name"].rpartition(".")[0] == name]
        return bool(run(record).get("finished") and own) and all(e["reached"] and e["optimized"] for e in own)

    def _held(self, record: Record, name: str, fastest: str) -> bool:
        """Whether a layer gets a gradient like that of the fastest layer and yet comes nowhere."""
        steps, gradients, pace = planned_steps(record), record.series("grad_norm/layers"), update_of(record, name)
        if steps is None or pace * steps >= self.far or pace >= self.slow * update_of(record, fastest) or self._alike(record):
            return False
        pulls = finite(gradients.column(fastest)) if fastest in gradients.labels else ()
        own = finite(gradients.column(name))
        if 2 * len(own) < len(pulls):  # an expert that few batches choose: without a gradient it stands still
            return False
        return bool(len(pulls) and median(own) >= self.pull * median(pulls) > 0)

    def _alike(self, record: Record) -> bool:
        """Whether all parameter groups have nearly the same rate: then no layer is held by its own."""
        rates = np.nanmax(record.series("lr").value, axis=0) if "lr" in record else np.empty(0)
        return bool(len(rates) and rates.min() > self.alike * rates.max())
