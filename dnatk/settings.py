"""The user's settings: $XDG_CONFIG_HOME/dnatk/config.toml, else ~/.config/dnatk/config.toml."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from dnatk.errors import InputError, OutputError
from dnatk.output.files import written_whole

# key -> what it means, in one line
KEYS = {"genome": "FASTA file, or the name of a genome installed by genomepy."}
_HEADER = "# Settings of dnatk. `dnatk config set` and `unset` write this file anew.\n"


def settings_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the settings are."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "dnatk" / "config.toml"


def read_settings(path: Path | None = None) -> dict[str, str]:
    """The settings, none where there is no file.

    Raises:
        InputError: no TOML, a key that dnatk does not know, or a value that is no text.
    """
    path = path or settings_path()
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        reason = str(error)[: place.start()] if place else str(error)
        line = int(place[1]) if place else None
        raise InputError(f"is not TOML: {reason}", path=path, line=line) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    for key, value in settings.items():
        if key not in KEYS:
            raise InputError(
                f"unknown setting '{key}'", path=path, hint=f"known: {', '.join(KEYS)}"
            )
        if not isinstance(value, str) or not value:
            raise InputError(f"'{key}' must be a text in quotes", path=path)
    return settings


def write_settings(settings: Mapping[str, str], path: Path | None = None) -> Path:
    """Write all settings, whole or not at all; the path of the file.

    Raises:
        OutputError: the file cannot be written.
    """
    path = path or settings_path()
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
    values = {
        key: json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        for key, value in settings.items()
    }
    text = _HEADER + "".join(f"{key} = {values[key]}\n" for key in KEYS if key in values)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path=path) from error
    with written_whole(path) as partial:
        partial.write_text(text, "utf-8")
    return path
