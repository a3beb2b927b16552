"""What the callbacks of validation and test share: they see what each step predicts, and no failure of theirs reaches the run."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from diagnose.callbacks.instrument import NotMonitored
from diagnose.callbacks.loggers import Loggers
from diagnose.callbacks.losses import watchable
from diagnose.callbacks.ranks import anywhere
from diagnose.experiments.extraction import Extract, found_in
from diagnose.measure.fast_paths import FastPaths
from diagnose.measure.losses import LossCall, Predictions
from diagnose.measure.watched_losses import WatchLosses
from diagnose.namespace import Callback, LightningModule, Trainer, own_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("diagnose")


class Watching(Callback, ABC):
    """Sees the predictions of every validation and test batch; the sanity check is left out.

    ``results`` names the attributes, filled in place, that a copy shares with its original: hosts run copies, users look into the original.
    """

    results: ClassVar[tuple[str, ...]] = ()

    def __init__(self, class_names: Sequence[str] | None, dirpath: Path | str | None, extract: Extract | None, strict: bool) -> None:
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.extract, self.strict = extract, strict
        self.off = ""
        self._loggers: Loggers | None = None
        self._stack = ExitStack()
        self._calls: list[LossCall] = []
        self._fast_paths: FastPaths | None = None

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_stack", "_calls", "_fast_paths", "_loggers")
        return {k: v for k, v in own_state(self).items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _stack=ExitStack(), _calls=[], _fast_paths=None, _loggers=None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__({k: v if k in self.results else deepcopy(v, memo) for k, v in self.__getstate__().items()})
        return twin

    @abstractmethod
    def begin(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        """A validation or test begins."""

    def before(self, module: LightningModule, loader: int) -> None:
        """A batch begins."""

    @abstractmethod
    def take(self, found: Predictions, loader: int) -> None:
        """What one batch predicted."""

    @abstractmethod
    def finish(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        """The validation or test is over."""

    def release(self) -> None:
        """Take modes and hooks away; may be called at any moment, also twice."""
        self._stack.close()
        self._calls = []

    def _guarded(self, trainer: Trainer, call: Callable[..., None], *arguments: Any) -> None:
        """Call, unless switched off; what fails switches this callback off."""
        if self.off or trainer.sanity_checking:
            return
        try:
            call(*arguments)
        except NotMonitored as why:
            self.release()
            if self.strict:
                raise
            self._cannot(str(why))
        except Exception as error:
            self.release()
            if self.strict:
                raise
            self.off = f"{type(self).__name__} failed ({type(error).__name__}: {error}) and switched itself off"
            log.warning("%s; the run goes on. strict=True raises it", self.off)

    def _cannot(self, why: str) -> None:
        self.off = why
        log.warning("%s does not work here: %s", type(self).__name__, why)

    def _start(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        if not self.off and self.extract is None and (why := watchable(module)):
            self._cannot(why)
        self._fast_paths = None
        self._guarded(trainer, self.begin, stage, trainer, module)

    def _before(self, module: LightningModule, loader: int) -> None:
        self.release()
        self.before(module, loader)
        if self._fast_paths is None:
            self._fast_paths = FastPaths(module)
        self._stack.enter_context(self._fast_paths)
        self._calls = self._stack.enter_context(WatchLosses(written=False)).calls

    def _after(self, output: Any, batch: Any, loader: int) -> None:
        self._stack.close()
        with torch.no_grad():
            found, _, _ = found_in(output, batch, self._calls, self.extract)
        if found is not None:
            self.take(found, loader)
        self.release()

    def _end(self, stage: str, trainer: Trainer, module: LightningModule) -> None:
        elsewhere = not trainer.sanity_checking and anywhere(trainer, [bool(self.off)])[0]
        if elsewhere and not self.off:  # else this process would wait for the one that failed
            self.off = f"{type(self).__name__} failed in another process and is switched off in all of them"
            log.warning("%s; the run goes on", self.off)
        self._guarded(trainer, self.finish, stage, trainer, module)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.off, self._loggers = "", Loggers(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("val", trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("test", trainer, pl_module)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._guarded(trainer, self._before, pl_module, dataloader_idx)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._guarded(trainer, self._before, pl_module, dataloader_idx)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._guarded(trainer, self._after, outputs, batch, dataloader_idx)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._guarded(trainer, self._after, outputs, batch, dataloader_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end("val", trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end("test", trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.release()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.release()
        self._fast_paths = None
        self._loggers = None

    def _show(self, name: str, figure: Callable[[], Figure], file: Path | None, step: int) -> None:
        """Draw a figure where a file or a logger takes it."""
        seen = self._loggers is not None and self._loggers.takes_images()
        if file is None and not seen:
            return
        from diagnose.report.figures import style

        with style():
            picture = figure()
            if file is not None:
                picture.savefig(file, dpi=150, facecolor="white")
            if self._loggers is not None and seen:
                picture.set_facecolor("white")
                self._loggers.image(name, picture, step)


def cell(text: str) -> str:
    """A name as a cell of a table: what spreadsheets would take for a formula is quoted.

    >>> cell("=1+1"), cell("cat"), cell("-1")
    ("'=1+1", 'cat', '-1')
    """
    formula = text[:1] in ("=", "+", "-", "@", "\t", "\r") and not text.lstrip("+-").replace(".", "", 1).isdigit()
    return f"'{text}" if formula else text
