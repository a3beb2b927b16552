"""Other people's report libraries on the table that our own command gets, each in a process of its own, from a cold start.

They need other versions of numpy, pandas and scikit-learn than this project; name an interpreter that has one by ``--interpreter PATH``.
A library that no interpreter can import, or that fails on the table, is listed with its own last line of error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 300.0  # that a library may take
READ = "import sys, warnings; warnings.simplefilter('ignore'); import pandas; table, page = sys.argv[1:]; frame = pandas.read_csv(table)\n"
LIBRARIES = {
    "evidently": """
from evidently import DataDefinition, Dataset, MulticlassClassification, Report
from evidently.presets import ClassificationPreset
kind = MulticlassClassification(target="target", prediction_labels="prediction")
data = Dataset.from_pandas(frame, data_definition=DataDefinition(classification=[kind]))
Report([ClassificationPreset()]).run(data, None).save_html(page)
""",
    "deepchecks": """
from deepchecks.tabular import Dataset
from deepchecks.tabular.suites import model_evaluation
scores = [name for name in frame if name.startswith("prob_")]
data = Dataset(frame[[*scores, "target"]], label="target", cat_features=[])
half = {part: {f"y_pred_{part}": frame["prediction"], f"y_proba_{part}": frame[scores].to_numpy()} for part in ("train", "test")}
model_evaluation().run(data, data, **half["train"], **half["test"]).save_as_html(page)
""",
    "sweetviz": """
import sweetviz
sweetviz.analyze(frame, pairwise_analysis="off").show_html(page, open_browser=False)
""",
    "yellowbrick": """
import matplotlib
matplotlib.use("Agg")
from sklearn.linear_model import LogisticRegression
from yellowbrick.classifier import ClassificationReport, ConfusionMatrix, ROCAUC
x = frame[[name for name in frame if name.startswith("prob_")]]
model = LogisticRegression().fit(x, frame["target"])
for kind in (ConfusionMatrix, ClassificationReport, ROCAUC):
    seen = kind(model, is_fitted=True)
    seen.fit(x, frame["target"])
    seen.score(x, frame["target"])
    seen.show(outpath=f"{page}.{kind.__name__}.png", clear_figure=True)
""",
}


def table(path: Path, target: np.ndarray, probability: np.ndarray) -> None:
    """Write targets, predictions and probabilities as all libraries take them."""
    names = [f"prob_{k}" for k in range(probability.shape[1])]
    columns = np.column_stack([target, probability.argmax(1), probability])
    head = ",".join(["target", "prediction", *names])
    np.savetxt(path, columns, ["%d", "%d", *["%.6f"] * len(names)], ",", header=head, comments="")


def row(name: str, start: float, before: os.times_result, pages: list[Path]) -> dict[str, Any]:
    """Seconds on the clock and of the processors since a start, and the size of what was written."""
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    size = sum(page.stat().st_size for page in pages) / 1e6
    return {"what": name, "seconds": time.perf_counter() - start, "cpu": spent, "megabytes": size}


def timed_library(name: str, interpreters: list[str], data: Path, folder: Path) -> dict[str, Any]:
    """What a library takes in the first interpreter that can import it."""
    reason = "no interpreter"
    for interpreter in interpreters:
        found = subprocess.run([interpreter, "-c", f"import {name}"], capture_output=True, text=True)
        if found.returncode:
            reason = last_line(found.stderr)
            continue
        start, before = time.perf_counter(), os.times()
        try:
            done = subprocess.run(
                [interpreter, "-c", READ + LIBRARIES[name], str(data), str(folder / f"{name}.html")],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            reason = f"not done in {SECONDS:.0f} s"
            continue
        pages = list(folder.glob(f"{name}.html*"))
        if done.returncode == 0 and pages:
            return row(name, start, before, pages)
        reason = last_line(done.stderr)
    return {"what": name, "seconds": None, "does not run": reason}


def last_line(text: str) -> str:
    """What a traceback ends with."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no message"


def timed_ours(root: Path, data: Path, folder: Path) -> dict[str, Any]:
    """Our own command on the same table."""
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "diagnose", "evaluate", f"predictions={data}", f"output_dir={folder}/ours"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)})
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return row("ours", start, before, list(folder.glob("ours/*/*/*/report.html")))
