"""What several rules of training ask a record: is there enough of it, and has the model learned at all?"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from diagnose.record import Record, Series
from diagnose.rules import NotRun
from diagnose.statistics import Values, finite, mann_kendall, median, theil_sen, trend


def losses(record: Record, rows: int, epochs: int = 0) -> Values:
    """The losses of all training batches, of a training in phases those of its last one.

    Raises:
        NotRun: There are fewer than ``rows`` finite ones, or fewer than ``epochs`` epochs unless there are ten times the rows.
    """
    series = record.series("train/loss")
    values = finite(series.value[series.batch >= last_phase(record)])
    seen = int(series.epoch[-1]) + 1 if len(series) else 0
    if len(values) < rows:
        raise NotRun(f"too short: {len(values)} batches with a finite loss, at least {rows} are needed")
    if seen < epochs and len(values) < 10 * rows:
        raise NotRun(f"too short: {seen} epochs, at least {epochs} are needed")
    return values


def epoch_means(record: Record) -> Values:
    """The mean loss of each epoch; shuffled samples are the same in each, so that they differ by what was learned alone."""
    return finite([values.mean() for values in by_epoch(record.series("train/loss"))])


def by_epoch(series: Series) -> list[Values]:
    """The rows of each epoch."""
    order = np.argsort(series.epoch, kind="stable")
    ends = np.flatnonzero(np.diff(series.epoch[order])) + 1
    values = series.value[order]
    return [values[start:end] for start, end in pairwise([0, *ends.tolist(), len(values)])]


def last_phase(record: Record, times: int = 3) -> int:
    """The batch from which on the loss is of another function than before, 0 where it never changed, or more than ``times``."""
    seen = record.facts.get("loss_changed")
    return int(seen["batch"]) if seen is not None and seen["times"] <= times else 0


def refuse_games(record: Record) -> None:
    """Several optimizers play against or beside each other: their summed loss has no trend to judge.

    Raises:
        NotRun: The run has several optimizers, and they are not known to step on one loss.
    """
    if len(run(record).get("optimizers", ())) > 1 and not single_loss(record):
        raise NotRun("the run has several optimizers, and the trend of a sum of their losses says nothing")


def refuse_adversary(record: Record) -> None:
    """One loss over which parts of a network fight: what one part lowers another raises, so at best it stays.

    Raises:
        NotRun: The step turns a gradient round, or asks for ones and for zeros as a maker and its critic do.
    """
    if by := record.facts.get("probe.step", {}).get("adversary"):
        raise NotRun(f"an adversary stands inside of the loss ({by}), so its trend says nothing")


def single_loss(record: Record, rows: int = 5) -> bool:
    """Whether all optimizers stepped on the same loss, each of them beside another in ``rows`` measured batches or more."""
    values = record.series("loss/optimizers").value if "loss/optimizers" in record else np.empty((0, 0))
    beside = values[np.isfinite(values).sum(axis=1) > 1]
    if len(beside) < rows or (np.isfinite(beside).sum(axis=0) < rows).any():
        return False
    return bool((np.nanmax(beside, axis=1) == np.nanmin(beside, axis=1)).all())


def run(record: Record) -> dict[str, Any]:
    """The fact ``run``, or an empty one."""
    found: dict[str, Any] = record.facts.get("run", {})
    return found


def gathered(record: Record) -> float:
    """How many times the learning rate the steps of the first optimizer may add up to by its momentum: 1 / (1 - momentum)."""
    optimizer = (run(record).get("optimizers") or [{}])[0]
    return float((1 - optimizer.get("dampening", 0.0)) / max(1 - optimizer.get("momentum", 0.0), 1e-9))


def planned_steps(record: Record) -> int | None:
    """Optimizer steps of the whole run as it was set up, or ``None`` where that is open.

    Under manual optimisation a batch makes as many of them as those before it did.
    """
    facts = run(record)
    if facts.get("max_steps"):
        return int(facts["max_steps"])
    if not facts.get("max_epochs") or not facts.get("batches_per_epoch"):
        return None
    batches = int(facts["batches_per_epoch"])
    seen = None if facts.get("automatic_optimization", True) or "train/loss" not in record else record.series("train/loss")
    if seen is None or not len(seen):
        return int(facts["max_epochs"]) * -(-batches // max(1, int(facts.get("accumulate") or 1)))
    done, of = int(seen.step[-1]) + 1, int(seen.batch[-1]) + 1
    return max(
        1, round(int(facts["max_epochs"]) * batches * ((done if done > 1 else of) / of))
    )  # Lightning counts no steps of raw optimizers


def refuse_early(record: Record, share: float) -> None:
    """A run that has only begun may still come round.

    Raises:
        NotRun: The run goes on and less than ``share`` of it is done.
    """
    planned = planned_steps(record)
    if run(record).get("finished", True) or planned is None or "train/loss" not in record:
        return
    done = (int(record.series("train/loss").step[-1]) + 1) / planned
    if done < share:
        raise NotRun(f"too early: {done:.0%} of the run is done, {share:.0%} is needed")


def tail(record: Record, name: str, share: float = 0.34) -> Values:
    """The finite values of the last part of a scalar series; empty where it was not recorded."""
    if name not in record:
        return np.empty(0)
    values = record.series(name).value
    return finite(values[-max(1, round(len(values) * share)) :])


def later(series: Series) -> Values:
    """The rows after the first third of the steps; measured steps are dense in the beginning, so shares of all rows would speak of it."""
    rows: Values = series.value[series.step >= series.step[-1] / 3]
    return rows


def climbing(record: Record) -> str:
    """The name of an optimizer that climbs its loss (``maximize=True``) with most of all weights, or ``""``."""
    optimizers = run(record).get("optimizers", ())
    most = sum(o.get("weights", 0) for o in optimizers) / 2
    return next((str(o["name"]) for o in optimizers if o.get("maximize") and o.get("weights", 0) > most), "")


def refuse_unknown(record: Record, values: Values) -> None:
    """A loss below zero that no known loss function gave (a policy gradient, a critic) has no scale and no floor, one to climb no trend.

    Raises:
        NotRun: There are such losses.
    """
    if name := climbing(record):
        raise NotRun(f"{name} climbs the loss (maximize=True), so its trend says nothing")
    task = record.facts.get("task", {})
    beside = task.get("written") and task.get("loss") in ("mse_loss", "l1_loss")  # a critic written by hand, beside its actor
    if len(values) and values.min() < 0 and (beside or not task.get("loss")):
        raise NotRun("the loss is below zero and is not, or not alone, a known loss function, so its trend says nothing")


def falls_steadily(record: Record, values: Values, rows: int = 300, steady: float = 0.8, certain: float = 5.0) -> bool:
    """Whether a whole run of ``rows`` batches ended while the loss was falling about as fast as in the beginning.

    The slope of the last third is at least ``steady`` times that of the first, beyond ``certain`` standard deviations, and the validation
    loss, if there is one, fell as well. Where batches are too noisy to tell, at least eight validations, nearly each of them better than
    the one before, whose slope in the last third is still half of that in the first, say so too.
    """
    if not run(record).get("finished", True):
        return False
    held = finite(record.series("val/loss").value) if "val/loss" in record else np.empty(0)
    if len(held) and held[-1] >= held[0]:  # what is learned is learned by heart
        return False
    third = max(3, len(held) // 3)
    if len(held) >= 8 and mann_kendall(held) < -3 and theil_sen(held[-third:]) <= 0.5 * theil_sen(held[:third]):
        return True
    if len(values) < rows:
        return False
    first, last = trend(values[: len(values) // 3]), trend(values[-(len(values) // 3) :])
    return last.z < -certain and last.slope <= steady * min(first.slope, 0.0)


def begins_anew(
    record: Record, high: float = 0.9, low: float = 0.75, restarts: int = 3, fall: float = 0.1, clear: float = 4.0
) -> tuple[float, float, float] | None:
    """The very first loss, its level at the end of later epochs, and the share of these that begin near the first loss again.

    Near is ``high`` of it or more in the first two batches, and the last quarter of the epoch has ``low`` of it or less; of batches that
    are shuffled it is enough that it has less than the first two by ``fall`` of the first loss and ``clear`` standard errors in the mean
    of the epochs. ``None`` where there are fewer than ``restarts`` later epochs of eight batches or more.
    """
    epochs = [v for v in by_epoch(record.series("train/loss")) if len(v) >= 8]
    if len(epochs) < restarts + 1 or not (start := float(epochs[0][:2].mean())) > 0:
        return None
    firsts = np.array([(v[0] + v[1]) / 2 for v in epochs[1:]]) / start
    lasts = np.array([v[-len(v) // 4 :].mean() for v in epochs[1:]]) / start
    down = firsts - lasts
    shuffled = record.facts.get("data", {}).get("train", {}).get("order") == "random"
    sure = shuffled and down.mean() >= max(fall, clear * down.std(ddof=1) / math.sqrt(len(down)))
    return start, start * median(lasts), float(np.mean((firsts >= high) & ((lasts <= low) | (sure & (down > 0)))))


def open_set(record: Record, name: str) -> bool:
    """Whether a validation loader holds none but classes that training does not know, and no loss is asked for them.

    Its step gives no targets to a loss, or training itself numbers anew what it draws: its loss has fewer classes than there are labels.
    """
    loaders, step = record.facts.get("data", {}), record.facts.get("probe.validation", {})
    path = loaders.get("train", {}).get("target")
    mine, theirs = (loaders.get(n, {}).get("fields", {}).get(path, {}).get("target", {}).get("counts") for n in ("train", name))
    outputs = (loaders.get("train", {}).get("loss") or {}).get("classes")
    asked = step.get("calls") != 0 and not (mine and outputs and len(mine) > outputs)
    return not asked and bool(mine and theirs) and not set(mine) & set(theirs)


def counted_padding(record: Record) -> dict[str, Any] | None:
    """``data.counted``, unless the training step takes its padding out of the loss itself: by a mask, or by a weight of 0."""
    known, step = record.facts.get("data.counted"), record.facts.get("probe.step", {})
    if known is None or step.get("reduction") == "none":
        return None
    weights = (step.get("class_weights") or {}).get("weight", [])
    return None if known["label"] < len(weights) and not weights[known["label"]] else known


def moving_targets(record: Record, factor: float = 1.5, away: float = 10.0, rows: int = 9) -> bool:
    """Whether the targets themselves spread more or less by ``factor`` as training goes on, as returns do where an agent learns.

    Then a loss that rises may be that of a harder task. The median of the last third of ``rows`` records or more against the first third;
    targets that grow ``away`` times run away with the predictions that they are made of.
    """
    spreads = finite(record.series("target/std").value) if "target/std" in record else np.empty(0)
    third = len(spreads) // 3
    if len(spreads) < rows:
        return False
    first, last = median(spreads[:third]), median(spreads[-third:])
    return factor * min(first, last) < max(first, last) < away * min(first, last)


def left_of_both(record: Record) -> float:
    """How much is left of the spread of predictions and of targets, whichever kept more of it; 1 where it is not known."""
    names = ("prediction/std", "target/std")
    known = [finite(record.series(name).value) if name in record else np.empty(0) for name in names]
    return max(float(median(v[-3:]) / max(median(v[:3]), 1e-12)) if len(v) >= 10 else 1.0 for v in known)


def collapsed(record: Record, left: float, fallen: float, dead: float = 0.8) -> tuple[str, float, float] | None:
    """The activation that has become constant, where the loss fell with it: its name, and what is left of its units and of the loss.

    Less than ``left`` of the spread in the first measured batches, and than ``fallen`` of the loss; only of activations whose units are
    looked at, which are not known of one number per sample, such as a hinge of the loss. Where no predictions are known, as in a
    loss that compares embeddings, also one of whose units hardly any was dead at first, and ``dead`` of them are in the end.
    """
    if "activation/std" not in record or "train/loss" not in record:
        return None
    loss = finite(record.series("train/loss").value)
    if len(loss) < 60 or median(loss[:10]) <= 0 or abs(height := median(loss[-20:]) / median(loss[:10])) >= fallen:
        return None
    units = {name for kind in ("dead", "saturated") for name, _ in _columns(record, f"activation/{kind}")}
    spread = [(name, v) for name, v in _columns(record, "activation/std") if name in units and median(v[:3]) > 0]
    known = [(median(v[-3:]) / median(v[:3]), name) for name, v in spread]
    if known and min(known)[0] < left:
        return min(known)[1], min(known)[0], height
    compares = not record.facts.get("task", {"loss": "?"})["loss"]
    died = [(1 - median(v[-3:]), name) for name, v in _columns(record, "activation/dead") if median(v[:3]) < dead / 2] if compares else []
    return (min(died)[1], min(died)[0], height) if died and min(died)[0] <= 1 - dead + 1e-9 else None


def _columns(record: Record, name: str) -> list[tuple[str, Values]]:
    """The columns of a series with ten values or more; none where it was not recorded."""
    if name not in record:
        return []
    series = record.series(name)
    columns = [(label, finite(series.value[:, place])) for place, label in enumerate(series.labels)]
    return [(label, values) for label, values in columns if len(values) >= 10]


def remembered(record: Record) -> float:
    """How many steps the first optimizer remembers: 1 / (1 - momentum), or 1 / (1 - beta) of Adam's first moment."""
    optimizer = (run(record).get("optimizers") or [{}])[0]
    return float(1 / max(1 - max(optimizer.get("momentum", 0.0), (optimizer.get("betas") or [0.0])[0]), 1e-9))


def update_of(record: Record, label: str) -> float:
    """Median relative size of one step of a layer over the measured steps; 0 where it was not recorded."""
    if "update_ratio/layers" not in record or label not in record.series("update_ratio/layers").labels:
        return 0.0
    values = finite(record.series("update_ratio/layers").column(label))
    return median(values) if len(values) else 0.0


def periodic(record: Record, values: Values, share: float = 0.5) -> bool:
    """Whether the place of a batch in its epoch explains most of the variance of the losses, as with data in a fixed order."""
    length = run(record).get("batches_per_epoch")
    if not length or length < 4 or len(values) < 3 * length:
        return False
    epochs = values[len(values) % length :].reshape(-1, length)[1:]
    total = float(epochs.var())
    return total > 1e-12 * float(np.square(epochs).mean()) and float(epochs.mean(0).var()) - total / len(epochs) > share * total
