from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diagnose.record import Record
from diagnose.report import Report, build_report, write_report
from diagnose.report.evaluation import interval, reliability
from diagnose.report.html import to_html
from diagnose.report.markdown import to_markdown
from diagnose.report.training import gradient
from diagnose.values import Diagnosis, Outcome, Status
from tests.report.synthetic import facts, faulty, full_record, healthy


def section(report: Report, name: str) -> Any:
    return next(s for s in report.sections if s.name == name)


def test_verdict_names_the_root_cause() -> None:
    report = build_report(full_record(), faulty())
    assert report.tone == "error"
    assert report.verdict == "Softmax is applied before cross-entropy, which applies it again."
    assert [f.code for f in report.diagnosis.findings] == ["M201", "T311", "E409"]
    assert report.title == "MLP"


def test_verdict_of_a_healthy_run_gives_the_number_beside_its_baseline() -> None:
    report = build_report(full_record(), healthy())
    assert report.tone == "clean"
    assert report.verdict == (
        "4 rules found nothing wrong. Accuracy on test: 0.961 (95 % interval 0.936 to 0.977), against 0.100 for the majority class."
    )


def test_an_empty_record_is_not_called_healthy() -> None:
    report = build_report(Record(), Diagnosis())
    assert (report.tone, report.verdict, report.sections) == ("unknown", "Nothing was judged.", ())
    skipped = Diagnosis(outcomes=(Outcome(code="T301", rule="non-finite", status=Status.NOT_RUN, reason="train/loss was not recorded"),))
    assert build_report(Record(), skipped).verdict == "No rule had enough to judge by."
    assert build_report(Record(), skipped).tone == "unknown"


def test_an_interrupted_run_says_so_first() -> None:
    record = full_record(batches=40)
    record.add("run", {**record.facts["run"], "interrupted": "at epoch 3, batch 17 by Ctrl-C", "stopped": ""})
    report = build_report(record, healthy())
    assert (report.tone, build_report(record, faulty()).tone) == ("interrupted", "error")
    assert report.verdict.startswith("Interrupted at epoch 3, batch 17 by Ctrl-C; what was recorded until then is below.")
    assert "Interrupted: at epoch 3, batch 17 by Ctrl-C." in section(report, "training").notes


def test_a_check_has_passed_only_where_its_rule_looked() -> None:
    checks = {c.title: c for c in section(build_report(full_record(), faulty()), "checks").checks}
    assert checks["Starts where chance stands"].state == "passed"
    assert checks["Starts where chance stands"].text == "Loss 2.34 at the start, chance gives 2.30 for 10 classes."
    assert checks["Loss decreases in training"].state == "failed"
    assert checks["Learns what holds on other batches"].state == "unjudged"
    assert checks["Learns what holds on other batches"].text.endswith("No rule looked at it.")
    record = Record()
    record.skip("probe.overfit", "manual optimisation: the module takes its own steps")
    (only,) = section(build_report(record, Diagnosis()), "checks").checks
    assert (only.state, only.text) == ("unjudged", "Not measured: manual optimisation: the module takes its own steps.")


def test_training_notes_tell_why_it_stopped_and_how_often_it_clipped() -> None:
    record = full_record()
    notes = section(build_report(record, healthy()), "training").notes
    share = np.mean(record.series("clip/ratio").value < 0.999)
    assert notes == (
        "Trained for 10 of at most 30 epochs, 900 optimizer steps.",
        "Stopped: val/loss did not improve for 3 validations.",
        f"The gradient was clipped on {100 * share:.1f} % of the recorded steps (limit 1, by norm).",
    )


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ({"by": "norm", "threshold": 0.5, "percentile": None}, "limit 0.500, by norm"),
        ({"by": "value", "threshold": 0.01, "percentile": None}, "limit 0.010, by value"),
        ({"by": "percentile", "threshold": 1.2345, "percentile": 10.0}, "at percentile 10 of the norms so far, at last 1.23"),
    ],
)
def test_training_notes_tell_of_every_step_that_the_callback_clipped(fact: dict[str, Any], said: str) -> None:
    record = full_record()
    record.add("clipping", {**fact, "steps": 900, "share": 0.25})
    notes = section(build_report(record, healthy()), "training").notes
    assert notes[-1] == f"The gradient was clipped on 25.0 % of 900 steps ({said})."


