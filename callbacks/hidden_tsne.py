"""Maps of hidden layers at the end of a fit or test."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagnose.callbacks.watching import Watching, cell
from diagnose.experiments.hidden_layers import Layers
from diagnose.measure.embedding import Embedding, check_method, project
from diagnose.measure.losses import Predictions
from diagnose.namespace import LightningModule, Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HiddenTSNE(Watching):
    """Maps hidden layers by t-SNE at the end of a fit (over the last validation) and of a test, and on the way where asked.

    Hooks are there only while a batch of the first loader runs; what they keep is copied to the host. In a distributed run the first
    process maps the samples that it gets. Cost: a copy of the layer's output per batch, and the map itself at the end (some seconds for
    2,000 samples).

    ``callback.embeddings`` holds an `Embedding` per layer: places, k-NN accuracy, silhouette, trustworthiness, and
    `Embedding.transform` for more samples. Each map shows the samples of the layer before, or of the same layer an epoch earlier, and
    starts from there, so that maps can be compared.

    Args:
        layers: Names or globs of modules, whose outputs are mapped; with `` (input)`` behind the name their inputs. By default the input
            of the last layer with parameters, and that of one in the middle; layers inside of torch's transformer layers have to be
            named, since these take another path, which rounds otherwise, where they are watched.
        cap: The most samples to map; of more, a choice with the shares of the classes.
        every_n_epochs: Map after each so many epochs too, as ``epoch0004-<layer>.*``; ``callback.history`` has the numbers of each.
        projection: ``t-SNE``, ``PCA`` or ``UMAP``, which needs umap-learn.
        dirpath: Folder for ``test-<layer>.png`` and ``.csv`` (``fit-<layer>.*`` after a fit); by default nothing is written.
        seed: Of the choice of samples and of the map.
        class_names: A name per class.
        strict: Raise what fails, where it would otherwise be logged once and switch this callback off.
    """

    results = ("embeddings", "history")

    def __init__(
        self,
        *,
        layers: Sequence[str] | None = None,
        cap: int = 2000,
        every_n_epochs: int | None = None,
        projection: str = "t-SNE",
        dirpath: Path | str | None = None,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(class_names, dirpath, None, strict)
        if cap < 1:
            raise ValueError(f"cap must be a positive number of samples, got {cap!r}")
        if every_n_epochs is not None and every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be a positive number of epochs or None, got {every_n_epochs!r}")
        check_method(projection)
        self.every_n_epochs, self.projection = every_n_epochs, projection
        self.layers = [layers] if isinstance(layers, str) else None if layers is None else list(layers)
        self.cap, self.seed = cap, seed
        self.embeddings: dict[str, Embedding] = {}
        self.history: list[dict[str, Any]] = []
        self._target: NDArray[Any] | None = None
        self._hidden: Layers | None = None
        self._found: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_hidden": None, "_found": []}

    def begin(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        self._hidden, self._found = Layers(module, self.layers) if trainer.is_global_zero else None, []

    def before(self, module: LightningModule, loader: int) -> None:
        if loader == 0 and self._hidden is not None:
            self._hidden.attach()

    def take(self, found: Predictions, loader: int) -> None:
        if loader == 0 and self._hidden is not None:
            self._hidden.detach_hooks()
            self._hidden.end_batch(len(found.target))
            self._found.append((found.target.cpu().numpy(), found.prediction.cpu().numpy()))

    def release(self) -> None:
        super().release()
        if self._hidden is not None:
            self._hidden.detach()

    def finish(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            self._map(stage, trainer)
        elif self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._map(f"epoch{trainer.current_epoch:04d}", trainer)
            self.history += [{"epoch": trainer.current_epoch, "layer": layer, **e.facts()} for layer, e in self.embeddings.items()]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._guarded(trainer, self._map, "fit", trainer)
        self._hidden, self._found = None, []

    def _map(self, stage: str, trainer: Trainer) -> None:
        hidden, found = self._hidden, self._found
        if hidden is None or not found:
            return
        target, prediction = (np.concatenate([pair[i] for pair in found]) for i in range(2))
        classes = np.issubdtype(target.dtype, np.integer) and target.ndim == 1
        earlier = dict(self.embeddings) if self._target is not None and np.array_equal(self._target, target) else {}
        self.embeddings.clear()
        self._target = target
        start: Embedding | None = None
        for layer, features in hidden.features().items():
            labels = target[: len(features)] if classes else None
            start = earlier.get(layer, start)
            embedding = project(features, seed=self.seed, cap=self.cap, labels=labels, method=self.projection, start=start)
            self.embeddings[layer] = embedding
            if len(embedding.xy):
                start = embedding
                slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in layer).strip("-")
                names = self._names(target, prediction) if classes else None
                path = None if self.dirpath is None else self.dirpath / f"{stage}-{slug}"
                if path is not None:
                    self._table(path, embedding, target, prediction, names)
                if classes:
                    draw = partial(self._figure, layer, embedding, target, prediction, names)
                    self._show(f"{stage}/map_{slug}", draw, path and path.with_name(f"{path.name}.png"), trainer.global_step)

    def _names(self, target: NDArray[Any], prediction: NDArray[Any]) -> list[str]:
        return self.class_names or [str(i) for i in range(int(max(target.max(), prediction.max())) + 1)]

    def _figure(self, layer: str, embedding: Embedding, target: NDArray[Any], prediction: NDArray[Any], names: list[str] | None) -> Figure:
        from diagnose.report.figures import embedding_figure

        rows = embedding.rows
        return embedding_figure(embedding.xy, target[rows], prediction[rows], names, f"{layer}: {embedding.method}")

    def _table(self, path: Path, embedding: Embedding, target: NDArray[Any], prediction: NDArray[Any], names: list[str] | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)

        def named(value: Any) -> str:
            return cell(names[int(value)]) if names else str(value)

        with path.with_name(f"{path.name}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["sample", "x", "y", "true", "predicted"])
            for row, (x, y) in zip(embedding.rows.tolist(), embedding.xy.tolist(), strict=True):
                table.writerow([row, f"{x:.6g}", f"{y:.6g}", named(target[row]), named(prediction[row])])
