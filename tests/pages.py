"""Pages of the documentation as tests see them: their blocks, and commands run as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^(?P<in> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=in)```$", re.S | re.M)
_ERROR = re.compile(r"(dnatk: )?error:|dnatk: regions need a genome", re.I)
_SHELL = set("|&;<>()$`*?#~=")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the line of its fence."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, of all languages or of those named."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        indent = len(match["in"])
        inside = "".join(line[indent:] or "\n" for line in match["text"].splitlines(True))
        language = (match["info"].split() or [""])[0]
        found.append(Block(page, language, inside, text.count("\n", 0, match.start()) + 1))
    return [block for block in found if not languages or block.language in languages]


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """(command, lines shown below it) of a console block; "$ " begins one, "> " goes on with it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
        else:
            found[-1][1].append(line)
    return found


def run_command(text: str, run: Callable, cwd: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line, run in ``cwd`` (which is the current one).

    A plain dnatk command runs in this process through the fixture ``run``, which is quicker; all
    else in bash, with this interpreter's programs first in the PATH.
    """
    if text.startswith("dnatk ") and not _SHELL & set(re.sub(r"'[^']*'", "", text)):
        done = run(*shlex.split(text)[1:])
        return done.code, done.out, done.err
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {text}"],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def check_block(block: Block, run: Callable, cwd: Path) -> None:
    """Run the commands of a console block; what is shown must come.

    stdout must be as shown, line by line ("..." stands for any lines); of stderr the lines shown
    must come in their order, but others may come too. A command of which an error is shown fails,
    all others succeed.
    """
    for command, shown in commands(block):
        code, out, err = run_command(command, run, cwd)
        said = f"{block}: {command}\nexit {code}\n{out}\n{err}"
        wants_error = any(_ERROR.match(line) for line in shown)
        assert bool(code) == wants_error, said
        as_shown = _agree(shown, out.splitlines(), err.splitlines())
        assert as_shown, f"{said}\n{block} shows\n" + "\n".join(shown)


def _agree(shown: list[str], out: list[str], err: list[str]) -> bool:
    """Whether ``shown`` is all of ``out``, with some lines of ``err`` between."""
    if not shown:
        return not out
    line, more = shown[0], shown[1:]
    if line == "..." and any(_agree(more, out[i:], err) for i in range(len(out) + 1)):
        return True
    if out and line.rstrip() == out[0].rstrip() and _agree(more, out[1:], err):
        return True
    return line in err and _agree(more, out, err[err.index(line) + 1 :])
