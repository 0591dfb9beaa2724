"""Options in TOML: the user's file, $XDG_CONFIG_HOME/dnatk/config.toml, and that of a run.

Both are laid out alike: a key at the top is for every command with that option, a table of a
command's name for that command alone. What the keys are, the commands know (dnatk.cli.keys).
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnatk.directories import user_directory
from dnatk.errors import InputError, OutputError
from dnatk.output.files import written_whole

CONFIG_FILE = "config.toml"
_HEADER = "# Settings of dnatk. `dnatk config set KEY VALUE` writes here; so may you.\n"
_TABLE = re.compile(r"\s*\[\s*\"?([\w-]+)\"?\s*\]\s*(#.*)?$")
_KEY = re.compile(r"\s*\"?([\w-]+)\"?\s*(?:\.\s*\"?([\w-]+)\"?\s*)?=")


@dataclass(frozen=True)
class Settings:
    """What one file says.

    Attributes:
        path: the file.
        values: table -> key -> value; "" is the top. In keys "-" has become "_".
        lines: (table, key) -> line, from 1; as far as they are seen.
    """

    path: Path
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: dict[tuple[str, str], int] = field(default_factory=dict)

    def find(self, table: str, key: str) -> tuple[Any, str] | None:
        """The value for a command, and where it stands ("FILE:LINE"); None where it is not set."""
        for name in (table, ""):
            if key in self.values.get(name, {}):
                return self.values[name][key], self.place(name, key)
        return None

    def place(self, table: str, key: str = "") -> str:
        """Where a key, or a table, stands."""
        line = self.lines.get((table, key))
        return str(self.path) if line is None else f"{self.path}:{line}"


def settings_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the user's settings are."""
    return user_directory("config", environ) / "dnatk" / CONFIG_FILE


def user_settings(path: Path | None = None) -> Settings:
    """The user's settings, none where there is no file.

    Raises:
        InputError: as :func:`parse_settings`.
    """
    path = path or settings_path()
    return parse_settings(_text(path), path)


def read_settings(path: Path | None = None) -> dict[str, Any]:
    """What the user has set for all commands: key -> value.

    Raises:
        InputError: as :func:`parse_settings`, or the genome is no text.
    """
    settings = user_settings(path)
    top = settings.values.get("", {})
    if not isinstance(top.get("genome", ""), str):
        raise InputError("genome: must be a text in quotes", path=settings.place("", "genome"))
    return top


