"""In how many seeds each faulty program gets the same verdict, and whether a healthy one raises an alarm in any.

For every seed the program is written anew, with each seed that it gives to a generator shifted (`manual_seed`, `default_rng`,
`random_state`): so data, splits and order differ, and the weights start from that seed, too. Seed 0 is the program itself.

    python scripts/seeds.py [FOLDER ...] [--seeds 10] [--only GLOB] [--jobs 1] [--repaired] [--json FILE]

Without folders it runs tests/corpus and tests/healthy. With ``--json`` the results are kept after every program, and what the file holds
is not run again: a run that was interrupted, or one over more seeds, goes on from there. Exit status 1 when the root cause of a faulty
program is named in fewer than nine of ten seeds, when a healthy one raised an alarm, or when a case crashed.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.corpus import MARK, Result, apart, cases_in, repair, run_case  # noqa: E402

STABLE = 0.9
SHIFT = 7919
SEEDED = ("manual_seed", "default_rng", "RandomState")


def seeds_of(text: str) -> Iterator[ast.expr]:
    """The expressions of a program that seed a generator."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield from node.args[:1] if name in SEEDED else ()
            yield from (k.value for k in node.keywords if k.arg == "random_state")


def reseeded(text: str, seed: int) -> str:
    """The program with every seed of a generator shifted; its lines stay where they are."""
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    spans = [(starts[e.lineno - 1] + e.col_offset, starts[(e.end_lineno or 1) - 1] + (e.end_col_offset or 0)) for e in seeds_of(text)]
    raw = text.encode()
    for start, end in sorted(spans, reverse=True) if seed else ():
        raw = raw[:start] + b"(" + raw[start:end] + b") + %d" % (SHIFT * seed) + raw[end:]
    return raw.decode()


def run_seeds(path: Path, seeds: Sequence[int]) -> Iterator[Result]:
    """The results of one program, seed by seed, in this process."""
    text = path.read_text(encoding="utf-8")
    with TemporaryDirectory() as folder:
        for seed in seeds:
            program = Path(folder) / str(seed) / path.name
            program.parent.mkdir()
            program.write_text(reseeded(text, seed), encoding="utf-8")
            yield run_case(program, seed=seed, plain=False)


def run_apart(path: Path, seeds: Sequence[int], timeout: float) -> dict[int, Result]:
    """The results of one program by seed, from a process of its own; seeds that a crash cost are marked as crashed."""
    said, why = apart(__file__, str(path), *map(str, seeds), timeout=timeout * len(seeds))
    results = dict(zip(seeds, (Result(**entry) for entry in said), strict=False))
    return {seed: results.get(seed, Result(case=path.stem, crash=why)) for seed in seeds}


def told(case: str, results: Sequence[Result]) -> str:
    """One line on a program: in how many seeds its root cause was named (or how many were silent), and what else was."""
    good = [r for r in results if not r.crash]
    rules = next((r.rules for r in good), [])
    hits = sum(r.verdict == "ok" for r in results)
    others = Counter(rule for r in good for rule in r.raised if rule not in rules)
    rest = [f"{sum(r.verdict == 'symptom' for r in good)} by a symptom"] if any(r.verdict == "symptom" for r in good) else []
    rest += [f"{rule} {count}" for rule, count in others.most_common()]
    rest += [f"{len(results) - len(good)} crashed"] if len(good) < len(results) else []
    return f"{hits:3} of {len(results):2}  {case}: {rules[0] if rules else 'healthy'}" + (f"  ({', '.join(rest)})" if rest else "")


def summary(by_case: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """Seeds, programs and runs, faulty and healthy, how many were right, and the faulty programs whose cause is named too seldom."""
    faulty = {case: results for case, results in by_case.items() if any(r.rules for r in results)}
    healthy = [results for case, results in by_case.items() if case not in faulty]
    named = {case: (sum(r.verdict == "ok" for r in results), len(results)) for case, results in faulty.items()}
    fewer = {case: (hits, runs) for case, (hits, runs) in named.items() if hits < STABLE * runs}
    return {
        "seeds": max(map(len, by_case.values()), default=0),
        "faulty": len(faulty),
        "runs": sum(runs for _, runs in named.values()),
        "named": sum(hits for hits, _ in named.values()),
        "stable": len(faulty) - len(fewer),
        "fewer": fewer,
        "healthy": len(healthy),
        "healthy_runs": sum(map(len, healthy)),
        "false_alarms": sum(bool(r.alarms) for results in healthy for r in results),
        "crashed": sum(bool(r.crash) for results in by_case.values() for r in results),
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[ROOT / "tests" / name for name in ("corpus", "healthy")], metavar="FOLDER"
    )
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0")
    parser.add_argument("--only", default="*", metavar="GLOB", help="cases whose name matches")
    parser.add_argument("--repaired", action="store_true", help="run the mended programs of repairs.json")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one seed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results there, and go on from what it holds")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        for result in run_seeds(Path(args.one[0]), [int(seed) for seed in args.one[1:]]):
            print("\n" + MARK + json.dumps(asdict(result)), flush=True)
        return 0

    kept = json.loads(args.json.read_text()) if args.json and args.json.is_file() else {}
    known = {case: {int(seed): Result(**r) for seed, r in seeds.items()} for case, seeds in kept.items()}
    scratch = TemporaryDirectory()
    paths = cases_in(args.folders, args.only)
    if args.repaired:
        paths = repair(paths, Path(scratch.name))

    def one(path: Path) -> tuple[str, dict[int, Result]]:
        missing = [seed for seed in range(args.seeds) if seed not in known.get(path.stem, {})]
        return path.stem, {**known.get(path.stem, {}), **(run_apart(path, missing, args.timeout) if missing else {})}

    with ThreadPoolExecutor(args.jobs) as pool:
        for case, results in pool.map(one, paths):
            known[case] = dict(sorted(results.items()))
            print(told(case, list(known[case].values())), flush=True)
            if args.json:
                args.json.write_text(json.dumps({c: {s: asdict(r) for s, r in seeds.items()} for c, seeds in known.items()}) + "\n")
    total = summary({path.stem: list(known[path.stem].values()) for path in paths})
    print("\n" + json.dumps(total))
    return int(total["stable"] < total["faulty"] or total["false_alarms"] > 0 or total["crashed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
