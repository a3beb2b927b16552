"""Run a module's own step over loaders and collect what it predicted and what its hidden layers held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagnose.experiments.inputs import WorstInputs
from diagnose.experiments.keeping import left_as_it_was
from diagnose.experiments.sandbox import quiet, random_state_kept, stopped_trainer_settings
from diagnose.measure.fast_paths import FUSED
from diagnose.measure.losses import Predictions, predictions, primary, watch_losses
from diagnose.namespace import LightningModule, from_home, home, is_overridden

STEPS = ("test_step", "validation_step", "training_step")
MOST_PROBABILITIES = 100_000_000  # numbers; of larger outputs (language models) predictions and losses alone are kept
MOST_ROWS = 20_000  # of a hidden layer
WIDE = 4096  # features; of wider layers the mean over positions is taken

Extract = Callable[[Any, Any], Any]


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
    worst: WorstInputs = field(default_factory=lambda: WorstInputs(0))

    def add(self, found: Predictions) -> None:
        """Keep the predictions of one batch."""
        self.task, self.classes = found.task, max(self.classes, found.classes)
        probability = found.probability
        if probability is not None:
            self.numbers += probability.numel()
            if self.numbers > MOST_PROBABILITIES:
                self.parts.pop("probability", None)
                probability = None
        for name, value in (("target", found.target), ("prediction", found.prediction), ("loss", found.loss), ("probability", probability)):
            if value is not None:
                self.parts.setdefault(name, []).append(
                    value.detach().cpu().float().numpy() if value.is_floating_point() else value.cpu().numpy()
                )

    def array(self, name: str) -> NDArray[Any] | None:
        parts = self.parts.get(name)
        return np.concatenate(parts) if parts else None


def given(output: Any) -> Predictions | None:
    """Predictions from what ``extract`` or a step gave: a mapping with ``preds`` and ``target``, or a pair.

    Scores of shape ``(n, C)`` beside class indices are taken as probabilities where they are, else through softmax; numbers of shape
    ``(n,)`` from 0 to 1 beside the classes 0 and 1 as the probability of class 1; everything else as classes or values.
    """
    if isinstance(output, Mapping):
        if "preds" not in output or "target" not in output:
            return None
        scores, target = output["preds"], output["target"]
    elif isinstance(output, tuple) and len(output) == 2:
        scores, target = output
    else:
        return None
    scores, target = torch.as_tensor(scores).detach(), torch.as_tensor(target).detach()
    if not scores.is_floating_point():
        count = int(max(scores.max().item(), target.max().item())) + 1 if len(target) else 0
        wrong = (scores != target).float()
        if scores.dim() > 1:
            return Predictions("multilabel", scores, target, None, wrong.mean(1), scores.shape[1])
        return Predictions("multiclass" if count > 2 else "binary", scores, target.long(), None, wrong, max(2, count))
    scores = scores.float()
    if not target.is_floating_point() and scores.dim() == target.dim() + 1:
        scores = scores.movedim(1, -1).reshape(-1, scores.shape[1])
        target = target.reshape(-1)
        sums = scores.sum(1)
        p = scores if bool((scores >= 0).all() and (sums - 1).abs().max() < 1e-3) else scores.softmax(1)
        loss = -p.gather(1, target[:, None].long()).clamp_min(1e-12).log().squeeze(1)
        return Predictions("binary" if p.shape[1] == 2 else "multiclass", p.argmax(1), target.long(), p, loss, p.shape[1])
    if not target.is_floating_point() and scores.shape == target.shape and bool(((scores >= 0) & (scores <= 1)).all()):
        loss = nn.functional.binary_cross_entropy(scores, target.float(), reduction="none")
        if scores.dim() > 1:
            return Predictions("multilabel", (scores > 0.5).long(), target.long(), scores, loss.mean(1), scores.shape[1])
        return Predictions("binary", (scores > 0.5).long(), target.long(), torch.stack([1 - scores, scores], 1), loss, 2)
    error = (scores - target.float()).square()
    return Predictions("regression", scores, target.float(), None, error.flatten(1).mean(1) if error.dim() > 1 else error, 0)


def found_in(output: Any, batch: Any, calls: Sequence[Any], extract: Extract | None) -> tuple[Predictions | None, str, str]:
    """Predictions of a step, how they were found, and the name of the loss."""
    if extract is not None:
        return given(extract(output, batch)), "extract=", ""
    if isinstance(output, Mapping) and (own := given(output)) is not None:
        return own, 'the "preds" and "target" that the step returns', ""
    loss = output.get("loss") if isinstance(output, Mapping) else output
    call = primary(calls, loss if isinstance(loss, Tensor) and loss.numel() == 1 else None)
    if call is None:
        return None, "", ""
    found = predictions(call)
    if found is not None and found.task in ("binary", "multiclass") and call.target is not None and next_tokens(batch, call.target):
        found = replace(found, task="next-token")
    return found, f"the arguments of {call.kind}", call.kind


def next_tokens(batch: Any, target: Tensor) -> bool:
    """Whether the targets are the tokens of the batch, each one place earlier: those of a next-token model.

    A batch may hold the tokens as they are (the targets are then all but the first) or the first and the last ``T`` apart.
    """
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (tuple, list)) else (batch,)
    for tokens in parts:
        if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.is_floating_point() or tokens.shape[1] < 3:
            continue
        rows, length = tokens.shape
        for width in (length, length - 1):
            if target.is_floating_point() or target.numel() != rows * width:
                continue
            later = target.reshape(rows, width)[:, : length - 1]
            known = later >= 0  # what is left out has a negative number
            same = (later == tokens[:, 1:].to(later.device))[known]
            if len(same) and same.float().mean() > 0.95 and not torch.equal(later, tokens[:, : length - 1].to(later.device)):
                return True
    return False


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
                    self.handles.append(child.register_forward_pre_hook(self._before))
                continue
            if self._label(child, True) in self.wanted:
                self.handles.append(child.register_forward_pre_hook(self._before))
            if self._label(child, False) in self.wanted:
                self.handles.append(child.register_forward_hook(self._after))

    def detach(self) -> None:
        """Take the hooks away; what a batch that is not over has shown is dropped."""
        self.detach_hooks()
        self.seen = {}

    def detach_hooks(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _before(self, child: nn.Module, inputs: tuple[Any, ...]) -> None:
        value = next((i for i in inputs if isinstance(i, Tensor)), None)
        if value is not None and value.is_floating_point():
            self.seen.pop(self._label(child, True), None)
            self.seen[self._label(child, True)] = value.detach()

    def _after(self, child: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        value = (
            output
            if isinstance(output, Tensor)
            else next((o for o in output if isinstance(o, Tensor)), None)
            if isinstance(output, tuple)
            else None
        )
        if value is not None and value.is_floating_point():
            self.seen[self._label(child, False)] = value.detach()

    def end_batch(self, samples: int) -> None:
        """Keep what this batch's samples have in the layers."""
        if not samples:
            self.seen = {}
            return
        if self.wanted is None:
            distinct = {(value.data_ptr(), value.shape): name for name, value in reversed(self.seen.items())}  # wrappers pass theirs on
            order = [name for name, value in self.seen.items() if flat(value, samples) is not None and name in distinct.values()]
            inner = order[1:-1]
            self.wanted = [*inner[len(inner) // 2 :][:1], *order[-1:]]
        if not self.rows:  # from early to late, as they ran
            self.wanted = [*(name for name in self.seen if name in self.wanted), *(name for name in self.wanted if name not in self.seen)]
        if self.rows < MOST_ROWS:
            for name in self.wanted:
                value = flat(self.seen[name], samples) if name in self.seen else None
                if value is None:
                    shape = tuple(self.seen[name].shape) if name in self.seen else "no output"
                    self.notes[name] = f"its values ({shape}) do not belong to the {samples} predictions of a batch one by one"
                    self.kept.pop(name, None)
                elif name not in self.notes:
                    self.kept.setdefault(name, []).append(value[: MOST_ROWS - self.rows].float().cpu().numpy())
            self.rows += samples
        self.seen = {}


def flat(value: Tensor, samples: int) -> Tensor | None:
    """One row of features per sample, shape ``(samples, d)``; the mean over positions of wide layers; ``None`` where rows do not fit."""
    if value.dim() < 2:
        return value.reshape(-1, 1) if value.numel() == samples else None
    if len(value) == samples:
        wide = value.flatten(1)
        return value.flatten(2).mean(2) if wide.shape[1] > WIDE and value.dim() > 2 else wide
    positions = value.shape[:-1].numel()
    return value.reshape(positions, value.shape[-1]) if positions == samples else None


def predict(
    module: LightningModule,
    loaders: Mapping[str, Any],
    *,
    extract: Extract | None = None,
    layers: Sequence[str] | None = None,
    precision: Any = None,
    batches: int | None = None,
    samples: int = 0,
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

    Raises:
        ValueError: The module has none of these steps, or a layer does not exist.
    """
    name = next((step for step in STEPS if is_overridden(step, module)), None)
    if name is None:
        raise ValueError(f"{type(module).__name__} has none of {', '.join(STEPS)}: one of them is run to get predictions")
    step = getattr(module, name)
    collected = [Collected(name=loader, worst=WorstInputs(samples)) for loader in loaders]
    hidden = Layers(module, layers)

    def watched(*arguments: Any) -> Any:
        place = arguments[2] if len(arguments) > 2 else 0
        with watch_losses() as calls:
            output = step(*arguments[: accepted(step)])
        found, source, loss = found_in(output, arguments[0], calls, extract)
        if found is not None:
            collected[place].source = f"{source} in {name}" if extract is None else source
            collected[place].loss = loss
            collected[place].add(found)
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
