"""Tables of targets and predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diagnose.cli.arguments import UsageError
from diagnose.cli.table_files import BLOCK
from diagnose.cli.tables import Names, read_predictions


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
        (["target,prob_a,prob_b", "a,0.5,0.5", "a,0.5,0.75"], r"t.csv: the probabilities of row 2 sum to 1.25, expected 1 \(1 such row\)"),
        (["target,prob_a,prob_b", "a,nan,0.5"], r"t.csv: 'prob_a' has no value, or NaN, in row 1 \(1 such row\)"),
        (["target,prob_a,prob_b", "a,high,0.5"], "t.csv: 'prob_a' holds 'high', expected probabilities"),
        (["target,prediction", "a,a"], "t.csv holds one class, 'a': at least two are needed"),
        (["target,prob_a,prob_b", "a,1.5,-0.5"], r"t.csv: row 1 holds the probability -0.5, expected 0 to 1"),
        (
            ["target,prediction", "cat,0", "dog,1"],
            "t.csv: 'target' holds names such as 'cat', 'prediction' holds numbers such as '0': write both alike",
        ),
        (["target,prediction,id", "0,1,x", "1,1,x"], "t.csv: 'id' must name each row differently\nname another column by columns.id=NAME"),
        (["target,prediction,lower_x,upper_x", "0.5,1,0,1"], "t.csv: 'lower_x' names no share in per cent, such as lower_90"),
        (["target_a,target_b,prob_a", "0,1,0.5"], "t.csv has no column 'prob_b', as it has 'prob_a'"),
        (["target_a,target_b", "0,1"], "t.csv has neither 'prediction_a' nor 'prob_a'"),
        (["target_a,prediction_a", "0,2"], "t.csv: prediction of 'a' in row 1 must be 0 or 1, got 2"),
        (["target_a,prediction_a", "0,x"], "t.csv: 'prediction_a' holds 'x', expected numbers"),
        (["target;prediction", "1;2"], "t.csv: the columns are parted by ';', expected commas"),
        (["target,prediction", "0.5,inf", "1.5,2"], r"t.csv: 'prediction' holds inf in row 1, expected a finite number \(1 such row\)"),
        (
            ["target,prediction", "0,1", "-1,0", "1,1"],
            "'target' holds -1 in 1 of 3 rows and nothing predicts it, as where it means that there is no label\nleave these rows out",
        ),
        (["target,prediction", "0,1", "-100.0,0", "1,1"], "'target' holds -100 in 1 of 3 rows"),
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
    with pytest.raises(UsageError, match=r"t.npz is damaged or no .npz file: expected what numpy.savez writes"):
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
        ({"target": np.array([0.5, np.nan]), "prediction": np.ones(2)}, r"t.npz: 'target' has no value in row 2 \(1 such row\)"),
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
        (b"target,prediction\n0,1\n,1\n1,\n", r"t.csv: 'target' has no value in row 2 \(1 such row\)"),
        (b"target,prediction\n0.5,nan\n", r"t.csv: 'prediction' has no value in row 1 \(1 such row\)"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UsageError, match=text):
        read_predictions(tmp_path / "t.csv")


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    assert read_predictions(table(tmp_path / "t.csv", "target,prediction", "0,1", "", "1,1", ""))["target"].tolist() == [0, 1]


def test_columns_can_be_named(tmp_path: Path) -> None:
    names = Names.of({"target": "label", "prediction": "guess", "probability": "p(", "id": "name"})
    path = table(tmp_path / "t.csv", "name,label,guess,p(a,p(b,site", "r1,a,a,0.75,0.25,x", "r2,b,a,0.75,0.25,x")
    found = read_predictions(path, names)
    assert (found["class_names"], found["target"].tolist(), found["prediction"].tolist()) == (["a", "b"], [0, 1], [0, 0])
    assert found["ids"].tolist() == ["r1", "r2"]
    with pytest.raises(UsageError, match=r"t.csv has no column 'target'; it has name, label.*\nname it by columns.target=NAME"):
        read_predictions(path)
    with pytest.raises(UsageError, match=r"columns.target must be the name of a column, got 3"):
        Names.of({"target": 3})
    with pytest.raises(UsageError, match="columns has no key 'label'; it has target, prediction"):
        Names.of({"label": "x"})


def test_other_columns_are_metadata(tmp_path: Path) -> None:
    rows = [f"{k % 2},{k % 3 % 2},s{k % 4},{k / 7},row {k}" for k in range(40)]
    found = read_predictions(table(tmp_path / "t.csv", "target,prediction,site,age,comment", *rows))["columns"]
    assert list(found) == ["site", "age"], "a text of its own in every row is no group"
    assert found["site"].tolist()[:5] == ["s0", "s1", "s2", "s3", "s0"]
    assert found["age"][7] == 1.0


def test_the_task_decides_what_numbers_are(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "target,prediction,lower_90,upper_90", "3,4,2,5", "7,7,6,9")
    assert read_predictions(path)["class_names"] == ["3", "4", "7"]
    found = read_predictions(path, task="regression")
    assert (found["target"].tolist(), found["class_names"], list(found["bounds"])) == ([3.0, 7.0], None, ["0.9"])
    assert found["bounds"]["0.9"][1].tolist() == [5.0, 9.0]
    assert read_predictions(table(tmp_path / "f.csv", "target,prediction", "0.5,1.5"), task="multiclass")["class_names"] == ["0.5", "1.5"]
    with pytest.raises(UsageError, match=r"n.csv: 'target' holds 'cat', which is no number, as the task regression needs"):
        read_predictions(table(tmp_path / "n.csv", "target,prediction", "cat,1"), task="regression")
    with pytest.raises(UsageError, match=r"p.csv has no column 'prediction', which the task regression needs"):
        read_predictions(table(tmp_path / "p.csv", "target,prob_a,prob_b", "1,0.5,0.5"), task="regression")


def test_several_labels(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "target_sun,target_rain,prob_sun,prob_rain", "1,0,0.9,0.2", "0,1,0.6,0.8")
    found = read_predictions(path)
    assert (found["task"], found["class_names"]) == ("multilabel", ["sun", "rain"])
    assert found["target"].tolist() == [[1, 0], [0, 1]]
    assert found["prediction"].tolist() == [[1, 0], [1, 1]]


def test_a_long_file_is_read_block_by_block(tmp_path: Path) -> None:
    rows = [f"{k % 3},0.5,0.25,0.25,{'late' if k == BLOCK + 5 else 'early'}" for k in range(BLOCK + 10)]
    found = read_predictions(table(tmp_path / "t.csv", "target,prob_0,prob_1,prob_2,when", *rows))
    assert found["probability"].shape == (BLOCK + 10, 3)
    assert found["target"].tolist() == [k % 3 for k in range(BLOCK + 10)]
    assert (found["columns"]["when"] == "late").nonzero()[0].tolist() == [BLOCK + 5]
    rows[BLOCK + 3] = "1,2"
    with pytest.raises(UsageError, match=rf"t.csv, line {BLOCK + 5}: expected 5 cells, got 2"):
        read_predictions(table(tmp_path / "t.csv", "target,prob_0,prob_1,prob_2,when", *rows))
    rows[BLOCK + 3] = "1,high,0.25,0.25,x"
    with pytest.raises(UsageError, match="'prob_0' holds 'high', expected probabilities"):
        read_predictions(table(tmp_path / "t.csv", "target,prob_0,prob_1,prob_2,when", *rows))


def test_minus_one_can_be_a_class(tmp_path: Path) -> None:
    both = read_predictions(table(tmp_path / "t.csv", "target,prediction", "-1,1", "1,1"))
    assert both["class_names"] == ["-1", "1"], "the two classes of a support vector machine"
    predicted = read_predictions(table(tmp_path / "t.csv", "target,prediction", "-1,-1", "0,1", "1,1"))
    assert predicted["class_names"] == ["-1", "0", "1"]
