"""The sanity checks before training: start at chance, learn one batch by heart, decrease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from diagnose.record import Record
from diagnose.report.panels import TRAIN, line, lines
from diagnose.report.text import number, plural
from diagnose.report.values import Check, Picture, Section, Table
from diagnose.values import Diagnosis, Outcome, Status

QUESTIONS = {
    "probe.initial_loss": ("Starts where chance stands", "initial-loss"),
    "probe.overfit": ("Learns one batch by heart", "cannot-overfit-batch"),
    "probe.short_training": ("Loss decreases", "loss-not-decreasing"),
}


def checks_section(record: Record, diagnosis: Diagnosis) -> Section | None:
    """What was tried before training; ``None`` where nothing was."""
    probes = {name: record.facts[name] for name in record.facts if name.startswith("probe.")}
    tried = [name for name in QUESTIONS if name in probes or name in record.missing]
    if not probes and not tried:
        return None
    outcomes = {outcome.rule: outcome for outcome in diagnosis.outcomes}
    checks = tuple(check(name, probes.get(name), record.missing.get(name, ""), outcomes.get(QUESTIONS[name][1])) for name in tried)
    curves = []
    for name, title in (("probe.overfit", "Loss on one fixed batch"), ("probe.short_training", "Loss of a short training")):
        losses = (probes.get(name) or {}).get("losses") or []
        if losses:
            curves.append(curve(title, losses, probes[name]))
    pictures: tuple[Picture, ...] = ()
    if curves:
        fact = probes.get("probe.overfit") or probes["probe.short_training"]
        losses = fact["losses"]
        alt = f"Loss of the probes; it went from {number(losses[0])} to {number(losses[-1])} in {plural(len(losses) - 1, 'step')}"
        pictures = (Picture(name="checks", title="", alt=alt, panels=tuple(curves)),)
    rows = tuple(
        (name.removeprefix("probe."), key.replace("_", " "), value)
        for name, fact in probes.items()
        if name not in QUESTIONS and isinstance(fact, Mapping)
        for key, value in fact.items()
        if value is None or isinstance(value, (str, int, float))
    )
    other = Table(
        name="probes",
        title="Other probes",
        columns=("probe", "measured", "value"),
        formats=("text", "text", "number"),
        rows=rows,
        folded=True,
    )
    return Section(name="checks", title="Before training", checks=checks, pictures=pictures, tables=(other,) if rows else ())


def curve(title: str, losses: list[float], fact: Mapping[str, Any]) -> dict[str, Any]:
    guides = [{"y": fact[k], "label": f"{k} {number(fact[k])}"} for k in ("floor", "initial") if isinstance(fact.get(k), (int, float))]
    return lines(title, [line(np.arange(len(losses)), losses, "loss", TRAIN)], ylabel="loss", xlabel="step", guides=guides)


def check(name: str, fact: Mapping[str, Any] | None, missing: str, outcome: Outcome | None) -> Check:
    """The answer to one question; it has passed only where its rule looked and found nothing."""
    title, rule = QUESTIONS[name]
    measured = describe(name, fact) if fact else ""
    state: Literal["passed", "failed", "unjudged"] = "unjudged"
    if outcome is None:
        reason = "" if fact else f"not measured: {missing}"
        return Check(title=title, state=state, text=". ".join(filter(None, (measured, reason or "No rule looked at it"))) + ".", rule=rule)
    if outcome.status is Status.FOUND:
        return Check(title=title, state="failed", text=f"{outcome.findings[0].message} {measured}.".strip(), rule=rule)
    if outcome.status is Status.CLEAN:
        return Check(title=title, state="passed", text=f"{measured or 'Nothing found'}.", rule=rule)
    verb = "crashed" if outcome.status is Status.CRASHED else "did not run"
    return Check(
        title=title, state=state, text=f"{measured + '. ' if measured else ''}Rule {outcome.code} {verb}: {outcome.reason}.", rule=rule
    )


def describe(name: str, fact: Mapping[str, Any]) -> str:
    """The measured numbers in one clause."""
    if name == "probe.initial_loss":
        kind = f" for {plural(int(fact['classes']), 'class')}".replace("classs", "classes") if fact.get("classes") else ""
        return f"Loss {number(fact.get('loss'))} at the start, chance gives {number(fact.get('chance'))}{kind}"
    losses = fact.get("losses") or [None]
    first, last = fact.get("initial", losses[0]), fact.get("final", losses[-1])
    steps = fact.get("steps", len(losses) - 1)
    text = f"Loss went from {number(first)} to {number(last)} in {plural(int(steps), 'step')}"
    if fact.get("batch_size"):
        text += f" on {plural(int(fact['batch_size']), 'sample')}"
    return text + (f"; the lowest that is possible is {number(fact['floor'])}" if fact.get("floor") is not None else "")
