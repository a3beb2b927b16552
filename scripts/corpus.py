"""Run folders of small Lightning programs, faulty and healthy, through `diagnose.check` and `Doctor`, and score what was found.

A case is a module with ``RULES`` (names of rules, any of which names the fault rightly, the root cause first; empty for a healthy
program), ``TRAINER`` (keyword arguments of ``lightning.Trainer``) and ``build()``, which returns the module, the training loader and the
validation loader or ``None``. Each case runs in a process of its own, so that a crash or a hang costs only that case.

    python scripts/corpus.py [FOLDER ...] [--repaired] [--only GLOB] [--jobs 2] [--json FILE] [--records FOLDER] [--verbose]

Without folders it runs tests/corpus and tests/healthy. Where a folder holds ``repairs.json`` (case → pairs of a text and what mends it),
``--repaired`` runs the mended programs, which are to be healthy. Only warnings and errors count. Exit status 1 when a case crashed or a
healthy program raised an alarm.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARK = "@@result "


@dataclass(kw_only=True)
class Result:
    """What became of one case; the seconds are those of plain training, of `check`, and of training under `Doctor`."""

    case: str
    rules: list[str] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)
    during: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""
    crash: str = ""
    bare: float = 0.0
    check: float = 0.0
    watched: float = 0.0

    @property
    def alarms(self) -> list[dict[str, Any]]:
        return [f for f in self.before + self.during if f["severity"] != "info"]

    @property
    def raised(self) -> set[str]:
        return {f["rule"] for f in self.alarms}

    @property
    def detected(self) -> bool:
        return bool(self.raised & set(self.rules))

    @property
    def verdict(self) -> str:
        if self.crash:
            return "CRASH"
        if not self.rules:
            return "FALSE" if self.alarms else "ok"
        return ("ok" if self.rules[0] in self.raised else "symptom") if self.detected else "other" if self.alarms else "MISSED"


def load(path: Path) -> Any:
    """The case as an imported module, so that its classes can be pickled and their source be found."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def timed(action: Callable[[], Any]) -> tuple[float, Any, str]:
    """Seconds, result, and the error that ended it: some faults end plain training too."""
    start = time.perf_counter()
    try:
        result, trouble = action(), ""
    except Exception as error:
        result, trouble = None, f"{type(error).__name__}: {error}"
    return time.perf_counter() - start, result, trouble


def run_case(path: Path, records: Path | None = None, *, seed: int = 0, plain: bool = True) -> Result:
    """Run one case in this process: trained plainly; and, built anew from the same seed, checked and then trained under `Doctor`.

    With ``records`` the evidence is kept there: ``<case>/before`` and ``<case>/during``, and ``<case>/rules.json``, its `RULES`. Without
    ``plain`` it is trained plainly only where training under `Doctor` ended with an error, to see whose it is.
    """
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import lightning
    import torch

    import diagnose
    from diagnose.callbacks import Doctor
    from diagnose.record import Record

    torch.set_num_threads(1)
    case = load(path)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}

    def fit(built: Any, *extra: Any) -> tuple[float, Any, str]:
        settings = copy.deepcopy(case.TRAINER)
        settings["callbacks"] = [*settings.get("callbacks", []), *extra]
        return timed(lambda: lightning.Trainer(**{"accelerator": "cpu", **quiet, **settings}).fit(*built))

    def build() -> Any:
        lightning.seed_everything(seed, verbose=False)
        return case.build()

    result = Result(case=path.stem, rules=list(case.RULES))
    if plain:
        result.bare, _, result.trouble = fit(build())
    built = build()
    start = time.perf_counter()
    folder = records / path.stem if records is not None else None
    evidence = Record(folder / "before" if folder is not None else None)
    result.before = [f.to_dict() for f in diagnose.check(*built, record=evidence).findings]
    result.check = time.perf_counter() - start
    doctor = Doctor(record=folder / "during" if folder is not None else None)
    result.watched, _, trouble = fit(built, doctor)
    result.during = [f.to_dict() for f in doctor.diagnosis.findings]
    if folder is not None:
        evidence.close()
        (folder / "rules.json").write_text(json.dumps(result.rules) + "\n")
    if trouble and not plain:
        _, _, result.trouble = fit(build())
    if trouble and not result.trouble:
        result.crash = f"only with Doctor: {trouble}"
    return result


