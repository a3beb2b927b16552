"""The sanity checks: start at chance, learn one batch by heart, decrease, batch norm alike in both modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from diagnose.record import Record
from diagnose.report.batch_norm import batch_norm_check, batch_norm_table
from diagnose.report.panels import TRAIN, line, lines
from diagnose.report.text import number, plural, sentence
from diagnose.report.values import Check, Picture, Section, Table
from diagnose.values import Diagnosis, Outcome, Status

QUESTIONS = {
    "probe.initial_loss": ("Starts where chance stands", "initial-loss"),
    "probe.overfit": ("Learns one batch by heart", "cannot-overfit-batch"),
    "probe.learning": ("Learns what holds on other batches", "misaligned-labels"),
    "train/loss": ("Loss decreases in training", "loss-not-decreasing"),
}
CURVES = {
    "probe.overfit": "Loss on one fixed batch",
    "probe.learning": "Loss of a short training",
    "probe.short_training": "Loss of a short training",
}


def checks_section(record: Record, diagnosis: Diagnosis) -> Section | None:
    """What was tried on a few batches, and whether training then got anywhere; ``None`` where nothing was tried."""
    probes = {name: fact for name, fact in record.facts.items() if name.startswith("probe.") and isinstance(fact, Mapping)}
    tried = [name for name in QUESTIONS if name in record or name in record.missing]
    norms = batch_norm_check(record)
    if not probes and not tried and norms is None:
        return None
    outcomes = {outcome.rule: outcome for outcome in diagnosis.outcomes}
    checks = tuple(check(name, describe(name, record), record.missing.get(name, ""), outcomes.get(QUESTIONS[name][1])) for name in tried)
    checks += (norms,) if norms is not None else ()
    drawn = [(title, probes[name]) for name, title in CURVES.items() if probes.get(name, {}).get("losses")]
    alt = "; ".join(f"{title}: from {number(fact['losses'][0])} to {number(fact['losses'][-1])}" for title, fact in drawn)
    panels = tuple(curve(title, fact["losses"], fact) for title, fact in drawn)
    pictures = (Picture(name="checks", title="", alt=alt, panels=panels),) if panels else ()
    rows = tuple(
        (name.removeprefix("probe."), key.replace("_", " "), value)
        for name, fact in probes.items()
        for key, value in fact.items()
        if value is None or isinstance(value, (str, int, float))
    )
    other = Table(
        name="probes",
        title="All probes",
        columns=("probe", "measured", "value"),
        formats=("text", "text", "number"),
        rows=rows,
        folded=True,
    )
    return Section(
        name="checks",
        title="Sanity checks",
        checks=checks,
        pictures=pictures,
        tables=tuple(t for t in (batch_norm_table(record), other) if t.rows),
    )


def curve(title: str, losses: list[float], fact: Mapping[str, Any]) -> dict[str, Any]:
    guides = [{"y": fact[k], "label": f"{k} {number(fact[k])}"} for k in ("floor", "chance") if isinstance(fact.get(k), (int, float))]
    return lines(title, [line(np.arange(len(losses)), losses, "loss", TRAIN)], ylabel="loss", xlabel="step", guides=guides)


def check(name: str, measured: str, missing: str, outcome: Outcome | None) -> Check:
    """The answer to one question; it has passed only where its rule looked and found nothing."""
    title, rule = QUESTIONS[name]
    state: Literal["passed", "failed", "unjudged"] = "unjudged"
    if outcome is None:
        said = [measured, f"not measured: {missing}" if missing else "no rule looked at it"]
    elif outcome.status is Status.FOUND:
        state, said = "failed", [outcome.findings[0].message, measured]
    elif outcome.status is Status.CLEAN:
        state, said = "passed", [measured or "nothing found"]
    else:
        verb = "crashed" if outcome.status is Status.CRASHED else "did not run"
        said = [measured, f"rule {outcome.code} {verb}: {outcome.reason}"]
    return Check(title=title, state=state, text=" ".join(sentence(text) for text in said if text), rule=rule)


def describe(name: str, record: Record) -> str:
    """The measured numbers in one clause, ``""`` where there are none."""
    if name == "train/loss":
        return describe_training(record)
    fact = record.facts.get(name)
    if not isinstance(fact, Mapping):
        return ""
    if name == "probe.initial_loss":
        kind = f" for {plural(int(fact['classes']), 'class')}" if fact.get("classes") else ""
        return f"loss {number(fact.get('loss'))} at the start, chance gives {number(fact.get('chance'))}{kind}"
    losses = fact.get("losses") or [None]
    first, last = fact.get("initial", losses[0]), fact.get("final", losses[-1])
    text = f"loss went from {number(first)} to {number(last)} in {plural(int(fact.get('steps') or len(losses)), 'step')}"
    if fact.get("batch_size"):
        text += f" on {plural(int(fact['batch_size']), 'sample')}"
    if fact.get("floor") is not None:
        text += f"; the lowest that is possible is {number(fact['floor'])}"
    if fact.get("held_out") is not None:
        text += f"; on {plural(int(fact.get('samples') or 0), 'other sample')} predictions match the targets "
        text += f"{fact['held_out']:.1f} standard deviations better than shuffled ones"
    return text


def describe_training(record: Record) -> str:
    """Mean loss of the first and of the last tenth of training."""
    if "train/loss" not in set(record.names()):
        return ""
    losses = record.series("train/loss").value
    losses = losses[np.isfinite(losses)]
    if not len(losses):
        return "no loss is finite"
    tenth = max(1, len(losses) // 10)
    first, last = (number(float(part.mean())) for part in (losses[:tenth], losses[-tenth:]))
    return f"mean loss {first} in the first tenth of training, {last} in the last ({plural(len(losses), 'batch')})"
