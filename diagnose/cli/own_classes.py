"""``evaluate ckpt_path=FILE module=my.pkg.Model data=my.pkg.DataModule``: classes of the user's own, named by their import paths."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from diagnose.cli.arguments import Arguments, UsageError

UNUSED = ("optimizer", "scheduler", "init", "loss", "callbacks")  # what the default config says of them is not true of such a module


def with_own_classes(arguments: Arguments) -> Arguments:
    """Words that name classes by their import paths, as overrides; what they are made with follows as ``module.width=16``.

    A class that is typed on the command line is imported, also from the current folder; a config may name only what ``allow_targets``
    lists.

    Raises:
        UsageError: ``module`` names no class, or no data stand beside it.
    """
    keys = {word.partition("=")[0]: word.partition("=")[2] for word in arguments.words}
    module, data = keys.get("module", ""), keys.get("data", "")
    if "module" in keys and "." not in module:
        raise UsageError(
            f"module must be the import path of a class, such as my.pkg.Model; got {module!r}\na network of diagnose: model=mlp"
        )
    if module and "data" not in keys:
        raise UsageError("module needs data beside it: data=my.pkg.DataModule, or one of diagnose such as data=iris")
    named = {"module": ("model", module)} if module else {}
    if "." in data:
        named["data"] = ("data", data)
    if not named:
        return arguments
    if os.getcwd() not in sys.path:  # the installed command, unlike python -m, does not look there
        sys.path.insert(0, os.getcwd())
    words = [f"~{group}" for group, _ in named.values()]
    words += [f"~{group}" for group in UNUSED] if module else []
    words += [f"+{group}._target_={path}" for group, path in named.values()]
    for word in arguments.words:
        key, dot, rest = word.partition("=")[0].partition(".")
        if key in named:
            words += [f"+{named[key][0]}.{word.partition('.')[2]}"] if dot and rest else []
        else:
            words.append(word)
    if "allow_targets" not in keys:
        words.append(f"allow_targets=[{','.join(sorted({path.partition('.')[0] for _, path in named.values()}))}]")
    return replace(arguments, words=words)
