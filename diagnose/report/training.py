"""The training as curves: loss, accuracy, gradients, updates, activations, learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diagnose.record import Record, Series
from diagnose.report.panels import LAYERS, TRAIN, VAL, layered, line, lines, ramp
from diagnose.report.text import number, percent, plural
from diagnose.report.values import Picture, Section, Table

SIDES = (("train", "train", TRAIN), ("val", "validation", VAL))


def training_section(record: Record) -> Section | None:
    """What the run did, step by step; ``None`` where no step was recorded."""
    pictures = [p for p in (curves(record), gradient(record), layers(record), activations(record), pace(record)) if p is not None]
    tables = tuple(t for t in (metrics(record),) if t.rows)
    if not pictures and not tables:
        return None
    return Section(name="training", title="Training", notes=tuple(notes(record)), pictures=tuple(pictures), tables=tables)


def series(record: Record, name: str) -> Series | None:
    return record.series(name) if name in set(record.names()) else None


def notes(record: Record) -> list[str]:
    """How it ended, how often the gradient was clipped."""
    run = record.facts.get("run") or {}
    said = []
    if run.get("interrupted"):
        said.append(f"Interrupted: {run['interrupted']}.")
    done = []
    if run.get("epochs_done") is not None:
        most = run.get("max_epochs")
        done.append(
            f"{run['epochs_done']} of at most {plural(most, 'epoch')}" if most and most > 0 else plural(run["epochs_done"], "epoch")
        )
    if run.get("steps_done") is not None:
        done.append(plural(run["steps_done"], "optimizer step"))
    if done:
        said.append(f"Trained for {', '.join(done)}.")
    if run.get("stopped"):
        said.append(f"Stopped: {str(run['stopped']).rstrip('.')}.")
    told, clip = record.facts.get("clipping") or {}, clipped_share(record)
    if told.get("steps"):
        said.append(f"The gradient was clipped on {percent(told['share'])} of {plural(told['steps'], 'step')} ({clipped_at(told)}).")
    elif clip is not None:
        limit = f" (limit {number(run['clip_val'])}, by {run.get('clip_algorithm') or 'norm'})" if run.get("clip_val") else ""
        often = f"clipped on {percent(clip)} of the recorded steps" if clip else "never clipped on the recorded steps"
        said.append(f"The gradient was {often}{limit}.")
    return said


def clipped_at(told: Mapping[str, Any]) -> str:
    """What `GradientClipping` clipped at, from the fact ``clipping``."""
    limit = number(told.get("threshold"))
    if told["by"] == "percentile":
        return f"at percentile {number(told['percentile'])} of the norms so far, at last {limit}"
    return f"limit {limit}, by {told['by']}"


def clipped_share(record: Record) -> float | None:
    ratio = series(record, "clip/ratio")
    if ratio is None or not np.isfinite(ratio.value).any():
        return None
    known = ratio.value[np.isfinite(ratio.value)]
    return float(np.mean(known < 0.999))


def curves(record: Record) -> Picture | None:
    panels, alt = [], []
    for what, limits in (("loss", None), ("accuracy", (0.0, 1.02))):
        found = [(series(record, f"{side}/{what}"), label, colour) for side, label, colour in SIDES]
        drawn = [(s, label, colour) for s, label, colour in found if s is not None and len(s)]
        if not drawn:
            continue
        extra: dict[str, Any] = {"limits": limits} if limits else {}
        if what == "loss":
            chance = (record.facts.get("probe.initial_loss") or {}).get("chance")
            known = np.concatenate([s.value[np.isfinite(s.value)] for s, _, _ in drawn])
            extra["log"] = bool(len(known)) and bool(known.min() > 0) and bool(known.max() > 100 * np.median(known))
            extra["guides"] = [{"y": chance, "label": f"chance {number(chance)}"}] if isinstance(chance, (int, float)) else []
        panels.append(lines(what.capitalize(), [line(s.step, s.value, label, colour) for s, label, colour in drawn], ylabel=what, **extra))
        alt += [f"{label} {what} from {number(s.value[0])} to {number(s.value[-1])}" for s, label, _ in drawn]
    top = series(record, "prediction/top_share")
    if top is not None:
        panels.append(
            lines("Most frequent prediction", [line(top.step, top.value, "train", TRAIN)], ylabel="share of a batch", limits=(0.0, 1.02))
        )
    if not panels:
        return None
    note = "Curves of more than 240 points are drawn as means; the band is what lies between the lowest and the highest value."
    legend = tuple((label, colour) for side, label, colour in SIDES if f"{side}/loss" in record or f"{side}/accuracy" in record)
    return Picture(name="loss", title="Loss and accuracy", alt="; ".join(alt), note=note, panels=tuple(panels), legend=legend)


def gradient(record: Record) -> Picture | None:
    """Gradient norm before and after clipping, and the learning rate."""
    total, clipped, ratio, lr = (series(record, name) for name in ("grad_norm/total", "grad_norm/clipped", "clip/ratio", "lr"))
    panels, legend = [], []
    drawn = [(s, label, c) for s, label, c in ((total, "as computed", TRAIN), (clipped, "after clipping", VAL)) if s is not None]
    if drawn:
        limit = (record.facts.get("run") or {}).get("clip_val")
        guides = [{"y": limit, "label": f"limit {number(limit)}"}] if isinstance(limit, (int, float)) and limit > 0 else []
        panels.append(lines("Gradient norm", [line(s.step, s.value, n, c) for s, n, c in drawn], ylabel="norm", log=True, guides=guides))
        legend = [(label, c) for _, label, c in drawn]
    if ratio is not None and np.isfinite(ratio.value).any():
        left = line(ratio.step, ratio.value, "after clipping", VAL)
        panels.append(lines("Left by clipping", [left], ylabel="share of the norm", limits=(0, 1.05)))
    if lr is not None:
        columns = lr.value if lr.value.ndim == 2 else lr.value[:, None]
        names = lr.labels or tuple(f"group {i}" for i in range(columns.shape[1]))
        shades = (TRAIN,) if len(names) == 1 else ramp(len(names))
        rates = [line(lr.step, columns[:, i], n, c, band=False) for i, (n, c) in enumerate(zip(names, shades, strict=True))]
        positive = columns[np.isfinite(columns) & (columns > 0)]
        wide = bool(len(positive)) and bool(positive.max() > 1e3 * positive.min()) and bool(np.median(positive) < 0.1 * positive.max())
        panels.append(lines("Learning rate", rates, ylabel="learning rate", log=wide))
        legend += list(zip(names, shades, strict=True)) if len(names) > 1 else []
    if not panels:
        return None
    middle = number(float(np.nanmedian(total.value))) if total is not None and np.isfinite(total.value).any() else "–"
    alt = f"Gradient norm over training, median {middle}, and learning rate"
    note = stepping(record) if lr is not None else ""
    return Picture(name="gradient", title="Gradient and learning rate", alt=alt, note=note, panels=tuple(panels), legend=tuple(legend))


def stepping(record: Record) -> str:
    """Which schedules set the rate, and when each is stepped; by hand where the optimisation is."""
    run = record.facts.get("run") or {}
    said = []
    for schedule in run.get("schedulers") or ():
        every, unit = int(schedule.get("frequency") or 1), "epoch" if schedule.get("interval") == "epoch" else "optimizer step"
        when = f"after each {unit}" if every == 1 else f"after every {every} {unit}s"
        by_hand = run.get("automatic_optimization") is False
        said.append(f"{schedule.get('called') or schedule['name']}, stepped {'by the module itself' if by_hand else when}")
    return f"The rate follows {'; '.join(said)}." if said else ""


def layers(record: Record) -> Picture | None:
    wanted = (
        ("grad_norm/layers", "Gradient norm per layer", "norm", ()),
        ("update_ratio/layers", "Update to weight ratio", "ratio", ({"y": 1e-3, "label": "about 0.001 is usual"},)),
        ("weight_norm/layers", "Weight norm per layer", "norm", ()),
    )
    found = [(series(record, name), title, ylabel, guides) for name, title, ylabel, guides in wanted]
    return stacked("layers", "Layer by layer", [(s, t, y, {"log": True, "guides": g}) for s, t, y, g in found if s is not None])


def activations(record: Record) -> Picture | None:
    share = {"limits": (0.0, 1.02)}
    wanted: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("activation/mean", "Activation mean", "mean", {}),
        ("activation/std", "Activation spread", "standard deviation", {}),
        ("activation/dead", "Dead units", "share of units", share),
        ("activation/saturated", "Saturated units", "share of units", share),
    )
    found = [(series(record, name), title, ylabel, extra) for name, title, ylabel, extra in wanted]
    kept = [(s, t, y, e) for s, t, y, e in found if s is not None and np.isfinite(s.value).any()]
    return stacked("activations", "Activations", kept)


def stacked(name: str, title: str, wanted: list[tuple[Series, str, str, dict[str, Any]]]) -> Picture | None:
    """Panels of one curve per layer, under one legend."""
    usable = [(s, t, y, e) for s, t, y, e in wanted if s.value.ndim == 2 and s.value.shape[1]]
    if not usable:
        return None
    panels = tuple(lines(t, layered(s)[0], ylabel=y, **e) for s, t, y, e in usable)
    most = max(s.value.shape[1] for s, *_ in usable)
    note = f"{LAYERS} of {most} layers are drawn, from the first to the last." if most > LAYERS else ""
    legend = max((layered(s)[1] for s, *_ in usable), key=len)
    alt = f"{', '.join(t.lower() for _, t, *_ in usable)} over training for {plural(most, 'layer')}"
    return Picture(name=name, title=title, alt=alt, note=note, panels=panels, legend=legend)


def pace(record: Record) -> Picture | None:
    """Time per step, the share of it spent waiting for data, memory."""
    step, data, memory = (series(record, name) for name in ("time/step", "time/data", "memory/rss"))
    panels = []
    if step is not None:
        panels.append(lines("Time per step", [line(step.step, step.value * 1e3, "step", TRAIN)], ylabel="ms"))
    if step is not None and data is not None and len(step) == len(data):
        share = np.divide(data.value, step.value, out=np.full(len(step), np.nan), where=step.value > 0)
        panels.append(lines("Waiting for data", [line(step.step, share, "data", TRAIN)], ylabel="share of the step", limits=(0.0, 1.02)))
    if memory is not None:
        panels.append(lines("Memory of the process", [line(memory.step, memory.value / 2**20, "memory", TRAIN)], ylabel="MiB"))
    if not panels:
        return None
    return Picture(name="pace", title="Pace", alt="time per step, waiting for data and memory over training", panels=tuple(panels))


def metrics(record: Record) -> Table:
    """What the user's own code logged."""
    rows = []
    for name in sorted(record.names()):
        if name.startswith("metric/"):
            value = record.series(name).value
            known = value[np.isfinite(value)]
            if value.ndim == 1 and len(known):
                rows.append(
                    (name.removeprefix("metric/"), float(known[0]), float(known.min()), float(known.max()), float(known[-1]), len(value))
                )
    return Table(
        name="metrics",
        title="Logged by the run's own code",
        columns=("metric", "first", "lowest", "highest", "last", "rows"),
        formats=("text", "number", "number", "number", "number", "count"),
        rows=tuple(rows),
        folded=True,
    )
