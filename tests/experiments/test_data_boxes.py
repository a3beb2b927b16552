"""Boxes that stay where they were while an augmentation of the data set mirrors their image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from diagnose.experiments.data_boxes import boxes
from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

COUNT, HEIGHT, WIDTH = 160, 24, 40
CORNERS = "x0, y0, x1, y1"
Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def drawn(count: int = COUNT, seed: int = 0) -> Tensor:
    """Corners of boxes in pixels, shape (count, 4)."""
    random = torch.Generator().manual_seed(seed)
    size = torch.randint(4, 10, (count, 2), generator=random)
    start = (torch.rand(count, 2, generator=random) * (torch.tensor([WIDTH, HEIGHT]) - size + 1)).long()
    return torch.cat([start, start + size], 1).float()


def written(corners: Tensor, form: str, unit: str) -> Tensor:
    sides = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    start, end = corners[..., :2], corners[..., 2:]
    first = (start + end) / 2 if form[0] == "c" else start
    return torch.cat([first, end if form == CORNERS else end - start], -1) / (sides if unit == "shares" else 1)


def flipped(image: Tensor, corners: Tensor, turn: str) -> tuple[Tensor, Tensor]:
    x0, y0, x1, y1 = corners.unbind(-1)
    if turn != "mirrored top to bottom":
        image, x0, x1 = image.flip(-1), WIDTH - x1, WIDTH - x0
    if turn != "mirrored left to right":
        image, y0, y1 = image.flip(-2), HEIGHT - y1, HEIGHT - y0
    return image, torch.stack([x0, y0, x1, y1], -1)


def flips(turn: str = "mirrored left to right", *, forgotten: bool) -> Augment:
    def augment(image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
        if torch.rand(()) < 0.5:
            return image, corners
        return flipped(image, corners, turn)[0], corners if forgotten else flipped(image, corners, turn)[1]

    return augment


def plain(image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    return image, corners


def shifted(image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    by = int(torch.randint(-min(6, int(corners[0])), 1 + min(6, WIDTH - int(corners[2])), ()))
    return image.roll(by, -1), corners + torch.tensor([by, 0, by, 0])


def shifted_alone(image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    return shifted(image, corners)[0], corners


class Items(Dataset[dict[str, Any]]):
    """Noisy images with a bright box each, and a class."""

    def __init__(self, augment: Augment, form: str = CORNERS, unit: str = "pixels", target: Tensor | None = None) -> None:
        self.corners, self.augment, self.form, self.unit, self.target = drawn(), augment, form, unit, target
        self.noise = 0.3 * torch.randn(COUNT, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> dict[str, Any]:
        x0, y0, x1, y1 = self.corners[index].int().tolist()
        image = self.noise[index].clone()
        image[:, y0:y1, x0:x1] += 2
        image, corners = self.augment(image, self.corners[index])
        target = written(corners, self.form, self.unit) if self.target is None else self.target[index]
        return {"image": image, "where": target, "kind": index % 3}


class Several(Items):
    """With one to three boxes in each image, of which the bright one is the first."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, corners = self.noise[index], drawn(1 + index % 3, seed=index)
        image, corners = self.augment(image, corners)
        return {"image": image, "where": corners, "kind": index % 3}


def listed(items: list[dict[str, Any]]) -> Any:
    return [item["image"] for item in items], [{"boxes": item["where"], "label": item["kind"]} for item in items]


def seen(items: Items, collate: Any = None) -> dict[str, Any] | None:
    record = Record()
    torch.manual_seed(0)
    loader = DataLoader(items, batch_size=8, shuffle=True, collate_fn=collate)
    before = torch.get_rng_state()
    measure_data(record, loader, None, roles={}, loss=None, seconds=math.inf)
    assert torch.equal(before, torch.get_rng_state())
    return record.facts.get("data.boxes")


