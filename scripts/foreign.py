"""Run the callbacks inside projects that other people wrote, on synthetic data, and say what became of it.

    python -m scripts.foreign                 all projects; their environments stand in .venvs, or $DIAGNOSE_VENVS, and are kept
    python -m scripts.foreign chemprop scvi   some of them

Each project gets an environment of its own with the torch of constraints.txt. In it a small training runs three times from one seed:
twice as the project would run it, and once with every callback. The table says whether the weights end in the same bits, what the doctor
found, what failed, and what `diagnose.check` says of the module. Not part of the continuous integration: it downloads the projects.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts import foreign_demos, foreign_forecasts, foreign_libraries, foreign_projects, foreign_sciences
from scripts.foreign_demos import Trained

ROOT = Path(__file__).resolve().parents[1]
LIGHT = ("torchmetrics", "scikit-learn", "matplotlib", "hydra-core", "rich", "jinja2", "openTSNE")
DEMOS = ("lightning",)
PROJECTS: dict[str, tuple[Callable[[list[Any]], Trained], tuple[str, ...]]] = {  # the first package names the environment
    "boring": (foreign_demos.boring, DEMOS),
    "boring-by-hand": (foreign_demos.boring_by_hand, DEMOS),
    "demo-transformer": (foreign_demos.demo_transformer, (*DEMOS, "requests")),
    "demo-lstm": (foreign_demos.demo_lstm, (*DEMOS, "requests")),
    "gan": (foreign_demos.gan, DEMOS),
    "pytorch-tabular": (foreign_projects.tabular, ("pytorch-tabular", "requests")),
    "pytorch-tabular-ft": (foreign_projects.tabular_ft_transformer, ("pytorch-tabular", "requests")),
    "deeptab": (foreign_projects.deeptab, ("deeptab",)),
    "chemprop": (foreign_projects.chemprop, ("chemprop",)),
    "scvi-tools": (foreign_projects.scvi, ("scvi-tools",)),
    "pina": (foreign_projects.pina, ("pina-mathlab",)),
    "lightly": (foreign_projects.lightly, ("lightly",)),
    "torch-uncertainty": (foreign_projects.uncertainty, ("torch-uncertainty", "torch-uncertainty[cpu]")),
    "lightning-uq-box": (foreign_projects.uq_box, ("lightning-uq-box",)),
    "rl4co": (foreign_projects.rl4co, ("rl4co",)),
    "neuralforecast": (foreign_forecasts.neuralforecast, ("neuralforecast",)),
    "pytorch-forecasting": (foreign_forecasts.forecasting, ("pytorch-forecasting", "lightning")),
    "gluonts": (foreign_forecasts.gluonts, ("gluonts", "gluonts[torch]")),
    "darts": (foreign_forecasts.darts, ("darts", "darts[torch]")),
    "torch-geometric": (foreign_libraries.geometric, ("torch-geometric", "lightning")),
    "transformers": (foreign_libraries.transformers, ("transformers", "lightning")),
    "transformers-bert": (foreign_libraries.transformers_bert, ("transformers", "lightning")),
    "pytorch-metric-learning": (foreign_libraries.metric_learning, ("pytorch-metric-learning", "lightning")),
    "segmentation-models-pytorch": (foreign_libraries.segmentation, ("segmentation-models-pytorch", "lightning")),
    "monai": (foreign_libraries.monai, ("monai", "lightning")),
    "mlcolvar": (foreign_sciences.mlcolvar, ("mlcolvar",)),
    "pykeen": (foreign_sciences.pykeen, ("pykeen", "lightning")),
    "rectools": (foreign_sciences.rectools, ("rectools", "rectools[torch]")),
    "torchgeo": (foreign_sciences.torchgeo, ("torchgeo",)),
    "anomalib": (foreign_sciences.anomalib, ("anomalib",)),
}


def digest(module: Any) -> str:
    """Every parameter and buffer, to the last bit."""
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes() if hasattr(value, "detach") else repr(value).encode())
    return total.hexdigest()


def once(train: Callable[[list[Any]], Trained], callbacks: list[Any]) -> tuple[str, float, Trained]:
    """One training from the seed: a digest of the weights, its seconds, and what it gave."""
    import random

    import numpy as np
    import torch

    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    began = time.perf_counter()
    trained = train(callbacks)
    return digest(trained[0]), time.perf_counter() - began, trained


def inside(name: str) -> dict[str, Any]:
    """Train the project's example thrice, in its own environment; the row of the table."""
    from importlib.metadata import version

    import torch

    import diagnose
    from diagnose.callbacks import ActivationMonitor, ConfusionMatrix, Doctor, GradientMonitor, HiddenTSNE, LossMonitor, UpdateMonitor
    from diagnose.namespace import Callback

    class Start(Callback):
        """Keeps the first weights, so that `diagnose.check` sees the module as new."""

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            self.weights = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in pl_module.state_dict().items()}

    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("diagnose").addHandler(handler)
    train, packages = PROJECTS[name]
    row: dict[str, Any] = {"project": name, "version": version(packages[0]), "notes": [], "findings": [], "crashes": []}
    first, row["seconds"], _ = once(train, [])
    again, _, _ = once(train, [])
    doctor = Doctor()
    others = [GradientMonitor(), ActivationMonitor(), UpdateMonitor(), LossMonitor(), ConfusionMatrix(), HiddenTSNE()]
    start = Start()
    watched, row["watched"], (module, loader, val) = once(train, [start, doctor, *others])
    row["weights"] = "not repeatable" if first != again else "the same" if watched == first else "DIFFERENT"
    row["findings"] = sorted({f"{f.code} {f.rule}" for f in doctor.diagnosis.at_or_above("warning")})
    row["notes"] = [line for line in said if "does not work here" in line]
    row["crashes"] = [line for line in said if "failed" in line] + [o.rule for o in doctor.diagnosis.outcomes if o.status == "crashed"]
    row["batches"] = len(doctor.record.series("train/loss")) if "train/loss" in doctor.record else 0
    row["series"] = len(list(doctor.record.names()))
    if loader is not None:
        module.load_state_dict(start.weights)
        found = diagnose.check(module, loader, val)
        row["check"] = sorted({f"{f.code} {f.rule}" for f in found.at_or_above("warning")})
        row["crashes"] += [f"check: {o.rule}: {o.reason}" for o in found.outcomes if o.status == "crashed"]
        row["notes"] += sorted({f"check: {o.reason}" for o in found.outcomes if "probe raised" in o.reason})
    return row


