"""Norms of gradients against autograd and numpy."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from diagnose.measure.gradients import clean, combine, dense, is_sharded, norms, owners, similarity


def test_norms_are_those_of_numpy() -> None:
    tensors = [torch.randn(3, 4), torch.randn(7), torch.zeros(2)]
    np.testing.assert_allclose(norms(tensors), [np.linalg.norm(t.numpy()) for t in tensors], rtol=1e-6)


def test_half_precision_is_reduced_in_single() -> None:
    assert norms([torch.full((4,), 3e4, dtype=torch.float16)]).item() == 6e4  # its square is no half


def test_mixed_precisions_stand_in_one_vector() -> None:
    mixed = norms([torch.ones(4), torch.ones(4, dtype=torch.float64), torch.ones(4, dtype=torch.bfloat16)])
    assert mixed.tolist() == [2.0, 2.0, 2.0]
    assert mixed.dtype == torch.float32


def test_a_sparse_gradient_counts_repeated_rows_once_summed() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 1, 3])).sum().backward()
    gradient = table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert dense(gradient).shape == (2, 2)
    assert math.isclose(norms([gradient]).item(), gradient.to_dense().norm().item(), rel_tol=1e-6)


def test_tiny_norms_do_not_underflow_when_they_are_combined() -> None:
    assert math.isclose(combine([3e-30, 4e-30], [0, 0], 1)[0], 5e-30, rel_tol=1e-5)


def test_groups_without_a_tensor_are_unknown() -> None:
    combined = combine([3.0, 4.0, 2.0], [1, 1, 0], 3)
    assert combined[:2] == [2.0, 5.0]
    assert math.isnan(combined[2])


def test_nothing_to_measure_is_an_empty_vector() -> None:
    assert norms([]).shape == (0,)
    assert math.isnan(combine([], [], 1)[0])


def test_owners_are_modules_with_trainable_weights_of_their_own() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.frozen = nn.Linear(2, 2).requires_grad_(False)
            self.first = nn.Linear(2, 2)
            self.tied = nn.Linear(2, 2, bias=False)
            self.tied.weight = self.first.weight
            self.lazy = nn.LazyLinear(2)

    assert {name: len(parameters) for name, parameters in owners(Net()).items()} == {"Net": 1, "first": 2}


def test_names_are_cleaned_of_wrappers() -> None:
    assert clean("_orig_mod.net.0") == "net.0"
    assert clean("net._orig_mod.0._forward_module.fc") == "net.0.fc"
    assert clean("") == ""


def test_ordinary_tensors_are_whole() -> None:
    assert not is_sharded([torch.ones(2), nn.Parameter(torch.ones(2))])
    shard = nn.Parameter(torch.ones(2))
    shard._fsdp_flattened = True  # type: ignore[attr-defined]
    assert is_sharded([torch.ones(2), shard])


def test_similarity_is_the_cosine() -> None:
    a, b = torch.randn(50), torch.randn(50)
    assert math.isclose(similarity(a, b).item(), torch.cosine_similarity(a, b, dim=0).item(), abs_tol=1e-6)
