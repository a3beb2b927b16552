"""Which rows are the same, between splits and within one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record
from tests.experiments.tables import CE, MSE, XY, classes, facts, loader, table


def test_overlap_counts_equal_rows_of_equal_targets() -> None:
    x, y = table(500), classes(500)
    val_y = y[350:450].clone()
    val_y[:5] = (val_y[:5] + 1) % 3
    seen = facts(loader(x[:400], y[:400], shuffle=True), loader(x[350:450], val_y)).facts["data.overlap"]["val/0"]
    assert (seen["shared"], seen["distinct"], seen["share"], seen["estimate"]) == (50, 50, 0.5, 0.5)
    assert seen["same_target"] == pytest.approx(0.9)
    assert (seen["continuous"], seen["twins"], seen["index_share"]) == (True, 0.0, None)


def test_nodes_of_the_only_graph_are_no_samples() -> None:
    """Both loaders give the same graph; masks say which of its nodes count."""
    graph: Any = [(table(60), classes(60))]
    record = facts(*(DataLoader(graph, batch_size=1, collate_fn=lambda items: items[0]) for _ in range(2)))
    for name in ("data.overlap", "data.conflicts"):
        assert "nodes of one graph" in record.missing[name]


def test_overlap_is_scaled_by_what_was_read() -> None:
    x, y = table(20_000), classes(20_000)
    record = Record()
    measure_data(record, loader(x, y, shuffle=True), loader(x[:2000], y[:2000]), roles=XY, loss=CE, samples=2000, seconds=math.inf)
    seen = record.facts["data.overlap"]["val/0"]
    assert seen["share"] == pytest.approx(0.1, abs=0.03)
    assert seen["estimate"] == pytest.approx(1.0, abs=0.3)


def test_overlapping_subsets_are_seen_through_augmentation() -> None:
    class Jittered(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            x, y = (t[index] for t in self.tensors)
            return x + torch.randn(4), y

    data = Jittered(table(), classes())
    train, val = DataLoader(Subset(data, range(300)), batch_size=50), DataLoader(Subset(data, range(280, 400)), batch_size=50)
    seen = facts(train, val).facts["data.overlap"]["val/0"]
    assert seen["shared"] == 0
    assert seen["index_share"] == pytest.approx(20 / 120)


def test_padding_to_another_length_does_not_hide_a_row() -> None:
    def pad(rows: list[Tensor]) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    g = torch.Generator().manual_seed(0)
    rows = [torch.randint(1, 30, (int(n),), generator=g) for n in torch.randint(10, 30, (200,), generator=g)]
    train, val = (DataLoader(part, batch_size=16, collate_fn=pad) for part in (rows[:150], rows[100:]))  # type: ignore[arg-type, var-annotated]
    seen = facts(train, val, roles={"batch": "input"}, loss=None).facts["data.overlap"]["val/0"]
    assert seen["shared"] == 50


@pytest.mark.parametrize(
    ("columns", "cut"),
    [
        ("normal.long()", True),
        ("normal.trunc()", True),
        ("normal", False),
        ("normal.round()", False),  # fewer zeros
        ("torch.cat([normal[:, :1], normal[:, 1:].trunc()], 1)", False),  # one column is as it was
        ("normal.abs().long()", False),  # counts
        ("torch.randint(-1, 2, normal.shape, generator=g)", False),  # votes, boards
        ("torch.randint(-2, 3, normal.shape, generator=g)", False),  # answers on a scale
        ("(normal + 0.3).long()", False),
    ],
)
def test_standardised_columns_cast_to_integers(columns: str, cut: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x: Tensor = eval(columns, {"torch": torch, "g": g, "normal": torch.randn(600, 3, generator=g)})
    assert facts(loader(x, torch.randint(2, (600,), generator=g))).facts["data.conflicts"]["cut"] is cut


def test_the_names_of_two_things_do_not_conflict() -> None:
    """Users and what they bought, for a ranking loss: nobody predicts the number of a book."""
    g = torch.Generator().manual_seed(0)
    record = facts(loader(torch.randint(40, (600,), generator=g), torch.randint(300, (600,), generator=g)), loss=None, roles={})
    assert "may be names of things" in record.missing["data.conflicts"]


def test_conflicts_set_the_floor_of_the_entropy() -> None:
    x = table(200).repeat(2, 1)
    y = torch.cat([torch.zeros(200), torch.ones(200)]).long()
    seen = facts(loader(x, y)).facts["data.conflicts"]
    assert (seen["involved"], seen["groups"], seen["distinct"], seen["share"]) == (400, 200, 200, 1.0)
    assert seen["floor"] == pytest.approx(math.log(2))
    assert seen["largest"] == 2 / 400
    values = facts(loader(x, y.float()), loss=MSE).facts["data.conflicts"]
    assert (values["kind"], values["floor"]) == ("value", pytest.approx(1.0))


@pytest.mark.parametrize("values", [False, True])
def test_the_floor_of_new_rows_is_above_that_of_few_equal_ones(values: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x, y = table(40).repeat(20, 1), torch.randint(0, 4, (800,), generator=g)
    y = torch.randn(800, generator=g) if values else y
    seen = facts(loader(x, y), **({"loss": MSE} if values else {})).facts["data.conflicts"]
    assert seen["floor"] < 0.97 * seen["prior"]
    assert seen["expected"] == pytest.approx(seen["prior"], rel=0.02)


def test_labels_that_differ_more_often_than_chance_allows() -> None:
    g = torch.Generator().manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(40), torch.arange(40))
    liked = torch.rand(1600, generator=g) < 0.5
    drawn = torch.randint(1600, (int(liked.sum()),), generator=g)  # a pair that is liked may be drawn as a negative
    x, y = torch.cat([pairs[liked], pairs[drawn]]), torch.cat([torch.ones_like(drawn), torch.zeros_like(drawn)])
    seen = facts(loader(x, y)).facts["data.conflicts"]["opposed"]
    assert 300 < seen["inputs"] < 500
    assert seen["apart"] == pytest.approx(0.74, abs=0.05)
    assert seen["most"] == pytest.approx(0.47, abs=0.03)
    assert seen["z"] > 8

    clicks = torch.rand(1600, generator=g)  # each pair is shown three times
    x, y = pairs.repeat(3, 1), (torch.rand(4800, generator=g) < clicks.repeat(3)).long()
    seen = facts(loader(x, y)).facts["data.conflicts"]["opposed"]
    assert seen["apart"] == pytest.approx(1 / 3, abs=0.03)  # the mean of 2 p (1 - p)
    assert seen["most"] == pytest.approx(0.5, abs=0.01)
    assert seen["z"] < -10
    seen = facts(loader(x, torch.randint(3, (4800,), generator=g))).facts["data.conflicts"]["opposed"]
    assert seen["z"] < 3  # the most that any two of three classes show by chance


def test_two_of_several_classes_that_stand_beside_each_other() -> None:
    g = torch.Generator().manual_seed(0)
    shown = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    kind = torch.randint(3, (100,), generator=g)
    x, y = torch.cat([shown, shown, shown[:10]]), torch.cat([kind, kind + (kind == 2), kind[:10]])  # where it is 2, once it is 3
    seen = facts(loader(x, y)).facts["data.conflicts"]["opposed"]
    assert (seen["pair"], seen["inputs"]) == ([2, 3], int((kind == 2).sum()))
    assert seen["apart"] > 0.9
    assert seen["z"] > 4
    once = {(*row, label) for row, label in zip(shown.tolist() * 2, torch.cat([kind, 3 - kind]).tolist(), strict=True)}
    table = torch.tensor(sorted((a, b, label) for (a, b, label) in once))  # each row once: rows that are equal were left out
    for again in (0, 3):  # as in a table of several labels per row, with three rows that were entered twice
        rows = torch.cat([table, table[:again]])
        assert facts(loader(rows[:, :2], rows[:, 2])).facts["data.conflicts"]["opposed"] is None


@pytest.mark.parametrize(("known", "by_length"), [(0, 1.0), (20, 0.95), (400, 0.015)])
def test_sequences_that_differ_in_length_alone(known: int, by_length: float) -> None:
    g = torch.Generator().manual_seed(0)
    length = torch.randint(5, 11, (400,), generator=g)
    ones = (torch.arange(10) < length[:, None]).long()
    words = torch.where((torch.arange(400) < known)[:, None], torch.randint(2, 90, (400, 10), generator=g) * ones, ones)
    assert facts(loader(words, classes())).facts["data.conflicts"]["by_length"] == pytest.approx(by_length, abs=0.02)
    assert facts(loader(words.float(), classes())).facts["data.conflicts"]["by_length"] == 0
    assert facts(loader(ones[:, :5], classes())).facts["data.conflicts"]["by_length"] == 0
