"""Write man/*.1, a manual page for each command, from the commands' own help texts."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import click

from dnatk import __version__
from dnatk.cli import COMMANDS, cli
from dnatk.cli.layout import HELP_NAMES

TARGET = Path(__file__).parents[1] / "man"
EXIT_STATUS = """\
.SH EXIT STATUS
0 done, 1 the data or the machine, 2 the command line, 130 interrupted, 143 terminated.
"""
# \b in a docstring keeps the lines of its paragraph.
_KEPT = "\b\n"


def pages() -> dict[str, str]:
    """File name -> text of every manual page."""
    found = {"dnatk.1": _page(["dnatk"], cli, COMMANDS)}
    for name, text in COMMANDS.items():
        command = importlib.import_module(f"dnatk.cli.{name}").command
        parts = getattr(command, "commands", {})
        shorts = {part: each.get_short_help_str(200) for part, each in parts.items()}
        found[f"dnatk-{name}.1"] = _page(["dnatk", name], command, shorts, text)
        for part, each in parts.items():
            found[f"dnatk-{name}-{part}.1"] = _page(["dnatk", name, part], each, {}, shorts[part])
    return found


def _page(words: list[str], command: click.Command, parts: dict[str, str], short: str = "") -> str:
    context = click.Context(command, info_name=" ".join(words), help_option_names=HELP_NAMES)
    name, help_text = "-".join(words), inspect.cleandoc(command.help or "")
    paragraphs = [part.strip("\n") for part in help_text.split("\n\n")]
    short = short or paragraphs.pop(0)
    examples = [each for each in paragraphs if each.startswith(f"{_KEPT}Example:")]
    text = [
        f'.TH {_word(name.upper())} 1 "" {_word("dnatk " + __version__)} "dnatk"\n.nh\n.ad l\n',
        f".SH NAME\n{_plain(name)} \\- {_plain(short.rstrip('.'))}\n",
        f".SH SYNOPSIS\n.B {_plain(' '.join(words))}\n",
        f"{_plain(' '.join(command.collect_usage_pieces(context)))}\n",
        ".SH DESCRIPTION\n",
        *(_paragraph(each) for each in paragraphs if each not in examples),
        *_commands(words, parts),
        *_options(command, context),
        EXIT_STATUS,
        *(f".SH EXAMPLES\n{_verbatim(each.split('Example:', 1)[1])}" for each in examples),
        _see_also(words, parts),
    ]
    return "".join(text)


def _options(command: click.Command, context: click.Context) -> list[str]:
    lines = [".SH OPTIONS\n"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:  # arguments are told of above
            flags, text = record
            bold = re.sub(r"(?<!\S)(--?[\w-]+)", lambda m: f"\\fB{m[1]}\\fR", _plain(flags, ""))
            lines.append(f".TP\n{bold.replace('-', chr(92) + '-')}\n{_plain(text)}\n")
    return lines if len(lines) > 1 else []


def _commands(words: list[str], parts: dict[str, str]) -> list[str]:
    if not parts:
        return []
    entries = [f".TP\n\\fB{_plain('-'.join([*words, n]))}\\fR(1)\n{_plain(t)}\n"
               for n, t in parts.items()]  # fmt: skip
    return [".SH COMMANDS\n", *entries]


def _see_also(words: list[str], parts: dict[str, str]) -> str:
    others = ["-".join([*words, part]) for part in parts] or ["-".join(words[:-1]), "dnatk"]
    named = ",\n".join(f".BR {_plain(each)} (1)" for each in dict.fromkeys(others))
    return f".SH SEE ALSO\n{named.replace('(1),', '(1) ,')}\n"


def _paragraph(text: str) -> str:
    if text.startswith(_KEPT):
        return _verbatim(text.removeprefix(_KEPT))
    return f".PP\n{_plain(' '.join(text.split()))}\n"


def _verbatim(text: str) -> str:
    lines = inspect.cleandoc(text).strip("\n").splitlines()
    return ".PP\n.RS 4\n.nf\n" + "".join(f"{_plain(line)}\n" for line in lines) + ".fi\n.RE\n"


def _plain(text: str, dash: str = "\\-") -> str:
    """Text that roff prints as it is: every dash the one of the keyboard."""
    text = text.replace("\\", "\\e").replace("~", "\\(ti").replace("^", "\\(ha")
    text = text.replace("'", "\\(aq").replace("`", "\\(ga").replace("±", "\\(+-")
    text = text.replace("-", dash or "-")
    return f"\\&{text}" if text.startswith(".") else text


def _word(text: str) -> str:
    return f'"{_plain(text)}"'


def write() -> None:
    """Write every page, and remove those of commands that are gone."""
    TARGET.mkdir(exist_ok=True)
    wanted = pages()
    for path in TARGET.glob("*.1"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text)


if __name__ == "__main__":
    write()
