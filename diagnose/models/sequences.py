"""Networks that read samples step by step: a GRU and a transformer, for tokens, the rows of images, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from diagnose.models.layers import check_options


class Steps(nn.Module):
    """Samples as sequences of vectors: tokens through an embedding, images row by row, tables feature by feature.

    Args:
        inputs: Shape of one sample: ``(steps,)``, ``(steps, features)`` or ``(channels, height, width)``.
        width: Of the vectors.
        vocabulary: Number of tokens; 0 for numbers.
    """

    def __init__(self, inputs: Sequence[int], width: int, vocabulary: int) -> None:
        super().__init__()
        self.rows = len(inputs) == 3
        self.length = inputs[1] if self.rows else inputs[0]
        features = prod(inputs) // self.length
        self.embed: nn.Module = nn.Embedding(vocabulary, width) if vocabulary else nn.Linear(features, width)
        self.tokens = bool(vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors of shape ``(n, steps, width)``."""
        if not self.tokens:
            x = x.transpose(1, 2).flatten(2) if self.rows else x.reshape(len(x), self.length, -1)
        vectors: Tensor = self.embed(x)
        return vectors


class Recurrent(nn.Module):
    """A GRU over `Steps`: an output per token, else one from the last state."""

    def __init__(self, steps: Steps, width: int, layers: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.steps = steps
        self.gru = nn.GRU(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(self.steps(x))
        logits: Tensor = self.output(self.dropout(states if self.steps.tokens else states[:, -1]))
        return logits


class Transformer(nn.Module):
    """A pre-norm encoder over `Steps` with learned positions: causal and an output per token, else one from the mean over steps."""

    def __init__(self, steps: Steps, width: int, heads: int, layers: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.steps = steps
        self.position = nn.Parameter(0.02 * torch.randn(steps.length, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.output = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        vectors = self.steps(x) + self.position
        mask = None
        if self.steps.tokens:
            mask = torch.ones(self.steps.length, self.steps.length, dtype=torch.bool, device=x.device).triu(1)
        states = self.encoder(vectors, mask=mask)
        logits: Tensor = self.output(states if self.steps.tokens else states.mean(1))
        return logits


def gru(inputs: Sequence[int], outputs: int, *, width: int = 64, layers: int = 1, dropout: float = 0.1, vocabulary: int = 0) -> Recurrent:
    """A recurrent network (Cho et al. 2014).

    Args:
        inputs: Shape of one sample.
        outputs: Number of output units.
        width: Units of the state.
        layers: Recurrent layers.
        dropout: Probability, between the layers and before the output.
        vocabulary: Number of tokens; 0 for numbers.

    Raises:
        ValueError: An option out of range.
    """
    check_options("none", ("none",), dropout, [width, layers])
    return Recurrent(Steps(inputs, width, vocabulary), width, layers, outputs, dropout)


def transformer(
    inputs: Sequence[int], outputs: int, *, width: int = 64, heads: int = 4, layers: int = 2, dropout: float = 0.1, vocabulary: int = 0
) -> Transformer:
    """A transformer: a classifier, or for tokens a causal model of the next one (Vaswani et al. 2017).

    Args:
        inputs: Shape of one sample.
        outputs: Number of output units.
        width: Of the vectors; the feed-forward part is four times as wide.
        heads: Of attention; they share the width.
        layers: Encoder layers.
        dropout: Probability, inside the layers.
        vocabulary: Number of tokens; 0 for numbers.

    Raises:
        ValueError: An option out of range, or a width that the heads cannot share.
    """
    check_options("none", ("none",), dropout, [width, heads, layers])
    if width % heads:
        raise ValueError(f"model.width={width} cannot be shared by model.heads={heads}; choose a multiple")
    return Transformer(Steps(inputs, width, vocabulary), width, heads, layers, outputs, dropout)
