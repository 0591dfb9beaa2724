"""Manual pages: fresh, whole, without a complaint of groff, and where man looks for them."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from dnatk.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "man").glob("*.1"))


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_man", ROOT / "docs/make_man.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_fresh(maker):
    written = {path.name: path.read_text() for path in PAGES}
    assert written == maker.pages(), "run `just docs`"


def test_every_command_and_option_has_its_place():
    for name in COMMANDS:
        command = importlib.import_module(f"dnatk.cli.{name}").command
        parts = {f"dnatk-{name}-{part}": each for part, each in _parts(command).items()}
        for page, each in {f"dnatk-{name}": command, **parts}.items():
            text = (ROOT / f"man/{page}.1").read_text()
            for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES"):
                assert f".SH {heading}\n" in text, page
            for option in (p for p in each.params if isinstance(p, click.Option) and not p.hidden):
                for flag in option.opts:
                    assert f"\\fB{flag.replace('-', chr(92) + '-')}\\fR" in text, (page, flag)


def _parts(command: click.Command) -> dict[str, click.Command]:
    return getattr(command, "commands", {})


def test_the_wheel_puts_them_where_man_looks():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert tool["targets"]["wheel"]["shared-data"] == {"man": "share/man/man1"}
    assert "man" in tool["targets"]["sdist"]["include"]


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff here")
def test_groff_has_nothing_to_say():
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", *PAGES], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff here")
def test_a_page_can_be_copied_from():
    """Dashes, quotes and lines of examples are those of the keyboard."""
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", ROOT / "man/dnatk-embed.1"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "    dnatk embed genome.fa --bed promoters.bed -o promoters.h5 --rc average\n" in shown
    assert "    python -c 'import dnatk; print(dnatk.read_embeddings(\"promoters.h5\"))'\n" in shown
