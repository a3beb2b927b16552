from __future__ import annotations

from typing import Any

import pytest

from diagnose.record import Record
from diagnose.rules import run
from diagnose.rules.misaligned_labels import MisalignedLabels
from diagnose.values import Severity
from tests.rules.probes import findings as found
from tests.rules.probes import not_run, step

SHUFFLED: dict[str, Any] = {
    "train": 25.0,
    "held_out": -0.4,
    "samples": 400,
    "steps": 400,
    "losses": [2.3, 0.5],
    "real": 0.5,
    "shuffled": 0.5,
}


def findings(rule: MisalignedLabels, **facts: Any) -> list[Any]:
    return found(rule, probe__step=step(), **facts)


def judge(**changes: Any) -> list[Any]:
    return findings(MisalignedLabels(), probe__learning={**SHUFFLED, **changes})


def test_labels_that_belong_to_other_rows() -> None:
    (finding,) = judge()
    assert finding.severity is Severity.WARNING
    assert finding.where == "the pairs of input and target in the training loader"
    assert "after 400 steps the predictions match the labels of the batches trained on (25.0 standard deviations" in finding.message
    assert "but not those of 400 other samples (-0.4)" in finding.message
    assert "a shuffle, sort or join that moved only one of the two" in finding.fix
    assert finding.evidence == {"held_out": -0.4, "clear": 2.0, "train": 25.0, "gain": 0.0}


@pytest.mark.parametrize(("known", "turned", "count"), [(0.98, 0.5, 1), (0.98, 0.15, 0), (0.6, 0.4, 0)])
def test_targets_that_are_turned_apart_from_their_images(known: float, turned: float, count: int) -> None:
    fact = {"input": "batch[0]", "samples": 256, "known": known, "turned": turned, "most": "mirrored left to right"}
    found = findings(MisalignedLabels(), data__turned=fact, probe__learning={**SHUFFLED, "held_out": 40.0})
    assert len(found) == count
    if found:
        assert found[0].message.startswith("in 50% of 256 training images the target fits only after it is mirrored or turned")
        assert found[0].evidence == {"turned": 0.5, "limit": 0.2, "known": 0.98}


@pytest.mark.parametrize(
    ("items", "left", "change", "count"),
    [(40, 40, 1.0, 1), (40, 32, 1.0, 1), (40, 31, 1.0, 0), (40, 0, 1.0, 0), (5, 5, 1.0, 1), (4, 4, 1.0, 0), (40, 40, 0.0, 0)],
)
def test_boxes_that_stay_where_their_image_is_mirrored(items: int, left: int, change: float, count: int) -> None:
    mirrors = {"mirrored left to right": {"items": 9, "left": 0}, "mirrored top to bottom": {"items": items, "left": left}}
    fact = {"input": "batch[0]", "path": "batch[1]", "form": "x, y, w, h", "unit": "shares", "rows": 900, "mirrors": mirrors}
    used = [{"path": "batch[1]", "padded": False, "samples": 64, "change": change}]
    found = findings(MisalignedLabels(), data__boxes=fact, probe__fields=used, probe__learning={**SHUFFLED, "held_out": 40.0})
    assert len(found) == count
    if found:
        start = f"of {items} training images that come mirrored top to bottom when they are read again, {left} have boxes that stay"
        assert found[0].message.startswith(start)
        assert found[0].where == "batch[0] and batch[1] in the training loader"
        assert found[0].evidence == {"behind": left / items, "limit": 0.8, "items": items}


@pytest.mark.parametrize(("held_out", "count"), [(1.9, 1), (3.0, 0)])
def test_what_holds_after_one_pass_over_many_batches_is_clean(held_out: float, count: int) -> None:
    once = {"held_out": held_out, "samples": 3000, "steps": 240}
    assert len(findings(MisalignedLabels(), probe__learning=SHUFFLED, probe__once=once)) == count


@pytest.mark.parametrize(
    "changes",
    [
        {"held_out": 40.0},
        {"held_out": 2.01},
        {"train": 3.9},  # it has learned nothing at all: another rule's matter
        {"real": 0.24},  # the true labels are learned better than shuffled ones
    ],
)
def test_what_holds_on_other_batches_is_clean(changes: dict[str, float]) -> None:
    assert judge(**changes) == []


def by_heart(**changes: Any) -> dict[str, Any]:
    """Both sorts of labels are learned by heart, and the losses end at next to nothing."""
    return {"held_out": -0.4, "early": 0.9, "real": 3e-5, "shuffled": 2e-4, "lead": 0.17, **changes}


