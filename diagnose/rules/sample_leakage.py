"""Rule M209."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.record import Record
from diagnose.rules import Rule, require
from diagnose.values import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class SampleLeakage(Rule):
    """The output for one sample depends on the other samples of the batch.

    ## What it measures
    Every second sample of a batch is replaced by another, in eval mode and with the same random numbers. The largest change in the outputs
    of the samples that stayed, in units of the outputs' standard deviation, must be within `tolerance` (and ten times the change between
    two equal runs). Where the outputs depend on no sample, the layers are asked the same: the first whose results for a sample change with
    other samples, though what it got of that sample does not, is named: an attention over the batch gives the class token nothing but other
    class tokens. And whether a `view` or `reshape` of the step gives a tensor the same lengths of axes in another order, that of the
    samples (which is as long as the first of the loss's input) among those that moved: only a transposition exchanges axes.

    And where a batch holds the nodes of several graphs below each other, with the graph of each node or the number of nodes of each graph,
    whether its pairs of nodes (edges) name no more nodes than the largest graph has, in all batches that were read, though there are
    `apart` times as many and more. Those are the numbers that the nodes have in their own graph: the first graphs get the edges of all.

    ## Why it matters
    A reshape in the wrong order, a recurrent layer without `batch_first=True`, or a softmax over the batch axis mixes samples. The
    network then predicts from its neighbours: it fails or, worse, works as long as the batch is the same, and fails for a single
    sample.

    ## When it is wrong
    Batch norm is in eval mode here and does not mix. Losses that compare samples with each other on purpose (contrastive ones) have no
    target per sample and are not judged. Two views that undo each other are reported. A layer that is meant to look at the whole batch is
    reported. Pairs of nodes are not judged where a tensor tells the graph of each pair, since the module may shift the numbers itself, nor
    where all batches hold the same ones, each once: one graph that all samples share.

    ## What to try
    Look for view/reshape across the batch axis, `dim=0` in softmax, mean or norm, and recurrent or attention layers without
    `batch_first=True`. Where graphs are put together, add to the node numbers of each how many nodes stand before it.

    ## References
    A. Karpathy, "A Recipe for Training Neural Networks" (2019), "use backprop to chart dependencies".
    """

    code = "M209"
    name = "sample-leakage"
    severity = Severity.ERROR
    needs = ("probe.dependence",)
    instead = ("probe.views", "probe.joined")
    explains = (
        "misaligned-labels",
        "initial-loss",
        "input-independent",
        "future-leakage",
        "sum-reduction",
        "overfitting",
        "vanishing-gradient",
        "learning-rate-too-low",
        "dead-units",
    )

    tolerance: float = 1e-3
    apart: float = 3.0

    def judge(self, record: Record) -> Iterator[Finding]:
        view = next((v for v in record.facts.get("probe.views", ()) if v["samples"]), None)
        if view is not None:
            yield self.finding(
                f"a view or reshape brings a tensor of shape {tuple(view['before'])} into shape {tuple(view['after'])}: it exchanges the "
                "axis of the samples with another and leaves the numbers in their order, so that each sample is made of parts of several",
                where=record.source("forward") or "forward",
                fix="use transpose or permute to exchange axes",
            )
            return
        joined = record.facts.get("probe.joined")
        if joined and joined["parts"] >= self.apart * joined["largest"]:
            yield self.finding(
                f"the {joined['pairs']} pairs in {joined['path']} name the first {joined['named']} of {joined['parts']} nodes alone, no "
                f"more than the largest of {joined['samples']} samples has ({joined['largest']}), in all {joined['batches']} batches read: "
                "these are the numbers of the nodes in their own sample, so the first samples get the pairs of all, and the others none",
                where="train",
                fix="add to the node numbers of each sample how many nodes stand before it in the batch, where the batch is made",
                named=joined["named"],
                parts=joined["parts"],
                largest=joined["largest"],
                limit=self.apart,
            )
            return
        require(record, *self.needs)
        seen = record.facts["probe.dependence"]
        limit = max(self.tolerance, 10 * seen["noise"])
        if seen.get("mixed_by"):
            yield self.finding(
                f"what {seen['mixed_by']} gives for a sample changes when only other samples of the batch change, and in the end the "
                f"outputs depend on no sample at all ({seen['swapped']:.2g} standard deviations when it is replaced)",
                where=seen["mixed_by"],
                fix=f"look for batch_first=True that is missing, and for the order of the axes of what self.{seen['mixed_by']} gets",
                change=seen["swapped"],
                limit=limit,
            )
            return
        if seen["kept"] > limit:
            yield self.finding(
                f"outputs change by {seen['kept']:.2g} standard deviations when only other samples of the batch change (limit {limit:.0e})",
                where=record.source("forward") or "forward",
                fix="look for batch_first=True that is missing, dim=0 in softmax or mean, and a reshape across the batch axis",
                change=seen["kept"],
                limit=limit,
            )
