"""What a report says, as plain frozen values; every format is a function of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from diagnose.report.text import plain
from diagnose.values import Diagnosis

SCHEMA = 1

Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A number that belongs on the first screen.

    Attributes:
        name: What it is: ``"accuracy"``.
        value: The number, ``None`` where it is undefined.
        low: Lower end of its 95 % confidence interval.
        high: Upper end of its 95 % confidence interval.
        baseline: The same number for a predictor that has learned nothing.
        baseline_name: That predictor: ``"majority class"``.
        independent: The same number for the model itself, if its predictions are dealt to the samples at random.
        scope: Where it was measured: ``"test, 360 samples"``.
        better: Which direction is good.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    baseline_name: str = ""
    independent: float | None = None
    scope: str = ""
    better: Literal["higher", "lower"] = "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question that was put to the run, and its answer.

    ``state`` is ``passed`` only where a rule looked and found nothing, or a number stayed within the limit that the text names;
    ``unjudged`` where nothing looked.
    """

    title: str
    state: Literal["passed", "failed", "unjudged"]
    text: str
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under titled columns; ``formats`` holds one of ``text``, ``number``, ``share``, ``count`` per column."""

    name: str
    title: str
    columns: tuple[str, ...]
    formats: tuple[Literal["text", "number", "share", "count"], ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    footer: int = 0
    folded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure as data: panels side by side under one legend.

    Attributes:
        name: File name without suffix.
        title: What it shows.
        alt: The same for those who cannot see it, with the numbers that matter.
        note: What to keep in mind while reading it.
        panels: JSON values; ``kind`` names the function that draws the panel (a key of `diagnose.report.drawing.DRAW`), the rest are its
            arguments.
        shared: Arguments that all panels have in common.
        legend: Labels with their colours.
    """

    name: str
    title: str
    alt: str
    note: str = ""
    panels: tuple[Mapping[str, Any], ...] = ()
    shared: Mapping[str, Any] = field(default_factory=dict)
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An input of the model beside what it should have given.

    Attributes:
        row: Its place in the order of the loader, from 0.
        name: What it is called: its id, or its row.
        true: Its class or value.
        predicted: What the model gave.
        loss: Its loss.
        image: A picture of it as a data URI, or ``""``.
        text: Its values or tokens, or ``""``.
    """

    row: int
    name: str
    true: str
    predicted: str
    loss: float | None = None
    image: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Samples to look at."""

    name: str
    title: str
    note: str = ""
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page: text, checks, pictures, galleries and tables, shown in this order."""

    name: str
    title: str
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    pictures: tuple[Picture, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    tables: tuple[Table, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Section:
        """The inverse of ``dataclasses.asdict``."""
        parts: dict[str, Any] = {"checks": Check, "pictures": Picture, "tables": Table}
        made = {name: tuple(known(kind, value) for value in data.get(name) or ()) for name, kind in parts.items()}
        galleries = tuple(
            known(Gallery, {**gallery, "samples": tuple(known(Sample, sample) for sample in gallery["samples"])})
            for gallery in data.get("galleries") or ()
        )
        section: Section = known(cls, {**data, **made, "galleries": galleries})
        return section


def known(kind: Any, data: Mapping[str, Any]) -> Any:
    """A value of its fields; what a later version has added is passed over."""
    return kind(**{name: value for name, value in data.items() if name in kind.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a report says.

    Attributes:
        title: Name of the run.
        subtitle: What was run, in a line.
        created: When the report was made, as the caller wrote it.
        tone: The worst of it: ``error``, ``warning``, ``interrupted`` where the run broke off without a finding, ``clean``, or ``unknown``
            where nothing was judged.
        badge: What stands on the badge beside the verdict; by default the word of the tone.
        verdict: The answer in a sentence or two.
        diagnosis: The outcome of every rule.
        headlines: The numbers of the first screen.
        sections: The rest of the page.
        pages: Documentation of the rules that found something, by code, as Markdown.
        source: The user's own places by concept, such as ``{"training_step": "model.py:31"}``.
        stages: Where the seconds went, as ``(name, seconds)``.
        schema: Version of this layout.
    """

    title: str
    subtitle: str = ""
    created: str = ""
    tone: Literal["error", "warning", "interrupted", "clean", "unknown"] = "unknown"
    badge: str = ""
    verdict: str = ""
    diagnosis: Diagnosis = Diagnosis()
    headlines: tuple[Headline, ...] = ()
    sections: tuple[Section, ...] = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[tuple[str, float], ...] = ()
    schema: int = SCHEMA

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(picture for section in self.sections for picture in section.pictures)

    def to_json(self) -> str:
        """The report as JSON; numbers that JSON lacks are ``null``."""
        data = {f: getattr(self, f) for f in self.__slots__ if f != "diagnosis"}
        for name in ("headlines", "sections"):
            data[name] = [asdict(value) for value in data[name]]
        data["diagnosis"] = self.diagnosis.to_dict()
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read a report back; it equals the one that was written.

        Raises:
            ValueError: The text is no report, or one of a newer schema.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"expected a report in JSON, got text that is not JSON: {error}") from error
        if not isinstance(raw, dict) or "schema" not in raw or "diagnosis" not in raw:
            raise ValueError("expected a report (an object with 'schema' and 'diagnosis'), got other JSON: write one with write_report")
        if not isinstance(raw["schema"], int) or raw["schema"] > SCHEMA:
            raise ValueError(f"the report has schema {raw['schema']!r}, this version reads up to {SCHEMA}: update lightning-diagnose")
        try:
            diagnosis = Diagnosis.from_dict(raw.pop("diagnosis"))
            data = plain(raw)
            sections = tuple(Section.from_dict(section) for section in data["sections"])
            headlines = tuple(known(Headline, headline) for headline in data["headlines"])
            report: Report = known(cls, {**data, "diagnosis": diagnosis, "headlines": headlines, "sections": sections})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"expected a report of schema {SCHEMA}, got one that is damaged: {type(error).__name__}: {error}") from error
        return report
