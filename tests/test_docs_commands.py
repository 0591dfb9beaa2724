"""Every dnatk command that the documentation shows exists, with the options that it is given.

In blocks of shell the whole line is parsed as the program would parse it, and values of choices
and numbers are read. In `code` within a sentence, where arguments are often left out, commands and
options must exist. What is not looked at stands in NOT_SHELL and in the tables below.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from pages import DOCS, ROOT, Block, blocks, commands

from dnatk.cli import cli

PAGES = sorted(
    {
        ROOT / "README.md",
        *DOCS.rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "dnatk").rglob("*.md"),
    }
)
SCRIPTS = sorted((ROOT / "examples").rglob("*.sh")) + sorted((ROOT / "examples").rglob("*.sbatch"))
SHELL = {"", "sh", "bash", "console", "shell"}
# Their commands, if any, are looked for line by line, as in the text.
NOT_SHELL = {
    "dockerfile", "groovy", "ini", "json", "jsonl", "mermaid", "nextflow", "pycon", "python", "r",
    "snakemake", "text", "toml", "tsv", "yaml",
}  # fmt: skip
# Programs behind which "dnatk" is a name, not a command that is run.
NAMES_IT = {"apptainer", "conda", "docker", "mamba", "pip", "pipx", "uv", "man", "which", "source"}
NAMES_IT |= {"cd", "echo", "export", "eval", "mkdir", "cat", "ls", "grep", "singularity", "sed"}
# Options of other programs that the text names.
OTHERS = {
    "--array", "--constraint", "--cpus-per-task", "--gpus-per-node", "--gres", "--mem", "--nodes",
    "--requeue", "--signal", "--time",  # Slurm
    "--nproc-per-node", "--nnodes",  # torchrun
    "--build-arg", "--extra-index-url",  # docker, pip
    "--rerun-incomplete", "--sdm", "--unlock",  # snakemake
}  # fmt: skip


def shell_lines(block: Block) -> str:
    """The commands of a block: of a console those behind the prompt, of a help its examples.

    Those whose mistake a console shows ("Error: ...", exit 2) are left out.
    """
    lines = block.text.split("\n")
    if block.language == "console":
        lines = [
            command
            for command, shown in commands(block)
            if not any(line.startswith("Error: ") for line in shown)
        ]
    elif lines[0].startswith("Usage: "):
        begin = lines.index("  Example:") + 1 if "  Example:" in lines else len(lines)
        lines = lines[begin : lines.index("", begin)] if begin < len(lines) else []
    return "\n".join(lines)


def simple_commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command of a piece of shell, redirections taken out."""
    text = re.sub(r"\\\n\s*", " ", text)
    text = re.sub(
        r"<<-?\s*['\"]?(\w+)['\"]?(.*)\n(?:.*\n)*?\s*\1\n", r"\2\n", text
    )  # here documents
    line = ""
    for more in text.split("\n"):
        line = f"{line}\n{more}" if line else more
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quotation that goes on
            continue
        line = ""
        yield from _split(words)
    assert not line, f"a quotation has no end: {line}"


def _split(words: list[str]) -> Iterator[list[str]]:
    found: list[str] = []
    skip = False
    for word in [*words, ";"]:
        if not set(word) - set("|&;()"):
            if found:
                yield found
            found, skip = [], False
        elif skip:
            skip = False
        elif not set(word) - set("<>&"):
            skip = True
            if found and found[-1].isdigit():
                found.pop()
        else:
            found.append(word)


def arguments(words: list[str]) -> list[str] | None:
    """What dnatk is given by a simple command; None where it is not run."""
    at = next((i for i, word in enumerate(words) if Path(word).name == "dnatk"), None)
    if at is None:
        return None
    before = [word for word in words[:at] if not re.match(r"^\w+=", word)]
    if before and before[0] in NAMES_IT and before[-1] != "-m":
        return None
    return words[at + 1 :]


@cache
def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command '{name}'"
        command = found
    return command


def check(words: list[str], *, whole: bool) -> None:
    """Raise click.UsageError or AssertionError for what dnatk would not understand.

    Args:
        whole: arguments and required options must be there, and nothing may be left over.
    """
    path: list[str] = []
    while True:
        command = command_at(tuple(path))
        context = click.Context(
            command, info_name="dnatk", help_option_names=["-h", "--help"],
            ignore_unknown_options=False, allow_interspersed_args=not hasattr(command, "commands")
            and command is not cli,
        )  # fmt: skip
        words = [word for word in words if word not in ("...", "…", "\\")]
        try:
            given, rest, _ = command.make_parser(context).parse_args(list(words))
        except click.BadOptionUsage as error:
            if not whole and words[-1] == error.option_name:
                return  # it names the option alone
            raise
        check_values(command, context, given)
        if not isinstance(command, click.Group):
            break
        if not rest or given.get("help") or given.get("version") or is_placeholder(rest[0]):
            return
        path.append(rest[0])
        words = list(rest[1:])
    if not whole or given.get("config"):  # which may hold the arguments too
        return
    rest = [word for word in rest if not word.startswith("$")]  # perhaps options, or nothing
    assert not rest, f"too many arguments: {' '.join(rest)}"
    for parameter in command.params:
        if parameter.required and not given.get("help"):
            value = given.get(parameter.name)
            missing = value is None or parameter.value_is_missing(value)
            assert not missing, f"{parameter.human_readable_name} is missing"


def check_values(command: click.Command, context: click.Context, given: dict) -> None:
    for parameter in command.params:
        kind = parameter.type
        values = given.get(parameter.name)
        if not isinstance(kind, click.Choice | click.IntRange | click.FloatRange):
            continue
        for value in values if isinstance(values, list | tuple) else [values]:
            if isinstance(value, str) and not is_placeholder(value):
                kind.convert(value, parameter, context)


