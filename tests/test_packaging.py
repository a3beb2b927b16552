"""What only shows in the wheel: it is built through the sdist, as an index would hand it out, and used beside a user's own folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import diagnose

LINKS = {"diagnose/callbacks": "../callbacks", "diagnose/conf": "../conf"}
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "diagnose", "callbacks", "conf")


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


def files_of(package: Path) -> set[str]:
    """All files that a package ships, relative to the folder above it; links are followed."""
    return {
        os.path.relpath(Path(folder, name), package.parent)
        for folder, _, names in os.walk(package, followlinks=True)
        if Path(folder).name != "__pycache__"
        for name in names
    }


# The tree


def test_the_packages_listed_are_those_in_the_tree(root: Path, project: dict[str, Any]) -> None:
    found = {str(Path(file).parent).replace("/", ".") for file in files_of(root / "diagnose") if file.endswith(".py")}
    assert sorted(found) == sorted(project["tool"]["setuptools"]["packages"])
    for package in found:
        assert (root / package.replace(".", "/") / "__init__.py").is_file(), f"{package} has no __init__.py"


@pytest.mark.parametrize(("link", "target"), LINKS.items())
def test_the_links_are_relative_and_committed_as_links(root: Path, link: str, target: str) -> None:
    assert (root / link).is_symlink()
    assert os.readlink(root / link) == target
    assert (root / link).resolve() == root / Path(target).name
    if (root / ".git").exists():
        command = ["git", "-c", "safe.directory=*", "ls-files", "--stage", link]  # also in a checkout that another user made
        staged = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        assert staged.stdout.startswith("120000 "), f"{link} is not committed as a symbolic link: {staged.stdout!r}"


def test_every_dependency_is_pinned_within_its_range(root: Path, project: dict[str, Any]) -> None:
    pins = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            assert version, f"constraints.txt pins with ==, not {line!r}"
            pins[canonicalize_name(name)] = version
    extras = project["project"]["optional-dependencies"].values()
    for text in chain(project["build-system"]["requires"], project["project"]["dependencies"], *extras):
        requirement = Requirement(text)
        if requirement.name != project["project"]["name"]:
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin is not None, f"constraints.txt does not pin {requirement.name}"
            assert requirement.specifier.contains(pin), f"constraints.txt pins {requirement.name} to {pin}, pyproject.toml wants {text}"


def test_the_change_log_has_this_version_or_an_unreleased_part(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text()
    assert f"## [{diagnose.__version__}]" in text or "## [Unreleased]" in text


# The wheel


@dataclass(frozen=True)
class Place:
    """An environment that holds the wheel, and a user's project beside it."""

    wheel: Path
    python: Path
    project: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(self.python), *command], cwd=self.project, env=outside(), capture_output=True, text=True, timeout=600)


def outside() -> dict[str, str]:
    """The environment variables without those that lead back to this checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist of a copy of the tree (a build leaves its traces in the folder that it runs in)."""
    root, work = Path(__file__).parents[1], tmp_path_factory.mktemp("build")
    source = work / "source"
    source.mkdir()
    for name in BUILT_FROM:
        if (root / name).is_dir():
            shutil.copytree(root / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(work / "dist"), str(source)],
        cwd=work,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for trouble in ("would be ignored", "Deprecat"):
        assert trouble not in done.stdout + done.stderr, done.stdout + done.stderr
    (built,) = (work / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="session")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An empty environment with the wheel in it; its dependencies are borrowed from this one through a ``.pth`` file."""
    work = tmp_path_factory.mktemp("user")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(work / "env")], check=True)
    python = work / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        check=True,
        cwd=work,
        env=outside(),
        capture_output=True,
    )
    (packages,) = (work / "env" / "lib").glob("python*/site-packages")
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    project = work / "project"
    for name in ("callbacks", "conf"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f'MINE = "the user\'s own {name}"\n')
    return Place(wheel=wheel, python=python, project=project)


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path, root: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    info = f"lightning_diagnose-{diagnose.__version__}.dist-info"
    assert {name.split("/")[0] for name in inside} == {"diagnose", info}
    assert {name for name in inside if name.startswith("diagnose/")} == files_of(root / "diagnose")
    assert f"{info}/licenses/LICENSE" in inside


def test_the_package_is_the_one_in_the_wheel(place: Place) -> None:
    done = place.run("-c", "import diagnose, diagnose.conf; print(diagnose.__file__); print(diagnose.conf.__file__)")
    assert done.returncode == 0, done.stderr
    for line in done.stdout.split():
        assert Path(line).is_relative_to(place.python.parents[1]), line


def test_a_user_keeps_their_own_callbacks_and_conf(place: Place) -> None:
    done = place.run("-c", "import diagnose.callbacks, diagnose.conf, callbacks, conf; print(callbacks.MINE); print(conf.MINE)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the user's own callbacks", "the user's own conf"]


@pytest.mark.parametrize("command", [["--help"], ["rules"], ["explain", "M205"], ["train", "--help"]])
def test_the_command_runs_beside_them(place: Place, command: list[str]) -> None:
    done = place.run("-m", "diagnose", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


def test_the_configuration_is_found_in_the_wheel(place: Place) -> None:
    done = place.run("-m", "diagnose", "train", "+model=mlp", "--cfg", "job")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "model:" in done.stdout


def test_the_console_script_is_the_same_program(place: Place) -> None:
    script = place.run(str(place.python.parent / "diagnose"), "--help")
    module = place.run("-m", "diagnose", "--help")
    assert script.returncode == 0, script.stderr
    assert script.stdout == module.stdout
