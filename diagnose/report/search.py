"""What a search found, as a report: the best with their intervals, the history, what mattered, why trials were cut short."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from diagnose.report.drawing_search import BEST, REST
from diagnose.report.panels import TRAIN, line, lines
from diagnose.report.text import clean, number, plain, plural
from diagnose.report.values import Headline, Picture, Report, Section, Table
from diagnose.search.space import Dimension
from diagnose.search.values import Confirmed, Search, Tried, interval

MOST_CURVES = 60
SWEEP = "sweep"  # the sampler of runs that --multirun listed
LARGE = 1e6  # scores of diverged trials beyond this multiple of the best are left out of pictures
MARKS = {"complete": "o", "pruned": "x", "failed": "x", "lost": "x", "running": "x"}


def search_report(search: Search, *, created: str = "") -> Report:
    """The report of a search.

    Args:
        search: What it found.
        created: When the report is made, as it shall be printed.
    """
    dimensions = [Dimension(**{**d, "options": tuple(d.get("options", ()))}) for d in search.space]
    sections = [_best(search), _history(search), _keys(search, dimensions), _trials(search)]
    counts = Counter(t.state for t in search.trials)
    said = ", ".join(f"{n} {state}" for state, n in counts.items())
    return Report(
        title=clean(search.name.capitalize() if search.name in ("search", SWEEP) else f"Search {search.name}"),
        subtitle=clean(f"{search.sampler.replace('_', ' ')} · {said} · {search.metric}, {search.mode} · {search.seconds:.0f} s"),
        created=clean(created),
        tone="clean" if search.ranked else "error",
        badge="searched" if search.ranked else "no result",
        verdict=clean(_verdict(search)),
        headlines=_headlines(search),
        sections=tuple(s for s in sections if s is not None),
    )


def _verdict(search: Search) -> str:
    if not search.ranked:
        why = Counter(t.reason for t in search.trials if t.reason).most_common(1)
        return f"No trial came to an end{f'; most often: {why[0][0]}' if why else ''}."
    best = search.ranked[0]
    chosen = f" ({_said(best.values)})" if best.values else ""
    text = f"The best of {plural(len(search.ranked), 'complete trial')} has {search.metric} {number(best.score)}{chosen}."
    if search.confirmed:
        top = search.confirmed[0]
        seeds = f"{len(top.scores)} {'' if search.sampler == SWEEP else 'other '}seeds"
        text += f" Over {seeds} the best on average is trial {top.number}: {number(top.mean)}"
        text += f" (95 % interval {number(top.low)} to {number(top.high)})." if top.low is not None else "."
        rivals = [c for c in search.confirmed[1:] if not _clearly(top, c)]
        if rivals:
            text += f" {plural(len(rivals), 'other setting')} {'is' if len(rivals) == 1 else 'are'} not clearly worse, seed by seed."
    return text


def _clearly(one: Confirmed, other: Confirmed) -> bool:
    """Whether the interval of the differences over the same seeds leaves out zero."""
    if len(one.scores) != len(other.scores) or len(one.scores) < 2:
        return False
    _, low, high = interval([a - b for a, b in zip(one.scores, other.scores, strict=True)])
    return low is not None and high is not None and (low > 0 or high < 0)


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_cell(v)}" for key, v in values.items())


def _headlines(search: Search) -> tuple[Headline, ...]:
    if not search.ranked:
        return ()
    first = next((t for t in search.trials if t.score is not None), search.ranked[0])
    better = "lower" if search.mode == "min" else "higher"
    found = [
        Headline(
            name=f"{search.metric}, best trial",
            value=search.ranked[0].score,
            baseline=first.score,
            baseline_name="first trial",
            scope=f"trial {search.ranked[0].number}",
            better=better,  # type: ignore[arg-type]
        )
    ]
    for top in search.confirmed[:1]:
        scope = f"trial {top.number}, {len(top.scores)} seeds"
        found.append(Headline(name=f"{search.metric}, mean", value=top.mean, low=top.low, high=top.high, scope=scope, better=better))  # type: ignore[arg-type]
    if search.overhead is not None:
        scope = "sampling and storage per second of training"
        found.append(Headline(name="overhead of the search", value=search.overhead, scope=scope, better="lower"))
    return tuple(found)


def _cell(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, int) or value is None else str(value)


def names(search: Search) -> dict[str, str]:
    """The keys, by their last part where it is theirs alone."""
    lasts = Counter(str(d["key"]).rpartition(".")[2] for d in search.space)
    return {str(d["key"]): last if lasts[last := str(d["key"]).rpartition(".")[2]] == 1 else str(d["key"]) for d in search.space}


def _best(search: Search) -> Section | None:
    if not search.ranked:
        return None
    keys = names(search)
    notes = ("The best of many trials is partly luck: these settings were trained again with seeds that the search had not used.",)
    if search.sampler == SWEEP:
        notes = ("Ranked by the best epoch on the validation part; choosing by the test part would spoil it.",)
    if search.confirmed:
        rows = tuple((c.number, c.mean, c.low, c.high, len(c.scores), *(_cell(c.values.get(k)) for k in keys)) for c in search.confirmed)
        columns = ("trial", f"mean {search.metric}", "low", "high", "seeds", *keys.values())
        formats = ("count", "number", "number", "number", "count", *("number",) * len(keys))
    else:
        again = "--multirun seed=1,2,3 runs each with several seeds" if search.sampler == SWEEP else "tune.confirm trains the best again"
        notes = (f"Trained once each; {again}.",)
        rows = tuple((t.number, t.score, *(_cell(t.values.get(k)) for k in keys)) for t in search.ranked[:5])
        columns, formats = ("trial", search.metric, *keys.values()), ("count", "number", *("number",) * len(keys))
    said = f"The best again, to be trained, checked and evaluated on the test part: {search.command}"
    table = Table(name="best", title="Best settings", columns=columns, formats=formats, rows=_plain(rows))  # type: ignore[arg-type]
    return Section(name="best", title="Best settings", notes=tuple(map(clean, (*notes, said))), tables=(table,))


def _plain(rows: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in plain([list(row) for row in rows]))


def _history(search: Search) -> Section | None:
    if not search.trials:
        return None
    log = _logarithmic([t.score for t in search.trials])
    sign = 1 if search.mode == "min" else -1
    running, best = [], math.inf
    for trial in search.trials:
        best = min(best, sign * trial.score) if trial.score is not None else best
        running.append(sign * best if math.isfinite(best) else None)
    groups = [
        {
            "x": [t.number for t in chosen],
            "y": [_last(t) if state != "complete" else t.score for t in chosen],
            "colour": REST if state != "complete" else TRAIN,
            "marker": MARKS[state],
        }
        for state in MARKS
        if (chosen := [t for t in search.trials if t.state == state and _shown(search, _last(t) if state != "complete" else t.score)])
    ]
    scatter = {
        "kind": "scatter",
        "title": "Score of each trial, and the best until then",
        "xlabel": "trial",
        "ylabel": search.metric,
        "groups": groups,
        "line": running,
        "log": log,
    }
    curves = sorted((t for t in search.trials if any(v is not None for v in t.curve)), key=lambda t: -sign * (t.score or math.inf * sign))
    drawn = []
    top = search.ranked[0].number if search.ranked else -1
    for trial in [t for t in curves if t.number != top][-MOST_CURVES:] + [t for t in curves if t.number == top]:
        known = [v if _shown(search, v) else None for v in trial.curve]
        values = [math.nan if v is None else v for v in known]
        drawn.append(line(range(len(values)), values, f"trial {trial.number}", BEST if trial.number == top else REST, band=False))
    panels = [scatter, lines(f"{search.metric} per epoch, the best in red", drawn, ylabel=search.metric, xlabel="epoch", log=log)]
    cut = sum(t.state == "pruned" for t in search.trials)
    alt = f"Score of {plural(len(search.trials), 'trial')}; {plural(cut, 'trial')} cut short."
    note = "Crosses are trials that were cut short, at their last value." if cut else ""
    picture = Picture(name="search-history", title="History", alt=alt, note=note, panels=tuple(plain(panels)))
    reasons = Counter(_kind(t.reason) for t in search.trials if t.reason)
    table = Table(
        name="reasons",
        title="Why trials ended early",
        columns=("reason", "trials"),
        formats=("text", "count"),
        rows=tuple(reasons.most_common()),
    )
    return Section(name="history", title="History", pictures=(picture,), tables=(table,) if reasons else ())


def _kind(reason: str) -> str:
    """The reason without the trial's own epoch and numbers."""
    head = clean(reason).partition(":")[0]
    return head.partition(" in epoch")[0]


