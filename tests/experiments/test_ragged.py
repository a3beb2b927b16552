"""The samples of batches that are no stacks of rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from diagnose import check
from diagnose.experiments.ragged import choose, count
from diagnose.namespace import LightningModule
from diagnose.record import Record

BOXES = [torch.full((i % 3 + 1, 4), float(i)) for i in range(6)]
CELLS = torch.tensor([0, 0, 1, 2, 2, 2])
EDGES = torch.tensor([[0, 1, 3, 4, 5], [1, 0, 4, 5, 3]])


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([torch.ones(6, 2), torch.ones(6)], 6),
        ((torch.ones(6, 2), BOXES), 6),
        (([torch.ones(1, 3, 4 + i) for i in range(6)], [{"boxes": b, "label": torch.ones(len(b))} for b in BOXES]), 6),
        ({"x": torch.ones(6, 2), "owner": CELLS, "y": torch.ones(3)}, 3),
        ({"x": torch.ones(6, 2), "edges": EDGES, "owner": CELLS, "y": torch.ones(3)}, 3),
        ({"x": torch.ones(6, 2), "edges": torch.tensor([[0], [5]]), "owner": CELLS, "y": torch.ones(3)}, None),  # an edge between two
        ({"x": torch.ones(6, 2), "owner": CELLS.flip(0), "y": torch.ones(3)}, None),
        ((torch.ones(5, 2), BOXES), None),
        (((torch.ones(32, 3), torch.ones(32).long()), (torch.ones(64, 3), torch.ones(64).long())), None),  # two loaders
        ([torch.ones(5, 2), torch.ones(3)], None),
    ],
)
def test_the_number_of_samples(batch: Any, expected: int | None) -> None:
    assert count(batch) == expected


def test_lists_are_chosen_from_with_the_tensors_beside_them() -> None:
    images, boxes, names = choose((torch.arange(6), BOXES, ["a", "b", "c", "d", "e", "f"]), torch.tensor([5, 1, 1]))
    assert images.tolist() == [5, 1, 1]
    assert [len(b) for b in boxes] == [3, 2, 2]
    assert names == ["f", "b", "b"]


def test_parts_whose_edges_join_several_samples_are_replaced_and_the_edges_stay() -> None:
    batch = {"x": torch.arange(6), "edges": torch.tensor([[0, 1], [5, 3]]), "owner": CELLS, "y": torch.tensor([10, 11, 12])}
    assert (count(batch), count(batch, crossed=True)) == (None, 3)
    new = choose(batch, torch.tensor([0, 0, 1]))
    assert new["x"].tolist() == [0, 1, 0, 2, 2, 2]
    assert new["y"].tolist() == [10, 10, 11]
    assert all(torch.equal(new[name], batch[name]) for name in ("edges", "owner"))


def test_parts_are_chosen_with_their_sample_and_numbered_anew() -> None:
    batch = {"x": torch.arange(6), "edges": EDGES, "owner": CELLS, "y": torch.tensor([10, 11, 12]), "scale": torch.tensor(2.0)}
    new = choose(batch, torch.tensor([2, 0, 2]))
    assert new["x"].tolist() == [3, 4, 5, 0, 1, 3, 4, 5]
    assert new["owner"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert new["edges"].tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 0, 4, 3, 6, 7, 5]]
    assert (new["y"].tolist(), float(new["scale"])) == ([12, 10, 12], 2)


class Bags(LightningModule):
    """A label for bags of rows, by attention among the rows of a bag or among those of the batch."""

    def __init__(self, leak: bool, add: bool = False) -> None:
        super().__init__()
        self.leak, self.add = leak, add
        self.score, self.head = nn.Linear(3, 1), nn.Linear(3, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, owner, y = batch
        weight = self.score(x).exp()
        total = weight.sum() if self.leak else torch.zeros(len(y), 1).index_add(0, owner, weight)[owner]
        pooled = torch.zeros(len(y), 3).index_add(0, owner, weight / total * x)
        return F.binary_cross_entropy_with_logits(self.head(pooled)[:, 0], y, reduction="sum" if self.add else "mean")

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Graphs(LightningModule):
    """A label for graphs, by the sums of their nodes and of the neighbours of these."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.head = nn.Linear(3, 8), nn.Linear(8, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, edges, owner, y = batch
        h = self.lift(x + torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])).relu()
        return F.binary_cross_entropy_with_logits(self.head(torch.zeros(len(y), 8).index_add(0, owner, h))[:, 0], y)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.mark.parametrize("shift", [1, 0])
def test_edges_that_lead_to_other_graphs_are_found_by_what_their_nodes_change(shift: int) -> None:
    """The shift of the node numbers lags behind by one node."""

    def joined(rows: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, owner, y = bags(rows)
        at = torch.arange(len(owner) - 1)
        at = at[owner[:-1] == owner[1:]]
        return x, torch.stack([at, at + 1]) - shift * (owner[at] > 0), owner, y

    torch.manual_seed(0)
    record = Record()
    loader: DataLoader[Any] = DataLoader(range(80), batch_size=8, collate_fn=joined)  # type: ignore[arg-type]
    found = {f.rule for f in check(Graphs(), loader, record=record).findings}
    assert ("sample-leakage" in found) == bool(shift)
    assert "probe.joined" not in record.facts


def bags(rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(sum(rows))
    sizes = torch.randint(2, 6, (len(rows),), generator=generator)
    owner = torch.arange(len(rows)).repeat_interleave(sizes)
    y = torch.randint(0, 2, (len(rows),), generator=generator).float()
    return torch.randn(len(owner), 3, generator=generator) + y[owner, None], owner, y


@pytest.mark.parametrize(("leak", "add"), [(True, False), (False, True), (False, False)])
def test_samples_that_lean_on_others_and_sums_over_them_are_found(leak: bool, add: bool) -> None:
    torch.manual_seed(0)
    record = Record()
    loader: DataLoader[Any] = DataLoader(range(80), batch_size=8, collate_fn=bags)  # type: ignore[arg-type]
    found = {f.rule for f in check(Bags(leak, add), loader, record=record).findings}
    assert ("sample-leakage" in found, "sum-reduction" in found) == (leak, add)
    assert record.facts["probe.reduction"]["ratio"] == pytest.approx(2.0 if add else 1.0, abs=0.01 if not leak else 0.5)
    assert (record.facts["probe.dependence"]["kept"] > 1e-3) == leak
