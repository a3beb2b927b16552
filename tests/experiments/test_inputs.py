from __future__ import annotations

from dataclasses import dataclass

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import diagnose
from diagnose.experiments.inputs import CONTEXT, SIDE, WorstInputs, inputs_of, small, tensors
from diagnose.measure.losses import Predictions


class Linear(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self.layer(batch[0]), batch[1])


def found(loss: Tensor, target: Tensor | None = None) -> Predictions:
    target = torch.zeros(len(loss), dtype=torch.long) if target is None else target
    return Predictions("multiclass", target, target, None, loss, 3)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_worst_are_kept_whatever_the_batch_size(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    loss, x = torch.rand(200, generator=generator), torch.rand(200, 5, generator=generator)
    kept = WorstInputs(8)
    for start in range(0, 200, size):
        part = slice(start, start + size)
        kept.add((x[part], torch.zeros(len(x[part]), dtype=torch.long)), found(loss[part]))
    arrays = kept.arrays()
    assert arrays is not None
    expected = loss.argsort(descending=True)[:8]
    assert arrays[0].tolist() == expected.tolist()
    np.testing.assert_array_equal(arrays[1], x[expected].numpy())


def test_nan_is_the_highest_loss_and_ties_keep_their_order() -> None:
    kept = WorstInputs(3)
    kept.add([torch.arange(8.0).reshape(4, 2)], found(torch.tensor([1.0, torch.nan, 1.0, 1.0])))
    arrays = kept.arrays()
    assert arrays is not None
    assert arrays[0].tolist() == [1, 0, 2]


def test_images_are_shrunk_and_stand_on_one_scale_of_eight_bits() -> None:
    images = torch.rand(4, 3, 200, 100, generator=torch.Generator().manual_seed(0)) * 7 - 3
    kept = WorstInputs(2)
    kept.add({"image": images, "label": torch.zeros(4)}, found(torch.tensor([0.0, 3.0, 1.0, 2.0])))
    arrays = kept.arrays()
    assert arrays is not None
    rows, pictures = arrays
    assert (rows.tolist(), pictures.shape, str(pictures.dtype)) == ([1, 3], (2, 3, SIDE, SIDE // 2), "uint8")
    assert (pictures.min(), pictures.max()) == (0, 255)
    assert small(torch.zeros(2, 8, 8)).shape == (2, 1, 8, 8)
    assert small(torch.zeros(2, 500)).shape == (2, 64)


def test_the_target_is_no_input_and_tokens_come_with_what_stands_before_them() -> None:
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    inputs = inputs_of((target, torch.tensor([[5.0], [6.0]])), found(torch.zeros(2), target), torch.tensor([1]))
    assert inputs is not None
    assert inputs.tolist() == [[6.0]]
    tokens = torch.arange(12).reshape(2, 6)
    windows = inputs_of(tokens, found(torch.zeros(10)), torch.tensor([0, 7]))
    assert windows is not None
    assert windows.shape == (2, CONTEXT)
    assert [v for v in windows[0].tolist() if v >= 0] == [0]
    assert [v for v in windows[1].tolist() if v >= 0] == [6, 7, 8]
    assert inputs_of((torch.zeros(3, 4),), found(torch.zeros(5)), torch.tensor([0])) is None


def test_tensors_are_found_in_any_batch() -> None:
    @dataclass
    class Batch:
        x: Tensor
        y: Tensor

    x, y = torch.zeros(2, 3), torch.ones(2)
    for batch in ((x, y), [x, [y]], {"x": x, "y": (y,)}, Batch(x, y)):
        assert [t.shape for t in tensors(batch)] == [x.shape, y.shape]
    assert tensors("text") == []


def test_an_evaluation_keeps_the_inputs_of_highest_loss_or_none() -> None:
    torch.manual_seed(0)
    x = torch.randn(90, 4)
    loader = DataLoader(TensorDataset(x, torch.randint(0, 3, (90,))), batch_size=32)
    module = Linear()
    record = diagnose.evaluate(module, loader, samples=5).record
    rows = record.arrays["test/input/rows"]
    assert rows.tolist() == np.argsort(-record.arrays["test/loss"], kind="stable")[:5].tolist()
    np.testing.assert_array_equal(record.arrays["test/input"], x[torch.as_tensor(rows)].numpy())
    assert "test/input" not in diagnose.evaluate(module, loader, samples=0).record.arrays
