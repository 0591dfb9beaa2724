"""Amounts as people read them."""

from __future__ import annotations

_UNITS = ("bp", "kb", "Mb", "Gb", "Tb")


def bases_in_words(bases: int) -> str:
    """``812 bp``, ``12.3 kb``, ``125 kb``, ``1.5 Mb``."""
    value, unit = float(bases), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return (
        f"{value:.1f} {_UNITS[unit]}" if unit and value < 99.95 else f"{value:.0f} {_UNITS[unit]}"
    )


def seconds_in_words(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 13 min``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
