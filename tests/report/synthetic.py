"""A full and realistic record, made of seeded numbers, and what rules might say about it."""

from __future__ import annotations

import numpy as np

from diagnose.record import Record
from diagnose.values import Diagnosis, Finding, Outcome, Severity, Status

LAYERS = ("net.0", "net.2", "net.4", "head")
ACTIVATIONS = ("net.1 (ReLU)", "net.3 (ReLU)", "net.5 (Tanh)")
HOSTILE = (
    "</script><script>alert(1)</script>",
    "$\\frac$",
    "{{7*7}}",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "nul\x00\x1b[31mred",
    "\u202egpj.exe",
    "a|b`c*d_e",
    "=HYPERLINK(1)",
    "😀 漢字",
)


def full_record(names: tuple[str, ...] = tuple("0123456789"), *, batches: int = 900, seed: int = 0) -> Record:
    """A run of a small classifier of ``len(names)`` classes: every fact, series and array that producers write."""
    rng = np.random.default_rng(seed)
    record = Record()
    classes = len(names)
    facts(record, names)
    record.label("grad_norm/layers", LAYERS)
    record.label("weight_norm/layers", LAYERS)
    record.label("update_ratio/layers", LAYERS)
    for kind in ("mean", "std", "dead", "saturated"):
        record.label(f"activation/{kind}", ACTIVATIONS)
    record.label("lr", ("group 0",))
    per_epoch = max(1, batches // 10)
    for i in range(batches):
        done, epoch = i / batches, i // per_epoch
        loss = float(np.log(classes) * np.exp(-5 * done) + 0.05 + abs(rng.normal(0, 0.08)))
        record.append({"train/loss": loss}, step=i, epoch=epoch, batch=i)
        if i % 5 == 0:
            norm = float(2.5 * np.exp(-2 * done) * rng.lognormal(0, 0.35))
            clipped = min(norm, 1.0)
            record.append(
                {
                    "train/accuracy": float(np.clip(1 - loss / 3 + rng.normal(0, 0.03), 0, 1)),
                    "grad_norm/total": norm,
                    "grad_norm/clipped": clipped,
                    "clip/ratio": clipped / norm,
                    "grad_norm/layers": [norm * f for f in (0.2, 0.4, 0.5, 0.7)],
                    "weight_norm/layers": [3 + done, 4 + 0.5 * done, 4.2, 2 + 2 * done],
                    "update_ratio/layers": [float(1e-3 * rng.lognormal(0, 0.4) * f) for f in (1.5, 1.0, 0.8, 2.0)],
                    "activation/mean": [float(0.3 + 0.2 * done + rng.normal(0, 0.01)), 0.4, float(rng.normal(0, 0.02))],
                    "activation/std": [float(0.8 + rng.normal(0, 0.02)), float(0.9 + 0.3 * done), 0.6],
                    "activation/dead": [0.05, float(0.1 + 0.3 * done), None],
                    "activation/saturated": [None, None, float(0.02 + 0.2 * done)],
                    "lr": [float(1e-3 * 0.5 * (1 + np.cos(np.pi * done)))],
                    "prediction/top_share": float(0.6 * np.exp(-6 * done) + 0.12),
                    "time/step": float(0.004 + abs(rng.normal(0, 4e-4))),
                    "time/data": float(0.001 + abs(rng.normal(0, 1e-4))),
                    "memory/rss": float(4.1e8 + 1e6 * done),
                },
                step=i,
                epoch=epoch,
                batch=i,
            )
        if (i + 1) % per_epoch == 0:
            val = float(np.log(classes) * np.exp(-4.4 * done) + 0.12)
            record.append(
                {"val/loss": val, "val/accuracy": float(1 - val / 3), "metric/val/f1": float(0.99 - val / 3)}, step=i, epoch=epoch, batch=i
            )
    predictions(record, names, rng)
    return record


def facts(record: Record, names: tuple[str, ...]) -> None:
    classes = len(names)
    record.add(
        "task",
        {
            "kind": "multiclass",
            "loss": "cross_entropy",
            "classes": classes,
            "class_names": list(names),
            "extracted_by": "cross_entropy in training_step",
        },
    )
    record.add(
        "run",
        {
            "command": "train", "seed": 7, "max_epochs": 30, "max_steps": -1, "batches_per_epoch": 90, "accumulate": 1, "clip_val": 1.0,
            "clip_algorithm": "norm", "precision": "32-true", "automatic_optimization": True, "epochs_done": 10, "steps_done": 900,
            "stopped": "val/loss did not improve for 3 validations", "interrupted": "", "checkpoint": "checkpoints/epoch=6-step=630.ckpt",
            "versions": {"python": "3.11.7", "torch": "2.13.0", "lightning": "2.6.6"},
            "optimizers": [{"name": "Adam", "lr": 1e-3, "weight_decay": 0.0, "momentum": None, "betas": [0.9, 0.999]}],
            "schedulers": [{"name": "CosineAnnealingLR", "interval": "step"}],
        },
    )  # fmt: skip
    record.add(
        "config",
        {
            "model": {"_target_": "diagnose.models.MLP", "hidden": [64, 32], "dropout": 0.1},
            "optimizer": {"lr": 1e-3},
            "trainer": {"max_epochs": 30},
            "seed": 7,
        },
    )
    record.add("config_keys", {"learning_rate": "optimizer.lr"})
    record.add("source", {"training_step": "model.py:31", "forward": "model.py:24", "configure_optimizers": "model.py:52"})
    record.add("data", {"train": {"samples": 1347, "batch_size": 15, "shape": [1, 8, 8]}, "val/0": {"samples": 90, "batch_size": 64}})
    record.add("probe.initial_loss", {"loss": 2.34, "chance": 2.303, "ratio": 1.016, "kind": "cross_entropy", "classes": classes})
    losses = [float(2.34 * np.exp(-i / 14) + 0.002) for i in range(120)]
    record.add(
        "probe.overfit",
        {"losses": losses, "floor": 0.0, "chance": 2.303, "initial": 2.34, "final": losses[-1], "steps": 119, "batch_size": 16},
    )
    record.add(
        "probe.learning",
        {"train": 21.4, "held_out": 12.3, "samples": 180, "steps": 60, "losses": [float(2.3 * 0.97**i) for i in range(60)]},
    )
    record.add("probe.zero_input", {"loss": 2.31, "accuracy": 0.1})
    record.add(
        "stages", [{"name": n, "seconds": s} for n, s in (("check", 1.9), ("fit", 6.2), ("evaluate", 0.4), ("t-SNE", 3.1), ("report", 1.4))]
    )
    record.skip("data.shift", "the validation loader gives no inputs that can be compared")


def predictions(record: Record, names: tuple[str, ...], rng: np.random.Generator) -> None:
    classes, each = len(names), 36
    target = np.repeat(np.arange(classes), each)
    guess = np.where(rng.random(len(target)) < 0.06, rng.integers(0, classes, len(target)), target)
    raw = rng.random((len(target), classes)) * 0.6
    raw[np.arange(len(target)), guess] += 2.5 * rng.random(len(target)) + 0.8
    probability = (raw / raw.sum(1, keepdims=True)).astype(np.float32)
    loss = -np.log(np.maximum(probability[np.arange(len(target)), target], 1e-6))
    for name, array in (("target", target), ("prediction", guess), ("probability", probability), ("loss", loss)):
        record.save_array(f"test/{name}", array)
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (target, guess), 1)
    record.add("evaluation", {"test": evaluation(confusion, names)})
    layers = {}
    for index, layer in enumerate(("net.1 (ReLU)", "net.3 (ReLU)")):
        centres = rng.normal(size=(classes, 2)) * (6 + 8 * index)
        record.save_array(f"embedding/{layer}", centres[target] + rng.normal(size=(len(target), 2)) * 2)
        record.save_array(f"embedding/{layer}/rows", np.arange(len(target)))
        layers[layer] = {
            "method": "t-SNE", "n": len(target), "cap": 5000, "perplexity": 30.0, "seed": 7, "knn_accuracy": 0.9 + 0.05 * index,
            "silhouette": 0.2 + 0.2 * index, "trustworthiness": 0.98, "note": "", "dim": 64 // (index + 1),
        }  # fmt: skip
    layers["constant"] = {"method": "t-SNE", "n": 360, "note": "the layer is constant", "dim": 8}
    record.add("embedding", layers)


