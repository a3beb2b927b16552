"""``--help`` and ``--version``: commands, groups with their options, keys. Imports neither torch nor Hydra."""

from __future__ import annotations

from importlib.resources import files

from rich.console import Console
from rich.table import Table

from diagnose import __version__
from diagnose.cli.arguments import COMMANDS, Arguments

GROUPS = (
    "model",
    "data",
    "init",
    "loss",
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "rules",
    "logger",
    "ensemble",
    "experiment",
    "tune",
)
FLAGS = {
    "-m, --multirun": "run once per combination: -m seed=1,2,3",
    "--cfg job": "print the composed config and stop (--cfg hydra, --cfg all)",
    "--resolve": "resolve interpolations in it",
    "--config-dir DIR": "take more options for the groups from DIR",
    "--config-path DIR": "compose from DIR in place of the built-in config; RUN/.hydra replays a run",
    "--config-name NAME": "the file in it (config)",
    "--json": "print the result as JSON",
    "--debug": "full traceback of an error",
}
EXAMPLES = {
    "train +model=mlp": "the digits that scikit-learn ships, with the default network",
    "train model=cnn trainer.max_epochs=3 seed=7": "any key of the config can be set; --cfg job shows them all",
    "train ensemble=seeds": "five models from different seeds, their mean and their vote",
    "train -m seed=1,2,3": "three runs and a table",
    "evaluate ckpt_path=outputs/train/latest/checkpoints/last.ckpt": "a report of a trained model, with the config of its run",
    "evaluate ckpt_path=[main.ckpt,mine.ckpt] fail_on=worse": "is the second really better; also predictions=[a.csv,b.csv]",
    "report RUN_A RUN_B": "the same of two saved runs",
    "report outputs/train/latest rules.ignore=[D104]": "the same run, judged and rendered again",
}


def options(group: str) -> list[str]:
    """Names of the options of a group that ship with the package."""
    folder = files("diagnose.conf") / group
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")) if folder.is_dir() else []


def run(arguments: Arguments) -> int:
    console = Console(highlight=False)
    if arguments.version:
        console.print(__version__)
        return 0
    console.print("[bold]python -m diagnose COMMAND \\[group=option] \\[key=value] ...[/bold]\n")
    tables = {
        "Commands": COMMANDS,
        "Groups and their options (group=option)": {g: ", ".join(options(g)) for g in GROUPS},
        "Flags": FLAGS,
    }
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True, style="cyan")
        table.add_column()
        for name, text in rows.items():
            table.add_row(name.replace("[", "\\["), text)
        console.print(table)
    console.print("[bold]Examples[/bold]")
    for example, text in EXAMPLES.items():
        console.print(f"  [cyan]python -m diagnose {example}[/cyan]\n      {text}", soft_wrap=True)
    console.print("Exit status: 0 clean, 1 findings at or above fail_on, 2 usage or configuration error, 130 interrupted.")
    return 0
