"""The documentation agrees with the program."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dnatk
from dnatk.cli import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("page", "make"), [("cli", "reference"), ("tasks", "tasks_page")])
def test_made_pages_are_fresh(page, make):
    spec = importlib.util.spec_from_file_location("maker", ROOT / f"docs/make_{page}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / f"docs/{page}.md").read_text() == getattr(module, make)(), "run `just docs`"


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text()
    for name in COMMANDS:
        assert f"dnatk {name}" in text


def test_links_in_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_version_stands_in_the_changelog():
    assert f"## {dnatk.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    names = {re.split(r"[<>=]", line)[0].lower() for line in wanted}
    text = (ROOT / "constraints.txt").read_text()
    pinned = set(re.findall(r"^([a-z_0-9-]+)==", text, flags=re.MULTILINE))
    assert names <= pinned


@pytest.mark.slow
def test_the_training_benchmark_compares_equals():
    """It stops where its sides do not compute the same."""
    script = ROOT / "examples" / "benchmarks" / "bench_training.py"
    small = ["--preset", "mini", "--dropout", "0", "--rows", "4", "--window", "256"]
    command = [sys.executable, script, *small, "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "RATIO" in done.stdout


@pytest.mark.parametrize("script", sorted((ROOT / "examples").rglob("*.py")), ids=lambda p: p.stem)
def test_example_scripts_have_help(script):
    if "__main__" not in script.read_text():
        pytest.skip("a helper module, not a script")
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
