"""What a search is asked for, found to work before anything starts: the options of the group ``tune`` and the space."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.compose import Composed, config, normalise
from diagnose.cli.searching import Plan
from diagnose.cli.usage import GROUPS
from diagnose.search.samplers import SAMPLERS, grid_size
from diagnose.search.space import Dimension, space

POSITIVE = ("trials", "points", "rounds", "parallel")


def compose(arguments: Arguments) -> tuple[Composed, tuple[str, ...]]:
    """The config of the search, and the words that also hold for its trials."""
    chosen = any(w.lstrip("+~").startswith("tune=") for w in arguments.words)
    words = arguments.words if chosen else ["tune=default", *arguments.words]
    own = tuple(w for w in arguments.words if not w.lstrip("+~").startswith(("tune=", "tune.")))
    return config(arguments, "tune", normalise(words, arguments.config_dir)), own


def planned(arguments: Arguments, composed: Composed, words: tuple[str, ...], console: Console) -> Plan:
    """The plan of a search whose options and space were found to work."""
    settings: Any = OmegaConf.to_container(composed.config, resolve=True)
    tune = dict(settings.get("tune") or {})
    if settings.get("ensemble"):
        raise UsageError("tune searches for one model; leave ensemble out, and train the best settings with ensemble=seeds")
    check_options(tune)
    fixed = [w.lstrip("+~").partition("=")[0] for w in words]
    try:
        dimensions = fitting(space(tune.get("space") or {}), settings, fixed, console)
        tune["space"] = {d.key: list(d.options) if d.scale == "choice" else f"{d.scale}({d.low!r}, {d.high!r})" for d in dimensions}
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not dimensions:
        raise UsageError("tune.space is empty\nname a key of the config, for example tune.space.optimizer.lr='log(1e-4, 1e-1)'")
    check_space(arguments, words, dimensions)
    if tune["sampler"] == "grid":
        whole = grid_size(dimensions, tune["points"])
        if any(w.startswith("tune.trials=") for w in arguments.words) and tune["trials"] < whole:
            console.print(f"the grid has {whole} cells; {tune['trials']} of them are tried", style="yellow")
        else:
            tune["trials"] = whole
    seed = settings["seed"]
    place = {"config_dir": arguments.config_dir, "config_path": arguments.config_path, "config_name": arguments.config_name}
    return Plan(words=words, **place, tune=tune, seed=int(seed if seed is not None else 0))


def check_options(tune: Mapping[str, Any]) -> None:
    """Refuse options of ``tune`` that cannot work."""
    for key, allowed in (("mode", ("min", "max")), ("sampler", SAMPLERS), ("backend", ("process", "ray"))):
        if tune.get(key) not in allowed:
            raise UsageError(f"tune.{key} must be one of {', '.join(allowed)}, got {tune.get(key)!r}")
    for key in POSITIVE:
        if isinstance(tune.get(key), bool) or not isinstance(tune.get(key), int) or tune[key] < 1:
            raise UsageError(f"tune.{key} must be a whole number of at least 1, got {tune.get(key)!r}")
    for key, least in (("best", 0), ("seeds", 1)):
        if not isinstance(value := (tune.get("confirm") or {}).get(key), int) or value < least:
            raise UsageError(f"tune.confirm.{key} must be a whole number of at least {least}, got {value!r}")


def fitting(given: tuple[Dimension, ...], settings: Mapping[str, Any], fixed: list[str], console: Console) -> tuple[Dimension, ...]:
    """The dimensions that this config has; entries of the default space that it lacks, or that the command line sets, are left out."""
    usual: Any = OmegaConf.to_container(OmegaConf.load(str(files("diagnose.conf") / "tune" / "default.yaml")))
    defaults = {d.key: d for d in space(usual["space"])}
    kept = []
    for d in given:
        ours = d == defaults.get(d.key)
        if d.key in fixed or any(d.key.startswith(f"{key}.") for key in fixed if key not in GROUPS):
            if not ours:
                raise UsageError(f"{d.key} is both set and searched over\nleave out {d.key}=... or tune.space.{d.key}=...")
            console.print(f"{d.key} is set on the command line and not searched over", style="dim")
        elif ours and OmegaConf.select(OmegaConf.create(dict(settings)), d.key) is None:
            console.print(f"{d.key} is not in this config and not searched over", style="dim")
        else:
            kept.append(d)
    return tuple(kept)


def check_space(arguments: Arguments, words: tuple[str, ...], dimensions: tuple[Dimension, ...]) -> None:
    """Compose the corners of the space, and every option: an unknown key or a value of the wrong kind is an error now."""
    most = max([3, *(len(d.options) for d in dimensions)])
    for index in range(most):
        unit = index / (most - 1)
        values = {}
        for d in dimensions:
            values[d.key] = d.options[index % len(d.options)] if d.scale == "choice" else d.value(d.sampled(unit))
        overrides = [f"{key}={value if key in GROUPS else json.dumps(value)}" for key, value in values.items()]
        groups = [o for o in overrides if o.partition("=")[0] in GROUPS]
        rest = [o for o in overrides if o not in groups]
        try:
            config(arguments, "tune", normalise([*words, *groups, *rest], arguments.config_dir))
        except UsageError as error:
            raise UsageError(f"tune.space: {error}") from error
