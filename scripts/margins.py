"""How far each threshold of the rules is from the nearest healthy and from the nearest faulty program, and whether it would stand without them.

The evidence that `scripts/corpus.py --records FOLDER` kept is judged again, one threshold changed at a time, up and down to `REACH` times
its value: where the first healthy program would get an alarm of the rule, and where the first faulty one, which the rule finds and which
names it, would be lost. What lies between is the margin, in the threshold's own unit.

Then every program is left out in turn: each threshold that it bounds is placed anew from the others alone, in the geometric middle between
the nearest of them on both sides, and the program is judged by that.

    python scripts/corpus.py --records FOLDER/plain [--jobs 2]
    python scripts/corpus.py --records FOLDER/mended --repaired [--jobs 2]
    python scripts/margins.py FOLDER/plain FOLDER/mended [--only GLOB] [--write]

``--write`` keeps the margins in diagnose/rules/margins.json, from which `python -m diagnose explain` gives them, and writes
docs/margins.md; with ``--only`` those of the other rules stay as they were.
"""
