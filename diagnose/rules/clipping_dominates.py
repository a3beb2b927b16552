"""Rule T316."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.rules.evidence import run
from diagnose.rules.objective import scale_free
from diagnose.statistics import Values, finite, median
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class ClippingDominates(Rule):
    """Gradient clipping shortens nearly every step to a small part.

    ## What it measures
    The norm of the gradients after clipping over that before: below one in `share` of at least `records` measured steps, and below
    `ratio` in the median. Where the Trainer does not clip, what hooks of parameters, other hooks of training or a loop of the module's own
    leave of the gradients: less than `ratio` by a limit, which shows in that norm, the same within `even` from step to step, or in the
    entries, `bound` of them as large as the largest of their tensor. What the module multiplies its loss by does not count.

    ## Why it matters
    The threshold, not the gradient, sets the length of the steps: plain SGD then trains with a rate that nobody chose.

    ## When it is wrong
    Clipping every step a little is common with transformers: hence the low `ratio`. Optimizers of the Adam family divide by the gradient's
    own scale, so that its length does not matter: the finding is then `info`, unless clipping leaves less than `nothing` of a gradient per
    weight, which what they add to that scale swamps. Gradients that are brought to one length on purpose, with a rate for it, are taken
    for limited ones.

    ## What to try
    Raise the threshold to about the median of the recorded norms, or lower the learning rate and clip only the peaks.

    ## References
    R. Pascanu et al. (2013): a threshold of half to ten times the average norm.
    """

    code = "T316"
    name = "clipping-dominates"
    severity = Severity.WARNING
    needs = ("run",)
    explains = ("learning-rate-too-low",)

    ratio: float = 0.05
    nothing: float = 1e-7
    share: float = 0.95
    records: int = 20
    even: float = 0.05
    bound: float = 0.5

    def judge(self, record: Record) -> Iterator[Finding]:
        known = {name: finite(record.series(name).value) for name in ("clip/ratio", "clip/by_hand") if name in record}
        if not known:
            raise NotRun(record.missing.get("clip/by_hand", "no gradient was clipped"))
        if (most := max(len(ratios) for ratios in known.values())) < self.records:
            raise NotRun(f"too short: {most} measured steps, at least {self.records} are needed")
        long = {name: ratios for name, ratios in known.items() if len(ratios) >= self.records}
        found = self._trainer(record, long["clip/ratio"]) if "clip/ratio" in long else None
        if found is None and "clip/by_hand" in long:
            found = self._by_hand(record, long["clip/by_hand"])
        if found is not None:
            yield found

    def _trainer(self, record: Record, ratios: Values) -> Finding | None:
        """Clipping by the Trainer, a callback or a hook for it."""
        often, typical = float(np.mean(ratios < 0.999)), median(ratios)
        if often < self.share or typical >= self.ratio:
            return None
        norm = median(finite(record.series("grad_norm/total").value))
        said = f"clipping is active in {often:.0%} of {len(ratios)} measured steps"
        said += f" and leaves {typical:.1%} of a gradient with a norm of {norm:.3g}"
        fix = f"raise the threshold to about {norm:.2g}, or clip less"
        return self._found(record, said, "gradient clipping", fix, often, typical, norm)

    def _by_hand(self, record: Record, ratios: Values) -> Finding | None:
        """A limit that the user's own code sets between the backward pass and the optimizer."""
        times = multiplied_by(record)
        if times is None:
            return None
        ratios = ratios * max(1.0, times)
        often, typical = float(np.mean(ratios < 0.999)), median(ratios)
        left, at_bound = finite(record.series("clip/left").value), median(finite(record.series("clip/bound").value))
        low, middle, high = np.percentile(left, (10, 50, 90))
        same = high - low <= self.even * middle
        if often < self.share or typical >= self.ratio or not (same or at_bound >= self.bound):
            return None
        norm = float(middle / typical)
        shown = f"its norm is {middle:.3g} in nearly all of them" if same else f"{at_bound:.0%} of its entries are as large as the largest"
        said = (
            f"in {often:.0%} of {len(ratios)} measured steps hooks or the module's own code shorten the gradient before the optimizer gets "
            f"it, to {typical:.1%} of a norm of {norm:.3g}; {shown}"
        )
        fix = "raise the limit to what only the largest gradients reach, and clip what is not multiplied for half precision"
        return self._found(record, said, "gradients limited by hand", fix, often, typical, norm)

    def _found(self, record: Record, said: str, where: str, fix: str, often: float, typical: float, norm: float) -> Finding:
        weights = sum(e["size"] for e in record.facts.get("probe.parameters", {}).get("registered", ()))
        harmless = scale_free(record) and norm * typical > self.nothing * math.sqrt(max(weights, 1))
        return self.finding(
            said,
            where=where,
            fix=fix,
            override=record.override("gradient_clip_val", norm),
            severity=Severity.INFO if harmless else self.severity,
            share=often,
            ratio=typical,
            limit=self.ratio,
            norm=norm,
        )


def multiplied_by(record: Record) -> float | None:
    """What the differentiated loss is of the watched one, its mean over what it scores; ``None`` where that is not known."""
    shares = finite(record.series("backward/share").value) if "backward/share" in record else np.empty(0)
    if not len(shares) and run(record).get("automatic_optimization", True) and "train/watched_loss" in record:
        loss, watched = record.series("train/loss"), record.series("train/watched_loss")
        _, mine, its = np.intersect1d(loss.batch, watched.batch, return_indices=True)
        known = watched.value[its] > 0
        shares = finite(loss.value[mine][known] / watched.value[its][known])
    return abs(median(shares)) if len(shares) else None
