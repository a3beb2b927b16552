from __future__ import annotations

import base64
import gc
import json
import math
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagnose.encoding import unpack
from diagnose.record import EVENTS, SCHEMA, Record


def fill(record: Record) -> Record:
    record.add("task", {"kind": "multiclass", "classes": 10, "class_names": None})
    record.add("config_keys", {"learning_rate": "optimizer.lr"})
    record.label("grad_norm/layers", ["net.0", "net.2"])
    for step in range(5):
        record.append({"train/loss": 2.3 / (step + 1), "grad_norm/layers": [0.1 * step, None]}, step=step, epoch=step // 2, batch=2 * step)
    record.append({"train/loss": math.nan, "lr": math.inf}, step=5)
    record.append({"train/loss": -math.inf, "lr": 3}, step=6)
    record.skip("probe.overfit", "the module has no optimizer")
    record.save_array("test/probability", np.eye(3, dtype=np.float32))
    return record


def assert_equal(a: Record, b: Record) -> None:
    assert a.facts == b.facts
    assert a.missing == b.missing
    assert list(a.names()) == list(b.names())
    for name in a.names():
        one, other = a.series(name), b.series(name)
        assert one.labels == other.labels
        for field in ("step", "epoch", "batch"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        np.testing.assert_allclose(one.value, other.value, rtol=1e-6)
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in a.arrays.items():
        np.testing.assert_array_equal(array, b.arrays[name])
        assert array.dtype == b.arrays[name].dtype


def test_reads_back_equal_while_it_is_still_open(tmp_path: Path) -> None:
    record = fill(Record(tmp_path / "record"))
    assert_equal(record, Record.read(tmp_path / "record"))
    record.close()
    assert_equal(record, Record.read(tmp_path / "record"))


def test_in_memory_and_on_disk_are_the_same(tmp_path: Path) -> None:
    on_disk = fill(Record(tmp_path / "record"))
    on_disk.close()
    assert_equal(fill(Record()), on_disk)


def test_a_record_can_be_continued(tmp_path: Path) -> None:
    first = Record(tmp_path)
    first.append({"train/loss": 1.0}, step=0)
    first.close()
    second = Record(tmp_path)
    second.append({"train/loss": 0.5}, step=1)
    second.close()
    np.testing.assert_array_equal(Record.read(tmp_path).series("train/loss").value, [1.0, 0.5])


def test_what_is_not_finite_reads_back(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.append({"x": math.nan, "y": math.inf, "z": -math.inf, "v": [math.inf, 1.0, None]}, step=0)
    record.add("fact", {"deep": [math.inf, {"nan": math.nan}]})
    record.close()
    back = Record.read(tmp_path)
    assert math.isnan(back.series("x").value[0])
    assert back.series("y").value[0] == math.inf
    assert back.series("z").value[0] == -math.inf
    np.testing.assert_array_equal(back.series("v").value, [[math.inf, 1.0, math.nan]])
    assert back.facts["fact"]["deep"][0] == math.inf
    assert math.isnan(back.facts["fact"]["deep"][1]["nan"])
    for line in (tmp_path / EVENTS).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # no NaN or Infinity token


def test_rows_of_many_layers_keep_four_digits_and_single_numbers_seven(tmp_path: Path) -> None:
    layers = [1.23456789 * 10.0**-i for i in range(9)]
    record = Record(tmp_path)
    record.append({"grad_norm/layers": layers, "grad_norm/total": 1.23456789, "lr": layers[:8]}, step=0)
    again = Record.read(tmp_path)
    np.testing.assert_allclose(again.series("grad_norm/layers").value[0], layers, rtol=2e-5)
    assert again.series("grad_norm/total").value.tolist() == [1.234568]
    assert again.series("lr").value[0].tolist() == [float(f"1.234568e-{i}") for i in range(8)]


def test_rows_of_many_layers_take_four_characters_each(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.append({"grad_norm/layers": [math.pi] * 100}, step=0)
    line = (tmp_path / EVENTS).read_text().splitlines()[-1]
    text = json.loads(line)["row"]["grad_norm/layers"]["~f"]
    assert len(text) == 400
    three = base64.b64decode(text)[:3]
    assert struct.unpack(">f", three + b"\0")[0] == pytest.approx(math.pi, rel=2**-16)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, None, 0.0, 1e300, 1e-300, 2.0**24 + 1])
def test_odd_numbers_in_long_rows_read_back(odd: float | None, tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.append({"v": [odd, *[0.5] * 9]}, step=0)
    back = Record.read(tmp_path).series("v").value[0]
    np.testing.assert_allclose(back[0], math.nan if odd is None else odd, rtol=2e-5)
    assert back[1:].tolist() == [0.5] * 9


@pytest.mark.parametrize("text", ["PwA", "PwAA!", "PwAAPw=="])
def test_a_packed_row_that_is_damaged_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected packed numbers"):
        unpack(text)


def test_a_record_that_is_forgotten_closes_its_file(tmp_path: Path) -> None:
    class Holder:
        pass

    holder: Any = Holder()
    holder.circle, holder.record = holder, Record(tmp_path)
    file = holder.record._file
    del holder
    gc.collect()  # a file that is left open warns here, which fails this test
    assert file.closed


def test_a_cut_off_last_line_costs_only_itself(tmp_path: Path) -> None:
    fill(Record(tmp_path)).close()
    file = tmp_path / EVENTS
    whole = Record.read(tmp_path)
    file.write_text(file.read_text() + '{"at": [7, 0, 7], "row": {"train/lo')
    assert_equal(Record.read(tmp_path), whole)


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    fill(Record(tmp_path)).close()
    file = tmp_path / EVENTS
    lines = file.read_text().splitlines()
    lines[2] = lines[2][:10]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"line 3 of .*events\.jsonl is damaged"):
        Record.read(tmp_path)


def test_a_damaged_packed_row_in_the_middle_is_named(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.append({"v": [0.5] * 10}, step=0)
    record.append({"v": [0.25] * 10}, step=1)
    record.close()
    file = tmp_path / EVENTS
    file.write_text(file.read_text().replace('{"~f":"', '{"~f":"!', 1))
    with pytest.raises(ValueError, match=r"line 2 of .*events\.jsonl is damaged: expected packed numbers"):
        Record.read(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_text(json.dumps({"schema": SCHEMA + 1}) + "\n")
    with pytest.raises(ValueError, match=rf"has schema {SCHEMA + 1}, this version reads up to {SCHEMA}: update lightning-diagnose"):
        Record.read(tmp_path)


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no record at .*: expected the file events\.jsonl"):
        Record.read(tmp_path)


def test_an_unknown_series_names_those_there_are() -> None:
    record = Record()
    with pytest.raises(KeyError, match="no series 'lr' in this record; there are none"):
        record.series("lr")
    record.append({"train/loss": 1.0, "time/step": 0.1}, step=0)
    with pytest.raises(KeyError, match="no series 'lr' in this record; there are time/step, train/loss"):
        record.series("lr")


def test_a_fact_that_json_cannot_hold_is_refused_whole(tmp_path: Path) -> None:
    record = Record(tmp_path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        record.add("task", {"kind": object()})
    record.close()
    assert "task" not in record
    assert "task" not in Record.read(tmp_path)


def test_a_later_fact_replaces_and_is_no_longer_missing(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.skip("task", "no loss was called")
    record.add("task", {"kind": "unknown"})
    record.add("task", {"kind": "binary"})
    record.close()
    for one in (record, Record.read(tmp_path)):
        assert one.facts == {"task": {"kind": "binary"}}
        assert one.missing == {}


def test_rows_of_layers_that_were_found_later_are_filled_up() -> None:
    record = Record()
    record.label("activation/mean", ["a"])
    record.append({"activation/mean": [1.0]}, step=0)
    record.label("activation/mean", ["a", "b"])
    record.append({"activation/mean": [2.0, 3.0]}, step=1)
    series = record.series("activation/mean")
    np.testing.assert_array_equal(series.value, [[1.0, math.nan], [2.0, 3.0]])
    np.testing.assert_array_equal(series.column("b"), [math.nan, 3.0])
    assert len(series) == 2


def test_batch_defaults_to_step() -> None:
    record = Record()
    record.append({"train/loss": 1.0}, step=3)
    record.append({"train/loss": 1.0}, step=4, batch=9, epoch=2)
    series = record.series("train/loss")
    assert series.batch.tolist() == [3, 9]
    assert series.epoch.tolist() == [0, 2]


def test_an_override_uses_the_key_of_the_run() -> None:
    record = Record()
    assert record.override("learning_rate", 1e-3) == ""
    record.add("config_keys", {"learning_rate": "optimizer.lr"})
    assert record.override("learning_rate", 1e-3) == "optimizer.lr=0.001"
    assert record.override("learning_rate", 0.1 + 0.2) == "optimizer.lr=0.3"
    assert record.override("batch_size", 32) == ""


def test_the_source_of_a_concept() -> None:
    record = Record()
    assert record.source("training_step") == ""
    record.add("source", {"training_step": "model.py:31"})
    assert record.source("training_step") == "model.py:31"


def test_contains_facts_series_and_arrays() -> None:
    record = fill(Record())
    assert "task" in record
    assert "train/loss" in record
    assert "test/probability" in record
    assert "probe.overfit" not in record


WRITER = """
import itertools, sys
from pathlib import Path
import numpy as np
from diagnose.record import Record
record = Record(Path(sys.argv[1]))
record.add("task", {"kind": "binary"})
record.save_array("test/target", np.arange(5))
for step in itertools.count():
    record.append({"train/loss": 1 / (step + 1)}, step=step)
    if step == 200:
        print("ready", flush=True)
"""


def test_survives_kill_9_of_the_writer(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        os.kill(writer.pid, signal.SIGKILL)
    record = Record.read(tmp_path)
    loss = record.series("train/loss")
    assert len(loss) > 200
    np.testing.assert_array_equal(loss.step, np.arange(len(loss)))
    np.testing.assert_allclose(loss.value, 1 / (1 + loss.step), rtol=1e-6)
    assert record.facts == {"task": {"kind": "binary"}}
    np.testing.assert_array_equal(record.arrays["test/target"], np.arange(5))
