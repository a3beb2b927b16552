from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from diagnose.evaluation import evaluate_predictions
from diagnose.record import Record
from diagnose.report import Report, Section, Table, build_report, write_report
from diagnose.report.build import in_words
from diagnose.report.samples import EACH, Samples, cells
from diagnose.report.thumbnails import SIDE, data_uri, described, is_image, shrunk, thumbnails
from diagnose.values import Diagnosis


def judged(classes: int = 3, n: int = 240, *, images: bool = False) -> tuple[Record, Section]:
    """A record of an evaluation of seeded probabilities, and its section of the report."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), target] += 2.0
    raw = np.exp(logits)
    probability = raw / raw.sum(1, keepdims=True)
    record = Record()
    evaluation = evaluate_predictions(record, target, probability.argmax(1), probability, class_names=[f"c{i}" for i in range(classes)])
    if images:
        rows = np.argsort(-record.arrays["test/loss"])[:32]
        record.save_array("test/input", rng.random((32, 3, 224, 224)).astype(np.float32))
        record.save_array("test/input/rows", rows)
    report = build_report(record, evaluation.diagnosis)
    assert Report.from_json(report.to_json()) == report
    return record, next(s for s in report.sections if s.name == "evaluation-test")


def table(section: Section, name: str) -> Table:
    return next(t for t in section.tables if t.name == name)


def decoded(uri: str) -> np.ndarray:
    """A PNG of our own making, read back by the letter of the standard."""
    raw = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(raw):
        (size,) = struct.unpack(">I", raw[place : place + 4])
        kind, data = raw[place + 4 : place + 8], raw[place + 8 : place + 8 + size]
        assert struct.unpack(">I", raw[place + 8 + size : place + 12 + size]) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        place += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert depth == 8
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3 if colour == 2 else 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_thumbnail_reads_back(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    np.testing.assert_array_equal(decoded(data_uri(image)), image)


def test_thumbnails_share_a_scale_and_survive_nan() -> None:
    images = np.zeros((2, 1, 4, 4))
    images[0, 0, 0, 0], images[1, 0, 0, 0], images[1, 0, 1, 1] = 2.0, 1.0, np.nan
    first, second = (decoded(uri)[..., 0] for uri in thumbnails(images))
    assert (first.max(), second.max(), second[1, 1]) == (255, 128, 0)
    assert len(thumbnails(np.full((1, 4, 4), np.nan))) == 1


def test_large_images_are_shrunk_to_means_of_blocks() -> None:
    image = np.arange(SIDE * 2 * 10, dtype=np.uint8).reshape(SIDE * 2, 10, 1)
    small = shrunk(image)
    assert small.shape == (SIDE, 5, 1)
    assert small[0, 0, 0] == round(float(image[:2, :2].mean()))
    assert shrunk(np.full((81, 3, 1), 9, dtype=np.uint8)).tolist() == np.full((41, 2, 1), 9).tolist()


def test_what_is_no_image_is_told_in_words() -> None:
    shapes = {(2, 8, 8): True, (2, 1, 8, 8): True, (2, 4, 8, 8): False, (2, 30): False, (2, 1, 3, 8): False}
    assert {shape: is_image(np.zeros(shape)) for shape in shapes} == shapes
    assert described(np.array([[0.5, 2.0]])) == ["0.500, 2"]
    assert described(np.array([[5, 2], [-1, 0]])) == ["5 2", "0"]
    assert described(np.zeros((1, 30)))[0].endswith("… (30 in all)")


def test_curves_and_thresholds_of_two_classes_and_label_errors_of_three() -> None:
    record, section = judged(2)
    (curves,) = (p for p in section.pictures if p.name == "curves-test")
    assert [panel["title"] for panel in curves.panels] == ["Precision and recall", "ROC"]
    assert len(curves.panels[0]["lines"]) == 1
    assert curves.alt.startswith("Curves of c1 against c0: average precision 0.")
    assert curves.panels[0]["guides"][0]["y"] == pytest.approx(float((record.arrays["test/target"] == 1).mean()))
    choices = table(section, "thresholds")
    assert (choices.title, choices.rows[0][0]) == ("Thresholds for c1", "threshold 0.5")
    assert all(len(row) == len(choices.columns) for row in choices.rows)
    record, section = judged(3)
    suspects = table(section, "label-errors")
    target = record.arrays["test/target"]
    assert all(row[1] == f"c{target[int(str(row[0]))]}" and row[1] != row[2] for row in suspects.rows)


def test_of_many_classes_the_worst_ranked_have_a_colour() -> None:
    record, section = judged(12, 900)
    (curves,) = (p for p in section.pictures if p.name == "curves-test")
    rows = record.facts["evaluation"]["test"]["per_class"]
    worst = sorted(range(12), key=lambda c: rows[c]["average_precision"])[:6]
    assert [label for label, _ in curves.legend] == [*(f"c{c}" for c in sorted(worst)), "other classes"]
    assert len(curves.panels[0]["lines"]) == 12


def test_samples_stand_behind_the_cells_of_the_matrix_the_worst_first() -> None:
    record, section = judged()
    tested = Samples.of(record, "test", ["c0", "c1", "c2"])
    assert tested is not None
    behind = cells(tested)
    target, guess, loss = (record.arrays[f"test/{k}"] for k in ("target", "prediction", "loss"))
    for key, rows in behind.items():
        i, j = map(int, key.split(","))
        here = np.flatnonzero((target == i) & (guess == j))
        assert [row for row, _, _ in rows] == here[np.argsort(-loss[here], kind="stable")][:EACH].tolist()
    assert len(behind) == len(np.unique(target * 3 + guess))
    row = table(section, "confused").rows[0]
    first = behind[f"{str(row[0])[1:]},{str(row[1])[1:]}"]
    assert row[4] == ", ".join(name for _, name, _ in first[:3])


def test_ids_of_the_user_name_the_samples() -> None:
    record, _ = judged()
    record.save_array("test/id", np.array([f"file{i}.png" for i in range(240)]))
    section = next(s for s in build_report(record, Diagnosis()).sections if s.name == "evaluation-test")
    assert str(table(section, "worst").rows[0][0]).startswith("file")
    assert str(table(section, "label-errors").rows[0][0]).startswith("file")


def test_thirty_two_thumbnails_make_a_page_of_at_most_two_megabytes(tmp_path: Path) -> None:
    record, section = judged(images=True)
    (gallery,) = section.galleries
    assert len(gallery.samples) == 32
    assert [s.row for s in gallery.samples] == record.arrays["test/input/rows"].tolist()
    assert "worst" not in {t.name for t in section.tables}
    written = write_report(build_report(record, Diagnosis()), tmp_path)
    assert written["html"].stat().st_size < 2_000_000
    assert decoded(gallery.samples[0].image).shape == (75, 75, 3)


def test_named_columns_are_shown_where_they_are_unusual() -> None:
    features = [{"name": n, "median": m, "spread": s} for n, m, s in (("age", 40.0, 10.0), ("same", 1.0, 0.0), ("<b>", 2.0, 1.0))]
    (text,) = described(np.array([[80.0, 5.0, 3.0]], dtype=np.float32), features)
    assert text == "age 80 (40), <b> 3 (2), same 5 (1)"
    assert described(np.array([[80.0, 5.0]]), features) == ["80, 5"], "another table"


def test_weak_slices_and_the_gap_to_training_data_are_tables() -> None:
    record, _ = judged()
    entry = record.facts["evaluation"]["test"]
    weak = {"column": "region", "value": "=cmd()", "n": 40, "score": 0.4, "rest": 0.8, "low": 0.3, "high": 0.5, "p": 0.001}
    record.add("evaluation", {"test": {**entry, "slices": {"tested": 9, "slices": [weak]}}})
    record.add("evaluation.train", {"task": "multiclass", "n": 500, "accuracy": 0.95, "log_loss": 0.1})
    section = next(s for s in build_report(record, Diagnosis()).sections if s.name == "evaluation-test")
    slices = table(section, "slices")
    assert slices.rows == (("region = =cmd()", 40, 0.4, 0.3, 0.5, 0.8, 0.001),)
    assert slices.note.startswith("Of 9 slices looked at")
    gap = table(section, "gap")
    assert gap.columns[:3] == ("metric", "train", "test")
    assert gap.note.startswith("500 training samples; both in evaluation mode")
    assert gap.rows[0][:3] == ("accuracy", 0.95, entry["accuracy"])
    assert gap.rows[0][-1] == pytest.approx(entry["accuracy"] - 0.95)


def test_values_have_a_scatter_residuals_and_errors_in_parts_of_the_range() -> None:
    rng = np.random.default_rng(1)
    target = rng.normal(size=3000) * 3
    record = Record()
    evaluation = evaluate_predictions(record, target, target + rng.normal(size=3000))
    section = next(s for s in build_report(record, evaluation.diagnosis).sections if s.name == "evaluation-test")
    (picture,) = section.pictures
    assert [panel["kind"] for panel in picture.panels] == ["agreement", "histogram"]
    assert len(picture.panels[0]["x"]) == 2000
    assert picture.note.endswith("The outermost bars hold all that lies beyond. 2,000 of 3,000 samples are drawn.")
    assert sum(picture.panels[1]["count"]) == 3000
    parts = table(section, "by-quantile")
    assert sum(int(str(row[2])) for row in parts.rows) == 3000


def test_above_two_thousand_classes_the_reason_stands_instead_of_a_matrix() -> None:
    rng = np.random.default_rng(2)
    target = rng.integers(0, 2100, 6000)
    target[0] = 2099
    record = Record()
    evaluation = evaluate_predictions(record, target, np.where(rng.random(6000) < 0.7, target, 5))
    section = next(s for s in build_report(record, evaluation.diagnosis).sections if s.name == "evaluation-test")
    assert "No confusion matrix: 2,100 classes are more than 2,000; the counts per class remain." in section.notes
    assert not [p for p in section.pictures if p.name.startswith("confusion")]
    assert len(table(section, "per-class").rows) > 2000


def test_tokens_are_written_as_what_they_stand_for() -> None:
    letters = ["'\\n'", "' '", "b", "e", "o", "t"]
    assert described(np.array([[5, 4, 1, 2, 3, -100]]), words=letters) == ["to be"]
    assert described(np.array([[0, 1]]), words=["hello", "world"]) == ["hello world"]
    assert described(np.array([[7, 1]]), words=["hello", "world"]) == ["7 1"]


def test_each_task_has_its_own_first_numbers() -> None:
    record = Record()
    rng = np.random.default_rng(0)
    yes = rng.random((80, 3)) < 0.5
    evaluate_predictions(record, yes.astype(int), (yes ^ (rng.random((80, 3)) < 0.1)).astype(int), loader="labels")
    target = rng.integers(0, 4, 90)
    probability = np.full((90, 4), 0.1) + 0.6 * np.eye(4)[target]
    evaluate_predictions(record, target, target, probability, loader="tokens", task="next-token")
    report = build_report(record, Diagnosis())
    assert [h.name for h in report.headlines] == [
        "all labels right", "macro F1", "hamming loss", "perplexity", "accuracy", "log loss",
    ]  # fmt: skip
    assert "against 0." in in_words(report.headlines[0])
    assert "the the" not in in_words(report.headlines[0])


def test_values_in_one_column_have_their_pictures_and_maps() -> None:
    record = Record()
    rng = np.random.default_rng(1)
    target = rng.normal(size=(60, 1))
    evaluation = evaluate_predictions(record, target, target + 0.1)
    record.save_array("embedding/net", rng.normal(size=(60, 2)).astype(np.float32))
    record.add("embedding", {"net": {"method": "PCA", "n": 60}})
    report = build_report(record, evaluation.diagnosis)
    assert record.arrays["test/target"].shape == (60,)
    shown = next(s for s in report.sections if s.name == "evaluation-test")
    assert [panel["kind"] for panel in shown.pictures[0].panels] == ["agreement", "histogram"]
    assert table(shown, "by-quantile").rows
    (maps,) = next(s for s in report.sections if s.name == "layers").pictures
    assert maps.note.endswith("Coloured by the true value.")
    assert [name.split(" to ")[0] for name, _ in maps.legend] == sorted((name.split(" to ")[0] for name, _ in maps.legend), key=float)
    assert len(maps.legend) == 7


def test_several_outputs_have_a_picture_each() -> None:
    record = Record()
    target = np.random.default_rng(2).normal(size=(50, 8))
    evaluation = evaluate_predictions(record, target, target)
    (picture,) = next(s for s in build_report(record, evaluation.diagnosis).sections if s.name == "evaluation-test").pictures
    assert [panel["title"] for panel in picture.panels[:6]] == [f"Output {k}" for k in range(6)]
    assert "Of 8 outputs, the first 6 are drawn." in picture.note
