"""Put faults into healthy programs, and count how many of those that do harm are found.

Into each program of the folders some mutations of `scripts/mutation_operators.py` are put, one at a time, and what becomes of training is
compared with the program as it was. A mutant counts as faulty where its fault is certain by itself (a sample in both splits), or where it
did harm: the training loss came `HARM` less far, a validation accuracy lost `LOST`, or the validation loss rose by half. Changes that do
none (a learning rate of half or twice, other batches, a run of another length) must raise no alarm unless they did harm.

    python scripts/mutants.py [FOLDER ...] [--only GLOB] [--mutation GLOB] [--each 8] [--seed 0] [--jobs 1] [--json FILE]

Without folders it takes tests/healthy. Exit status 1 when a case crashed or a harmless change raised an alarm.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.corpus import MARK, apart, cases_in, load  # noqa: E402

HARM, LOST = 0.3, 0.1


@dataclass(kw_only=True)
class Mutant:
    """What became of one mutant; ``rules`` is empty for a change that should do no harm."""

    case: str
    mutation: str
    rules: list[str] = field(default_factory=list)
    harmed: bool = False
    raised: list[str] = field(default_factory=list)
    without: str = ""
    crash: str = ""

    @property
    def found(self) -> bool:
        return bool(set(self.rules) & set(self.raised))

    @property
    def named(self) -> bool:
        return self.rules[0] in self.raised


@dataclass(frozen=True)
class Course:
    """How a training went: the losses of its batches, and what it logged at its end."""

    losses: Sequence[float]
    logged: Mapping[str, float]

    @property
    def start(self) -> float:
        return sum(self.losses[:5]) / max(1, len(self.losses[:5]))

    @property
    def end(self) -> float:
        last = self.losses[-max(5, len(self.losses) // 5) :]
        return sum(last) / max(1, len(last))


def harmed(before: Course, after: Course) -> bool:
    """Whether a change did harm to a training.

    >>> harmed(Course([4.0] * 5 + [1.0] * 5, {}), Course([4.0] * 5 + [2.0] * 5, {}))
    True
    >>> harmed(Course([4.0] * 5 + [1.0] * 5, {"val_acc": 0.9}), Course([4.0] * 5 + [1.5] * 5, {"val_acc": 0.85}))
    False
    """
    way = before.start - before.end
    if not math.isfinite(after.end) or (way > 0 and after.end - before.end > HARM * way):
        return True
    for name, value in before.logged.items():
        other = after.logged.get(name, value)
        if "acc" in name and value - other > LOST:
            return True
        if "val" in name and "loss" in name and other - value > max(0.5 * abs(value), 0.05):
            return True
    return False


def run_mutants(path: Path, names: Sequence[str]) -> Iterator[Mutant]:
    """Run the mutants of one program in this process, one after the other."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "diagnose"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import lightning
    import torch

    import diagnose
    from diagnose.callbacks import Doctor
    from scripts.mutation_operators import MUTATIONS
    from scripts.mutations import NotApplicable, Program

    torch.set_num_threads(1)
    case = load(path)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}

    class Losses(lightning.Callback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            if isinstance(loss, torch.Tensor):
                self.seen.append(float(loss))

    def build(name: str = "") -> Program:
        lightning.seed_everything(0, verbose=False)
        module, train, val = case.build()
        program = Program(module, train, val, copy.deepcopy(case.TRAINER))
        return MUTATIONS[name].apply(program) if name else program

    def fit(program: Program, *callbacks: Any) -> Course:
        losses = Losses()
        settings = {"accelerator": "cpu", **quiet, **program.settings}
        trainer = lightning.Trainer(**{**settings, "callbacks": [*settings.get("callbacks", []), losses, *callbacks]})
        try:
            trainer.fit(program.module, program.train, program.val)
        except NotApplicable:
            raise
        except Exception:
            losses.seen.append(math.nan)  # some faults end training
        return Course(losses.seen, {k: float(v) for k, v in trainer.callback_metrics.items() if v.numel() == 1})

    plain = fit(build())
    for name in names:
        mutation = MUTATIONS[name]
        result = Mutant(case=path.stem, mutation=name, rules=list(mutation.rules))
        try:
            result.harmed = harmed(plain, fit(build(name))) or mutation.certain
            program, doctor = build(name), Doctor()
            findings = list(diagnose.check(program.module, program.train, program.val).findings)
            fit(build(name), doctor)
            result.raised = sorted({f.rule for f in [*findings, *doctor.diagnosis.findings] if f.severity != "info"})
        except NotApplicable as why:
            result.without = str(why)
        except Exception as error:
            result.crash = f"{type(error).__name__}: {error}"
        yield result


def run_apart(path: Path, names: Sequence[str], timeout: float) -> list[Mutant]:
    """Run the mutants of one program in a process of its own; one that ends it is marked as crashed, and those after it are left out."""
    said, why = apart(__file__, str(path), *names, timeout=timeout)
    ended = [Mutant(case=path.stem, mutation=name, crash=why) for name in names[len(said) : len(said) + 1]]
    return [*(Mutant(**entry) for entry in said), *ended]


def table(mutants: Sequence[Mutant]) -> str:
    """A Markdown table over the mutations: of how many mutants that did harm the fault was found, and its cause named."""
    rows = ["| mutation | programs | harmed | found | cause named | alarms without harm |", "|---|--:|--:|--:|--:|--:|"]
    for name in sorted({m.mutation for m in mutants}):
        own = [m for m in mutants if m.mutation == name]
        hurt, spared = [m for m in own if m.harmed], [m for m in own if not m.harmed]
        counts = (sum(m.found for m in hurt), sum(m.named for m in hurt)) if own[0].rules else ("", "")
        rows.append(f"| {name} | {len(own)} | {len(hurt)} | {counts[0]} | {counts[1]} | {sum(bool(m.raised) for m in spared)} |")
    return "\n".join(rows)


def score(mutants: Sequence[Mutant]) -> dict[str, float]:
    """Figures over all mutants that ran."""
    faulty, spared = [m for m in mutants if m.rules and m.harmed], [m for m in mutants if not m.rules and not m.harmed]
    return {
        "faulty": len(faulty),
        "found": round(sum(m.found for m in faulty) / max(1, len(faulty)), 3),
        "cause_named": round(sum(m.named for m in faulty) / max(1, len(faulty)), 3),
        "harmless": len(spared),
        "false_alarms": sum(bool(m.raised) for m in spared),
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=[ROOT / "tests" / "healthy"], type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="*", metavar="GLOB", help="programs whose name matches")
    parser.add_argument("--mutation", default="*", metavar="GLOB", help="mutations whose name matches")
    parser.add_argument("--each", type=int, default=8, help="mutations to try with each program")
    parser.add_argument("--seed", type=int, default=0, help="which of them: they are drawn")
    parser.add_argument("--jobs", type=int, default=1, help="programs at a time")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one program and its mutants")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what became of each mutant")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        path, *names = args.one
        for mutant in run_mutants(Path(path), names):
            print("\n" + MARK + json.dumps(asdict(mutant)), flush=True)
        return 0

    from scripts.mutation_operators import MUTATIONS

    known = [name for name in MUTATIONS if fnmatch(name, args.mutation)]
    if not known:
        parser.error(f"--mutation: no mutation matches {args.mutation!r}; there are {', '.join(MUTATIONS)}")
    paths, draw = [p for p in cases_in(args.folders, args.only) if not load(p).RULES], random.Random(args.seed)
    work = [(path, draw.sample(known, min(args.each, len(known)))) for path in paths]
    mutants: list[Mutant] = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for found in pool.map(lambda job: run_apart(job[0], job[1], args.timeout), work):
            mutants += [m for m in found if not m.without]
            for m in found:
                wrong = m.crash or (m.harmed and m.rules and not m.found) or (m.raised and not m.rules and not m.harmed)
                if wrong and not m.without:
                    print(f"{m.case}: {m.mutation}: {m.crash or ', '.join(m.raised) or 'nothing found'}", flush=True)
    total = score([m for m in mutants if not m.crash])
    print("\n" + table([m for m in mutants if not m.crash]) + "\n\n" + json.dumps(total))
    if args.json:
        args.json.write_text(json.dumps({"total": total, "mutants": [asdict(m) for m in mutants]}, indent=1) + "\n")
    return int(any(m.crash for m in mutants) or total["false_alarms"] > 0)


if __name__ == "__main__":
    sys.exit(main())
