"""Runs the fenced blocks of a documentation page; by hand: python tests/tutorials.py PAGE.md

```sh and ```python blocks run in order in one fresh directory: sh blocks share their working
directory and variables, a python block is a script of its own. What a block prints (stdout and
stderr) must be what the ```text block after it shows, if there is one. In that, ... stands for
anything on a line, and a line of ... alone for any lines; times and rates are not compared.
After "<!-- test: about 0.2 -->" its numbers may be 20 % off, those below 1 by 0.2, since machines
round in other ways, and columns may be wider.
A block succeeds, unless the output shown has a line of "dnatk: error:", and then it must fail.
"<!-- test: skip -->" before a block leaves it out: for what needs a network alone.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^(?P<skip><!-- test: skip -->\n+)?"
    r"(?:<!-- test: about (?P<about>[\d.]+) -->\n+)?"
    r"```(?P<language>sh|python|text)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
CHANGING = (
    (re.compile(r"(?<![\w.])(?:\d+ h \d+ min|\d+ min \d+ s|[\d.]+ s)(?!\w)"), "TIME"),
    (re.compile(r"(?<![\w.])[\d.]+ [kMGT]?bp?/s"), "RATE"),
)
NUMBER, NEVER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)"), re.compile("(?!)")
SHELL = """set -euo pipefail
[ ! -e "$STATE" ] || . "$STATE"
{block}
{{ export -p; printf "cd %q\\n" "$PWD"; }} >"$STATE"
"""


@dataclass(frozen=True)
class Block:
    """A command of a page and the output that the page shows; None: it shows none."""

    line: int
    language: str
    text: str
    shown: str | None = None
    about: float = 0.0

    @property
    def fails(self) -> bool:
        return bool(self.shown and re.search("^dnatk: error:", self.shown, re.MULTILINE))


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that run, in order."""
    found: list[Block] = []
    markdown, ran = page.read_text(), False
    for match in FENCE.finditer(markdown):
        line = markdown.count("\n", 0, match.start("language")) + 1
        if match["language"] == "text":
            if ran:
                last = found.pop()
                about = float(match["about"] or 0)
                found.append(replace(last, shown=match["text"], about=about))
            ran = False
        else:
            ran = match["skip"] is None
            if ran:
                found.append(Block(line, match["language"], match["text"]))
    return found


def matches(shown: str, printed: str, about: float = 0.0) -> bool:
    """Whether a page may show ``shown`` for what was printed."""
    shown, printed = steady(shown), steady(printed)
    if about:
        shown, printed = (re.sub(" +", " ", text) for text in (shown, printed))
    numbers = NUMBER if about else NEVER
    pattern = ""
    for line in shown.splitlines():
        if line == "...":
            pattern += r"(?:.*\n)*?"
            continue
        parts = [
            rf"({NUMBER.pattern})".join(re.escape(text) for text in numbers.split(part))
            for part in line.split("...")
        ]
        pattern += r"[^\n]*".join(parts) + r"\n"
    found = re.fullmatch(pattern, printed)
    if not found:
        return False
    wanted = (float(number) for number in numbers.findall(shown))
    given = (float(number) for number in found.groups())
    return all(
        abs(a - b) <= about * max(1, abs(a), abs(b)) for a, b in zip(wanted, given, strict=True)
    )


def steady(text: str) -> str:
    """Without what differs from run to run."""
    for changing, name in CHANGING:
        text = changing.sub(name, text)
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


class Session:
    """A directory in which the blocks of one page run, with nothing of the user's own."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.state = directory / "work", directory / "state"
        self.directory.mkdir()
        (self.directory / "examples").symlink_to(ROOT / "examples")
        own = {
            "HOME": str(directory),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "STATE": str(self.state),
            "HF_HUB_OFFLINE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DNATK_", "XDG_"))}
        self.environment = kept | own

    def run(self, block: Block) -> tuple[int, str]:
        """(exit code, what was printed) of one block."""
        text = block.text
        if block.language == "python":
            text = f"python - <<'PYTHON'\n{text}PYTHON\n"
        done = subprocess.run(
            ["bash", "-c", SHELL.format(block=text)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


def check(page: Path, directory: Path) -> list[str]:
    """What does not agree with the page, of its first such block; empty: all does."""
    session = Session(directory)
    for block in blocks(page):
        code, printed = session.run(block)
        wrong = []
        if (code != 0) != block.fails:
            wrong.append(f"exit code {code}")
        if block.shown is not None and not matches(block.shown, printed, block.about):
            wrong.append("the page shows other output")
        if wrong:
            return [f"{page.name}:{block.line}: {', '.join(wrong)}\n{block.text}---\n{printed}"]
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what the blocks of a page give.")
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page
    with tempfile.TemporaryDirectory() as directory:
        session = Session(Path(directory))
        for block in blocks(page):
            code, printed = session.run(block)
            same = block.shown is None or matches(block.shown, printed, block.about)
            good = same and (code != 0) == block.fails
            print(f"\n== line {block.line}: {'as shown' if good else f'NOT SO (exit {code})'}")
            print(printed, end="", flush=True)


if __name__ == "__main__":
    main()
