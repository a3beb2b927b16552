"""One training step taken apart: what runs, in which mode, which weights get a gradient, what reaches the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter
from torch.utils.hooks import RemovableHandle

from diagnose.experiments.batches import leaves
from diagnose.experiments.copying import Unusable, told
from diagnose.experiments.coverage import weigh
from diagnose.experiments.data_fields import BINARY, CLASSIFICATION
from diagnose.experiments.functional_dropout import called_dropouts
from diagnose.experiments.hooking import hooked
from diagnose.experiments.later_epochs import reached_later
from diagnose.experiments.loss_arguments import class_weights, classes, input_statistics, label_statistics, target_statistics
from diagnose.experiments.modes import wrong_mode
from diagnose.experiments.modules_seen import Anatomy, ModulesSeen, untouched
from diagnose.experiments.penalty import gradients, pull
from diagnose.experiments.random_head import random_head
from diagnose.experiments.sandbox import Sandbox
from diagnose.experiments.watch_step import WatchStep, by_pairs
from diagnose.measure.adversary import opposed, reversals
from diagnose.measure.graph import behind_steps, head, linear_units, linearity, reshaped
from diagnose.measure.lone_softmax import lone_softmax
from diagnose.measure.losses import ELEMENTWISE, REGRESSION, LossCall
from diagnose.record import Record

STEPS, TURNS = 3, 12


def examine(sandbox: Sandbox, record: Record) -> Anatomy:
    """Run up to three training steps and take them apart; of several optimizers that take turns, as many as they need, up to twelve.

    What runs and gets no gradient in them is looked at in later epochs, too.

    Writes these facts:

    * ``probe.step``: ``loss`` of each step, ``calls`` of losses, ``kind``, ``name``, ``input_shape``, ``target_shape``, ``target_dtype``,
      ``classes``, ``reduction``, ``input`` (see `input_statistics`), ``labels``, ``target``, ``class_weights`` (see the function of this
      name), ``head`` (activations next to the loss), ``units`` (of the linear layer whose results the loss is given, in their order, else
      ``None``), ``exchanged`` (the target needs a gradient, the prediction none), ``recurrent`` (a recurrent layer of which the input of
      the loss is the output, see `within_one`), ``lone_softmax`` (see the function), ``fixed`` (whether some weight has an axis as long as
      there are classes), ``dropout_on_output``, ``log_input`` (of a Poisson loss), ``broadcast`` (two shapes or ``None``), ``raised`` (the
      user's error or ``""``), ``adversary`` (the function that turns a gradient round, or "opposed targets" of ones and zeros, or ``""``),
      ``input_max`` (largest magnitude that the first module with weights got);
    * ``probe.parameters``: per trainable parameter of the module ``name``, ``size``, ``used``, ``reached``, ``flat`` (a rounding or a sign
      stands on all ways from it to the loss), ``optimized``, ``waits`` (none of the optimizers that hold it stepped), ``norm`` (of a batch
      norm); ``frozen``, how many want no gradient; and under ``unregistered`` those that the step used but that the module does not know;
      ``losses``: how many of the steps returned a loss with a gradient (left out under manual optimisation); ``matrices``: how many
      weights, also frozen ones, have two axes or more;
    * ``probe.modes``: names of modules that stood in the wrong mode, and under ``apart`` how far the output of batch norms among them
      that have seen data is from that in train mode;
    * ``probe.linearity``: ``layers``, ``nonlinear``, ``longest``;
    * ``probe.norms``: per batch norm ``name``, ``values`` (per channel, in training), ``bias_before`` (a layer whose bias it cancels),
      ``momentum`` where its running averages stand at their start, else ``None``;
    * ``probe.dropout``: per dropout that ran ``name`` (``""`` where it was called as a function on computed values), ``p``, and ``units``,
      the channels of images, else the values per sample along the shortest axis; ``written`` where it is a random mask over computed
      values, of which ``p`` is the share of zeros (`WrittenDropout`);
    * ``probe.frozen_head``, where the loss is one of classes and there is one optimizer: see `random_head.random_head`;
    * ``probe.penalty``, where the step returns more than the watched loss: what each step ``added`` to it, the ``losses``, and the norms
      of the gradients of both parts, ``data_gradient`` and ``added_gradient``, in the first step.
    """
    anatomy = Anatomy(fresh={name for name, child in sandbox.module.named_modules() if untouched(child)})
    names = {id(p): n for n, p in sandbox.module.named_parameters()}
    losses: list[float] = []
    backward = 0
    sandbox.module.zero_grad(set_to_none=True)
    trainable = {id(p) for p in sandbox.module.parameters() if p.requires_grad}
    with _stepping(sandbox, anatomy.reached) as stepped:
        for index, batch in enumerate(sandbox.batches[:STEPS]):
            try:
                loss = _step(sandbox, anatomy, sandbox.move(batch), index, names, record if index == 0 else None)
            except Exception as error:
                if index == 0:
                    raise
                record.add("probe.step", {**record.facts["probe.step"], "raised": told(error)})
                break
            losses.append(float(loss) if loss is not None else float("nan"))
            backward += loss is not None and loss.requires_grad
        with suppress(Exception):  # training may never come to such a step
            for index in range(STEPS, TURNS):
                if sandbox.module.automatic_optimization or len(stepped) == len(sandbox.optimizers):
                    break
                _step(sandbox, anatomy, sandbox.move(sandbox.batches[index % len(sandbox.batches)]), index, names, None)
    silent = (set(anatomy.used) & trainable) - anatomy.reached
    if silent and backward and sandbox.module.automatic_optimization:
        anatomy.reached |= reached_later(sandbox, silent)
    if "probe.step" in record:
        record.add("probe.step", {**record.facts["probe.step"], "loss": losses})
    raised = record.facts.get("probe.step", {}).get("raised")
    if raised and not anatomy.reached:
        record.skip("probe.parameters", f"the module's own training_step raised {raised}")
    else:
        weigh(sandbox, anatomy.used, anatomy.reached, anatomy.flat, stepped, names, trainable, record)
    if "probe.parameters" in record and sandbox.module.automatic_optimization:
        record.add("probe.parameters", {**record.facts["probe.parameters"], "losses": backward})
    if anatomy.pull is not None:
        data, other = anatomy.pull
        record.add("probe.penalty", {"added": anatomy.added, "losses": losses, "data_gradient": data, "added_gradient": other})
    if anatomy.call is not None:
        call = anatomy.call
        anatomy.call = replace(call, input=call.input.detach(), value=None)
    return anatomy


@contextmanager
def _stepping(sandbox: Sandbox, reached: set[int]) -> Iterator[set[int]]:
    """The optimizers that step meanwhile, by ``id``; those that the module has made for itself are not seen.

    The parameters that have a gradient then are ``reached``, also where it was written by hand (``p.grad = ...``).
    """
    stepped: set[int] = set()

    def note(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        stepped.add(id(optimizer))
        reached.update(id(p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None)

    handles = [o.register_step_pre_hook(note) for o in sandbox.optimizers]
    try:
        yield stepped
    finally:
        for handle in handles:
            handle.remove()


def _step(sandbox: Sandbox, anatomy: Anatomy, batch: Any, index: int, names: Mapping[int, str], record: Record | None) -> Tensor | None:
    seen = ModulesSeen(anatomy, first=index == 0)
    handles = [_on_gradient(p, anatomy) for p in sandbox.module.parameters() if _ready(p)]
    watch = WatchStep([t for _, t in leaves(batch)])
    loss, raised = None, ""
    try:
        with hooked(sandbox.module, seen.look), watch:
            try:
                loss, output = sandbox.training_step(batch, index)
            except Exception as error:
                if index or not watch.calls:
                    raise
                raised = told(error)
            else:
                if loss is None and output is not None and sandbox.module.automatic_optimization:
                    raise Unusable(f"training_step returned {_described(output)}; Lightning needs a tensor with one element")
        call = watch.primary(loss)
        anatomy.used |= watch.used
        if record is not None:
            _describe(sandbox, anatomy, loss, call, names, record, watch, seen, raised)
        unregistered = [p for i, p in watch.used.items() if i not in names and p.requires_grad]
        handles += [_on_gradient(p, anatomy) for p in unregistered if p.is_leaf]
        if loss is not None and loss.requires_grad and sandbox.module.automatic_optimization:
            added, data = float("nan"), None
            if call is not None and call.value is not None and call.value.numel() == 1:
                added = float(loss.detach()) - float(call.value.detach())
                data = gradients(call.value, sandbox.module) if record is not None and added else None
            if record is not None:
                anatomy.flat = behind_steps(loss)
            with reversals(loss if record is not None else None) as turned:
                loss.backward()  # type: ignore[no-untyped-call]
            if turned and record is not None:
                record.add("probe.step", {**record.facts["probe.step"], "adversary": turned[0]})
            anatomy.added.append(added)
            if data is not None:
                anatomy.pull = pull(data)
    finally:
        for handle in handles:
            handle.remove()
    return loss


def _described(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a dict with the keys {sorted(map(str, output))}" if isinstance(output, dict) else f"{output!r:.40}"


def _on_gradient(parameter: Tensor, anatomy: Anatomy) -> RemovableHandle:
    handle: RemovableHandle = parameter.register_post_accumulate_grad_hook(lambda p: anatomy.reached.add(id(p)))  # type: ignore[no-untyped-call]
    return handle


def _ready(parameter: Tensor) -> bool:
    return parameter.requires_grad and parameter.is_leaf and not isinstance(parameter, UninitializedParameter)


def _describe(
    sandbox: Sandbox,
    anatomy: Anatomy,
    loss: Tensor | None,
    call: LossCall | None,
    names: Mapping[int, str],
    record: Record,
    watch: WatchStep,
    seen: ModulesSeen,
    raised: str,
) -> None:
    anatomy.call = call
    record.add("probe.norms", seen.norms)
    written = watch.masked.found(call.input) if call is not None else []
    by_hand = [{"name": "", "p": p, "units": units, "written": True} for p, units in written]
    record.add("probe.dropout", seen.dropouts + called_dropouts(watch.dropouts, seen.dropouts) + by_hand)
    wrong = wrong_mode(sandbox.module, anatomy.ran)
    record.add("probe.modes", {"training": wrong, "apart": {n: anatomy.held[n] for n in wrong if n in anatomy.held}, "validation": []})
    facts: dict[str, Any] = {"raised": raised, "broadcast": watch.broadcast(loss), "weighed": watch.broadcast(loss, products=True)}
    facts |= {"calls": len(watch.calls), "input_max": anatomy.input_max}
    if call is None or call.target is None:
        record.add("probe.step", {**facts, "kind": "", "head": []})
        record.skip("probe.linearity", "no loss was found in the step, so the network's output is not known")
        return
    shapes = (tuple(call.input.shape), tuple(call.target.shape))
    if call.kind in (*ELEMENTWISE, *REGRESSION) and shapes[0] != shapes[1] and not (call.written and by_pairs(call.input, call.target)):
        facts["broadcast"] = facts["broadcast"] or [list(s) for s in shapes]
    chain = head(call.input)
    facts["head"] = [{"name": a.name, "axis": a.axis, "shape": list(a.shape), "scaled": a.scaled} for a in chain]
    facts["recurrent"] = next((seen.recurrent[n] for n in reshaped(call.input) if n in seen.recurrent), "")
    facts["exchanged"] = call.target.requires_grad and not call.input.requires_grad
    facts["lone_softmax"] = lone_softmax(loss) if loss is not None else None
    facts["dropout_on_output"] = next((watch.dropped[n] for n in reshaped(call.input) if n in watch.dropped), 0.0)
    facts |= {"kind": call.kind, "name": call.name, "input_shape": list(shapes[0]), "target_shape": list(shapes[1])}
    facts["target_dtype"] = str(call.target.dtype).removeprefix("torch.")
    facts["classes"], facts["units"] = classes(call), linear_units(call.input)
    facts["fixed"] = any(facts["classes"] in p.shape for p in sandbox.module.parameters() if not isinstance(p, UninitializedParameter))
    facts["reduction"] = str(call.options.get("reduction", ""))
    if call.kind == "poisson_nll_loss":
        facts["log_input"] = bool(call.options.get("log_input", True))
    facts["input"] = input_statistics(call)
    facts["labels"] = label_statistics(call)
    facts["class_weights"] = class_weights(call)
    facts["target"] = target_statistics(call)
    facts["adversary"] = "opposed targets" if opposed(watch.calls) else ""
    record.add("probe.step", facts)
    if call.kind in (*CLASSIFICATION, *BINARY) and len(sandbox.optimizers) == 1:  # of several one freezes what the other trains
        last = random_head(call.input, seen.linear, sandbox.module)
        if last is not None:
            record.add("probe.frozen_head", last)
    lines = linearity(call.input, names, watch.mixed)
    record.add("probe.linearity", {"layers": lines.layers, "nonlinear": lines.nonlinear, "longest": list(lines.longest)})