def apart(script: str, *arguments: str, timeout: float) -> tuple[list[Any], str]:
    """What ``script --one ARGUMENTS`` says in a process of its own, line by line after `MARK`, and why no more of it came."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}
    command = [sys.executable, script, "--one", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env={"OMP_NUM_THREADS": "1", **environment})
        said, why = done.stdout, (done.stderr or done.stdout).strip()[-2000:] or f"exit status {done.returncode}"
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        why = f"no end within {timeout:.0f} s"
    return [json.loads(line.removeprefix(MARK)) for line in said.splitlines() if line.startswith(MARK)], why


def run_apart(path: Path, timeout: float, records: Path | None = None) -> Result:
    """Run one case in a process of its own."""
    said, why = apart(__file__, str(path), *(["--records", str(records)] if records is not None else []), timeout=timeout)
    return Result(**said[-1]) if said else Result(case=path.stem, crash=why)


def score(results: Sequence[Result]) -> dict[str, float]:
    """The figures of a corpus; shares are of the cases that did not crash."""
    good = [r for r in results if not r.crash]
    faulty, healthy = [r for r in good if r.rules], [r for r in good if not r.rules]
    detected = [r for r in faulty if r.detected]
    alarms = [(f["rule"], r.rules) for r in faulty for f in r.alarms]
    early = [r for r in detected if {f["rule"] for f in r.before if f["severity"] != "info"} & set(r.rules)]

    def share(part: int, whole: int) -> float:
        return round(part / max(1, whole), 3)

    return {
        "faulty": len(faulty),
        "healthy": len(healthy),
        "crashed": len(results) - len(good),
        "detected": share(len(detected), len(faulty)),
        "root_cause": share(sum(r.rules[0] in r.raised for r in faulty), len(faulty)),
        "any_alarm": share(sum(bool(r.alarms) for r in faulty), len(faulty)),
        "precision": share(sum(rule in named for rule, named in alarms), len(alarms)),
        "false_alarms": share(sum(bool(r.alarms) for r in healthy), len(healthy)),
        "before_training": share(len(early), len(detected)),
        "seconds_check": round(sum(r.check for r in good) / max(1, len(good)), 2),
        "watched_over_bare": round(sum(r.watched for r in good) / max(1e-9, sum(r.bare for r in good)), 3),
    }


def by_rule(results: Sequence[Result]) -> str:
    """A Markdown table: for each rule the cases that it is the root cause of, and where it spoke without being named."""
    good = [r for r in results if not r.crash]
    rows = [
        "| rule | cases | named | another rule of the case | missed | false: faulty | false: healthy |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for rule in sorted({r.rules[0] for r in good if r.rules} | {rule for r in good for rule in r.raised}):
        cases = [r for r in good if r.rules[:1] == [rule]]
        named = sum(rule in r.raised for r in cases)
        detected = sum(r.detected for r in cases)
        false = [sum(rule in r.raised and rule not in r.rules for r in good if bool(r.rules) is faulty) for faulty in (True, False)]
        rows.append(f"| {rule} | {len(cases)} | {named} | {detected - named} | {len(cases) - detected} | {false[0]} | {false[1]} |")
    return "\n".join(rows)


def cases_in(folders: Sequence[Path], only: str) -> list[Path]:
    """The case files of these folders, or of their subfolder ``cases``.

    Raises:
        SystemExit: There is none.
    """
    insides = [folder / "cases" if (folder / "cases").is_dir() else folder for folder in folders]
    paths = [p for inside in insides for p in sorted(inside.glob("*.py"))]
    found = [p for p in paths if fnmatch(p.stem, only) and not p.stem.startswith(("_", "test_", "conftest"))]
    if not found:
        where = ", ".join(map(str, insides))
        raise SystemExit(f"no case in {where} matches {only!r}: expected Python files with RULES, TRAINER and build()")
    return found


def repair(paths: Sequence[Path], target: Path) -> list[Path]:
    """Write the mended programs into a folder, as ``<case>_mended.py``; cases without a repair are left out.

    Raises:
        SystemExit: A text that is to be replaced is not in its case.
    """
    mended = []
    for path in paths:
        repairs = path.parents[1] / "repairs.json"
        pairs = json.loads(repairs.read_text(encoding="utf-8")).get(path.stem) if repairs.is_file() else None
        if pairs:
            text = path.read_text(encoding="utf-8")
            for old, new in pairs:
                if old not in text:
                    raise SystemExit(f"{repairs}: {old!r} is not in {path.name}")
                text = text.replace(old, new)
            mended.append(target / f"{path.stem}_mended.py")
            mended[-1].write_text(text + "\nRULES = []\n", encoding="utf-8")
    return mended


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[ROOT / "tests" / name for name in ("corpus", "healthy")], metavar="FOLDER"
    )
    parser.add_argument("--repaired", action="store_true", help="run the mended programs of repairs.json")
    parser.add_argument("--only", default="*", metavar="GLOB", help="cases whose name matches")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time (more than one spoils the seconds)")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and every finding")
    parser.add_argument("--records", type=Path, metavar="FOLDER", help="keep the evidence of each case there, for scripts/margins.py")
    parser.add_argument("--verbose", action="store_true", help="print the findings")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print("\n" + MARK + json.dumps(asdict(run_case(args.one, args.records))))
        return 0

    scratch = TemporaryDirectory()
    paths = cases_in(args.folders, args.only)
    if args.repaired:
        paths = repair(paths, Path(scratch.name))
    results = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda path: run_apart(path, args.timeout, args.records), paths):
            results.append(result)
            print(f"{result.verdict:8}{result.case}: {', '.join(sorted(result.raised)) or '-'}", end="", flush=True)
            print(f"  (expected {', '.join(result.rules) or 'none'})" if result.verdict != "ok" else "", flush=True)
            if result.crash:
                print(f"        {result.crash.splitlines()[-1]}")
            for f in result.alarms if args.verbose else []:
                print(f"        {f['severity']:7} {f['code']} [{f['where']}] {f['message']}")
    total = score(results)
    print("\n" + by_rule(results) + "\n\n" + json.dumps(total))
    if args.json:
        args.json.write_text(json.dumps({"total": total, "results": [asdict(r) for r in results]}, indent=1) + "\n")
    return int(any(r.crash for r in results) or total["false_alarms"] > 0)


if __name__ == "__main__":
    sys.exit(main())
