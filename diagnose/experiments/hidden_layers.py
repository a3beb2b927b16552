"""What hidden layers hold for the samples of a loader."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagnose.experiments.batches import leaves
from diagnose.measure.fast_paths import FUSED
from diagnose.measure.plain import plain

MOST_ROWS = 20_000  # of a hidden layer
WIDE = 4096  # features; of wider layers the mean over positions is taken


class Layers:
    """Keeps what hidden layers hold for the samples of a loader.

    Args:
        module: Whose layers.
        layers: Names or globs of modules, whose outputs are kept; with `` (input)`` behind the name their inputs. By default the input
            of the last layer with parameters, and that of one in the middle; layers inside of torch's transformer layers have to be named,
            since these take another path, which rounds otherwise, where they are watched.

    Raises:
        ValueError: A name or glob matches no module.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str] | None) -> None:
        self.layers = [child for name, child in module.named_modules() if name]
        self.names = {id(child): name for name, child in module.named_modules() if name}  # metrics change their hash
        self.fused = {id(part) for child in module.modules() if isinstance(child, FUSED) for part in child.modules()}
        self.wanted: list[str] | None = None if layers is None else self._choose([layers] if isinstance(layers, str) else list(layers))
        self.kept: dict[str, list[NDArray[Any]]] = {}
        self.notes: dict[str, str] = {}
        self.seen: dict[str, Tensor] = {}
        self.rows = 0
        self.handles: list[Any] = []
        self.origins: dict[tuple[int, torch.Size], weakref.ref[Tensor]] = {}
        self.error: Exception | None = None

    def _choose(self, layers: list[str]) -> list[str]:
        chosen: set[str] = set()
        for pattern in layers:
            inner, plain = pattern.endswith(" (input)"), pattern.removesuffix(" (input)")
            hits = {self._label(c, inner) for c in self.layers if (name := self.names[id(c)]) == plain or fnmatchcase(name, plain)}
            if not hits:
                raise ValueError(f"no layer matches {pattern!r}; there are {', '.join(self.names.values()) or 'none'}")
            chosen |= hits
        return [label for child in self.layers for inner in (True, False) if (label := self._label(child, inner)) in chosen]

    def _label(self, child: nn.Module, inner: bool) -> str:
        return f"{self.names[id(child)]} (input)" if inner else f"{self.names[id(child)]} ({type(child).__name__})"

    def attach(self) -> None:
        for child in self.layers:
            if self.wanted is None and id(child) in self.fused:
                continue
            if self.wanted is None:
                if any(True for _ in child.parameters(recurse=False)):
                    self.handles.append(child.register_forward_pre_hook(self._before, with_kwargs=True))
                continue
            if self._label(child, True) in self.wanted:
                self.handles.append(child.register_forward_pre_hook(self._before, with_kwargs=True))
            if self._label(child, False) in self.wanted:
                self.handles.append(child.register_forward_hook(self._after))

    def detach(self) -> None:
        """Take the hooks away; what a batch that is not over has shown is dropped."""
        self.detach_hooks()
        self.seen, self.origins, self.error = {}, {}, None

    def detach_hooks(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _before(self, child: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._see(self._label(child, True), (inputs, named))

    def _after(self, child: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._see(self._label(child, False), output)

    def _see(self, label: str, values: Any) -> None:
        """Keep a copy of the first tensor of values, as operations in place may follow."""
        if self.error is not None:
            return
        try:
            value = next((v for _, v in leaves(values) if v.is_floating_point()), None)
            if value is None:
                return
            key = (value.data_ptr(), value.shape)
            if self.wanted is None and key in self.origins and self.origins[key]() is not None:
                return  # a wrapper that has passed it on
            self.origins[key] = weakref.ref(value)
            self.seen.pop(label, None)
            self.seen[label] = plain(value).detach().clone()
        except Exception as error:
            self.error = error  # not in the midst of somebody's forward pass

    def end_batch(self, samples: int) -> None:
        """Keep what this batch's samples have in the layers.

        Raises:
            Exception: What failed when they were seen.
        """
        self.origins = {}
        if self.error is not None:
            raise self.error
        if not samples:
            self.seen = {}
            return
        if self.wanted is None:
            order = [name for name, value in self.seen.items() if by_sample(value, samples) is not None]
            inner = order[1:-1]
            self.wanted = [*inner[len(inner) // 2 :][:1], *order[-1:]]
        if not self.rows:  # from early to late, as they ran
            self.wanted = [*(name for name in self.seen if name in self.wanted), *(name for name in self.wanted if name not in self.seen)]
        if self.rows < MOST_ROWS:
            for name in self.wanted:
                value = by_sample(self.seen[name], samples) if name in self.seen else None
                if value is None:
                    shape = tuple(self.seen[name].shape) if name in self.seen else "no output"
                    self.notes[name] = f"its values ({shape}) do not belong to the {samples} predictions of a batch one by one"
                    self.kept.pop(name, None)
                elif name not in self.notes:
                    self.kept.setdefault(name, []).append(value[: MOST_ROWS - self.rows].float().cpu().numpy())
            self.rows += samples
        self.seen = {}

    def features(self) -> dict[str, NDArray[Any]]:
        """What was kept, shape ``(n, d)`` by layer; the mean over axes that have another length in other batches, as padded texts have."""
        found = {}
        for name, parts in self.kept.items():
            shapes = {part.shape[1:] for part in parts}
            if len({len(shape) for shape in shapes}) > 1:
                self.notes[name] = f"its values have other axes from batch to batch: {', '.join(map(str, sorted(shapes)))}"
                continue
            ragged = tuple(axis for axis, sizes in enumerate(zip(*shapes, strict=True), 1) if len(set(sizes)) > 1)
            found[name] = np.concatenate(
                [part.mean(ragged).reshape(len(part), -1) if ragged else part.reshape(len(part), -1) for part in parts]
            )
        return found


def by_sample(value: Tensor, samples: int) -> Tensor | None:
    """One entry per sample, shape ``(samples, ...)``; the mean over positions of wide layers; ``None`` where entries do not fit."""
    if value.dim() < 2:
        return value.reshape(-1, 1) if value.numel() == samples else None
    if len(value) == samples:
        return value.flatten(2).mean(2) if value[0].numel() > WIDE and value.dim() > 2 else value
    positions = value.shape[:-1].numel()
    return value.reshape(positions, value.shape[-1]) if positions == samples else None