@pytest.mark.parametrize(
    ("schedulers", "automatic", "said"),
    [
        ([{"name": "LambdaLR", "called": "cosine", "interval": "step", "frequency": 1}], True, "cosine, stepped after each optimizer step"),
        ([{"name": "StepLR", "called": "", "interval": "epoch", "frequency": 2}], True, "StepLR, stepped after every 2 epochs"),
        ([{"name": "StepLR", "interval": "epoch"}], False, "StepLR, stepped by the module itself"),
        ([{"name": "A", "interval": "step"}, {"name": "B", "interval": "epoch"}], True,
         "A, stepped after each optimizer step; B, stepped after each epoch"),
    ],
)  # fmt: skip
def test_the_rate_stands_beside_what_steps_it(schedulers: list[dict[str, Any]], automatic: bool, said: str) -> None:
    record = Record()
    record.add("run", {"schedulers": schedulers, "automatic_optimization": automatic})
    record.label("lr", ["group 0"])
    record.append({"lr": [0.1]}, step=1)
    picture = gradient(record)
    assert picture is not None
    assert picture.note == f"The rate follows {said}."
    record.add("run", {"schedulers": []})
    again = gradient(record)
    assert again is not None
    assert again.note == ""


def test_the_interval_solves_wilsons_equation() -> None:
    share, count = 0.93, 150
    for end in interval({"accuracy": share, "n": count}, "accuracy"):
        assert end is not None
        assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), rel=1e-6)
    assert interval({"accuracy": share, "n": count, "intervals": {"accuracy": [0.9, 0.95]}}, "accuracy") == (0.9, 0.95)
    assert interval({"r2": 0.5, "n": 10}, "r2") == (None, None)


def test_reliability_bins_by_hand() -> None:
    record = Record()
    record.save_array("test/probability", np.array([[0.99, 0.01], [0.97, 0.03], [0.45, 0.55], [0.42, 0.58]], dtype=np.float32))
    record.save_array("test/target", np.array([0, 1, 1, 0]))
    record.save_array("test/prediction", np.array([0, 0, 1, 1]))
    bins = reliability(record)
    assert bins is not None
    assert {i: n for i, n in enumerate(bins["count"]) if n} == {8: 2, 14: 2}
    assert (bins["confidence"][8], bins["accuracy"][8], bins["accuracy"][14]) == (pytest.approx(0.565), 0.5, 0.5)


def test_most_confused_pairs_are_ranked() -> None:
    record = Record()
    record.add("evaluation", {"test": {"task": "multiclass", "n": 30, "accuracy": 0.8, "confusion": [[8, 2, 0], [0, 9, 1], [3, 0, 7]]}})
    tables = {t.name: t for t in section(build_report(record, Diagnosis()), "evaluation-test").tables}
    assert tables["confused"].rows == (("2", "0", 3, 0.3), ("0", "1", 2, 0.2), ("1", "2", 1, 0.1))


def test_several_loaders_and_a_regression_are_kept_apart() -> None:
    record = Record()
    baseline = {"mae": 2.0, "rmse": 2.5, "r2": 0.0}
    entry = {"task": "regression", "n": 50, "mae": 0.5, "rmse": 0.7, "r2": 0.92, "baseline": baseline, "intervals": {"mae": [0.4, 0.6]}}
    record.add("evaluation", {"near": entry, "far": {**entry, "mae": 1.5}})
    report = build_report(record, Diagnosis())
    first = report.headlines[0]
    assert (first.name, first.value, first.low, first.high, first.baseline, first.baseline_name) == (
        "MAE",
        0.5,
        0.4,
        0.6,
        2.0,
        "mean predictor",
    )
    assert (first.better, first.scope) == ("lower", "near, 50 samples")
    assert [s.name for s in report.sections] == ["evaluation-near", "evaluation-far"]


def check_only() -> Record:
    record = Record()
    facts(record, ("a", "b"))
    del record.facts["run"]
    return record


def odd() -> Record:
    """One row, no finite value, layers that appear later, predictions without an evaluation."""
    record = Record()
    record.append({"train/loss": None, "val/loss": 0.5, "lr": [0.1], "grad_norm/layers": [1.0]}, step=0)
    record.append({"grad_norm/layers": [1.0, 2.0], "grad_norm/total": 0.0}, step=1)
    record.append({"activation/dead": [None, None]}, step=1)
    record.save_array("test/target", np.array([0.5, 1.5]))
    record.save_array("test/prediction", np.array([0.4, 1.0]))
    record.save_array("test/loss", np.array([np.nan, 0.25]))
    record.add("embedding", {"net": {"note": "too few samples"}, "other": {}})
    record.save_array("embedding/net", np.zeros((0, 2)))
    record.add("evaluation", {"test": {"task": "regression", "n": 2, "mae": None, "per_class": []}, "broken": None})
    record.add("stages", [{"name": "fit", "seconds": 0.0}, {"name": "?"}])
    return record


