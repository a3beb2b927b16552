"""A run's folder: made new for each run, with the config that replays it and a pointer to the latest."""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from diagnose.cli.arguments import UsageError
from diagnose.cli.compose import Composed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
SECRET = re.compile(r"(?:^|[_-])token$|secret|passw|api_?key|credential", re.IGNORECASE)  # a tokenizer is none


class Unwritten(UsageError):
    """A run was made, but not all of it could be written; what was stays."""


@contextmanager
def folder(composed: Composed) -> Iterator[Path]:
    """Make the run's folder with ``.hydra/config.yaml``, ``hydra.yaml`` and ``overrides.yaml`` in it, and point ``latest`` to it.

    Two runs of one second get different folders. A run that cannot be made after all (a UsageError inside the block) leaves nothing behind.

    Raises:
        UsageError: The folder cannot be written.
        Unwritten: The disk was full in the course of the block.
    """
    wanted = Path(composed.folder).absolute()
    absent = [parent for parent in wanted.parents if not parent.exists()]
    latest = wanted.parent.parent / "latest"
    before = latest.readlink() if latest.is_symlink() else None
    try:
        made = _make(wanted)
        _save_config(composed, made / ".hydra")
        _point(made)
    except OSError as error:
        raise UsageError(
            f"the run's folder {str(wanted)!r} cannot be written: {error.strerror or error}\nchoose another by output_dir=DIR"
        ) from error
    try:
        yield made
    except Unwritten:
        raise
    except UsageError:
        shutil.rmtree(made, ignore_errors=True)
        latest.unlink(missing_ok=True)
        if before is not None:
            latest.symlink_to(before, target_is_directory=True)
        with suppress(OSError):  # another run may stand there by now
            for parent in absent:
                parent.rmdir()
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Unwritten(
            f"{str(made)!r} cannot be written: {error.strerror or error}; what was recorded so far is kept\n"
            f"make room, then: python -m diagnose report {made}"
        ) from error


def _make(wanted: Path) -> Path:
    for number in range(1, 1000):
        made = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with suppress(FileExistsError):
            made.mkdir(parents=True)
            return made
    raise FileExistsError(f"{wanted} and 998 others of its name exist")


def _save_config(composed: Composed, target: Path) -> None:
    target.mkdir()
    overrides = OmegaConf.create(list(composed.overrides))
    files = {"config": composed.config, "hydra": OmegaConf.create({"hydra": composed.hydra}), "overrides": overrides}
    hidden = sorted(secrets(composed.config), key=len, reverse=True)
    for name, content in files.items():
        text = OmegaConf.to_yaml(content)
        for value in hidden:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", MISSING, text)  # a replay asks for it
        (target / f"{name}.yaml").write_text(text, encoding="utf-8")


def _point(made: Path) -> None:
    """``outputs/<command>/latest``: a relative symlink, or a text file where links are not to be had."""
    latest = made.parent.parent / "latest"
    if latest.is_dir() and not latest.is_symlink():
        return
    target = made.relative_to(latest.parent)
    partial = latest.with_name(f".latest-{made.name}")
    try:
        partial.symlink_to(target, target_is_directory=True)
    except OSError:
        partial.write_text(f"{target}\n", encoding="utf-8")
    partial.replace(latest)


def followed(path: Path) -> Path:
    """The folder that a pointer written as a text file names, or the path itself."""
    if path.name == "latest" and path.is_file():
        return path.parent / path.read_text(encoding="utf-8").strip()
    return path


def checkpoint_file(path: str) -> Path:
    """The file of a checkpoint; Lightning itself would fetch a URL and load what it gets.

    Raises:
        UsageError: There is none.
    """
    if "://" in path:
        raise UsageError(f"ckpt_path must be a file, got {path!r}\ndownload it first, from a source that you trust")
    if not Path(path).is_file():
        raise UsageError(f"there is no checkpoint {path!r}")
    return Path(path)


def saved_config(file: Path) -> Path | None:
    """The folder ``.hydra`` of the run that a file lies in, at most four levels up."""
    found = (parent / ".hydra" for parent in list(file.absolute().parents)[:4])
    return next((place for place in found if (place / "config.yaml").is_file()), None)


def secrets(config: Any) -> set[str]:
    """The texts under secret keys that stand in a config as they are; interpolations such as ``${oc.env:TOKEN}`` hold none."""
    plain = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    if isinstance(plain, list):
        return set().union(*map(secrets, plain))
    found: set[str] = set()
    for key, value in plain.items() if isinstance(plain, dict) else ():
        if isinstance(value, str) and SECRET.search(str(key)):
            found |= {value} if value and value != MISSING and "${" not in value else set()
        else:
            found |= secrets(value)
    return found


def redacted(config: Any) -> Any:
    """A plain copy of the config with the values of secret keys taken out."""
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    if isinstance(plain, dict):
        return {str(k): "***" if SECRET.search(str(k)) and v else redacted(v) for k, v in plain.items()}
    return [redacted(v) for v in plain] if isinstance(plain, list) else plain


class Stages:
    """Where the seconds went."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.1f} ({parts})"

    def rows(self) -> list[dict[str, Any]]:
        """As the fact ``stages`` holds them."""
        return [{"name": name, "seconds": round(seconds, 3)} for name, seconds in self.seconds.items()]