def is_placeholder(value: str) -> bool:
    """N, $THREADS, {threads}, <n>, or several choices: 1|k."""
    return bool(re.match(r"^[A-Z]+$|^[$<{]|.*\|", value))


def in_text(page: Path) -> Iterator[str]:
    """`code` of a page's sentences and tables, and lines of blocks that are no shell."""
    text = page.read_text()
    outside = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.S | re.M)
    for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", outside):
        yield re.sub(r"\s+", " ", code).replace(r"\|", "|").strip()
    for block in blocks(page, *NOT_SHELL):
        if block.language not in ("text", "json", "jsonl", "tsv"):  # what programs say
            yield from re.findall(r"\bdnatk [a-z0-9]+(?: [^\"'`\n]*)?", block.text)


def inline_words(code: str) -> list[str] | None:
    """Words of a command in a sentence: no brackets, no alternatives, no rest of a pipe."""
    code = re.sub(r"(?<=\w)\||\|(?=\w)", "\0", code).split(" | ")[0].replace("\0", "|")
    code = re.sub(r"[\[\]]", " ", code)
    code = code.split(" && ")[0]
    try:
        return arguments(shlex.split(code, comments=True))
    except ValueError:
        return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path):
    wrong = wrong_commands(page)
    assert not wrong, "\n".join(wrong)


def wrong_commands(page: Path) -> list[str]:
    wrong = []
    for block in blocks(page):
        assert block.language in SHELL | NOT_SHELL, f"{block}: language '{block.language}'?"
        if block.language not in SHELL:
            continue
        for words in simple_commands(shell_lines(block)):
            given = arguments(words)
            if given is not None:
                wrong += problem(f"{block}: {' '.join(words)}", given, whole=True)
    for code in in_text(page):
        if re.match(r"(.*-m )?dnatk ", code):
            words = inline_words(code)
            if words:
                wrong += problem(f"{page.name}: {code}", words, whole=False)
    return wrong


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_scripts_exist(script: Path):
    wrong = []
    for words in simple_commands(script.read_text()):
        given = arguments(words)
        if given is not None:
            wrong += problem(f"{script.name}: {' '.join(words)}", given, whole=False)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_the_text_exist(page: Path):
    assert not unknown_options(page)


def unknown_options(page: Path) -> set[str]:
    named = {
        word.split("=")[0].rstrip(".,;:")
        for code in in_text(page)
        if code.startswith("-")
        for word in re.split(r"[ |/,]+", code)
        if re.match(r"^--[a-z]", word)
    }
    return named - every_option() - OTHERS - scripts_options(page)


@cache
def every_option() -> set[str]:
    found, paths = {"--help"}, [()]
    while paths:
        path = paths.pop()
        command = command_at(path)
        found |= {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        if isinstance(command, click.Group):
            names = command.list_commands(click.Context(command))
            paths += [(*path, name) for name in names]
    return found


def scripts_options(page: Path) -> set[str]:
    """Options of the scripts of the repository that a page names, and of those beside it."""
    named = {ROOT / name for name in re.findall(r"[\w./-]+\.py", page.read_text())}
    beside = set(page.parent.glob("*.py")) if page.is_relative_to(ROOT / "examples") else set()
    found = set()
    if (config := page.parent / "nextflow.config").is_file():
        found |= {f"--{name}" for name in re.findall(r"^ +(\w+) *=", config.read_text(), re.M)}
    for script in named | beside:
        if script.is_file():
            found |= set(re.findall(r'"(--[a-z][a-z-]*)"', script.read_text()))
    return found


def problem(where: str, words: list[str], *, whole: bool) -> list[str]:
    try:
        check(words, whole=whole)
    except (click.UsageError, AssertionError) as error:
        said = error.format_message() if isinstance(error, click.UsageError) else str(error)
        return [f"{where}\n    {said}"]
    return []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dnatk embed g.fa --bedd r.bed", "bedd"),
        ("dnatk embedd g.fa", "embedd"),
        ("dnatk embed g.fa --pool mode", "mode"),
        ("dnatk predict r.bed", "task"),
        ("zcat g.fa.gz | dnatk embed", "FASTA"),
        ("torchrun -m dnatk embed g.fa more.fa", "more.fa"),
        ("dnatk h5 exprt g.h5", "exprt"),
        ("dnatk embed g.fa -t 0", "0"),
        ("X=1 .venv/bin/dnatk -q predict --task a r.bed --formt tsv > x 2> y", "formt"),
    ],
)
def test_what_is_wrong_is_found(line: str, said: str):
    words = [arguments(words) for words in simple_commands(line)]
    (given,) = [each for each in words if each is not None]
    (text,) = problem("here", given, whole=True)
    assert said in text


@pytest.mark.parametrize(
    "line",
    [
        "dnatk embed g.fa -o x.h5 && dnatk h5 merge a.h5 b.h5 -o c.h5  # as one",
        "zcat g.fa.gz | dnatk -q embed - -o x.h5 --pool mean 2> log",
        "torchrun --nproc-per-node 4 -m dnatk embed g.fa \\\n  --bed r.bed",
        "pip install dnatk",
    ],
)
def test_what_is_right_is_let_through(line: str):
    for words in simple_commands(line):
        given = arguments(words)
        assert given is None or not problem("here", given, whole=True)


def test_what_is_wrong_in_a_sentence_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "So `dnatk embed --bed` and `dnatk h5 info FILE` are, `dnatk embed --bd r.bed` is not,\n"
        "nor `--foce`; | `--force` \\| `--order wide` |\n\n```console\n$ dnatk tsks\n```\n"
    )
    first, second = wrong_commands(page)
    assert "tsks" in first
    assert "--bd" in second
    assert unknown_options(page) == {"--foce"}