@pytest.mark.parametrize("unit", ["pixels", "shares"])
@pytest.mark.parametrize("form", [CORNERS, "x, y, w, h", "cx, cy, w, h"])
def test_forgotten_boxes_are_told_from_those_that_are_mirrored(form: str, unit: str) -> None:
    left, moved = (seen(Items(flips(forgotten=forgotten), form, unit)) for forgotten in (True, False))
    assert left is not None
    assert moved is not None
    assert (left["input"], left["path"], left["form"], left["unit"]) == ('batch["image"]', 'batch["where"]', form, unit)
    assert left["rows"] == COUNT
    assert list(left["mirrors"]) == list(moved["mirrors"]) == ["mirrored left to right"]
    behind, sound = left["mirrors"]["mirrored left to right"], moved["mirrors"]["mirrored left to right"]
    assert behind["left"] == behind["items"] > 30
    assert sound["items"] > 30
    assert sound["left"] == 0


@pytest.mark.parametrize("turn", ["mirrored top to bottom", "turned by 180 degrees"])
def test_boxes_of_images_turned_otherwise(turn: str) -> None:
    for forgotten in (True, False):
        found = seen(Items(flips(turn, forgotten=forgotten)))
        assert found is not None
        assert list(found["mirrors"]) == [turn]
        assert found["mirrors"][turn]["left"] == (found["mirrors"][turn]["items"] if forgotten else 0)


def test_several_boxes_in_each_image() -> None:
    for forgotten in (True, False):
        found = seen(Several(flips(forgotten=forgotten)), listed)
        assert found is not None
        assert (found["path"], found["form"], found["unit"]) == ('batch[1][0]["boxes"]', CORNERS, "pixels")
        kind = found["mirrors"]["mirrored left to right"]
        assert kind["items"] > 30
        assert kind["left"] == (kind["items"] if forgotten else 0)


@pytest.mark.parametrize("augment", [plain, shifted, shifted_alone])
def test_images_that_nobody_mirrors(augment: Augment) -> None:
    found = seen(Items(augment))
    assert found is not None
    assert not any(kind["left"] for kind in found["mirrors"].values())


def test_noise_on_both_readings_hides_no_mirror() -> None:
    def noisy(image: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
        image, corners = flips(forgotten=True)(image, corners)
        return 1.3 * image + 0.1 * torch.randn(image.shape) + 0.2, corners

    found = seen(Items(noisy))
    assert found is not None
    assert found["mirrors"]["mirrored left to right"]["left"] > 30


def several(kind: str) -> Tensor:
    random = torch.Generator().manual_seed(5)
    if kind == "counts":
        return torch.randint(1, 12, (COUNT, 4), generator=random).float()
    if kind == "smoothed classes":
        return 0.9 * torch.nn.functional.one_hot(torch.arange(COUNT) % 4, 4) + 0.025
    numbers = torch.rand(COUNT, 4, generator=random)
    return {"shares": numbers, "small shares": 0.3 * numbers, "parts": numbers / numbers.sum(1, keepdim=True), "of 24": 24 * numbers}[kind]


@pytest.mark.parametrize("kind", ["counts", "smoothed classes", "shares", "small shares", "parts", "of 24"])
def test_four_targets_that_a_mirror_leaves_alone_are_no_boxes(kind: str) -> None:
    assert seen(Items(flips(forgotten=False), target=several(kind))) is None


def test_numbers_drawn_apart_hardly_ever_look_like_boxes() -> None:
    random = torch.Generator().manual_seed(0)
    found = []
    for turn in range(400):
        numbers = torch.rand(16 << turn % 4, 4, generator=random) ** (1 + turn % 3)
        found.append(boxes((0.3 * torch.rand(4, generator=random) + 0.7 * torch.rand(4, generator=random) * numbers).double()))
    assert found.count(None) == 400


def test_boxes_of_few_rows_or_few_places_are_not_judged() -> None:
    rows = drawn().double() / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    assert boxes(rows[:16]) == CORNERS
    assert boxes(rows[:15]) is None
    assert boxes(rows[:7].repeat(20, 1)) is None
    rows[3, 0] = math.nan
    assert boxes(rows) is None
    assert boxes(torch.rand(64, 4, generator=torch.Generator().manual_seed(0)).sort(1)[0].double()) is None


def test_a_loader_that_wants_whole_batches_is_left_alone() -> None:
    def whole(items: list[dict[str, Any]]) -> Any:
        if len(items) < 2:
            raise ValueError("one item is no batch")
        return torch.utils.data.default_collate(items)

    assert seen(Items(flips(forgotten=True)), whole) is None
