"""What an evaluation costs, side by side with scikit-learn and torchmetrics.

    python scripts/benchmark_evaluation.py [--only numbers,shell,confusion,tsne,libraries] [--quick] [--json FILE] [--interpreter PYTHON]

*numbers*: all numbers of 1,000,000 predictions of 10 classes, with 1,000 resamples, beside the same point values by scikit-learn and by
torchmetrics, which give no intervals; memory is the peak of what was allocated beyond the predictions. *shell*: the whole command on a
table, from a cold start. *confusion*: 10,000,000 predictions in batches of 4,096. *tsne*: our maps beside those of scikit-learn, with the
share of the 10 nearest neighbours in the layer that are so in the map. *libraries*: a page about 2,000 rows of 3 classes, beside those of
the report libraries that run; each is looked for in this Python and in each ``--interpreter``, as they need other versions of numpy and
pandas. ``--quick`` runs everything small, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import report_libraries  # noqa: E402 - the folder above must be known first

Row = dict[str, Any]


def predictions(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities of a model that is right about six times in ten."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, classes, n)
    probability = rng.normal(size=(n, classes)).astype(np.float32)
    probability[np.arange(n), target] += 1.5
    np.exp(probability, out=probability)
    probability /= probability.sum(1, keepdims=True)
    return target, probability


def timed(task: Callable[[], Any]) -> tuple[Row, Any]:
    """Seconds on the clock and of the processors that a task takes, and what it gives."""
    start, before = time.perf_counter(), time.process_time()
    result = task()
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - before}, result


def numbers(quick: bool) -> list[Row]:
    """All numbers of a classifier."""
    from diagnose.measure.summary import summary

    n, classes = (20_000 if quick else 1_000_000), 10
    target, probability = predictions(n, classes)
    guess = probability.argmax(1)
    held = target.nbytes + guess.nbytes + probability.nbytes
    spent, entry = timed(lambda: summary("multiclass", target, guess, probability, classes=classes))
    tracemalloc.start()
    summary("multiclass", target, guess, probability, classes=classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows = [{"what": f"{n:,} x {classes}, ours", **spent, "intervals": "1,000 resamples", "memory": (held + peak) / held}]

    def by_sklearn() -> dict[str, float]:
        from sklearn import metrics

        metrics.confusion_matrix(target, guess)
        metrics.precision_recall_fscore_support(target, guess)
        return {
            "accuracy": metrics.accuracy_score(target, guess),
            "balanced_accuracy": metrics.balanced_accuracy_score(target, guess),
            "macro_f1": metrics.f1_score(target, guess, average="macro"),
            "mcc": metrics.matthews_corrcoef(target, guess),
            "kappa": metrics.cohen_kappa_score(target, guess),
            "log_loss": metrics.log_loss(target, probability),
            "roc_auc": metrics.roc_auc_score(target, probability, multi_class="ovr"),
            "average_precision": metrics.average_precision_score(target, probability),
            "top_3_accuracy": metrics.top_k_accuracy_score(target, probability, k=3),
        }

    spent, known = timed(by_sklearn)
    apart = max(abs(entry[name] - value) for name, value in known.items())
    rows.append({"what": "scikit-learn", **spent, "intervals": "none", "apart": apart})

    def by_torchmetrics() -> None:
        import torch
        from torchmetrics import MetricCollection, classification

        found = MetricCollection(
            {
                "accuracy": classification.MulticlassAccuracy(classes, average="micro"),
                "f1": classification.MulticlassF1Score(classes),
                "mcc": classification.MulticlassMatthewsCorrCoef(classes),
                "kappa": classification.MulticlassCohenKappa(classes),
                "auroc": classification.MulticlassAUROC(classes),
                "ap": classification.MulticlassAveragePrecision(classes),
                "ece": classification.MulticlassCalibrationError(classes),
                "confusion": classification.MulticlassConfusionMatrix(classes),
            }
        )
        found(torch.from_numpy(probability), torch.from_numpy(target))

    rows.append({"what": "torchmetrics", **timed(by_torchmetrics)[0], "intervals": "none"})
    return rows


def shell(quick: bool) -> list[Row]:
    """The whole command on a table, in a new process."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n, suffix in ((10_000, "csv"), (10_000, "npz"), (20_000 if quick else 1_000_000, "npz")):
            target, probability = predictions(n, 10)
            path = Path(folder, f"predictions.{suffix}")
            if suffix == "npz":
                np.savez(path, target=target, probability=probability)
            else:
                head = ",".join(["target", *(f"prob_{k}" for k in range(10))])
                np.savetxt(path, np.column_stack([target, probability]), ["%d", *["%.6f"] * 10], ",", header=head, comments="")
            command = [sys.executable, "-m", "diagnose", "evaluate", f"predictions={path}", f"output_dir={folder}/out"]
            start, before = time.perf_counter(), os.times()
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
            after = os.times()
            if done.returncode not in (0, 1):
                raise RuntimeError(done.stderr)
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            stages = next(line for line in done.stdout.splitlines() if line.startswith("seconds")).removeprefix("seconds").strip()
            rows.append({"what": f"{n:,} x 10, {suffix}", "seconds": time.perf_counter() - start, "cpu": spent, "stages": stages})
    return rows


