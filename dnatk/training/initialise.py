"""Starting weights that learn from fewer tokens."""

from __future__ import annotations
