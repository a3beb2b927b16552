"""Train with and without the callbacks, in many kinds of trainings, and print what differs: nothing should.

python -m scripts.identity              all kinds, as a table in Markdown
python -m scripts.identity GRU MLP      those whose name holds one of the words
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

from tests.callbacks.identity import differences, outcome, watchers
from tests.callbacks.jobs import JOBS


def main(words: list[str]) -> int:
    """Print the table; returns 1 where anything differs."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    different = 0
    print("| training | compared | default cadence | every step |\n|---|---|---|---|")
    for name, job in JOBS.items():
        if words and not any(word.lower() in name.lower() for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "run"
            bare = outcome(job, [], place)
            found = [differences(bare, outcome(job, watchers(every), place)) for every in (None, 1)]
        different += sum(map(len, found))
        print(f"| {name} | {len(bare)} | " + " | ".join(", ".join(parts) or "identical" for parts in found) + " |", flush=True)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
