"""What a pseudo-terminal shows."""

from __future__ import annotations

import os


def read_terminal(leader: int) -> bytes:
    """All that was written to the other end until that was closed; closes this one."""
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(leader)
    return shown