def many_classes(count: int) -> Record:
    return full_record(tuple(f"class {i}" for i in range(count)), batches=20)


@pytest.mark.parametrize(
    "record",
    [Record(), check_only(), odd(), many_classes(2), many_classes(30), many_classes(240)],
    ids=["empty", "check", "odd", "2", "30", "240"],
)
def test_every_record_becomes_a_page(record: Record) -> None:
    report = build_report(record, faulty())
    assert not [n for s in report.sections for n in s.notes if "could not be made" in n]
    assert Report.from_json(report.to_json()) == report
    assert "</html>" in to_html(report)
    assert len(to_html(report)) < 500_000
    assert to_markdown(report).startswith("# ")


def test_a_long_deep_run_stays_small(tmp_path: Any) -> None:
    record = full_record(batches=20_000)
    labels = [f"blocks.{i}.linear" for i in range(120)]
    for kind in ("grad_norm", "update_ratio", "weight_norm"):
        record.labels[f"{kind}/layers"] = tuple(labels)
        record._rows.pop(f"{kind}/layers")
    rng = np.random.default_rng(0)
    for i in range(1000):
        row = rng.lognormal(size=120).tolist()
        record.append({"grad_norm/layers": row, "update_ratio/layers": row, "weight_norm/layers": row}, step=i)
    written = write_report(build_report(record, faulty()), tmp_path, formats=("html", "json"), figures=False)
    assert written["html"].stat().st_size < 500_000
    assert written["json"].stat().st_size < 500_000


def test_hostile_nesting_of_facts_is_flattened() -> None:
    record = Record()
    record.add("config", {"a": {"b": [1, 2, {"c": None}]}, "</script>": True, "long": list(range(100))})
    rows = dict(next(t for t in section(build_report(record, Diagnosis()), "provenance").tables if t.name == "config").rows)
    assert rows["a.b.2.c"] == "null"
    assert rows["</script>"] == "true"
    assert rows["long"].endswith("(100 in all)")


def test_pages_of_rules_come_with_their_findings() -> None:
    from diagnose.rules import catalogue

    rule = next(iter(catalogue()))
    outcome = Outcome(code=rule.code, rule=rule.name, status=Status.FOUND, findings=faulty().findings[:1])
    unknown = Outcome(code="Z999", rule="of-a-plugin", status=Status.FOUND, findings=faulty().findings[:1])
    report = build_report(Record(), Diagnosis(outcomes=(outcome, unknown)))
    assert list(report.pages) == [rule.code]
    assert "## What it measures" in report.pages[rule.code]


def test_a_part_that_cannot_be_read_costs_no_other() -> None:
    record = full_record(batches=20)
    record.add("evaluation", {"test": {"accuracy": 0.5, "n": 10, "per_class": 7, "intervals": 3}})
    report = build_report(record, healthy())
    (note,) = section(report, "evaluation").notes
    assert note.startswith("This part could not be made from the record: TypeError")
    assert section(report, "training").pictures
    assert "</html>" in to_html(report)


def test_a_map_says_how_many_samples_it_shows() -> None:
    record = full_record()
    rng = np.random.default_rng(0)
    record.save_array("test/target", np.arange(9000) % 10)
    record.save_array("test/prediction", np.arange(9000) % 10)
    record.save_array("embedding/net", rng.normal(size=(5000, 2)))
    record.save_array("embedding/net/rows", np.arange(0, 9000, 1)[:5000])
    record.add("embedding", {"net": {"method": "t-SNE", "n": 5000, "cap": 5000, "perplexity": 30.0, "seed": 1, "knn_accuracy": 0.9}})
    (picture,) = section(build_report(record, healthy()), "layers").pictures
    assert picture.note == (
        "2,000 of 5,000 samples drawn, a stratified choice of at most 5,000, perplexity 30, seed 1. True classes; errors are ringed."
    )
    assert [len(panel["x"]) for panel in picture.panels] == [2000, 2000]
    assert [panel["title"] for panel in picture.panels] == ["net, t-SNE, k-NN 0.900", "Predicted class; 0 errors ringed"]


def test_layers_stand_in_one_row_from_early_to_late_and_share_their_samples() -> None:
    (picture,) = section(build_report(full_record(batches=20), healthy()), "layers").pictures
    assert [panel["title"].split(",")[0] for panel in picture.panels[:2]] == ["net.1 (ReLU)", "net.3 (ReLU)"]
    assert len(picture.panels) == 3
    assert [sorted(panel.get("samples", {})) for panel in picture.panels] == [["names", "predicted", "rows", "true"], [], []]
    assert picture.panels[0]["group"] == picture.panels[1]["group"]


