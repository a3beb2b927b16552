"""Tables, arrays, images and texts as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diagnose.data.arrays import Arrays
from diagnose.data.bundled import Bundled
from diagnose.data.images import ImageFolder
from diagnose.data.parts import Parts, Samples
from diagnose.data.table import Table
from diagnose.data.tokens import Tokens


def table(path: Path, rows: int = 60, **columns: list[Any]) -> Path:
    columns = {"size": [i % 7 + 0.5 for i in range(rows)], "kind": [i % 2 for i in range(rows)], **columns}
    lines = [",".join(columns), *(",".join(str(values[i]) for values in columns.values()) for i in range(rows))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_types_of_a_table_are_inferred(tmp_path: Path) -> None:
    colour = ["", *(("red", "green", "blue")[i % 3] for i in range(59))]
    smoker = ["yes" if i % 4 else "no" for i in range(60)]
    size = ["" if i % 10 == 0 else i for i in range(60)]
    path = table(tmp_path / "t.csv", colour=colour, smoker=smoker, size=size, empty=[""] * 60)
    data = Table(str(path), "kind", batch_size=8)
    assert (data.inputs, data.task, data.class_names) == ((5,), "classes", ["0", "1"])
    said = " ".join(data.notes)
    assert "'colour' holds 3 categories; they became 3 columns" in said
    assert "'smoker' holds 2 categories; they became 1 columns" in said
    assert "Columns without any value were left out: empty." in said
    assert "9 missing values were filled with the median" in said  # six sizes and the colour's three columns
    assert all(bool(torch.isfinite(data.part(p).tensors[0]).all()) for p in ("train", "val", "test"))


@pytest.mark.parametrize("normalise", ["z-score", "min-max", "none"])
def test_columns_keep_their_names_and_unit(normalise: str, tmp_path: Path) -> None:
    colour = [("red", "green", "blue")[i % 3] for i in range(60)]
    smoker = ["yes" if i % 4 else "no" for i in range(60)]
    path = table(tmp_path / "t.csv", colour=colour, smoker=smoker, same=[3.5] * 60, weight=[1000.0 + i for i in range(60)])
    data = Table(str(path), "kind", batch_size=8, normalise=normalise, bounds=(-1, 1))
    assert data.feature_names == ["size", "colour=blue", "colour=green", "colour=red", "smoker=yes", "same", "weight"]
    x = np.concatenate([data.original(data.part(p).tensors[0].numpy()) for p in ("train", "val", "test")])
    order = np.argsort(x[:, -1])
    assert x[order, -1] == pytest.approx(1000.0 + np.arange(60), abs=1e-3)
    assert x[order, 0] == pytest.approx([i % 7 + 0.5 for i in range(60)], abs=1e-5)
    assert x[order, 4] == pytest.approx([float(i % 4 > 0) for i in range(60)], abs=1e-5)
    assert x[:, 5] == pytest.approx(np.full(60, 3.5))


def test_missing_numbers_become_the_median_of_the_training_part() -> None:
    x = np.arange(40, dtype=np.float32)[:, None]
    x[::5] = np.nan
    data = Parts(Samples(x=x, y=np.arange(40, dtype=np.float32)[:, None], task="values"), normalise="none", batch_size=4)
    rows = {p: data.part(p).tensors for p in ("train", "val", "test")}
    known = [float(v) for v, y in zip(*rows["train"], strict=True) if float(y) % 5]
    filled = {float(v) for p in rows.values() for v, y in zip(*p, strict=True) if float(y) % 5 == 0}
    assert filled == {float(np.median(known))}


def test_a_target_with_fractions_is_a_value_and_rows_without_it_are_left_out(tmp_path: Path) -> None:
    price = ["", *(i / 4 for i in range(59))]
    data = Table(str(table(tmp_path / "t.csv", price=price)), "price", batch_size=8, drop=["kind"])
    assert (data.task, data.inputs, data.outputs) == ("values", (1,), 1)
    assert "1 rows without a value of 'price' were left out." in data.notes
    y = data.part("train").tensors[1].double()
    assert data.target_scale[0] == pytest.approx(y.mean(0).tolist())
    assert data.target_scale[1] == pytest.approx(y.std(0, correction=0).tolist())


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.read_csv(table(tmp_path / "t.csv")).to_parquet(tmp_path / "t.parquet")
    one, two = (Table(str(tmp_path / f"t.{e}"), "kind", batch_size=8) for e in ("csv", "parquet"))
    assert torch.equal(one.part("test").tensors[0], two.part("test").tensors[0])


@pytest.mark.parametrize(
    ("columns", "options", "text"),
    [
        ({}, {"target": "kidn"}, "data.target must name a column of t.csv, got 'kidn'; did you mean 'kind'?"),
        ({}, {"target": None}, "data.target must name a column of t.csv, got None; it has size, kind"),
        ({"kind": ["a"] * 60}, {}, "the target 'kind' has one class, 'a', in 60 rows: at least two are needed"),
        ({"size": [""] * 60}, {}, "t.csv has no feature with a value besides the target; it has 1 other columns"),
        ({"kind": [""] * 60}, {}, "the column 'kind' of t.csv has no value in any row"),
        ({"id": [f"n{i}" for i in range(60)]}, {}, r"the column 'id' of t.csv holds 60 different texts .* data.drop=\[id\]"),
        ({"size": ["inf", *range(59)]}, {}, "t.csv holds 1 infinite numbers"),
        ({}, {"task": "ranks"}, "data.task must be one of auto, classes, values, got 'ranks'"),
        ({"kind": ["a", "b"] * 30}, {"task": "values"}, "data.task=values needs numbers in the column 'kind', got 'a'"),
    ],
)
def test_a_table_that_teaches_nothing_is_refused(tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Table(str(table(tmp_path / "t.csv", **columns)), **{"target": "kind", "batch_size": 8, **options})


def test_files_that_are_not_there_or_broken_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ValueError, match=r"t.csv cannot be read: "):
        Table(str(tmp_path / "t.csv"), "y")
    for kind, text in ((Table, ".csv or .parquet file, there is no file 'no'"), (Arrays, "an .npz file"), (Tokens, "a text file")):
        with pytest.raises(ValueError, match=text):
            kind("no", *(["y"] if kind is Table else []))


def test_arrays_are_classes_or_values(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 1, 4, 4))
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(60) % 3 + 5, v=np.linspace(0, 1, 60), one=np.zeros(60, int), few=np.zeros(3, int))
    path = str(tmp_path / "a.npz")
    classes = Arrays(path, batch_size=8)
    assert (classes.inputs, classes.class_names, classes.task) == ((1, 4, 4), ["5", "6", "7"], "classes")
    assert Arrays(path, y="v", batch_size=8).task == "values"
    for name, text in (
        ("z", "data.y=z is not in the file; it has x, y"),
        ("one", "have one class, 0"),
        ("few", "expected numbers of shape"),
        ("x", ""),
    ):
        if text:
            with pytest.raises(ValueError, match=text):
                Arrays(path, y=name)


def images(root: Path, sizes: list[tuple[int, int]], mode: str = "L") -> str:
    for k, kind in enumerate(("cat", "dog")):
        (root / kind).mkdir(parents=True)
        for i, size in enumerate(sizes):
            Image.new(mode, size, (k * 100 + i) if mode == "L" else (k * 100, i, 0)).save(root / kind / f"{i}.png")
    return str(root)


def test_a_folder_of_images(tmp_path: Path) -> None:
    grey = ImageFolder(images(tmp_path / "grey", [(6, 4)] * 12), batch_size=4, normalise="none")
    assert (grey.inputs, grey.class_names) == ((1, 4, 6), ["cat", "dog"])
    assert float(grey.part("train").tensors[0].max()) <= 111 / 255
    colour = ImageFolder(images(tmp_path / "colour", [(6, 4), (8, 4)] * 6, "RGB"), size=[5, 5], batch_size=4)
    assert colour.inputs == (3, 5, 5)
    assert colour.notes == ["Images of 2 sizes were brought to 5 x 5."]
    with pytest.raises(ValueError, match=r"different sizes: 0.png is 4 x 6, 1.png is 4 x 8; .* data.size=\[height,width\]"):
        ImageFolder(str(tmp_path / "colour"))
    with pytest.raises(ValueError, match=r"data.size must be \[height, width\] in pixels, got \[0, 5\]"):
        ImageFolder(str(tmp_path / "colour"), size=[0, 5])
    with pytest.raises(ValueError, match=r"at least two classes in .*, got \[\]"):
        ImageFolder(str(tmp_path / "grey" / "cat"))
    with pytest.raises(ValueError, match=r"there is no folder None"):
        ImageFolder(None)
    (tmp_path / "grey" / "dog" / "9.png").write_text("no image")
    with pytest.raises(ValueError, match=r"9.png cannot be read as an image"):
        ImageFolder(str(tmp_path / "grey"))


def test_texts_are_cut_into_runs_of_pieces(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("abcdefghij" * 40)
    data = Tokens(str(tmp_path / "t.txt"), length=7, batch_size=8)
    assert (data.inputs, data.outputs, data.vocabulary, data.task) == ((7,), 10, 10, "tokens")
    x, y = data.part("train").tensors
    assert torch.equal(y, (x + 1) % 10)
    whole = torch.cat([data.part(p).tensors[0].flatten() for p in ("train", "val", "test")])
    assert torch.equal(whole, torch.arange(len(whole)) % 10)
    with pytest.raises(ValueError, match=r"expected at least 1001 characters of two kinds in t.txt, got 400 of 10; lower data.length=100"):
        Tokens(str(tmp_path / "t.txt"), length=100)
    with pytest.raises(ValueError, match=r"data.length must be at least 2, got 1"):
        Tokens(str(tmp_path / "t.txt"), length=1)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match=r"b.txt is no text in UTF-8"):
        Tokens(str(tmp_path / "b.txt"))


def test_the_balanced_sampler_draws_classes_alike() -> None:
    y = np.array([0] * 360 + [1] * 40)
    x = np.arange(400, dtype=np.float32)[:, None]
    data = Parts(Samples(x=x, y=y, class_names=["a", "b"]), sampler="balanced", batch_size=64)
    drawn = torch.cat([labels for _, labels in data.train_dataloader()]).double().mean()
    assert 0.4 < float(drawn) < 0.6
    with pytest.raises(ValueError, match=r"data.sampler=balanced needs classes, the data have values"):
        Parts(Samples(x=x, y=x, task="values"), sampler="balanced")


def test_constant_features_and_bounds() -> None:
    x = np.column_stack([np.full(50, 3.1), np.arange(50)]).astype(np.float32)
    samples = Samples(x=x, y=np.arange(50) % 2, class_names=["a", "b"])
    lower = Parts(samples, normalise="min-max", bounds=[-1, 1], batch_size=8).part("train").tensors[0]
    assert set(lower[:, 0].tolist()) == {-1.0}
    assert (float(lower[:, 1].min()), float(lower[:, 1].max())) == (-1.0, 1.0)
    assert set(Parts(samples, batch_size=8).part("test").tensors[0][:, 0].tolist()) == {0.0}
    with pytest.raises(ValueError, match=r"data.bounds must be two numbers, the lower first, got \[1, 0\]"):
        Parts(samples, bounds=[1, 0])
    with pytest.raises(ValueError, match=r"data.num_workers must be at least 0, got -1"):
        Parts(samples, num_workers=-1)
    assert Parts(samples, batch_size=None).batch_size == 32


def test_diabetes_and_blobs() -> None:
    data = Bundled("diabetes", batch_size=32)
    assert (data.task, data.outputs, data.class_names) == ("values", 1, None)
    assert Bundled("blobs", centers=4, samples=200, batch_size=16).outputs == 4
    with pytest.raises(ValueError, match=r"data.centers must be at least 2, got 1"):
        Bundled("blobs", centers=1)
    with pytest.raises(ValueError, match=r"data.noise must be at least 0, got -1"):
        Bundled("moons", noise=-1)
