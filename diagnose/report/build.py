"""A record and its diagnosis in, a report out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Literal

from diagnose.record import Record
from diagnose.report.checks import checks_section
from diagnose.report.ensemble import ensemble_section
from diagnose.report.evaluation import evaluation_sections, headlines
from diagnose.report.finders import finder_sections, finder_sentences, suggestions
from diagnose.report.layers import layers_section
from diagnose.report.provenance import provenance_section
from diagnose.report.text import clean, number, plain, plural, sentence
from diagnose.report.training import training_section
from diagnose.report.values import Headline, Report, Section
from diagnose.values import Diagnosis, Severity, Status


def build_report(record: Record, diagnosis: Diagnosis, *, title: str = "", created: str = "") -> Report:
    """Everything that can be said about a run, from what was recorded; parts that were not recorded are left out.

    Args:
        record: What was measured.
        diagnosis: What the rules say about it.
        title: Name of the run; made from the record by default.
        created: When the report is made, as it shall be printed.
    """
    parts: dict[str, Callable[[], Iterable[Section | None]]] = {
        "Sanity checks": lambda: [checks_section(record, diagnosis)],
        "Finders": lambda: finder_sections(record),
        "Training": lambda: [training_section(record)],
        "Ensemble": lambda: [ensemble_section(record)],
        "Evaluation": lambda: evaluation_sections(record),
        "Hidden layers": lambda: [layers_section(record)],
        "Provenance": lambda: [provenance_section(record)],
    }
    sections = [section for title, part in parts.items() for section in shown(title, part)]
    tone = tone_of(diagnosis, interrupted=bool((record.facts.get("run") or {}).get("interrupted")))
    try:
        numbers = headlines(record) or suggestions(record)
    except (TypeError, ValueError, AttributeError):  # its section says why
        numbers = ()
    report = Report(
        title=clean(title) or name_of(record),
        subtitle=clean(subtitle(record)),
        created=clean(created),
        tone=tone,
        verdict=clean(verdict(record, diagnosis, numbers)),
        diagnosis=tidy(diagnosis),
        headlines=tuple(Headline(**plain(asdict(h))) for h in numbers),
        sections=tuple(tidied(s) for s in sections if s is not None),
        pages=pages(diagnosis),
        source=plain(record.facts.get("source") or {}),
        stages=tuple(
            (clean(str(s.get("name", ""))), float(s["seconds"]))
            for s in record.facts.get("stages") or ()
            if isinstance(s.get("seconds"), (int, float))
        ),
    )
    return report


def shown(title: str, part: Callable[[], Iterable[Section | None]]) -> list[Section | None]:
    """The sections of one part; a record that it cannot read costs this part and no other, and the page says so."""
    try:
        return list(part())
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        note = f"This part could not be made from the record: {type(error).__name__}: {error}"
        return [Section(name=title.lower().replace(" ", "-"), title=title, notes=(note,))]


def tidy(diagnosis: Diagnosis) -> Diagnosis:
    """The same with clean text and with numbers as they read back from JSON."""
    return Diagnosis.from_dict({"outcomes": plain(diagnosis.to_dict())["outcomes"]})


def tidied(section: Section) -> Section:
    return Section.from_dict(plain(asdict(section)))


def pages(diagnosis: Diagnosis) -> dict[str, str]:
    """The page of each rule that found something."""
    from inspect import cleandoc

    from diagnose.rules import find

    found = {}
    for outcome in diagnosis.outcomes:
        if outcome.findings:
            try:
                found[outcome.code] = clean(cleandoc(find(outcome.code).__doc__ or ""))
            except ValueError:  # judged elsewhere, with a rule that is not installed here
                continue
    return {code: page for code, page in found.items() if page}


def tone_of(diagnosis: Diagnosis, *, interrupted: bool) -> Literal["error", "warning", "clean", "interrupted", "unknown"]:
    if diagnosis.worst is Severity.ERROR:
        return "error"
    if diagnosis.worst is Severity.WARNING:
        return "warning"
    if interrupted:
        return "interrupted"
    return "clean" if diagnosis.count(Status.CLEAN) + diagnosis.count(Status.FOUND) else "unknown"


def verdict(record: Record, diagnosis: Diagnosis, numbers: tuple[Headline, ...]) -> str:
    """The answer: what is wrong, or that nothing was found and how good the result is."""
    interrupted = (record.facts.get("run") or {}).get("interrupted")
    said = (
        [f"Interrupted {interrupted}; what was recorded until then is below.".replace("Interrupted interrupted", "Interrupted")]
        if interrupted
        else []
    )
    serious = diagnosis.at_or_above(Severity.WARNING)
    clean_rules = diagnosis.count(Status.CLEAN)
    if serious:
        said.append(sentence(serious[0].message))
    elif clean_rules or diagnosis.findings:
        said.append(f"{plural(clean_rules, 'rule')} found nothing wrong.")
    elif diagnosis.outcomes:
        said.append("No rule had enough to judge by.")
    else:
        said.append("Nothing was judged.")
    if found := finder_sentences(record):
        return " ".join([*said[:-1], *found] if not diagnosis.outcomes else [*said, found[0]])
    if numbers and not serious:
        said.append(in_words(numbers[0]))
    return " ".join(said)


def in_words(headline: Headline) -> str:
    text = f"{headline.name[:1].upper()}{headline.name[1:]} on {headline.scope.split(',')[0]}: {number(headline.value)}"
    if headline.scope.startswith("best of the run"):
        text = f"Best {headline.name}: {number(headline.value)}"
    if headline.low is not None and headline.high is not None:
        text += f" (95 % interval {number(headline.low)} to {number(headline.high)})"
    if headline.baseline is not None:
        text += f", against {number(headline.baseline)} for the {headline.baseline_name}"
    return f"{text}."


def name_of(record: Record) -> str:
    """What the run is about: ``mlp on digits``, ``preds.csv``."""
    config, run = (record.facts.get(key) or {} for key in ("config", "run"))
    if not isinstance(config, Mapping):
        return "Diagnosis"
    if config.get("predictions"):
        return clean(PurePath(str(config["predictions"])).name)
    model, data = (node if isinstance(node := config.get(key), Mapping) else {} for key in ("model", "data"))
    network, source = (str(node.get("_target_") or "").rsplit(".", 1)[-1] for node in (model, data))
    place = next((PurePath(str(data[key])).name for key in ("path", "root") if data.get(key)), source)
    name = " on ".join(part for part in (network, str(data.get("name") or place)) if part and network)
    return clean(name or (f"diagnose {run['command']}" if run.get("command") else "Diagnosis"))


def subtitle(record: Record) -> str:
    run, task = record.facts.get("run") or {}, record.facts.get("task") or {}
    said = [str(run["command"])] if run.get("command") else []
    if task.get("kind"):
        classes = f" with {task['classes']} classes" if task.get("classes") else ""
        said.append(f"{task['kind']}{classes}")
    if task.get("loss"):
        said.append(str(task["loss"]).replace("_", " "))
    if run.get("epochs_done") is not None:
        said.append(plural(int(run["epochs_done"]), "epoch"))
    if run.get("seed") is not None:
        said.append(f"seed {run['seed']}")
    return " · ".join(said)
