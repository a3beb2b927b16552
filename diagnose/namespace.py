"""Lightning under its two names: ``lightning.pytorch`` and ``pytorch_lightning`` hold the same classes twice, each knows only its own."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Callback as Callback
    from lightning.pytorch import LightningDataModule as LightningDataModule
    from lightning.pytorch import LightningModule as LightningModule
    from lightning.pytorch import Trainer as Trainer

NAMES = ("lightning.pytorch", "pytorch_lightning")


def installed(names: tuple[str, ...] = NAMES) -> tuple[ModuleType, ...]:
    """Those of the packages that can be imported.

    Raises:
        ImportError: None can; why not stands in its text.
    """
    found, reasons = [], []
    for name in names:
        try:
            found.append(import_module(name))
        except Exception as error:  # absent, or broken beside one that works: of no use to anybody's Trainer here
            reasons.append(f"{name} ({type(error).__name__}: {error})")
    if not found:
        raise ImportError(f"expected one of the packages {' and '.join(names)}, neither can be imported: {', '.join(reasons)}")
    return tuple(found)


HOMES = installed()

MODULES: tuple[type[LightningModule], ...] = tuple(home.LightningModule for home in HOMES)
DATA_MODULES: tuple[type[LightningDataModule], ...] = tuple(home.LightningDataModule for home in HOMES)

if not TYPE_CHECKING:
    LightningModule, LightningDataModule, Trainer = HOMES[0].LightningModule, HOMES[0].LightningDataModule, HOMES[0].Trainer

    class Callback(*(home.Callback for home in HOMES)):
        """A callback that the Trainers of both namespaces take for one of their own."""


def own_state(callback: Callback) -> dict[str, Any]:
    """The attributes of a callback without ``log`` and ``log_dict``, which a Trainer puts there and which hold the user's module."""
    return {k: v for k, v in vars(callback).items() if k not in ("log", "log_dict")}


def home(thing: Any) -> ModuleType:
    """The namespace of a module, data module or Trainer; the first where it belongs to none."""
    return next((h for h in HOMES if isinstance(thing, (h.LightningModule, h.LightningDataModule, h.Trainer))), HOMES[0])


def from_home(thing: Any, name: str) -> Any:
    """An attribute of the namespace that ``thing`` belongs to, such as ``"loggers.logger.DummyLogger"``."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f"{home(thing).__name__}.{module}"), attribute)


def is_overridden(name: str, thing: Any) -> bool:
    """Whether a module or data module has a method of its own in place of Lightning's."""
    return bool(from_home(thing, "utilities.model_helpers.is_overridden")(name, thing))


def is_combined(loaders: Any) -> bool:
    """Whether this is Lightning's ``CombinedLoader``, of either namespace."""
    return any(isinstance(loaders, import_module(f"{h.__name__}.utilities").CombinedLoader) for h in HOMES)
