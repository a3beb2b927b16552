"""Which classes a ``_target_`` of the config may name. A config is code: what it names is imported and called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from diagnose.cli.arguments import UsageError

OWN = ("diagnose.models", "diagnose.data", "diagnose.callbacks")
CLASSES = ("torch.nn", "torch.optim", "lightning.pytorch", "pytorch_lightning", "torchmetrics")  # of these only classes may be called
ALLOWED = (*OWN, *CLASSES)


def locate(target: str, allowed: Sequence[str]) -> Any:
    """The object that a dotted name stands for, if it is defined in an allowed package.

    Both the name and the place where the object is really defined must lie inside: a name can lead through a module to something else.

    Raises:
        UsageError: It is outside, or not there.
    """

    def inside(name: str, prefixes: Sequence[str] = allowed) -> bool:
        return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)

    if not inside(target):
        package = target.partition(".")[0]
        known = package in sys.stdlib_module_names or package in {name.partition(".")[0] for name in ALLOWED}
        advice = "" if known else f"\na package of your own is allowed by allow_targets=[{package}]"
        raise UsageError(f"_target_ {target!r} is outside {', '.join(allowed)}{advice}")
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue
            raise UsageError(f"_target_ {target!r} cannot be imported: {error}\ninstall the package {error.name!r}") from error
        try:
            for part in parts[cut:]:
                found = getattr(found, part)
        except AttributeError as error:
            raise UsageError(f"_target_ {target!r} is not there: {error}") from error
        real = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
        if not callable(found) or not inside(real):
            raise UsageError(f"_target_ {target!r} leads to {real!r}, outside {', '.join(allowed)}; it is not called")
        if inside(real, CLASSES) and not isinstance(found, type):
            raise UsageError(f"_target_ {target!r} is a function; of {', '.join(CLASSES)} only classes may be named")
        return found
    raise UsageError(f"_target_ {target!r} cannot be imported: there is no module {parts[0]!r}")


def located(node: dict[str, Any], key: str, allow: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
    """What ``node._target_`` names and its arguments; nested nodes with a ``_target_`` are built. Arguments and errors as of `build`."""
    arguments = {name: build(value, f"{key}.{name}", allow) for name, value in node.items() if name != "_target_"}
    return locate(str(node["_target_"]), (*ALLOWED, *allow)), arguments


def build(node: Any, key: str, allow: Sequence[str] = (), **extra: Any) -> Any:
    """Call what ``node._target_`` names with the node's other entries and ``extra``; nested nodes with a ``_target_`` are built first.

    Args:
        node: A plain dict of the config.
        key: Its key in the config, for errors.
        allow: Further packages.
        extra: Arguments that the config does not hold.

    Raises:
        UsageError: The target is not allowed or not there, or refuses its arguments.
    """
    if isinstance(node, list):
        return [build(item, f"{key}[{index}]", allow) for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if "_target_" not in node:
        return {name: build(value, f"{key}.{name}", allow) for name, value in node.items()}
    target, arguments = located(node, key, allow)
    try:
        return target(**{**arguments, **extra})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{key}: {error}") from error
