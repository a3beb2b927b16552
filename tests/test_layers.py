"""Dependencies point down only, so that a saved run is judged and rendered on a laptop without torch."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TORCH = frozenset({"torch", "lightning", "lightning_fabric", "pytorch_lightning", "torchmetrics", "openTSNE", "sklearn"})
DRAWING = frozenset({"matplotlib", "jinja2", "PIL"})

# What importing every module of a layer must not load.
FORBIDDEN = {
    "diagnose": TORCH | DRAWING | {"numpy", "scipy", "hydra", "rich"},
    "diagnose.values": TORCH | DRAWING | {"numpy", "scipy", "hydra", "rich"},
    "diagnose.encoding": TORCH | DRAWING | {"scipy", "hydra", "rich"},
    "diagnose.record": TORCH | DRAWING | {"scipy", "hydra", "rich"},
    "diagnose.statistics": TORCH | DRAWING | {"hydra", "rich"},
    "diagnose.rules": TORCH | DRAWING | {"hydra", "rich"},
    "diagnose.search": (TORCH - {"sklearn"}) | DRAWING | {"hydra"},  # Optuna itself loads scikit-learn and rich
    "diagnose.report": TORCH | DRAWING | {"hydra"},
    "diagnose.measure": {"lightning", "lightning_fabric", "pytorch_lightning", "hydra"} | DRAWING,
}

# Commands that answer at once: they load neither torch nor what draws.
QUICK = (["--help"], ["train", "--help"], ["rules"], ["explain", "M205"])

# The layers from bottom to top; each may import those before it, also inside its functions.
ORDER = (
    "values",
    "encoding",
    "record",
    "statistics",
    "measure",
    "rules",
    "search",
    "report",
    "namespace",
    "identity",
    "experiments",
    "data",
    "models",
    "numbers",
    "evaluation",
    "ensemble",
    "comparison",
    "callbacks",
    "cli",
)
NEVER = {
    "encoding": {"values"},
    "record": {"values"},
    "statistics": {"values"},
    "measure": {"record", "values"},
    "rules": {"measure"},
    "report": {"measure"},
}

LOAD = """
import importlib, json, pkgutil, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    if name != "diagnose":
        for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
            importlib.import_module(found.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded(*modules: str, cwd: Path) -> set[str]:
    """Top-level packages that a fresh interpreter holds after it has imported every module of these packages."""
    done = subprocess.run([sys.executable, "-c", LOAD, *modules], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_importing_a_layer_loads_nothing_forbidden(layer: str, tmp_path: Path) -> None:
    assert loaded(layer, cwd=tmp_path) & FORBIDDEN[layer] == set()


@pytest.mark.parametrize("command", QUICK, ids=" ".join)
def test_a_quick_command_loads_nothing_forbidden(command: list[str], tmp_path: Path) -> None:
    code = "import json, sys\nfrom diagnose.cli import main\nassert main(sys.argv[1:]) == 0\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) & (TORCH | DRAWING) == set()
    assert list(tmp_path.iterdir()) == []


def test_that_test_can_fail(tmp_path: Path) -> None:
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "__init__.py").touch()
    (tmp_path / "planted" / "deep.py").write_text("import jinja2\n")
    assert loaded("diagnose.rules", "planted", cwd=tmp_path) & FORBIDDEN["diagnose.rules"] == {"jinja2"}


def upward(layer: str, files: list[Path]) -> Iterator[str]:
    """Imports of ``diagnose`` modules that stand above the layer."""
    allowed = set(ORDER[: ORDER.index(layer) + 1]) - NEVER.get(layer, set())
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "diagnose" else [node.module or ""]
            else:
                continue
            for name in names:
                part = name.removeprefix("diagnose.").partition(".")[0]
                if name.startswith("diagnose.") and part in ORDER and part not in allowed:
                    yield f"{file.name}:{node.lineno} {layer} imports {name}"


def files_of(layer: str, root: Path) -> list[Path]:
    folder = root / "diagnose" / layer
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@pytest.mark.parametrize("layer", ORDER)
def test_dependencies_point_down(layer: str, root: Path) -> None:
    assert list(upward(layer, files_of(layer, root))) == []


def test_that_test_can_fail_too(tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text("from diagnose import cli\ndef f():\n    import diagnose.callbacks.doctor\n    from diagnose.values import Finding\n")
    assert list(upward("report", [file])) == [
        "planted.py:1 report imports diagnose.cli",
        "planted.py:3 report imports diagnose.callbacks.doctor",
    ]


def test_every_part_of_the_package_is_a_layer(root: Path) -> None:
    parts = {p.stem for p in (root / "diagnose").iterdir() if (p.suffix == ".py" or (p / "__init__.py").is_file()) and p.stem[0] != "_"}
    assert parts - {"conf"} == set(ORDER)
