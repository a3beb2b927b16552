"""Loaders of healthy programs, each of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

Case = tuple[Any, Any, str]  # training loader, validation loader, loss
CASES: dict[str, Callable[[int], Case]] = {}


def case(function: Callable[[int], Case]) -> Callable[[int], Case]:
    CASES[function.__name__] = function
    return function


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loaders(x: Tensor, y: Tensor, loss: str, *, share: float = 0.75, shuffle: bool = True, mix: int | None = 0, size: int = 32) -> Case:
    """A split of the rows, mixed by ``mix`` unless it is ``None``."""
    x = x.float() if x.is_floating_point() else x
    order = torch.arange(len(x)) if mix is None else torch.randperm(len(x), generator=generator(mix))
    cut = int(share * len(x))
    parts = [TensorDataset(x[o], y[o]) for o in (order[:cut], order[cut:])]
    return DataLoader(parts[0], batch_size=size, shuffle=shuffle), DataLoader(parts[1], batch_size=100), loss


@case
def digits_unscaled(seed: int) -> Case:
    x, y = load_digits(return_X_y=True)
    return loaders(torch.tensor(x), torch.tensor(y), "cross_entropy", mix=seed)


@case
def digits_in_order_of_the_file(seed: int) -> Case:
    x, y = load_digits(return_X_y=True)
    return loaders(torch.tensor(x / 16), torch.tensor(y), "cross_entropy", mix=None, shuffle=False)


@case
def iris_raw_and_tiny(seed: int) -> Case:
    x, y = load_iris(return_X_y=True)
    return loaders(torch.tensor(x), torch.tensor(y), "cross_entropy", mix=seed, share=0.7, size=15)


@case
def tables_standardised(seed: int) -> Case:
    x, y = (load_wine, load_breast_cancer)[seed % 2](return_X_y=True)
    return loaders(torch.tensor((x - x.mean(0)) / x.std(0)), torch.tensor(y), "cross_entropy", mix=seed)


@case
def diabetes_with_its_tiny_scale(seed: int) -> Case:
    x, y = load_diabetes(return_X_y=True)
    return loaders(torch.tensor(x), torch.tensor(y).float(), "mse_loss", mix=seed)


@case
def heavy_tails(seed: int) -> Case:
    x = torch.distributions.StudentT(2.0).sample((1200, 6))
    return loaders((x - x.mean(0)) / x.std(0), x[:, 0], "huber_loss")


@case
def log_normal_of_order_one(seed: int) -> Case:
    return loaders(torch.randn(1000, 5, generator=generator(seed)).exp(), torch.randn(1000), "mse_loss")


@case
def sine_and_cosine_of_the_hour(seed: int) -> Case:
    angle = 6.2832 * torch.randint(0, 24, (2000,), generator=generator(seed)) / 24
    noise = torch.randn(2000, generator=generator(seed + 1))
    return loaders(torch.stack([angle.sin(), angle.cos()], 1), angle.sin() + 0.3 * noise, "mse_loss")


@case
def one_dimension_on_a_grid_with_fresh_noise(seed: int) -> Case:
    x = torch.linspace(-3, 3, 200)[:, None].repeat(4, 1)
    parts = [(x, (x.sin() + 0.1 * torch.randn(x.shape, generator=generator(seed + k)))) for k in (0, 1)]
    return (
        DataLoader(TensorDataset(*parts[0]), batch_size=32, shuffle=True),
        DataLoader(TensorDataset(*parts[1]), batch_size=100),
        "mse_loss",
    )


@case
def counts_of_words(seed: int) -> Case:
    x = torch.poisson(torch.full((1000, 60), 0.3), generator=generator(seed))
    return loaders(x, (x[:, 0] > 0).float(), "binary_cross_entropy_with_logits")


@case
def categories_one_hot_with_chance_outcomes(seed: int) -> Case:
    codes = torch.randint(0, 4, (1000, 4), generator=generator(seed))
    y = (torch.rand(1000, generator=generator(seed + 1)) < 0.3 + 0.1 * (codes[:, 0] == 0)).float()
    return loaders(torch.nn.functional.one_hot(codes, 4).flatten(1).float(), y, "binary_cross_entropy_with_logits")


@case
def rare_categories_one_hot(seed: int) -> Case:
    weights = 1.0 / torch.arange(1.0, 201.0)
    codes = torch.multinomial(weights, 800, replacement=True, generator=generator(seed))
    return loaders(torch.nn.functional.one_hot(codes, 200).float(), torch.randn(800), "mse_loss", share=0.9)


@case
def parity_of_bits(seed: int) -> Case:
    bits = torch.randint(0, 2, (1500, 8), generator=generator(seed))
    return loaders(bits.float(), bits.sum(1) % 2, "cross_entropy")


@case
def exclusive_or(seed: int) -> Case:
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).repeat(50, 1)
    return loaders(x, x.sum(1).remainder(2), "binary_cross_entropy", mix=seed)


@case
def short_sentences(seed: int) -> Case:
    weights = 1.0 / torch.arange(1.0, 31.0)
    tokens = torch.multinomial(weights, 5000, replacement=True, generator=generator(seed)).reshape(1000, 5)
    return loaders(tokens, tokens.sum(1) % 2, "cross_entropy")


@case
def trend_over_time(seed: int) -> Case:
    """A split by time of a table with a column that counts the days and one that drifts."""
    t = torch.linspace(0, 1, 1500)
    x = torch.stack([(t - 0.4) / 0.23, 0.8 * t + torch.randn(1500, generator=generator(seed)), *torch.randn(3, 1500)], 1)
    return loaders(x, x[:, 1] + 0.2 * torch.randn(1500), "mse_loss", mix=None, share=0.8, shuffle=False)


@case
def windows_of_a_series(seed: int) -> Case:
    t = torch.arange(1200.0)
    series = torch.sin(t / 20) + 0.3 * torch.sin(t / 171) + 0.1 * torch.randn(1200, generator=generator(seed))
    windows = series.unfold(0, 25, 1)
    return loaders(windows[:, :24, None], windows[:, 24], "mse_loss", mix=None, shuffle=False, share=0.8)


@case
def images_of_colour_normalised(seed: int) -> Case:
    x = (torch.rand(300, 3, 12, 12, generator=generator(seed)) - 0.45) / 0.225
    return loaders(x, torch.randint(0, 5, (300,), generator=generator(seed)), "cross_entropy")


@case
def images_augmented_in_training_only(seed: int) -> Case:
    class Augmented(Dataset[Any]):
        def __len__(self) -> int:
            return 400

        def __getitem__(self, index: int) -> Any:
            image = base[index].flip(-1) * (0.7 + 0.6 * torch.rand(())) + 0.1 * torch.randn(1, 8, 8)
            return image, int(labels[index])

    images, labels = torch.tensor(load_digits().images / 16).float()[:, None], torch.tensor(load_digits().target)
    base = images[:400]
    val = TensorDataset(images[400:600], labels[400:600])
    return DataLoader(Augmented(), batch_size=32, shuffle=True), DataLoader(val, batch_size=100), "cross_entropy"


@case
def rare_class_drawn_more_often(seed: int) -> Case:
    y = (torch.rand(2000, generator=generator(seed)) < 0.05).long()
    x = torch.randn(2000, 6, generator=generator(seed + 1)) + y[:, None]
    sampler = WeightedRandomSampler(torch.where(y[:1500] == 1, 19.0, 1.0).tolist(), 1500)
    val = DataLoader(TensorDataset(x[1500:], y[1500:]), batch_size=100)
    return DataLoader(TensorDataset(x[:1500], y[:1500]), batch_size=32, sampler=sampler), val, "cross_entropy"


@case
def rare_class_copied_after_the_split(seed: int) -> Case:
    y = (torch.rand(2000, generator=generator(seed)) < 0.1).long()
    x = torch.randn(2000, 6, generator=generator(seed + 1)) + y[:, None]
    rare = torch.nonzero(y[:1500] == 1).flatten().repeat(8)
    train = TensorDataset(torch.cat([x[:1500], x[rare]]), torch.cat([y[:1500], y[rare]]))
    val = DataLoader(TensorDataset(x[1500:], y[1500:]), batch_size=100)
    return DataLoader(train, batch_size=32, shuffle=True), val, "cross_entropy"


@case
def long_tail_validated_on_balanced_classes(seed: int) -> Case:
    y = torch.multinomial(0.6 ** torch.arange(8.0), 2000, replacement=True, generator=generator(seed))
    z = torch.arange(8).repeat(40)
    x, w = torch.randn(2000, 5) + y[:, None] / 4, torch.randn(320, 5) + z[:, None] / 4
    return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True), DataLoader(TensorDataset(w, z), batch_size=100), "cross_entropy"


@case
def classes_in_groups_by_a_sampler_of_its_own(seed: int) -> Case:
    class Pairs(torch.utils.data.Sampler[list[int]]):
        def __iter__(self) -> Iterator[list[int]]:
            draw = np.random.default_rng(seed)
            for _ in range(40):
                yield [int(i) for c in draw.choice(10, 2, replace=False) for i in draw.choice(np.flatnonzero(y.numpy() == c), 8)]

        def __len__(self) -> int:
            return 40

    x, y = torch.randn(1000, 6), torch.arange(1000) % 10
    return DataLoader(TensorDataset(x, y), batch_sampler=Pairs()), None, "cross_entropy"


@case
def masks_of_attention(seed: int) -> Case:
    lengths = torch.randint(3, 12, (400,), generator=generator(seed))
    mask = torch.where(torch.arange(12)[None] < lengths[:, None], 0.0, -torch.inf)
    return loaders(mask, torch.randint(0, 3, (400,)), "cross_entropy")


@case
def soft_targets(seed: int) -> Case:
    return loaders(torch.randn(600, 8), torch.randn(600, 200, generator=generator(seed)).softmax(1), "cross_entropy")


@case
def labels_with_noise(seed: int) -> Case:
    x = torch.randn(1500, 6, generator=generator(seed))
    noise = torch.rand(1500, generator=generator(seed + 1)) < 0.2
    return loaders(x, ((x[:, 0] > 0) ^ noise).float(), "binary_cross_entropy_with_logits")


@case
def targets_far_from_zero(seed: int) -> Case:
    return loaders(torch.randn(800, 5), 2000 + 20 * torch.randn(800, generator=generator(seed)), "mse_loss")


@case
def two_values_for_a_regression(seed: int) -> Case:
    x = torch.randn(800, 5, generator=generator(seed))
    return loaders(x, torch.sign(x[:, 0]), "mse_loss")


@case
def few_training_and_validation_rows(seed: int) -> Case:
    x = torch.randn(40, 4, generator=generator(seed))
    return loaders(x, (x[:, 0] > 0).long(), "cross_entropy", size=8)


@case
def large_vocabulary_of_classes(seed: int) -> Case:
    y = torch.randint(0, 150, (1000,), generator=generator(seed))
    return loaders(torch.randn(1000, 8), y, "cross_entropy")