def parse_settings(text: str, path: Path) -> Settings:
    """The settings in a text that was read from ``path``.

    Raises:
        InputError: no TOML, a key that is there twice, or a value that no option has.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        reason = str(error)[: place.start()] if place else str(error)
        line = int(place[1]) if place else None
        raise InputError(f"is not TOML: {reason}", path=path, line=line) from None
    settings = Settings(path, lines={at: i + 1 for i, at in enumerate(_places(text)) if at})
    for key, value in document.items():
        if isinstance(value, dict):
            _add(settings, _plain(key), value)
        else:
            _add(settings, "", {key: value})
    return settings


def _add(settings: Settings, table: str, values: Mapping[str, Any]) -> None:
    into = settings.values.setdefault(table, {})
    for key, value in values.items():
        plain = _plain(key)
        if plain in into:
            raise InputError(f"{plain} is set twice", path=settings.place(table, plain))
        each = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str | int | float) for one in each):
            what = "must be a text, a number, true or false, or a list of them"
            raise InputError(f"{plain}: {what}", path=settings.place(table, plain))
        into[plain] = value


def _places(text: str) -> list[tuple[str, str] | None]:
    """What each line sets: (table, key), or (table, "") for the head of a table."""
    places: list[tuple[str, str] | None] = []
    table = ""
    for line in text.split("\n"):
        if head := _TABLE.match(line):
            table = _plain(head[1])
            places.append((table, ""))
        elif key := _KEY.match(line):
            names = (table, key[1]) if key[2] is None else (key[1], key[2])
            places.append((_plain(names[0]), _plain(names[1])))
        else:
            places.append(None)
    return places


def _plain(key: str) -> str:
    return key.replace("-", "_")


def write_setting(table: str, key: str, value: Any | None, path: Path | None = None) -> Path:
    """Set a key of the user's settings, or with None forget it; the path of the file.

    All other lines stay as they are, comments too.

    Raises:
        InputError: as :func:`parse_settings`.
        OutputError: the file cannot be written, or the line cannot be changed alone.
    """
    path = path or settings_path()
    before = _text(path)
    wanted = {name: dict(each) for name, each in parse_settings(before, path).values.items()}
    wanted.setdefault(table, {})[key] = value
    if value is None:
        del wanted[table][key]
    text = _changed(before or _HEADER, table, key, value)
    try:
        done = _alike(parse_settings(text, path).values, wanted)
    except InputError:
        done = False
    if not done:
        name = f"{table}.{key}" if table else key
        raise OutputError(f"cannot change {name} alone", path=path, hint="edit the file by hand")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path=path) from error
    # A link to where all of one's settings are kept stays one.
    with written_whole(path) as partial:
        partial.write_text(text, "utf-8")
        if path.exists():
            shutil.copymode(path, partial)
    return path


def _alike(one: Mapping[str, Mapping], other: Mapping[str, Mapping]) -> bool:
    """Whether two files say the same; tables without a key say nothing."""
    return {k: v for k, v in one.items() if v} == {k: v for k, v in other.items() if v}


def _changed(text: str, table: str, key: str, value: Any | None) -> str:
    lines, places = text.split("\n"), _places(text)
    if (table, key) in places:
        at = places.index((table, key))
        if value is not None:
            name = lines[at].partition("=")[0].rstrip()
            lines[at] = f"{name} = {toml(value)}{_comment(lines[at])}"
        elif _is_alone(places, at) and lines[at + 1 :][:1] == [""]:
            blank = at > 1 and not lines[at - 2]
            del lines[at - 1 - blank : at + 1]  # with the head of its table
        else:
            del lines[at]
        return "\n".join(lines)
    if value is None:
        return text
    new = f"{key} = {toml(value)}"
    inside = [i for i, place in enumerate(places) if place and place[0] == table]
    if inside:
        lines.insert(inside[-1] + 1, new)
    elif table:
        end = [lines[-1]] if lines[-1] else []
        lines[-1:] = [*end, "", f"[{table}]", new, ""]
    else:
        heads = [i for i, place in enumerate(places) if place and not place[1]]
        at = heads[0] if heads else len(lines) - (lines[-1] == "")
        lines[at:at] = [new, ""] if heads else [new]
    return "\n".join(lines)


def _comment(line: str) -> str:
    """What stands behind the value of a line: a comment and the blanks before it, or nothing."""
    for mark in re.finditer(r"\s*#", line):
        try:
            tomllib.loads(line[: mark.start()])
        except tomllib.TOMLDecodeError:  # inside a text
            continue
        return line[mark.start() :]
    return ""


def _is_alone(places: list[tuple[str, str] | None], at: int) -> bool:
    """Whether the line before is the head of its table, and there is no other key in that."""
    table = (places[at] or ("", ""))[0]
    inside = [place for place in places if place and place[0] == table]
    return bool(table) and places[at - 1] == (table, "") and len(inside) == 2


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError:
        raise InputError("is not a text file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None


def toml(value: Any) -> str:
    """A text, number, truth or list of them as TOML has it, on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(each) for each in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if not isinstance(value, str):
        return json.dumps(value)
    # A name of a file may hold bytes that are no text; TOML is UTF-8.
    text = json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False)
    # JSON leaves them as they are: TOML wants the first escaped, the others end lines for Python.
    return re.sub("[\x7f\x85\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)
