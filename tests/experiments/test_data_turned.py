"""Images and targets by pixel that an augmentation turns together, or apart."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from diagnose.experiments.data_statistics import measure_data
from diagnose.record import Record

ROWS, SIDE = 96, 20


def scenes(classes: int = 2, noise: float = 0.7) -> tuple[Tensor, Tensor]:
    """Rectangles on a noisy ground, one colour per class, and the class of each pixel."""
    random = torch.Generator().manual_seed(0)
    colours = torch.randn(classes, 3, generator=random) * 1.5
    mask = torch.zeros(ROWS, SIDE, SIDE, dtype=torch.long)
    for row in mask:
        for kind in range(1, classes):
            top, left = (int(torch.randint(0, 12, (), generator=random)) for _ in range(2))
            row[top : top + 4 + kind, left : left + 7] = kind
    return colours[mask].permute(0, 3, 1, 2) + noise * torch.randn(ROWS, 3, SIDE, SIDE, generator=random), mask


def mirrored(images: Tensor, seed: int, dims: tuple[int, ...] = (-1,)) -> Tensor:
    chosen = torch.rand(len(images), generator=torch.Generator().manual_seed(seed)) < 0.5
    out = images.clone()
    out[chosen] = images[chosen].flip(dims)
    return out


def seen(image: Tensor, mask: Tensor, kind: str = "cross_entropy") -> dict[str, Any] | None:
    loss = {"kind": kind, "classes": 4, "input_shape": [8, 4, SIDE, SIDE], "target_shape": [8, *mask.shape[1:]], "target_dtype": "int64"}
    record = Record()
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(image, mask), batch_size=8, shuffle=True)
    measure_data(record, loader, None, roles={"batch[0]": "input", "batch[1]": "target"}, loss=loss, seconds=math.inf)
    return record.facts.get("data.turned")


@pytest.mark.parametrize("classes", [2, 4])
def test_flips_drawn_apart_are_told_from_flips_drawn_once(classes: int) -> None:
    image, mask = scenes(classes)
    apart, together = seen(mirrored(image, 1), mirrored(mask, 2)), seen(mirrored(image, 1), mirrored(mask, 1))
    assert apart is not None
    assert together is not None
    assert (apart["input"], apart["samples"], apart["most"]) == ("batch[0]", ROWS, "mirrored left to right")
    assert apart["known"] > 0.9
    assert 0.35 < apart["turned"] < 0.65
    assert together["known"] > 0.9
    assert together["turned"] < 0.03


@pytest.mark.parametrize("kind", ["binary_cross_entropy_with_logits", "mse_loss"])
def test_targets_in_a_channel_of_their_own_may_be_values(kind: str) -> None:
    image, mask = scenes(2)
    target = mask[:, None].float() if kind[0] == "b" else image.mean(1, keepdim=True) ** 2
    apart, sound = seen(mirrored(image, 1), mirrored(target, 2), kind), seen(image, target, kind)
    assert apart is not None
    assert sound is not None
    assert apart["turned"] > 0.3
    assert sound["turned"] < 0.1


def test_symmetric_objects_and_targets_of_other_images_are_not_turned() -> None:
    image, _ = scenes()
    away = (torch.arange(SIDE) - 9.5).abs()
    disc = (away[:, None] ** 2 + away**2)[None] < torch.randint(9, 80, (ROWS, 1, 1), generator=torch.Generator().manual_seed(3))
    found = seen(image + 2 * disc[:, None], disc.long())
    assert found is not None
    assert found["turned"] < 0.05
    other = seen(scenes()[0].roll(1, 0), scenes()[1])
    assert other is not None
    assert other["known"] < 0.7


def test_classes_of_whole_images_have_no_place_in_them() -> None:
    assert seen(scenes()[0], torch.arange(ROWS) % 4) is None
    assert seen(scenes()[0][:24], scenes()[1][:24]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("spoiled", ["image", "mask"])
def test_what_is_not_finite_spoils_no_measurement(bad: float, spoiled: str) -> None:
    image, mask = scenes()
    target = mask[:, None].float()
    (image if spoiled == "image" else target)[3, 0, 2, 2] = bad
    found = seen(image, target, "binary_cross_entropy_with_logits")
    assert found is not None
    assert found["samples"] == ROWS