def test_of_labels_learned_by_heart_the_whole_fall_is_judged() -> None:
    (finding,) = judge(**by_heart())
    assert finding.severity is Severity.WARNING
    assert finding.evidence["gain"] == pytest.approx(0.85)
    assert judge(**by_heart(early=0.99, lead=0.44))


@pytest.mark.parametrize(
    "changes",
    [
        {"lead": 0.72},  # learned sooner than shuffled ones: they hold for some of the rows
        {"early": 1.1},  # a weak signal, lost when the rows were learned by heart
        {"held_out": 1.1},
    ],
)
def test_labels_learned_sooner_and_faint_signals_are_clean(changes: dict[str, float]) -> None:
    assert judge(**by_heart(**changes)) == []


@pytest.mark.parametrize(("lead", "early", "count"), [(0.02, 1.9, 1), (0.02, 2.1, 0), (0.06, 1.9, 0)])
def test_labels_learned_no_sooner_than_shuffled_ones_need_not_be_as_far_from_the_others(lead: float, early: float, count: int) -> None:
    assert len(judge(**by_heart(lead=lead, early=early))) == count


@pytest.mark.parametrize(("early", "count"), [(2.9, 1), (3.1, 0)])
def test_what_held_after_the_first_passes_is_clean(early: float, count: int) -> None:
    assert len(judge(early=early)) == count


def test_opposed_labels_of_equal_inputs_are_not_those_of_other_rows() -> None:
    def conflicts(z: float) -> dict[str, Any]:
        opposed = {"inputs": 870, "apart": 0.75, "most": 0.47, "z": z}
        return {"probe__learning": SHUFFLED, "data__conflicts": {"opposed": opposed}}

    assert "differ in 75% of pairs, those of rows drawn at random in 47%" in not_run(
        MisalignedLabels(), probe__step=step(), **conflicts(16.0)
    )
    assert findings(MisalignedLabels(), **conflicts(0.5))
    assert findings(MisalignedLabels(), probe__learning=SHUFFLED, data__conflicts={"opposed": None})


def test_two_trainings_by_heart_end_at_different_losses() -> None:
    (finding,) = judge(real=0.235, shuffled=0.35)  # targets that were sorted, with another seed
    assert "the loss ends at 0.235, with shuffled labels at 0.35" in finding.message


def test_learned_data_need_no_shuffled_run() -> None:
    fact = {k: v for k, v in SHUFFLED.items() if k not in ("real", "shuffled")}
    assert findings(MisalignedLabels(), probe__learning={**fact, "held_out": 12.0}) == []


def test_a_shuffled_loss_of_zero_is_no_division() -> None:
    assert judge(shuffled=0.0) == []


def test_too_few_samples() -> None:
    reason = not_run(MisalignedLabels(), probe__step=step(), probe__learning={**SHUFFLED, "samples": 99})
    assert reason == "too short: 99 held-out samples, at least 100 are needed"


SHIFTED: dict[str, Any] = {"lag": 1, "order": "data set", "held_out": 11.3, "samples": 200, "steps": 120}


@pytest.mark.parametrize(("lag", "whose"), [(1, "next"), (-1, "previous")])
def test_targets_of_the_neighbouring_row(lag: int, whose: str) -> None:
    facts = {"probe__learning": {**SHUFFLED, "train": 2.7}, "probe__neighbours": {**SHIFTED, "lag": lag}}
    (finding,) = findings(MisalignedLabels(), **facts)
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith(f"each row holds the target of the {whose} row of the data set: after 120 steps")
    assert "(11.3 standard deviations above chance), as the data are they do not (-0.4 after 400)" in finding.message
    assert "i + 1 or i - 1" in finding.fix
    assert finding.evidence["lag"] == lag


def test_neighbours_whose_targets_are_not_learned_either_say_nothing() -> None:
    facts = {"probe__learning": {**SHUFFLED, "train": 2.7}, "probe__neighbours": {**SHIFTED, "held_out": 5.9}}
    assert findings(MisalignedLabels(), **facts) == []


def test_what_can_be_learned_by_heart_in_one_batch_only_is_no_alarm() -> None:
    facts = {"probe__learning": {**SHUFFLED, "train": 2.7}, "probe__overfit": {"progress": 0.9}}
    (finding,) = findings(MisalignedLabels(), **facts)
    assert finding.severity is Severity.INFO
    assert "the inputs tell nothing of these labels, or the labels are those of other rows" in finding.message
    assert findings(MisalignedLabels(), **{**facts, "probe__overfit": {"progress": 0.7}}) == []