def _last(trial: Tried) -> float | None:
    return next((v for v in reversed(trial.curve) if v is not None), None)


def _shown(search: Search, value: float | None) -> bool:
    best = search.ranked[0].score if search.ranked else None
    return value is not None and math.isfinite(value) and (not best or abs(value) <= LARGE * max(abs(best), 1e-9))


def _logarithmic(values: Sequence[float | None]) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and min(known) > 0 and max(known) / min(known) > 30


def _keys(search: Search, dimensions: Sequence[Dimension]) -> Section | None:
    done = [t for t in search.ranked if _shown(search, t.score)]
    if len(done) < 2 or not dimensions:
        return None
    pictures = []
    if search.importance:
        ranked = sorted(search.importance.items(), key=lambda pair: -pair[1])
        bars = {
            "kind": "bars",
            "title": "Share of what separates good trials",
            "names": [names(search)[k] for k, _ in ranked],
            "bars": [{"values": [v for _, v in ranked], "colour": TRAIN}],
        }
        alt = f"Importance: {', '.join(f'{k} {v:.2f}' for k, v in ranked)}."
        note = "PED-ANOVA over the complete trials; it says what mattered within this space, with so few trials roughly."
        pictures.append(Picture(name="search-importance", title="Importance", alt=clean(alt), note=note, panels=(plain(bars),)))
    slices = [_slice(search, d, done) for d in dimensions]
    alt = f"{search.metric} against {', '.join(d.key for d in dimensions)}."
    pictures.append(Picture(name="search-slices", title="Slices: the score against each key", alt=clean(alt), panels=tuple(plain(slices))))
    if len(dimensions) > 1:
        alt = "Parallel coordinates of the complete trials; the best in red."
        pictures.append(
            Picture(name="search-parallel", title="Parallel coordinates", alt=alt, panels=(plain(_parallel(search, dimensions, done)),))
        )
    return Section(name="keys", title="What mattered", pictures=tuple(pictures))


