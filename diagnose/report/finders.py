"""What the range test and the search for a batch size found: curves, and suggestions with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diagnose.record import Record
from diagnose.report.panels import GUIDE, TRAIN, VAL, line, lines
from diagnose.report.text import number
from diagnose.report.values import Headline, Picture, Section

RATE, BATCH = "probe.lr_range", "probe.batch_size"


def finder_sections(record: Record) -> list[Section | None]:
    """A section per finder that ran, or that could not run."""
    return [rate_section(record), batch_section(record)]


def suggestions(record: Record) -> tuple[Headline, ...]:
    """The suggested values, for the first screen."""
    found = []
    rate, batch = record.facts.get(RATE) or {}, record.facts.get(BATCH) or {}
    if rate.get("suggestion") is not None:
        own = {"baseline": rate["own"], "baseline_name": "of the run"} if rate.get("own") is not None else {}
        found.append(Headline(name="learning rate", value=rate["suggestion"], scope="suggested", **own))
    for key, name in (("fits", "largest batch that fits"), ("knee", "batch from which it is no faster")):
        if batch.get(key) is not None:
            found.append(Headline(name=name, value=batch[key], baseline=batch["own"], baseline_name="of the run", scope="batch size"))
    noise = batch.get("noise") or {}
    if noise.get("value") is not None:
        found.append(Headline(name="gradient noise scale", value=noise["value"], low=noise["low"], high=noise["high"], scope="batch size"))
    return tuple(found)


def finder_sentences(record: Record) -> list[str]:
    """The findings of both in sentences."""
    sentences = []
    rate, batch = record.facts.get(RATE), record.facts.get(BATCH)
    if rate is not None:
        sentences.append(rate_said(rate))
    elif RATE in record.missing:
        sentences.append(f"No learning rate is suggested: {record.missing[RATE]}.")
    if batch is not None:
        sentences += batch_said(batch)
    elif BATCH in record.missing:
        sentences.append(f"No batch size is suggested: {record.missing[BATCH]}.")
    return sentences


def rate_said(rate: Mapping[str, Any]) -> str:
    if rate.get("suggestion") is None:
        return f"No learning rate is suggested: {rate['reason']}."
    text = f"Suggested learning rate: {number(rate['suggestion'])}"
    seeds = rate.get("seeds") or ()
    text += f", by single seeds {number(min(seeds))} to {number(max(seeds))}" if len(seeds) > 1 else ""
    text += f"; the loss rises for good above {number(rate['edge'])}" if rate.get("edge") is not None else ""
    text += f"; the run's own is {number(rate['own'])}" if rate.get("own") is not None else ""
    used = rate.get("used")
    return f"{text}." + (f" This run was trained with {number(used)}." if used is not None else "")


def batch_said(batch: Mapping[str, Any]) -> list[str]:
    said = []
    if batch.get("fits") is not None:
        room = f"{batch['per_sample'] / 2**20:.3g} MiB per sample in {batch['memory'] / 2**30:.3g} GiB"
        said.append(f"The largest power of two that fits in memory is {number(batch['fits'])} ({room}, a fifth of it left free).")
    if batch.get("samples"):
        said.append(f"The training data have {number(batch['samples'])} samples.")
    if batch.get("knee") is not None:
        said.append(f"From {number(batch['knee'])} on, doubling the batch brings less than a quarter more samples per second.")
    elif batch.get("sizes"):
        said.append(f"Up to {number(batch['sizes'][-1])}, each doubling of the batch brings more samples per second.")
    noise = batch.get("noise") or {}
    if noise.get("value") is not None:
        span = f"{number(noise['low'])} to {number(noise['high'])}"
        said.append(
            f"The gradient noise scale at these weights is {number(noise['value'])} samples (95 % interval {span}): well below it twice "
            "the batch is worth nearly twice the steps, well above it hardly more. It grows as training goes on."
        )
    elif noise.get("reason"):
        said.append(f"No gradient noise scale: {noise['reason']}.")
    return said


def rate_section(record: Record) -> Section | None:
    rate = record.facts.get(RATE)
    if rate is None and RATE not in record.missing:
        return None
    notes = [s for s in finder_sentences(record) if "learning rate" in s]
    pictures = (rate_picture(rate),) if rate else ()
    return Section(name="learning-rate-range", title="Learning-rate range test", notes=tuple(notes), pictures=pictures)


def rate_picture(rate: Mapping[str, Any]) -> Picture:
    """Each seed thin, their smoothed median thick, over the logarithm of the rate."""
    known = np.array([v for v in rate["median"] if v is not None and np.isfinite(v)])
    curves = [{**line(rate["rates"], losses, f"seed {i}", TRAIN), "faint": True} for i, losses in enumerate(rate["losses"])]
    curves.append(line(rate["rates"], rate["median"], "median, smoothed", TRAIN))
    marks = [
        {"x": rate[key], "label": f"{label} {number(rate[key])}", "colour": colour, "dash": dash}
        for key, label, colour, dash in (("suggestion", "suggested", VAL, False), ("own", "the run's own", GUIDE, True))
        if rate.get(key) is not None
    ]
    extra: dict[str, Any] = {}
    if len(known):
        start = float(np.median(known[: max(5, len(known) // 5)]))
        reach = max(start - float(known.min()), 1e-3 * abs(start), 1e-12)
        extra["limits"] = (float(known.min()) - 0.15 * reach, start + 0.8 * reach)
    panel = lines("Loss along growing rates", curves, ylabel="loss", xlabel="learning rate", xlog=True, marks=marks, **extra)
    alt = (
        f"Loss of {len(rate['losses'])} seeds while the learning rate grows from {number(rate['rates'][0])} to {number(rate['rates'][-1])}"
    )
    note = "Thin: each seed. Thick: their median, smoothed. One step per rate, from the same weights."
    return Picture(
        name="lr-range", title="Learning-rate range test", alt=alt, note=note, panels=(panel,), legend=legend(marks, "median, smoothed")
    )


def legend(marks: Sequence[Mapping[str, Any]], curve: str) -> tuple[tuple[str, str], ...]:
    """The curve and its upright lines by colour."""
    return ((curve, TRAIN), *((mark["label"], mark["colour"]) for mark in marks))


def batch_section(record: Record) -> Section | None:
    batch = record.facts.get(BATCH)
    if batch is None and BATCH not in record.missing:
        return None
    notes = batch_said(batch) if batch else [f"No batch size is suggested: {record.missing[BATCH]}."]
    pictures: tuple[Picture, ...] = ()
    if batch and batch.get("sizes"):
        marks = [
            {"x": x, "label": f"{label} {number(x)}", "colour": colour, "dash": dash}
            for x, label, colour, dash in (
                (batch.get("knee"), "no faster from", VAL, False),
                (batch.get("own"), "the run's own", GUIDE, True),
            )
            if x is not None
        ]
        curve = line(batch["sizes"], batch["speeds"], "samples per second", TRAIN)
        panel = lines("Speed by batch size", [curve], ylabel="samples/s", xlabel="batch size", xlog=True, log=True, marks=marks)
        alt = f"Samples per second for batches of {batch['sizes'][0]} to {batch['sizes'][-1]} samples"
        pictures = (Picture(name="batch-size", title="Batch size", alt=alt, panels=(panel,), legend=legend(marks, "samples per second")),)
    return Section(name="batch-size", title="Batch size", notes=tuple(notes), pictures=pictures)
