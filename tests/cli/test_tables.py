"""Tables of targets and predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diagnose.cli.arguments import UsageError
from diagnose.cli.tables import read_predictions


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_names_become_classes(tmp_path: Path) -> None:
    found = read_predictions(table(tmp_path / "a=b, c.csv", "target,prediction", "cat,dog", "dog,dog", "eel,cat"))
    assert found["class_names"] == ["cat", "dog", "eel"]
    assert (found["target"].tolist(), found["prediction"].tolist(), found["probability"]) == ([0, 1, 2], [1, 1, 0], None)


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    assert read_predictions(table(tmp_path / "t.csv", "target,prediction", "10,9", "2,10"))["class_names"] == ["2", "9", "10"]
    assert read_predictions(table(tmp_path / "t.csv", "target,prediction", "1.0,0", "0.0,1"))["class_names"] == ["0", "1"]


def test_probabilities_give_the_order_of_the_classes_and_the_prediction(tmp_path: Path) -> None:
    found = read_predictions(table(tmp_path / "t.csv", "target,prob_z,prob_a", "a,0.25,0.75", "z,0.25,0.75"))
    assert (found["class_names"], found["target"].tolist(), found["prediction"].tolist()) == (["z", "a"], [1, 0], [1, 1])
    assert np.array_equal(found["probability"], np.array([[0.25, 0.75]] * 2, dtype=np.float32))


def test_fractions_are_values(tmp_path: Path) -> None:
    found = read_predictions(table(tmp_path / "t.csv", "target,prediction", "0.5,1", "2,2.25"))
    assert (found["target"].tolist(), found["prediction"].tolist(), found["class_names"]) == ([0.5, 2.0], [1.0, 2.25], None)


def test_npz_and_parquet_read_the_same(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    probability = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    np.savez(tmp_path / "t.npz", target=[0, 2], probability=probability)
    columns = {"target": [0, 2], **{f"prob_{k}": probability[:, k] for k in range(3)}}
    pandas.DataFrame(columns).to_parquet(tmp_path / "t.parquet")
    one, two = read_predictions(tmp_path / "t.npz"), read_predictions(tmp_path / "t.parquet")
    assert one["class_names"] == two["class_names"] == ["0", "1", "2"]
    assert all(np.array_equal(one[k], two[k]) for k in ("target", "prediction", "probability"))


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([""], "t.csv is empty"),
        (["target,prediction"], "t.csv has no rows"),
        (["label,prediction", "1,2"], "t.csv has no column 'target'; it has label, prediction"),
        (["target,score", "1,2"], "t.csv has neither a column 'prediction' nor columns 'prob_<class>'; it has target, score"),
        (["target,prediction", "1,2", "1"], "t.csv, line 3: expected 2 cells, got 1"),
        (["target,prob_a,prob_b", "c,0.5,0.5"], "t.csv: column 'target' holds 'c', which is none of the classes a, b"),
        (["target,prob_a,prob_b", "a,0.5,0.5", "a,0.5,0.75"], r"t.csv: the probabilities of row 2 sum to 1.25, expected 1 \(1 such rows\)"),
        (["target,prob_a,prob_b", "a,nan,0.5"], r"t.csv: the probabilities of row 1 sum to nan, expected 1"),
        (["target,prob_a,prob_b", "a,high,0.5"], "t.csv: a column of probabilities holds something else"),
        (["target,prediction", "a,a"], "t.csv holds one class, 'a': at least two are needed"),
    ],
)
def test_what_a_table_lacks_is_said(lines: list[str], text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=text):
        read_predictions(table(tmp_path / "t.csv", *lines))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file 'nowhere.csv'"):
        read_predictions(Path("nowhere.csv"))
    with pytest.raises(UsageError, match=r"predictions must be a file of one of .csv, .npz, .parquet, got 't.xls'"):
        read_predictions(table(tmp_path / "t.xls", ""))
    (tmp_path / "t.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"t.npz cannot be read"):
        read_predictions(tmp_path / "t.npz")
    with pytest.raises(UsageError, match=r"t.parquet cannot be read"):
        read_predictions(table(tmp_path / "t.parquet", "no table"))


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", target=np.array([{}], dtype=object))
    with pytest.raises(UsageError, match=r"t.npz cannot be read: Object arrays cannot be loaded"):
        read_predictions(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"target": np.zeros((3, 2)), "prediction": np.zeros(3)}, r"t.npz: 'target' must have one value per row, got the shape \(3, 2\)"),
        ({"target": np.array(3), "prediction": np.array(3)}, r"t.npz: 'target' must have one value per row, got the shape \(\)"),
        ({"target": np.zeros(3), "prediction": np.zeros(2)}, "t.npz: 'prediction' has 2 rows, 'target' has 3"),
        (
            {"target": np.zeros(2), "probability": np.zeros(2)},
            r"'probability' must have a row per sample and a column per class, got \(2,\)",
        ),
        ({"target": np.array([0.5, np.nan]), "prediction": np.ones(2)}, r"t.npz: 'target' has no value in row 2 \(1 such rows\)"),
    ],
)
def test_arrays_are_one_value_per_row(arrays: dict[str, np.ndarray], text: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=text):
        read_predictions(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xff\xfe\x00", "t.csv cannot be read as UTF-8 text with commas: 'utf-8' codec"),
        (b"target,target,prediction\n1,2,3\n", "t.csv has two columns 'target'"),
        (b"target,prediction\n0,1\n,1\n1,\n", r"t.csv: 'target' has no value in row 2 \(1 such rows\)"),
        (b"target,prediction\n0.5,nan\n", r"t.csv: 'prediction' has no value in row 1 \(1 such rows\)"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UsageError, match=text):
        read_predictions(tmp_path / "t.csv")


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    assert read_predictions(table(tmp_path / "t.csv", "target,prediction", "0,1", "", "1,1", ""))["target"].tolist() == [0, 1]