def _slice(search: Search, dimension: Dimension, done: Sequence[Tried]) -> dict[str, Any]:
    choice = dimension.scale == "choice"
    options = [str(o) for o in dimension.options] if choice else []
    known = [t for t in done if dimension.key in t.values]
    at = [options.index(str(t.values[dimension.key])) if choice else float(t.values[dimension.key]) for t in known]
    scores = [t.score for t in known]
    scale = {"log": "log", "log_integer": "log", "one_minus": "one_minus"}.get(dimension.scale, "linear")
    groups = [{"x": at[1:], "y": scores[1:], "colour": TRAIN}, {"x": at[:1], "y": scores[:1], "colour": BEST}]
    log = _logarithmic(scores)
    shown = {"kind": "scatter", "title": dimension.key, "xlabel": "", "ylabel": search.metric, "groups": groups}
    return {**shown, "scale": scale, "log": log, "names": options}


def _parallel(search: Search, dimensions: Sequence[Dimension], done: Sequence[Tried]) -> dict[str, Any]:
    scores = [t.score for t in done if t.score is not None]
    order = {t.number: i for i, t in enumerate(done)}
    axes: list[dict[str, Any]] = []
    for d in dimensions:
        if d.scale == "choice":
            ticks = [[(i + 0.5) / len(d.options), str(o)] for i, o in enumerate(d.options)]
        else:
            ticks = [[u, number(d.value(d.sampled(u)))] for u in (0.0, 0.5, 1.0)]
        axes.append({"name": names(search)[d.key], "ticks": ticks})
    low, high = min(scores), max(scores)
    axes.append({"name": search.metric, "ticks": [[0.0, number(low)], [1.0, number(high)]]})
    trials = []
    for trial in reversed(done):
        at = [_unit(d, trial.values.get(d.key)) for d in dimensions]
        rank = order[trial.number] / max(1, len(done) - 1)
        height = ((trial.score or 0.0) - low) / ((high - low) or 1.0)
        best = trial is done[0]
        trials.append(
            {
                "at": [*at, height],
                "colour": BEST if best else TRAIN if rank < 0.25 else REST,
                "width": 2.0 if best else 1.1,
                "alpha": 0.95 if rank < 0.25 else 0.5,
            }
        )
    return {
        "kind": "parallel",
        "title": "A line per complete trial: the best in red, the best quarter in blue",
        "axes": axes,
        "trials": trials,
    }


def _unit(dimension: Dimension, value: Any) -> float:
    if dimension.scale == "choice":
        return ([str(o) for o in dimension.options].index(str(value)) + 0.5) / len(dimension.options)
    return dimension.unit(1 - value if dimension.scale == "one_minus" else value)


def _trials(search: Search) -> Section:
    keys = names(search)
    seeds = ["seed"] if len({t.seed for t in search.trials}) > 1 else []
    rows = []
    for t in search.trials:
        settings = [*([t.seed] if seeds else []), *(_cell(t.values.get(k)) for k in keys)]
        rows.append((t.number, t.state, t.score, len(t.curve), t.seconds, *settings, clean(t.reason)))
    table = Table(
        name="trials",
        title="All trials",
        columns=("trial", "state", search.metric, "epochs", "seconds", *seeds, *keys.values(), "why it ended"),
        formats=("count", "text", "number", "count", "number", *(["count"] if seeds else []), *["number"] * len(keys), "text"),  # type: ignore[arg-type]
        rows=_plain(tuple(rows)),
        note="Scores are those of the best epoch on the validation part.",
        folded=len(rows) > 30,
    )
    return Section(name="trials", title="Trials", tables=(table,))
