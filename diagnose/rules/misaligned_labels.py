"""Rule D110."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import NotRun, Rule
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class MisalignedLabels(Rule):
    """The network can learn its batches by heart, but nothing that holds on other batches, no better than with shuffled labels.

    ## What it measures
    A copy is trained on some batches and its predictions are held against the targets of others, by a permutation test: how many
    standard deviations the match lies above that with shuffled targets. It is reported when the match is clear on the batches trained
    on (`memorised`), not on the others (`clear`), and the training loss falls no further than with shuffled labels (`gain`).

    ## Why it matters
    Features that were shuffled without their labels, or a join that matched the wrong rows, leave data that look right column by
    column. The training loss goes down, the validation loss goes up, and it looks like overfitting.

    ## When it is wrong
    A hard problem with a weak signal looks the same in a short training, and so does one that the network cannot express. At least
    `samples` held-out samples are asked for.

    ## What to try
    Look at a few samples next to their labels, as they come out of the loader. Look for a shuffle, sort or join that moved only one of
    the two.

    ## References
    Ojala and Garriga, "Permutation Tests for Studying Classifier Performance" (JMLR 2010), test 1; Zhang et al., "Understanding deep
    learning requires rethinking generalization" (2017).
    """

    code = "D110"
    name = "misaligned-labels"
    severity = Severity.WARNING
    needs = ("probe.learning",)
    explains = ("overfitting", "loss-not-decreasing", "below-baseline", "generalization-gap")

    memorised: float = 6.0
    clear: float = 2.0
    gain: float = 0.1
    samples: int = 100

    def judge(self, record: Record) -> Iterator[Finding]:
        seen = record.facts["probe.learning"]
        if seen["held_out"] > self.clear or seen["train"] < self.memorised:
            return
        if seen["samples"] < self.samples:
            raise NotRun(f"too short: {seen['samples']} held-out samples, at least {self.samples} are needed")
        gain = 1 - seen["real"] / seen["shuffled"] if seen["shuffled"] > 0 else 1.0
        if gain < self.gain:
            yield self.finding(
                f"after {seen['steps']} steps the predictions match the labels of the batches trained on ({seen['train']:.1f} "
                "standard deviations above chance) but "
                f"not those of {seen['samples']} other samples ({seen['held_out']:.1f}); with shuffled labels the loss falls as far",
                where="the pairs of input and target in the training loader",
                fix=(
                    "look at samples next to their labels as the loader gives them, and for a shuffle, sort or join that moved "
                    "only one of the two"
                ),
                held_out=seen["held_out"],
                clear=self.clear,
                train=seen["train"],
                gain=gain,
            )
