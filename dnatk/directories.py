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
    return Path(environ.get(f"XDG_{kind.upper()}_HOME") or Path.home() / _DEFAULTS[kind])