def test_a_report_is_called_after_what_it_is_about() -> None:
    def title(config: dict[str, Any]) -> str:
        record = Record()
        record.add("run", {"command": "train"})
        record.add("config", config)
        return build_report(record, Diagnosis()).title

    network = {"_target_": "diagnose.models.networks.mlp"}
    assert title({"model": network, "data": {"_target_": "diagnose.data.bundled.Bundled", "name": "digits"}}) == "mlp on digits"
    assert title({"model": network, "data": {"_target_": "diagnose.data.table.Table", "path": "/a/<b>.csv"}}) == "mlp on <b>.csv"
    assert title({"model": {"_target_": "my.pkg.Net"}, "data": {"_target_": "my.pkg.Data"}}) == "Net on Data"
    assert title({"model": network, "data": network, "predictions": "runs/preds.csv"}) == "preds.csv"
    assert title({}) == "diagnose train"


def test_the_provenance_speaks_in_words() -> None:
    record = Record()
    optimizers = [{"name": "AdamW", "lr": 0.003, "betas": [0.9, 0.999]}]
    git = {"commit": "0123abcd", "changed": True}
    record.add(
        "run",
        {"command": "train", "checkpoint": "a.ckpt", "git": git, "clip_val": 5.0, "optimizers": optimizers, "checkpoint_sha256": "ff"},
    )
    field = {"dtype": "float32", "shape": [1, 8, 8], "mean": 0.5, "std": 0.1, "min": 0.0, "max": 1.0, "nan": 2, "posinf": 1, "neginf": 0}
    loader = {"samples": 64, "total": 90, "batch_size": 8, "order": "random", "inputs": ["batch[0]"], "target": "batch[1]"}
    record.add("data", {"train": {**loader, "fields": {"batch[0]": field}}})
    record.add("fingerprints", {"train": "aaaa", "test": "bbbb"})
    record.add("evaluation", {"test": {"n": 20, "fingerprint": "cccc"}, "other": {"n": 30, "fingerprint": "dddd"}})
    record.skip("probe.initial_loss", "no loss was seen")
    tables = {t.name: t for t in section(build_report(record, Diagnosis()), "provenance").tables}
    assert tables["run"].rows == (
        ("command", "train"),
        ("git commit", "0123abcd, with uncommitted changes"),
        ("checkpoint", "a.ckpt"),
        ("SHA-256 of the checkpoint", "ff"),
        ("gradients clipped at", "5"),
        ("optimizer", "AdamW, learning rate 0.003, betas (0.9, 0.999)"),
    )
    assert tables["data"].rows == (
        ("train", 90, 8, "random", "aaaa", "inputs, targets"),
        ("test, evaluated", 20, None, None, "bbbb", "inputs, targets"),
        ("other, evaluated", 30, None, None, "dddd", "targets"),
    )
    assert tables["fields"].rows == (("train", "batch[0]", "input", "float32 1 × 8 × 8", 0.5, 0.1, 0.0, 1.0, 3),)
    assert tables["missing"].rows == (("initial loss", "no loss was seen"),)


def test_numbers_stand_beside_both_baselines_by_name() -> None:
    record = Record()
    baseline = {"name": "majority class a", "accuracy": 0.3, "log_loss": 1.1, "names": {"log_loss": "class shares"}}
    independent = {"name": "own predictions dealt at random", "accuracy": 0.25}
    entry = {"task": "multiclass", "n": 50, "accuracy": 0.8, "log_loss": 0.4, "intervals": {}, "baseline": baseline}
    record.add("evaluation", {"test": {**entry, "independent": independent}})
    report = build_report(record, Diagnosis())
    assert [(h.baseline_name, h.independent) for h in report.headlines] == [("majority class a", 0.25), ("class shares", None)]
    rows = {row[0]: row[-2:] for row in section(report, "evaluation-test").tables[0].rows}
    assert rows == {"accuracy": ("majority class a", 0.25), "log loss": ("class shares", None)}


def test_a_long_table_per_class_begins_with_the_weakest() -> None:
    record = Record()
    rows = [
        {"name": f"c{k}", "precision": 0.5, "recall": 0.5, "f1": None if k == 3 else k / 50, "support": 1, "predicted": 1}
        for k in range(40)
    ]
    record.add("evaluation", {"test": {"task": "multiclass", "n": 40, "accuracy": 0.5, "per_class": rows}})
    found = next(t for t in section(build_report(record, Diagnosis()), "evaluation-test").tables if t.name == "per-class")
    assert found.folded
    assert [row[0] for row in (*found.rows[:4], found.rows[-1])] == ["c0", "c1", "c2", "c4", "c3"]
    assert found.note.startswith("The lowest F1 comes first.")
