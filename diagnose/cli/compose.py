"""From the words of a command line to a config, through Hydra's compose, with errors that a newcomer can read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diagnose.cli.arguments import Arguments, UsageError
from diagnose.cli.usage import GROUPS, options

PATHS = ("ckpt_path", "predictions", "output_dir", "path", "root", "file", "dir", "dirpath")


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A composed config and how it came about."""

    config: DictConfig
    hydra: DictConfig
    overrides: tuple[str, ...]


def group_options(group: str, config_dir: str) -> list[str]:
    """Options of a group, those of the user's own folder included."""
    own = [p.stem for p in sorted(Path(config_dir, group).glob("*.yaml"))] if config_dir else []
    return sorted({*options(group), *own})


def quoted(word: str) -> str:
    """The word with its value quoted where it is a path: Hydra's grammar refuses ``=``, spaces, commas and brackets in a bare value."""
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+~").rpartition(".")[2] not in PATHS or value[:1] in ("'", '"') or value in ("null", ""):
        return word
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def rule_option(word: str) -> str:
    """``rules.vanishing-gradient.ratio=1e-4`` as the entry of ``rules.options`` that it stands for."""
    key, equals, value = word.partition("=")
    parts = key.lstrip("+").split(".")
    if not equals or len(parts) != 3 or parts[0] != "rules" or parts[1] == "options":
        return word
    from diagnose.rules import find

    try:
        return f"++rules.options.{find(parts[1]).code}.{parts[2]}={value}"
    except ValueError as error:
        raise UsageError(str(error)) from error


def normalise(words: list[str], config_dir: str) -> list[str]:
    """Overrides as Hydra wants them, from words as people type them.

    ``model=mlp`` and ``+model=mlp`` both choose an option; paths are taken as typed; a misspelt group or option is an error.
    """
    result = []
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise UsageError(f"expected key=value, got {word!r}\nan option of a group is chosen by group=option, for example model=mlp")
        word = quoted(rule_option(word))
        key, _, value = word.partition("=")
        bare = key.lstrip("+~")
        if bare in GROUPS and not key.startswith("~"):
            word = f"{bare}={value}"
            known = group_options(bare, config_dir)
            wanted = [v.strip() for v in value.split(",")]
            for option in wanted:
                if option not in known and option != "null":
                    raise UsageError(f"{bare} has no option {option!r}{_guess(option, known)}\nthe options are {', '.join(known)}")
        result.append(word)
    return result


def _guess(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def combinations(overrides: list[str]) -> Iterator[list[str]]:
    """The runs of ``--multirun``: one list of overrides per combination of the values of ``seed=1,2,3``."""
    parsed = _parsed(overrides)
    choices: list[list[str]] = []
    for text, override in zip(overrides, parsed, strict=True):
        if override.is_sweep_override():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([text])
    for combination in product(*choices):
        yield list(combination)


def _parsed(overrides: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        text = str(error).splitlines()[0]
        raise UsageError(f"{text}\nquote a value that holds , = [ ] {{ }} or spaces: 'key=\"a value\"'") from error


def config(arguments: Arguments, overrides: list[str]) -> Composed:
    """Compose the config of one run.

    Raises:
        UsageError: A key, option or value that the config does not know, or a folder that is not there.
    """
    for flag, folder in (("--config-dir", arguments.config_dir), ("--config-path", arguments.config_path)):
        if folder and not Path(folder).is_dir():
            raise UsageError(f"{flag}: there is no folder {folder!r}")
    for override in _parsed(overrides):
        if override.is_sweep_override():
            raise UsageError(f"{override.input_line} names several values; add --multirun to run once for each")
    GlobalHydra.instance().clear()
    with _opened(arguments):
        search = [f"hydra.searchpath=['file://{Path(arguments.config_dir).resolve()}']"] if arguments.config_dir else []
        try:
            full = compose(arguments.config_name, overrides=[*overrides, *search], return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise _readable(error, arguments, overrides) from error
    hydra = full.hydra
    OmegaConf.set_struct(full, False)
    del full["hydra"]
    _check_added(overrides, full)
    try:
        OmegaConf.resolve(full)
    except OmegaConfBaseException as error:
        raise UsageError(f"the config cannot be resolved: {str(error).splitlines()[0]}") from error
    return Composed(config=full, hydra=hydra, overrides=tuple(overrides))


def _opened(arguments: Arguments) -> Any:
    if arguments.config_path:
        return initialize_config_dir(str(Path(arguments.config_path).resolve()), version_base="1.3")
    return initialize_config_module("diagnose.conf", version_base="1.3")


def _readable(error: Exception, arguments: Arguments, overrides: list[str]) -> UsageError:
    """The error of Hydra in the words of its user: which word is wrong, and the nearest that is right."""
    base = _base(arguments)
    for override in _parsed(overrides):
        key = override.key_or_group
        if override.is_add() or override.is_force_add() or key.startswith("hydra") or key in GROUPS:
            continue
        if base is not None and key not in base:
            return UsageError(f"the config has no key {key!r}{_guess(key, base)}\n--cfg job shows all keys; +{key}=... adds a new one")
    first, *more = [line for line in str(error).splitlines() if line.strip()]
    return UsageError("\n".join([first, *more[:2]]))


def _base(arguments: Arguments) -> list[str] | None:
    """All keys of the config as it is without overrides of keys (with those of groups)."""
    groups = [w for w in normalise([w for w in arguments.words if "=" in w], arguments.config_dir) if w.partition("=")[0] in GROUPS]
    GlobalHydra.instance().clear()
    with _opened(arguments):
        try:
            return keys(compose(arguments.config_name, overrides=[] if arguments.multirun else groups))
        except (HydraException, OmegaConfBaseException):
            return None


def keys(config: Any, prefix: str = "") -> list[str]:
    """Dotted names of all keys of a config, nodes included."""
    found: list[str] = []
    if isinstance(config, DictConfig):
        for key in config:
            name = f"{prefix}{key!s}"
            found += [name, *keys(config._get_node(key), f"{name}.")]
    return found


def _check_added(overrides: list[str], config: DictConfig) -> None:
    """``+modle=mlp`` adds a key silently in plain Hydra: refuse an added key that is nearly one that exists."""
    for override in _parsed(overrides):
        key = override.key_or_group
        if override.is_add() and "." not in key:
            known = [k for k in (*GROUPS, *map(str, config)) if k != key]
            close = get_close_matches(key, known, n=1, cutoff=0.75)
            if close:
                raise UsageError(f"the config has no key {key!r}; did you mean {close[0]!r}?\n++{key}=... adds it all the same")
