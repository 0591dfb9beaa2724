"""The models in this installation by name, told without importing torch."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parent / "weights"
DEFAULT_MODEL = "dnatk-small"


def shipped_models() -> list[str]:
    """Names of the models in this installation."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))
