"""A run's folder: made new for each run, with the config that replays it and a pointer to the latest."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from diagnose.cli.arguments import UsageError
from diagnose.cli.compose import Composed

SECRET = re.compile(r"token|secret|passw|api_?key|credential", re.IGNORECASE)


def create(composed: Composed) -> Path:
    """Make the run's folder with ``.hydra/config.yaml``, ``hydra.yaml`` and ``overrides.yaml`` in it, and point ``latest`` to it.

    Two runs of one second get different folders.

    Raises:
        UsageError: The folder cannot be written.
    """
    OmegaConf.set_struct(composed.hydra, False)
    wanted = Path(str(composed.hydra.run.dir)).absolute()
    try:
        for number in range(1, 1000):
            folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir(parents=True)
                break
        hydra = folder / ".hydra"
        hydra.mkdir()
        (hydra / "config.yaml").write_text(OmegaConf.to_yaml(composed.config), encoding="utf-8")
        (hydra / "hydra.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create({"hydra": composed.hydra})), encoding="utf-8")
        (hydra / "overrides.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(list(composed.overrides))), encoding="utf-8")
        _point(folder)
    except OSError as error:
        raise UsageError(
            f"the run's folder {str(wanted)!r} cannot be written: {error.strerror or error}\nchoose another by output_dir=DIR"
        ) from error
    return folder


def _point(folder: Path) -> None:
    """``outputs/<command>/latest``: a relative symlink, or a text file where links are not to be had."""
    latest = folder.parent.parent / "latest"
    target = folder.relative_to(latest.parent)
    if latest.is_dir() and not latest.is_symlink():
        return
    partial = latest.with_name(f".latest-{folder.name}")
    try:
        partial.symlink_to(target, target_is_directory=True)
    except OSError:
        partial.write_text(f"{target}\n", encoding="utf-8")
    partial.replace(latest)


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

    def rows(self) -> list[dict[str, Any]]:
        """As the fact ``stages`` holds them."""
        return [{"name": name, "seconds": round(seconds, 3)} for name, seconds in self.seconds.items()]
