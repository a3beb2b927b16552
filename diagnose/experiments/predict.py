"""Run a module's own step over loaders and collect what it predicted and what its hidden layers held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diagnose.experiments.extraction import Extract, found_in
from diagnose.experiments.hidden_layers import Layers
from diagnose.experiments.inputs import VALUES, WIDEST, WorstInputs, inputs_of
from diagnose.experiments.keeping import left_as_it_was
from diagnose.experiments.sandbox import quiet, random_state_kept, stopped_trainer_settings
from diagnose.measure.losses import Predictions
from diagnose.measure.watched_losses import watch_losses
from diagnose.namespace import LightningModule, from_home, home, is_overridden

STEPS = ("test_step", "validation_step", "training_step")
MOST_PROBABILITIES = 100_000_000  # numbers; of larger outputs (language models) predictions and losses alone are kept


@dataclass(eq=False)
class Collected:
    """What the steps predicted on one loader, batch after batch."""

    name: str
    task: str = ""
    classes: int = 0
    loss: str = ""
    source: str = ""
    parts: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    numbers: int = 0
    groups: int = 0
    worst: WorstInputs = field(default_factory=lambda: WorstInputs(0))
    features: int = 0

    def add(self, found: Predictions, batch: Any) -> None:
        """Keep the predictions of one batch, and its inputs where they are a table of so many ``features``."""
        if self.features:
            rows = inputs_of(batch, found, torch.arange(len(found.target)), self.features + 1)
            if rows is not None and rows.shape[1:] == (self.features,):
                self.parts.setdefault("features", []).append(rows.float().numpy())
        self.task, self.classes = found.task, max(self.classes, found.classes)
        probability = found.probability
        if probability is not None:
            self.numbers += probability.numel()
            if self.numbers > MOST_PROBABILITIES:
                self.parts.pop("probability", None)
                probability = None
        group = None if found.group is None else found.group + self.groups
        self.groups += len(found.target) if group is None else int(group[-1]) + 1 - self.groups if len(group) else 0
        found_parts = {"target": found.target, "prediction": found.prediction, "loss": found.loss, "group": group}
        for name, value in {**found_parts, "probability": probability}.items():
            if value is not None:
                self.parts.setdefault(name, []).append(
                    value.detach().cpu().float().numpy() if value.is_floating_point() else value.cpu().numpy()
                )

    def array(self, name: str) -> NDArray[Any] | None:
        parts = self.parts.get(name)
        return np.concatenate(parts) if parts else None

    @property
    def group(self) -> NDArray[Any] | None:
        """Number of the sequence or image of each prediction, shape ``(n,)``; ``None`` where each has its own, or it is not known."""
        group, target = self.array("group"), self.array("target")
        usable = group is not None and target is not None and len(group) == len(target) and len(np.unique(group)) < len(group)
        return group if usable else None


def predict(
    module: LightningModule,
    loaders: Mapping[str, Any],
    *,
    extract: Extract | None = None,
    layers: Sequence[str] | None = None,
    precision: Any = None,
    batches: int | None = None,
    samples: int = 0,
    features: int = 0,
) -> tuple[list[Collected], Layers]:
    """Run the module's ``test_step`` (else ``validation_step``, else ``training_step``) over the loaders.

    Args:
        module: In evaluation mode and without gradients while it runs; then as it was.
        loaders: Loaders by name.
        extract: ``extract(output, batch)`` gives predictions and targets, as a mapping with ``preds`` and ``target`` or as a pair.
        layers: Hidden layers to keep for the first loader, see `Layers`.
        precision: Of the Trainer.
        batches: The most to run of each loader.
        samples: Keep the inputs of so many samples, those of highest loss, of each loader.
        features: Keep the inputs of all samples where these are tables of so many columns, up to `WIDEST`.

    Raises:
        ValueError: The module has none of these steps, or a layer does not exist.
    """
    name = next((step for step in STEPS if is_overridden(step, module)), None)
    if name is None:
        raise ValueError(f"{type(module).__name__} has none of {', '.join(STEPS)}: one of them is run to get predictions")
    step = getattr(module, name)
    features = features if features <= WIDEST else 0
    collected = [Collected(name=loader, worst=WorstInputs(samples, max(VALUES, features)), features=features) for loader in loaders]
    hidden = Layers(module, layers)

    def watched(*arguments: Any) -> Any:
        place = arguments[2] if len(arguments) > 2 else 0
        with watch_losses() as watch:
            output = step(*arguments[: accepted(step)])
        found, source, loss = found_in(output, arguments[0], watch.calls, extract)
        if found is not None:
            collected[place].source = f"{source} in {name}" if extract is None else source
            collected[place].loss = loss
            collected[place].add(found, arguments[0])
            collected[place].worst.add(arguments[0], found)
        if place == 0:
            hidden.end_batch(len(found.target) if found is not None else 0)
        return output if name != "training_step" else None

    options: dict[str, Any] = {"accelerator": "cpu" if module.device.type == "cpu" else "auto", "devices": 1, "inference_mode": False}
    options |= {
        "logger": from_home(module, "loggers.logger.DummyLogger")(),
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if precision is not None:
        options["precision"] = precision
    if batches is not None:
        options["limit_test_batches"] = batches
    shadowed: dict[str, Any] = {key: module.__dict__[key] for key in ("test_step", "configure_callbacks") if key in module.__dict__}
    with random_state_kept(), quiet(), stopped_trainer_settings(), left_as_it_was(module):
        try:
            hidden.attach()
            module.__dict__["test_step"] = watched
            module.__dict__["configure_callbacks"] = lambda: []
            home(module).Trainer(**options).test(module, list(loaders.values()), verbose=False)
        finally:
            hidden.detach()
            for key in ("test_step", "configure_callbacks"):
                module.__dict__.pop(key, None)
            module.__dict__.update(shadowed)
    return collected, hidden


def accepted(step: Callable[..., Any]) -> int:
    """How many positional arguments a step takes."""
    parameters = list(signature(step).parameters.values())
    if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        return 3
    return sum(p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for p in parameters)
