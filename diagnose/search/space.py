"""The declared space of a search: which keys of the config, from where to where, on which scale."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FORMS = {
    "linear": "linear(0, 0.5)",
    "log": "log(1e-4, 1e-1)",
    "one_minus": "one_minus(0.8, 0.999)",
    "integer": "integer(1, 5)",
    "log_integer": "log_integer(16, 256)",
    "choice": "choice(relu, gelu, tanh)",
}
WHOLE = ("integer", "log_integer")
CALL = re.compile(r"\s*([A-Za-z_]+)\s*\((.*)\)\s*", re.DOTALL)

Value = Any  # a value of the config: a number, a text, a list, true, false or null


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One key of the config that the search sets.

    Every scale maps the key's values to the unit interval: ``log`` evenly in log x, ``one_minus`` evenly in log(1 − x), so that a
    momentum of 0.9 … 0.999 is tried as often between 0.9 and 0.99 as between 0.99 and 0.999.

    Args:
        key: Dotted name of the key.
        scale: One of `FORMS`.
        low: Smallest value.
        high: Largest value.
        options: The values of a ``choice``.
    """

    key: str
    scale: str
    low: float = 0.0
    high: float = 0.0
    options: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        """What the study samples: the key, or for ``one_minus`` its distance from 1."""
        return f"1 - {self.key}" if self.scale == "one_minus" else self.key

    @cached_property
    def distribution(self) -> BaseDistribution:
        """As Optuna knows it. Options are sampled by their place in the list, since lists cannot be categories."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.scale == "choice":
            return CategoricalDistribution(range(len(self.options)))
        if self.scale in WHOLE:
            return IntDistribution(int(self.low), int(self.high), log=self.scale == "log_integer")
        if self.scale == "one_minus":
            return FloatDistribution(1 - self.high, 1 - self.low, log=True)
        return FloatDistribution(self.low, self.high, log=self.scale == "log")

    def value(self, sampled: float) -> Value:
        """The value of the key for what the study sampled."""
        if self.scale == "choice":
            return self.options[int(sampled)]
        if self.scale in WHOLE:
            return int(sampled)
        return float(f"{1 - sampled if self.scale == 'one_minus' else sampled:.6g}")

    def sampled(self, unit: float) -> float:
        """What stands at ``unit`` (0 … 1) of the scale, as the study samples it.

        >>> Dimension(key="optimizer.lr", scale="log", low=1e-4, high=1e-2).sampled(0.5)
        0.001
        """
        if self.scale == "choice":
            return min(int(unit * len(self.options)), len(self.options) - 1)
        low, high = (1 - self.low, 1 - self.high) if self.scale == "one_minus" else (self.low, self.high)
        if self.scale in ("log", "log_integer", "one_minus"):
            found = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
        else:
            found = low + unit * (high - low)
        if self.scale in WHOLE:
            return int(min(max(round(found), self.low), self.high))
        return float(f"{min(max(found, min(low, high)), max(low, high)):.12g}")

    def unit(self, sampled: float) -> float:
        """Where on the scale (0 … 1) a sampled value stands; the inverse of `sampled`."""
        if self.scale == "choice":
            return (int(sampled) + 0.5) / len(self.options)
        low, high = (1 - self.low, 1 - self.high) if self.scale == "one_minus" else (self.low, self.high)
        if self.scale in ("log", "log_integer", "one_minus"):
            return (math.log(sampled) - math.log(low)) / (math.log(high) - math.log(low))
        return (sampled - low) / (high - low)

    def grid(self, points: int) -> list[float]:
        """At most ``points`` values spread evenly over the scale, ends included, as the study samples them; all options of a choice."""
        if self.scale == "choice":
            return list(range(len(self.options)))
        return list(dict.fromkeys(self.sampled(i / (points - 1) if points > 1 else 0.5) for i in range(points)))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        ends = {"options": list(self.options)} if self.scale == "choice" else {"low": self.low, "high": self.high}
        return {"key": self.key, "scale": self.scale, **ends}


def dimension(key: str, given: object) -> Dimension:
    """Read one entry of a space: a call such as ``log(1e-4, 1e-1)``, or a list of options.

    Raises:
        ValueError: The entry is no such call, its bounds stand the wrong way round, or its scale cannot hold them.
    """
    if isinstance(given, Sequence) and not isinstance(given, str):
        return _choice(key, tuple(given))
    call = CALL.fullmatch(str(given))
    if call is None or call[1] not in FORMS:
        raise ValueError(f"tune.space.{key}: expected one of {', '.join(FORMS.values())} or a list of options, got {given!r}")
    scale = call[1]
    try:
        values: Any = OmegaConf.to_container(OmegaConf.create(f"[{call[2]}]"))
    except Exception as error:  # YAML's or OmegaConf's, of several families
        raise ValueError(f"tune.space.{key}: {given!r} cannot be read, expected for example {FORMS[scale]}") from error
    if scale == "choice":
        return _choice(key, tuple(values))
    ends = [_number(value) for value in values]
    if len(ends) != 2 or None in ends:
        raise ValueError(f"tune.space.{key}: {scale} takes its lowest and its highest value, such as {FORMS[scale]}; got {given!r}")
    low, high = (float(end) for end in ends if end is not None)
    if low >= high:
        raise ValueError(f"tune.space.{key}: the lowest value must stand first and below the highest, got {given!r}")
    if scale in ("log", "log_integer") and low <= 0:
        raise ValueError(f"tune.space.{key}: a {scale} scale needs a lowest value above 0, got {given!r}; choose linear, or start above 0")
    if scale == "one_minus" and high >= 1:
        raise ValueError(f"tune.space.{key}: a one_minus scale needs values below 1, got {given!r}; end it at 0.999, say")
    if scale in WHOLE and not (low.is_integer() and high.is_integer()):
        raise ValueError(f"tune.space.{key}: {scale} takes whole numbers, got {given!r}")
    return Dimension(key=key, scale=scale, low=low, high=high)


def _choice(key: str, options: tuple[Value, ...]) -> Dimension:
    if len(options) < 2 or len({repr(option) for option in options}) < len(options):
        raise ValueError(f"tune.space.{key}: a choice needs two or more different options, got {list(options)!r}")
    return Dimension(key=key, scale="choice", options=options)


def _number(value: object) -> float | None:
    """A finite number, or nothing."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def space(given: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """Read a space, nested as the config is or with dotted keys.

    Raises:
        ValueError: An entry cannot be read, or a key is named twice.
    """
    entries = list(_flat(given))
    keys = [key for key, _ in entries]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise ValueError(f"tune.space names {twice!r} twice")
    return tuple(dimension(key, value) for key, value in entries)


def _flat(given: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in given.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found.append((f"{prefix}{key}", value))
    return found