PAIRING: dict[str, Any] = {"samples": 3, "apart": 3, "input": "batch[0]", "target": "batch[1]", "rows": [12, [45], [1]]}


def test_a_step_that_holds_outputs_against_other_samples_targets() -> None:
    (finding,) = findings(MisalignedLabels(), probe__pairing=PAIRING)
    assert finding.severity is Severity.ERROR
    assert finding.where == "model.py:31"
    assert "the input of sample 12 reaches row 45 of what the loss compares, its target row 1, and so for 3 of 3 samples" in finding.message
    assert finding.fix == "use one permutation, roll or reshape for inputs and targets alike"


def test_pairs_that_meet_are_judged_by_what_is_learned() -> None:
    together = {**PAIRING, "apart": 1}
    assert findings(MisalignedLabels(), probe__pairing=together, probe__learning={**SHUFFLED, "held_out": 12.0}) == []
    assert not_run(MisalignedLabels(), probe__step=step(), probe__pairing=together) == "probe.learning was not recorded"


def test_weights_that_rise_with_the_frequency_leave_little_to_learn() -> None:
    weighed = step(class_weights={"weight": [1.0, 0.1], "count": [1081, 119]})
    assert "the loss weighs frequent classes more than rare ones" in not_run(
        MisalignedLabels(), probe__step=weighed, probe__learning=SHUFFLED
    )


@pytest.mark.parametrize(("apart", "found"), [(12, True), (2, False)])
def test_a_collate_function_that_sorts_the_inputs_alone(apart: int, found: bool) -> None:
    record = Record()
    record.add("probe.step", {})
    record.add("data.collated", {"input": "batch[0]", "target": "batch[2]", "rows": 24, "apart": apart})
    told = run(MisalignedLabels(), record).findings
    assert ["12 of 24 rows of batch[0] stand beside the target of another item in batch[2]" in f.message for f in told] == [True] * found


@pytest.mark.parametrize(("shares", "swapped", "found"), [([0.9, 0.1, 0.2], 3, True), ([0.9, 0.1, 0.2], 2, False), ([0.9], 1, False)])
def test_blends_whose_targets_have_the_shares_of_each_other(shares: list[float], swapped: int, found: bool) -> None:
    record = Record()
    record.add("probe.step", {})
    record.add("probe.mixture", {"input": shares, "target": [1 - share for share in shares], "swapped": swapped})
    told = run(MisalignedLabels(), record).findings
    assert ["in each of 3 draws, as in that of 0.90 of a sample with 0.10 of its target" in f.message for f in told] == [True] * found


@pytest.mark.parametrize(
    ("simple", "found"), [({"explained": 0.9}, 0), ({"explained": 0.2}, 1), ({"accuracy": 0.9, "majority": 0.5}, 0), ({}, 1)]
)
def test_targets_that_a_simple_model_tells_belong_to_their_rows(simple: dict[str, float], found: int) -> None:
    record = Record()
    for name, fact in (("probe.step", {}), ("probe.learning", SHUFFLED), ("data.simple", simple)):
        record.add(name, fact)
    outcome = run(MisalignedLabels(), record)
    assert (len(outcome.findings), outcome.status) == (found, "found" if found else "not-run")
    record.add("probe.learning", {**SHUFFLED, "held_out": 40.0})
    assert run(MisalignedLabels(), record).status == "clean"  # whoever else tells them


@pytest.mark.parametrize(("apart", "held_out"), [(True, -1.2), (False, -1.2), (True, 9.0), (True, None)])
def test_inputs_and_targets_of_two_loaders(apart: bool, held_out: float | None) -> None:
    """Unpaired domains, as of a CycleGAN, are drawn so on purpose: their own targets are learned, or nobody can tell."""
    record = Record()
    if held_out is not None:
        record.add("probe.learning", {**SHUFFLED, "held_out": held_out, "train": 0.0})
    record.add("data.two_loaders", {"input": 'batch["x"]', "target": 'batch["y"]', "rows": 1500, "apart": apart})
    record.add("probe.step", {})
    found = run(MisalignedLabels(), record).findings
    said = 'batch["x"] and batch["y"] come of two loaders of 1500 rows each, which shuffle on their own: an input meets the target of '
    said += "another row"
    assert [(f.message, f.severity) for f in found] == [(said, Severity.ERROR)] * (apart and held_out == -1.2)
