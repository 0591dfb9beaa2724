"""A diagnosis as JSON, fit to be shown to others."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Sequence
from typing import Any

from dnatk import __version__
from dnatk.diagnosis.finding import Finding, worst
from dnatk.undefined import as_null

FORMAT = "dnatk-doctor"
FORMAT_VERSION = 1


def report(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings for a bug report; docs/doctor.md has the fields.

    The home directory, and a directory of the user's name, read "~"; a nan reads null.
    """
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dnatk": __version__,
        "status": worst(findings),
        "findings": [
            _anonymous(
                {
                    "check": each.check,
                    "level": each.level,
                    "text": each.text,
                    "cure": each.cure or None,
                    "facts": as_null(each.facts),
                }
            )
            for each in findings
        ],
    }


def _anonymous(value: Any) -> Any:
    if isinstance(value, dict):
        return {_anonymous(key): _anonymous(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_anonymous(each) for each in value]
    return anonymous(value) if isinstance(value, str) else value


def anonymous(text: str) -> str:
    """``text`` with "~" for the home directory, and for a directory called as the user is."""
    home = os.path.expanduser("~").rstrip("/")
    if home:  # in some containers it is "/"
        text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)
    if user := _user():
        text = re.sub(rf"(?<=[/\\]){re.escape(user)}(?![\w.-])", "~", text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a number without a name, as in containers
        return ""