def environment(packages: tuple[str, ...]) -> Path:
    """The interpreter of the environment for these packages; it is made where it does not stand."""
    venv = Path(os.environ.get("DIAGNOSE_VENVS", ROOT / ".venvs")) / packages[0]
    python, done = venv / "bin/python", venv / "done"
    if not done.exists():
        print(f"making {venv}", file=sys.stderr)
        torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", torch, *packages, *LIGHT], check=True)
        done.touch()
    return python


def outside(name: str) -> dict[str, Any]:
    """Run one project in its environment and in an empty folder, and read its row."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [str(environment(PROJECTS[name][1])), "-m", "scripts.foreign", "--inside", name]
        try:
            done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired:
            return {"project": name, "failed": "no end after 15 minutes"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"project": name, "failed": (done.stderr.strip().splitlines() or ["no output"])[-1], "log": done.stderr}
    row: dict[str, Any] = json.loads(lines[-1])
    return row


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if "failed" in row:
        return [row["project"], "", "did not run", "", "", row["failed"], ""]
    found = ", ".join(row["findings"]) or "nothing"
    checked = ", ".join(row["check"]) or "nothing" if "check" in row else "loaders not at hand"
    return [row["project"], row["version"], row["weights"], found, checked, "; ".join(row["crashes"]) or "nothing", "; ".join(row["notes"])]


def main(names: list[str]) -> int:
    """Run the named projects, or all of them; the exit status is 1 where anything failed."""
    unknown = [name for name in names if name not in PROJECTS]
    if unknown:
        print(f"no project {', '.join(unknown)}; there are {', '.join(PROJECTS)}", file=sys.stderr)
        return 2
    rows = []
    print("| project | version | weights | the doctor found | check found | failed | notes |\n|---|---|---|---|---|---|---|")
    for name in names or PROJECTS:
        rows.append(outside(name))
        print("| " + " | ".join(cell.replace("|", "/") for cell in cells(rows[-1])) + " |", flush=True)
        if "log" in rows[-1]:
            print(rows[-1]["log"], file=sys.stderr)
    return int(any("failed" in row or row["crashes"] or row["weights"] == "DIFFERENT" for row in rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        warnings.simplefilter("ignore")
        try:
            print(json.dumps(inside(sys.argv[2])))
        except Exception:
            traceback.print_exc()
            sys.exit(1)
    else:
        sys.exit(main(sys.argv[1:]))
