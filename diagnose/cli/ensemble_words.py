"""The words of ``evaluate`` that ask for an ensemble: ``ckpt_path=[A,B,C] ensemble=checkpoints``. Without torch."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.cli.arguments import UsageError, nearest

KINDS = ("checkpoints", "mc_dropout", "heads")
PASSES = 20


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An ensemble of checkpoints, or of one that is asked several times.

    Attributes:
        kind: One of `KINDS`.
        files: The checkpoints.
        members: Passes of ``mc_dropout``.
        words: The other words, with the first checkpoint as ``ckpt_path``: its run's config is taken along.
    """

    kind: str
    files: tuple[str, ...]
    members: int
    words: list[str]


def asked(words: list[str]) -> Asked | None:
    """What the words ask for; ``None`` where they ask for no ensemble.

    Raises:
        UsageError: The kind is not one that can be evaluated, or it needs other checkpoints.
    """
    chosen = {word.lstrip("+").partition("=")[0]: word.partition("=")[2] for word in words}
    kind = chosen.get("ensemble")
    if kind is None or kind == "null":
        return None
    if kind not in KINDS:
        raise UsageError(
            f"evaluate has ensemble={', '.join(KINDS)}, got {kind!r}{nearest(kind, KINDS)}\nmodels are trained by train ensemble={kind}"
        )
    if chosen.get("predictions", "null") != "null" or not chosen.get("ckpt_path"):
        raise UsageError(f"ensemble={kind} needs ckpt_path={'[A,B,C]' if kind == 'checkpoints' else 'FILE'}")
    value = chosen["ckpt_path"]
    files = [part.strip().strip("'\"") for part in value[1:-1].split(",")] if value[:1] == "[" and value[-1:] == "]" else [value]
    if (len(files) < 2) == (kind == "checkpoints") or not all(files):
        need = "at least two checkpoints, ckpt_path=[A,B,C]" if kind == "checkpoints" else "one checkpoint, ckpt_path=FILE"
        raise UsageError(f"ensemble={kind} needs {need}; got {value}")
    count = chosen.get("ensemble.members", str(PASSES))
    if not count.isdigit() or int(count) < 2:
        raise UsageError(f"ensemble.members must be a whole number, at least 2, got {count!r}")
    own = ("ensemble", "ensemble.members", "ckpt_path")
    rest = [word for word in words if word.lstrip("+").partition("=")[0] not in own]
    return Asked(kind=kind, files=tuple(files), members=int(count), words=[f"ckpt_path={files[0]}", *rest])
