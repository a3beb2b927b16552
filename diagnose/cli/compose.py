"""From the words of a command line to a config, through Hydra's compose, with errors that a newcomer can read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diagnose.cli.arguments import Arguments, UsageError, nearest
from diagnose.cli.usage import GROUPS, options

KINDS: tuple[tuple[type, str], ...] = ((bool, "true or false"), (int, "a whole number"), (float, "a number"), (ListConfig, "a list"))
FREE = ("trainer.devices", "rules.select", "rules.ignore")  # one or a list
PATHS = ("ckpt_path", "predictions", "output_dir", "path", "root", "file", "dir", "dirpath")  # last parts of keys that hold paths
NEEDED = ("model", "data", "optimizer", "trainer")
RUN_DIR = "${output_dir}/${command}/${now:%Y-%m-%d}/${now:%H-%M-%S}"


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A composed config and how it came about.

    Attributes:
        config: The config with its interpolations, as it is saved for a replay.
        hydra: Hydra's own part.
        overrides: The words that changed it.
        folder: Where the run's folder is to stand.
    """

    config: DictConfig
    hydra: DictConfig
    overrides: tuple[str, ...]
    folder: str


def group_options(group: str, config_dir: str) -> list[str]:
    """Options of a group, those of the user's own folder included."""
    own = [p.stem for p in sorted(Path(config_dir, group).glob("*.yaml"))] if config_dir else []
    return sorted({*options(group), *own})


def quoted(word: str) -> str:
    """The word with its value quoted where it is a path: Hydra's grammar refuses ``=``, spaces, commas and brackets in a bare value."""
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+~").rpartition(".")[2] not in PATHS or value[:1] in ("'", '"') or value in ("null", ""):
        return word
    inner = re.sub(r"(\\*)'", r"\1\1\\'", value)  # in a quoted value a backslash counts only before a quote
    trailing = len(inner) - len(inner.rstrip("\\"))
    return f"{key}='{inner}{inner[len(inner) - trailing :]}'"


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


def searched(word: str) -> str:
    """``tune.space.optimizer.lr=log(1e-4, 1e-1)`` with its value quoted: Hydra takes brackets for functions of its own."""
    key, equals, value = word.partition("=")
    if not equals or not key.lstrip("+").startswith("tune.space."):
        return word
    own = value[:1] in ("'", '"', "[") or value == "null"
    return f"++{key.lstrip('+')}={value}" if own else f"++{key.lstrip('+')}='{value}'"


def normalise(words: list[str], config_dir: str) -> list[str]:
    """Overrides as Hydra wants them, from words as people type them.

    ``model=mlp`` and ``+model=mlp`` both choose an option; paths are taken as typed; a misspelt option is an error.
    """
    result = []
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise UsageError(f"expected key=value, got {word!r}\nan option of a group is chosen by group=option, for example model=mlp")
        word = quoted(searched(rule_option(word)))
        key, _, value = word.partition("=")
        bare = key.lstrip("+~")
        if bare in GROUPS and not key.startswith("~"):
            if value == "null":
                result.append(f"~{bare}")
                continue
            word = f"{bare}={value}"
            known = group_options(bare, config_dir)
            for option in value.strip("[]").split(","):
                if option.strip() not in known:
                    raise UsageError(f"{bare} has no option {option!r}{nearest(option, known)}\nthe options are {', '.join(known)}")
        result.append(word)
    return result


def combinations(overrides: list[str]) -> Iterator[list[str]]:
    """The runs of ``--multirun``: one list of overrides per combination of the values of ``seed=1,2,3``."""
    choices: list[list[str]] = []
    for text, override in zip(overrides, parsed(overrides), strict=True):
        if override.is_sweep_override():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([text])
    for combination in product(*choices):
        yield list(combination)


