"""The user's own directories, by the XDG base directory specification."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_DEFAULTS = {"config": ".config", "data": ".local/share", "cache": ".cache"}


def user_directory(kind: str, environ: Mapping[str, str] = os.environ) -> Path:
    """What $XDG_CONFIG_HOME, $XDG_DATA_HOME or $XDG_CACHE_HOME says, or its default.

    Args:
        kind: "config", "data" (what commands made and will need) or "cache" (can be made again).
    """
    named = environ.get(f"XDG_{kind.upper()}_HOME", "")
    if os.path.isabs(named):  # others are to be ignored, it says
        return Path(named)
    home = Path(os.path.expanduser("~"))
    if not home.is_absolute():  # neither $HOME nor an entry for this user
        home = Path("/")  # as containers set it then
    return home / _DEFAULTS[kind]


def directories_with(marker: str, root: Path) -> list[Path]:
    """The directories in ``root`` that hold a file ``marker``; none where one may not look."""
    if not os.path.isdir(root):
        return []
    return sorted(path.parent for path in root.glob(f"*/{marker}"))