def confusion(quick: bool) -> list[Row]:
    """A confusion matrix that grows batch by batch."""
    import torch
    from torchmetrics.classification import MulticlassConfusionMatrix

    from diagnose.callbacks import ConfusionMatrix
    from diagnose.measure.losses import Predictions

    n, classes, size = (200_000 if quick else 10_000_000), 10, 4096
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, classes, (n,), generator=generator)
    guess = torch.where(torch.rand(n, generator=generator) < 0.7, target, torch.randint(0, classes, (n,), generator=generator))
    batches = list(zip(torch.split(guess, size), torch.split(target, size), strict=True))
    empty = torch.zeros(1)
    watched = [Predictions("multiclass", g, t, None, empty, classes) for g, t in batches]
    ours, found = ConfusionMatrix(), {}

    def count() -> None:
        ours._counts = {}
        for batch in watched:
            ours.take(batch, 0)

    def other(validate: bool) -> Callable[[], None]:
        def update() -> None:
            metric = MulticlassConfusionMatrix(classes, validate_args=validate)
            for g, t in batches:
                metric.update(g, t)
            found["torchmetrics"] = metric.compute()

        return update

    ways = {"ours": count, "torchmetrics": other(True), "torchmetrics, arguments not validated": other(False)}
    rounds = [{name: timed(way)[0] for name, way in ways.items()} for _ in range(3)]
    assert torch.equal(ours._counts[0], found["torchmetrics"])
    return [{"what": f"{n:,}, {name}", **min((r[name] for r in rounds), key=lambda r: float(r["seconds"]))} for name in ways]


def tsne(quick: bool) -> list[Row]:
    """Maps of layers with ten classes."""
    from sklearn.manifold import TSNE

    from diagnose.measure.embedding import project

    rows = []
    for n, width in ((300, 16),) if quick else ((5000, 64), (20_000, 128)):
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(10, width)) * 1.2
        labels = rng.integers(0, 10, n)
        features = (centres[labels] + rng.normal(size=(n, width))).astype(np.float32)
        spent, found = timed(partial(project, features, cap=n, labels=labels))
        rows.append({"what": f"{n:,} x {width}, ours", **spent, "kept": preserved(features, found.xy)})
        spent, place = timed(partial(TSNE(init="pca", random_state=0, n_jobs=os.cpu_count()).fit_transform, features))
        rows.append({"what": f"{n:,} x {width}, scikit-learn", **spent, "kept": preserved(features, place)})
    return rows


def preserved(features: np.ndarray, place: np.ndarray, k: int = 10) -> float:
    """Share of the ``k`` nearest neighbours of a sample that stay so in the map, over at most 2,000 samples."""
    from sklearn.neighbors import NearestNeighbors

    asked = np.random.default_rng(1).choice(len(features), min(2000, len(features)), replace=False)
    near = [NearestNeighbors(n_neighbors=k + 1).fit(t).kneighbors(t[asked], return_distance=False)[:, 1:] for t in (features, place)]
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*near, strict=True)]))


def libraries(quick: bool, interpreters: list[str]) -> list[Row]:
    """A page about one table, from a cold start."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        report_libraries.table(folder / "predictions.csv", *predictions(200 if quick else 2000, 3))
        rows = [report_libraries.timed_ours(ROOT, folder / "predictions.csv", folder)]
        for name in report_libraries.LIBRARIES:
            rows.append(report_libraries.timed_library(name, interpreters, folder / "predictions.csv", folder))
    return rows


PARTS: dict[str, Callable[..., list[Row]]] = {
    "numbers": numbers,
    "shell": shell,
    "confusion": confusion,
    "tsne": tsne,
    "libraries": libraries,
}


def main() -> None:
    """Run the parts that were asked for and print their rows."""
    parser = argparse.ArgumentParser(description="What an evaluation costs.")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="everything small, to see that it runs")
    parser.add_argument("--interpreter", action="append", default=[], help="a Python that has report libraries; may be given several times")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {}
    for name in options.only.split(","):
        more = {"interpreters": [sys.executable, *options.interpreter]} if name == "libraries" else {}
        found[name] = rows = PARTS[name](options.quick, **more)
        print(f"\n{name}")
        for row in rows:
            beside = "  ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items() if k not in ("what", "seconds")
            )
            seconds = "       –  " if row["seconds"] is None else f"{row['seconds']:8.2f} s"
            print(f"  {row['what']:48} {seconds}  {beside}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