def parsed(overrides: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        text = str(error).splitlines()[0]
        raise UsageError(f"{text}\nquote a value that holds , = [ ] {{ }} or spaces: 'key=\"a value\"'") from error


def config(arguments: Arguments, command: str, overrides: list[str]) -> Composed:
    """Compose the config of one run.

    Raises:
        UsageError: A key, option or value that the config does not know, or a folder that is not there.
    """
    for flag, folder in (("--config-dir", arguments.config_dir), ("--config-path", arguments.config_path)):
        if folder and not Path(folder).is_dir():
            raise UsageError(f"{flag}: there is no folder {folder!r}")
    words = parsed(overrides)
    for word in words:
        if word.is_sweep_override():
            raise UsageError(f"{word.input_line} names several values; add --multirun to run once for each")
    try:
        full = composed(arguments, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise readable(error, arguments, words) from error
    hydra = full.hydra
    OmegaConf.set_struct(full, False)
    OmegaConf.set_struct(hydra, False)
    del full["hydra"]
    check_added(words, full)
    check_kinds(arguments, words, full)
    full = completed(full, command)
    try:
        plain = OmegaConf.to_container(full, resolve=True)
        assert isinstance(plain, dict)
        chosen = any(word.key_or_group == "hydra.run.dir" for word in words)
        raw: Any = OmegaConf.to_container(hydra, resolve=False)
        place = OmegaConf.create({**plain, "run_dir": raw["run"]["dir"] if chosen or not arguments.config_path else RUN_DIR})
        hydra.run.dir = str(place.run_dir)
    except OmegaConfBaseException as error:
        raise UsageError(f"the config cannot be resolved: {str(error).splitlines()[0]}") from error
    return Composed(config=full, hydra=hydra, overrides=tuple(overrides), folder=hydra.run.dir)


def composed(arguments: Arguments, overrides: list[str], *, hydra: bool = True) -> DictConfig:
    """What Hydra makes of the words; groups are looked up in ``--config-dir`` and in the package too."""
    search = [f"file://{Path(arguments.config_dir).resolve()}"] if arguments.config_dir else []
    GlobalHydra.instance().clear()
    start: initialize_config_dir | initialize_config_module
    if arguments.config_path:
        search.append("pkg://diagnose.conf")
        start = initialize_config_dir(str(Path(arguments.config_path).resolve()), version_base="1.3")
    else:
        start = initialize_config_module("diagnose.conf", version_base="1.3")
    places = ",".join("'" + place.replace("'", "\\'") + "'" for place in search)
    found = [f"hydra.searchpath=[{places}]"] if search else []
    with start:
        return compose(arguments.config_name, overrides=[*overrides, *found], return_hydra_config=hydra)


def completed(config: DictConfig, command: str) -> DictConfig:
    """The config with the command, and with the package's own values for keys that a config of the user's lacks."""
    ours = OmegaConf.load(str(files("diagnose.conf") / "config.yaml"))
    assert isinstance(ours, DictConfig)
    rest = {key: value for key, value in ours.items() if key not in ("defaults", "hydra")}
    whole = OmegaConf.merge(OmegaConf.create(rest), config, {"command": command})
    assert isinstance(whole, DictConfig)
    absent = [key for key in (NEEDED[:2] if command == "evaluate" else NEEDED) if not whole.get(key)]
    if absent and not (command == "evaluate" and whole.get("predictions")):
        raise UsageError(f"the config has no {absent[0]}\nchoose one by {absent[0]}={options(absent[0])[0]}")
    return whole


def readable(error: Exception, arguments: Arguments, words: list[Override]) -> UsageError:
    """The error of Hydra in the words of its user: which word is wrong, and the nearest that is right."""
    known = known_keys(arguments, words)
    for word in words:
        key = word.key_or_group
        if word.is_add() or word.is_force_add() or key.startswith("hydra"):
            continue
        if arguments.config_path and key in GROUPS and key not in str(known):
            continue
        if arguments.config_path and key in GROUPS:
            return UsageError(
                f"the config in {arguments.config_path!r} holds the values of {key}, not a choice of it\n"
                f"set single values ({key}.<key>=...), or choose without --config-path"
            )
        if known and key not in known:
            return UsageError(
                f"the config has no key {key!r}{nearest_key(key, [*known, *GROUPS])}\n--cfg job shows all keys; +{key}=... adds a new one"
            )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file == arguments.config_name:
        folder = Path(arguments.config_path or arguments.config_dir or str(files("diagnose.conf")))
        there = sorted(path.stem for path in folder.glob("*.yaml"))
        return UsageError(f"--config-name: there is no {arguments.config_name}.yaml{nearest(arguments.config_name, there)}\nin {folder}")
    first, *more = [line for line in str(error).splitlines() if line.strip()]
    return UsageError("\n".join([first, *more[:2]]))


def known_keys(arguments: Arguments, words: list[Override]) -> list[str]:
    """All keys of the config as the chosen options make it, without the overrides of single keys; nothing where these are at fault."""
    chosen = choices(arguments, words)
    return list(keys(chosen)) if chosen is not None else []


def choices(arguments: Arguments, words: list[Override]) -> DictConfig | None:
    """The config as the chosen options of groups make it, without the overrides of single keys; nothing where these are at fault."""
    chosen = [w.input_line for w in words if w.key_or_group in GROUPS and w.input_line and not arguments.config_path]
    try:
        return composed(arguments, chosen, hydra=False)
    except (HydraException, OmegaConfBaseException):
        return None


def nearest_key(key: str, known: list[str]) -> str:
    """The nearest key, first one that is nearly the same at the top, then by its last part: ``lr`` is ``optimizer.lr``."""
    if "." not in key and (close := nearest(key, [other for other in known if "." not in other], cutoff=0.85)):
        return close
    last = key.rpartition(".")[2]
    same = [other for other in known if other != key and other.rpartition(".")[2] == last]
    return f"; did you mean {same[0]!r}?" if same else nearest(key, known)


def keys(config: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys of a config, nodes included."""
    for key in config:
        yield f"{prefix}{key!s}"
        node = config._get_node(key) if isinstance(config, DictConfig) else config[key]
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from keys(node, f"{prefix}{key!s}.")


def check_added(words: list[Override], config: DictConfig) -> None:
    """``+modle=mlp`` adds a key silently in plain Hydra: refuse an added key that is nearly one that exists."""
    for word in words:
        key = word.key_or_group
        if word.is_add():
            parent, _, last = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            siblings = [str(k) for k in node if str(k) != last] if isinstance(node, DictConfig) else []
            close = nearest(last, [*siblings, *(() if parent else GROUPS)], cutoff=0.75)
            if not close and not parent:
                close = next((f"; did you mean {k!r}?" for k in keys(config) if k.endswith(f".{key}")), "")
            if close:
                raise UsageError(f"the config has no key {key!r}{close}\n++{key}=... adds it all the same")


def check_kinds(arguments: Arguments, words: list[Override], config: DictConfig) -> None:
    """Refuse a value of another kind than the one that it replaces: text for a number, a number for a list."""
    changed = [w.key_or_group for w in words if not (w.is_add() or w.is_force_add() or w.is_delete())]
    changed = [key for key in changed if not key.startswith("hydra.") and key not in (*GROUPS, *FREE)]
    before = choices(arguments, words) if changed else None
    if before is None:
        return
    for key in changed:
        try:
            usual, value = OmegaConf.select(before, key), OmegaConf.select(config, key)
        except OmegaConfBaseException:  # an interpolation that cannot be resolved is reported as one
            continue
        kind, text = next(((kind, text) for kind, text in KINDS if isinstance(usual, kind)), (object, ""))
        fits = isinstance(value, (int, float) if kind is float else kind) and (kind in (bool, object) or not isinstance(value, bool))
        if not fits and value is not None:
            example = json.dumps(OmegaConf.to_container(usual) if isinstance(usual, ListConfig) else usual)
            raise UsageError(f"{key} must be {text}, such as {example}; got {value!r}")
