"""Which hooks of a monitor rest: Lightning passes over what is no method, and calling a hook costs more than what is done in it.

While a batch is not measured, hooks that would call no instrument rest. Batches that follow it, up to the next one that somebody waits
for, are passed by: ``on_before_backward`` alone is called, which counts them, keeps their loss and looks at it.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

IN_BATCH = {  # hooks inside of a batch, and the moment at which each calls instruments
    "on_before_zero_grad": "after_forward",
    "on_before_backward": "before_backward",
    "on_after_backward": "",
    "on_before_optimizer_step": "before_step",
}
AROUND = ("on_train_batch_start", "on_train_batch_end")
EVERY = (*IN_BATCH, *AROUND)


def own(callback: Any, hook: str, base: type) -> bool:
    """Whether a hook of a callback is that of the base class: else somebody wants it called."""
    return hook not in vars(callback) and getattr(type(callback), hook) is getattr(base, hook)


def in_batch(callback: Any, base: type, moments: Container[str]) -> tuple[str, ...]:
    """The hooks inside of a batch that may rest while it is not measured, where instruments are called at some moments of every batch."""
    return tuple(hook for hook, moment in IN_BATCH.items() if own(callback, hook, base) and moment not in moments)


def around(callback: Any, base: type, spare: tuple[str, ...]) -> tuple[str, ...]:
    """The hooks that rest while batches are passed by, where ``spare`` rest inside of a batch that is not measured; none if they cannot."""
    if not all(own(callback, hook, base) for hook in AROUND):
        return ()
    return (*AROUND, *(hook for hook in spare if hook != "on_before_backward"))


def rest(callback: Any, now: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, ...]:
    """Wake the hooks that rest now and let others rest; returns these."""
    if now is not then:
        state = vars(callback)
        for hook in now:
            state.pop(hook, None)
        for hook in then:
            state[hook] = None
    return then
