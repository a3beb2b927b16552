from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from diagnose.experiments.batches import changed, fresh, has_unknown, leaves, roles, same, size, take

X, Y = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
Pair = namedtuple("Pair", "x y")


@dataclass
class Sample:
    x: Tensor
    y: Tensor
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frozen:
    x: Tensor
    y: Tensor
    seen: int = field(init=False, default=3)


class Encoding(dict[str, Any]):
    """A dict whose constructor wants more, as tokenizers return it."""

    def __init__(self, data: dict[str, Any], *, owner: str) -> None:
        super().__init__(data)
        self.owner = owner


class Two(tuple[Tensor, ...]):
    def __new__(cls, a: Tensor, b: Tensor) -> Two:
        return super().__new__(cls, (a, b))


class Opaque:
    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __deepcopy__(self, memo: Any) -> Opaque:
        raise RuntimeError("not to be copied")


def default() -> defaultdict[str, Tensor]:
    batch: defaultdict[str, Tensor] = defaultdict(lambda: torch.zeros(6))
    batch.update(x=X, y=Y)
    return batch


BATCHES: dict[str, tuple[Any, list[str]]] = {
    "tensor": (X, ["batch"]),
    "tuple": ((X, Y), ["batch[0]", "batch[1]"]),
    "list": ([X, Y, "name", 3, None], ["batch[0]", "batch[1]"]),
    "dict": ({"x": X, "y": Y, "names": list("abcdef")}, ['batch["x"]', 'batch["y"]']),
    "nested": (({"in": [X]}, [(Y,)]), ['batch[0]["in"][0]', "batch[1][0][0]"]),
    "named tuple": (Pair(X, Y), ["batch[0]", "batch[1]"]),
    "tuple with its own constructor": (Two(X, Y), ["batch[0]", "batch[1]"]),
    "dataclass": (Sample(X, Y, {"z": X}), ["batch.x", "batch.y", 'batch.extra["z"]']),
    "frozen dataclass": (Frozen(X, Y), ["batch.x", "batch.y"]),
    "ordered dict": (OrderedDict(x=X, y=Y), ['batch["x"]', 'batch["y"]']),
    "default dict": (default(), ['batch["x"]', 'batch["y"]']),
    "user dict": (UserDict(x=X, y=Y), ['batch["x"]', 'batch["y"]']),
    "dict with its own constructor": (Encoding({"x": X, "y": Y}, owner="me"), ['batch["x"]', 'batch["y"]']),
    "read-only mapping": (MappingProxyType({"x": X, "y": Y}), ['batch["x"]', 'batch["y"]']),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_taken_apart_and_put_together_again(kind: str) -> None:
    batch, paths = BATCHES[kind]
    assert [path for path, _ in leaves(batch)] == paths
    before = {path: tensor.clone() for path, tensor in leaves(batch)}
    doubled = changed(batch, lambda t: t * 2)
    assert type(doubled) is type(batch)
    assert all(torch.equal(t, before[path] * 2) for path, t in leaves(doubled))
    assert all(torch.equal(t, before[path]) for path, t in leaves(batch))  # the batch itself stays


@pytest.mark.parametrize("kind", BATCHES)
def test_rows_and_size(kind: str) -> None:
    batch, _ = BATCHES[kind]
    assert size(batch) == 6
    few = take(batch, torch.tensor([4, 0, 0]))
    assert size(few) == 3
    for (_, a), (_, b) in zip(leaves(few), leaves(batch), strict=True):
        assert torch.equal(a, b[[4, 0, 0]])


@pytest.mark.parametrize("kind", BATCHES)
def test_a_fresh_batch_shares_nothing(kind: str) -> None:
    batch, _ = BATCHES[kind]
    own = {tensor.data_ptr() for _, tensor in leaves(batch)}
    new = fresh(batch)
    assert type(new) is type(batch)
    assert not own & {tensor.data_ptr() for _, tensor in leaves(new)}
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(leaves(new), leaves(batch), strict=True))


def test_what_else_a_dataclass_or_dict_holds_is_kept() -> None:
    assert changed(Encoding({"x": X}, owner="me"), lambda t: t).owner == "me"
    assert changed(Frozen(X, Y), lambda t: t).seen == 3
    assert changed(default(), lambda t: t)["missing"].shape == (6,)


def test_texts_and_arrays_move_with_their_rows() -> None:
    batch = {"text": list("abcdef"), "array": np.arange(6), "label": Y, "note": ["one", "two"], "shape": (2, 3)}
    few = take(batch, torch.tensor([5, 1]))
    assert few["text"] == ["f", "b"]
    assert few["array"].tolist() == [5, 1]
    assert few["note"] == ["one", "two"]
    assert few["shape"] == (2, 3)


def test_scalars_have_no_rows() -> None:
    assert size((X, torch.tensor(3.0))) == 6
    assert take((X, torch.tensor(3.0)), torch.tensor([1]))[1] == 3


@pytest.mark.parametrize("batch", [None, 3, "text", [], {}, (X, Y[:4]), torch.tensor(1.0), {"edges": torch.zeros(2, 9), "x": X}])
def test_no_common_axis(batch: Any) -> None:
    assert size(batch) is None


def test_a_packed_sequence() -> None:
    packed = pack_sequence([torch.ones(3, 2), torch.ones(1, 2)])
    assert torch.equal(changed(packed, lambda t: t * 1).data, packed.data)
    assert torch.equal(fresh(packed).data, packed.data)


def test_parts_that_refuse_to_be_copied_are_shared() -> None:
    thing = Opaque(X)
    new = fresh({"thing": thing, "y": Y})
    assert new["thing"] is thing
    assert new["y"] is not Y
    result = (X.clone().requires_grad_() * 2, Y)
    assert fresh(result)[0].is_leaf
    assert fresh(result)[0].requires_grad


def test_unknown_objects_are_told() -> None:
    assert has_unknown({"x": [X, Opaque(X)]})
    assert has_unknown(Sample(X, Y, {"o": Opaque(X)}))
    assert not any(has_unknown(batch) for batch, _ in BATCHES.values())
    assert not has_unknown({"text": ["a"], "n": 3, "array": np.zeros(2), "none": None})


def test_same_numbers_whatever_their_dtype_and_shape() -> None:
    assert same(Y, Y.double().reshape(2, 3))
    assert not same(Y, Y.flip(0))
    assert not same(Y, Y[:3])


def test_roles() -> None:
    assert roles({"x": X, "y": Y}, Y.float()) == {'batch["x"]': "input", 'batch["y"]': "target"}
    assert roles((X, Y), torch.zeros(6)) == {"batch[0]": "input", "batch[1]": "input"}
    assert roles(X, X) == {"batch": "input"}  # an autoencoder
    assert roles((X, Y), None) == {}