def evaluation(confusion: np.ndarray, names: tuple[str, ...]) -> dict[str, object]:
    total, hits = confusion.sum(), np.diag(confusion)
    support, predicted = confusion.sum(1), confusion.sum(0)
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(support, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    rows = [
        {
            "name": n,
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "support": int(support[i]),
            "predicted": int(predicted[i]),
        }
        for i, n in enumerate(names)
    ]
    mean = {"precision": float(precision.mean()), "recall": float(recall.mean()), "f1": float(f1.mean())}
    accuracy = float(hits.sum() / total)
    return {
        "task": "multiclass", "n": int(total), "accuracy": accuracy, "per_class": rows, "macro": mean,
        "micro": dict.fromkeys(("precision", "recall", "f1"), accuracy), "weighted": mean, "confusion": confusion.tolist(),
        "baseline": {"majority": float(support.max() / total), "class": int(support.argmax())}, "log_loss": 0.31,
        "intervals": {"log_loss": [0.27, 0.36], "macro_f1": [0.938, 0.979]},
    }  # fmt: skip


def finding(code: str, rule: str, severity: Severity, message: str, **more: object) -> Finding:
    return Finding(code=code, rule=rule, severity=severity, message=message, **more)  # type: ignore[arg-type]


def faulty() -> Diagnosis:
    """One cause with a folded symptom, a warning, an info, and rules that were clean, did not run, crashed."""
    cause = finding(
        "M201", "activation-loss-mismatch", Severity.ERROR, "Softmax is applied before cross-entropy, which applies it again.",
        where="model.py:31", fix="Return the logits from forward and leave softmax to the loss.", evidence={"row_sum": 1.0},
    )  # fmt: skip
    rate = finding(
        "T311", "learning-rate-too-high", Severity.WARNING, "Updates are 0.21 of the weights per step, 200 times the usual 0.001.",
        where="group 0", fix="Divide the learning rate by 10.", override="optimizer.lr=0.0001", evidence={"ratio": 0.21, "limit": 0.1},
    )  # fmt: skip
    note = finding("E409", "small-test-set", Severity.INFO, "The interval of the accuracy is 5 points wide.", where="test")
    symptom = finding("T306", "loss-not-decreasing", Severity.ERROR, "The loss has no downward trend over 900 batches.", where="train/loss")

    def outcome(found: Finding, explained_by: str = "") -> Outcome:
        return Outcome(code=found.code, rule=found.rule, status=Status.FOUND, findings=(found,), explained_by=explained_by)

    quiet = tuple(
        Outcome(code=c, rule=r, status=Status.CLEAN)
        for c, r in (
            ("D101", "non-finite-input"),
            ("M205", "initial-loss"),
            ("M212", "cannot-overfit-batch"),
            ("T302", "vanishing-gradient"),
        )
    )
    return Diagnosis(
        outcomes=(
            *quiet,
            outcome(cause),
            outcome(symptom, "M201"),
            outcome(rate),
            outcome(note),
            Outcome(
                code="D106", rule="split-shift", status=Status.NOT_RUN, reason="the validation loader gives no inputs that can be compared"
            ),
            Outcome(code="E405", rule="label-errors", status=Status.CRASHED, reason="IndexError: index 3 is out of bounds"),
        )
    )


def healthy() -> Diagnosis:
    return Diagnosis(outcomes=tuple(o for o in faulty().outcomes if o.status in (Status.CLEAN, Status.NOT_RUN)))
