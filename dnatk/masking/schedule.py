"""RandomMask's phases: how wide the masked spans are at which training step.

Source: Liang et al., arXiv 2310.07644: spans of k, k+2, .. k+8 tokens (6..14 for k = 6), with
boundaries at 30k, 60k, 100k, 150k and 480k of 480k steps; here as fractions of the run, so that
they scale to any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from dnatk.errors import InputError

PAPER_ENDS = (Fraction(1, 16), Fraction(1, 8), Fraction(5, 24), Fraction(5, 16), Fraction(1))
MAX_PHASES = 1000
_WIDEST = 1 << 20
ORDERS = ("growing", "fixed", "contracting")


@dataclass(frozen=True)
class Phase:
    """Spans of ``width`` tokens in steps [start, end), steps counted from 0."""

    width: int
    start: int
    end: int


@dataclass(frozen=True)
class Schedule:
    """The phases of one run, in step order, covering every step exactly once."""

    phases: tuple[Phase, ...]

    @property
    def widths(self) -> list[int]:
        """The distinct span widths, ascending."""
        return sorted({phase.width for phase in self.phases})

    def at(self, step: int) -> Phase:
        """The phase of ``step`` (the last one from its start on)."""
        return next((p for p in self.phases if step < p.end), self.phases[-1])

    @classmethod
    def build(
        cls, spans: list[tuple[int, Fraction]], max_steps: int, order: str = "growing"
    ) -> Schedule:
        """Lay ``spans`` (width, fraction of the run at which it ends) over ``max_steps``.

        Phase s begins at round(fraction x max_steps). ``order`` is "growing" (as given), "fixed"
        (the widest from the start) or "contracting" (the widths turned round, the boundaries kept).
        A phase that a short run rounds to nothing is left out.
        """
        if order not in ORDERS:
            raise InputError(f"order must be one of {', '.join(ORDERS)}, not '{order}'")
        if max_steps < 1:
            raise InputError(f"a run needs at least one step, not {max_steps}")
        widths = [width for width, _ in spans]
        if order == "fixed":
            return cls((Phase(max(widths), 0, max_steps),))
        if order == "contracting":
            widths.reverse()
        ends = [round(fraction * max_steps) for _, fraction in spans]
        starts = [0, *ends[:-1]]
        phases = (Phase(w, s, e) for w, s, e in zip(widths, starts, ends, strict=True))
        return cls(tuple(phase for phase in phases if phase.end > phase.start))


def parse_phases(text: str, k: int) -> list[tuple[int, Fraction]]:
    """Read ``--phases``: how many, or the widths themselves.

    "5" is five phases k, k+2, .. with the paper's boundaries (equal shares for another count);
    "6,10,14" gives the widths, with the same boundaries; "6:0.1,10:0.5,14:1" also the fraction
    of the run at which each ends.
    """
    items = [item.strip() for item in text.split(",")]
    try:
        if len(items) == 1 and ":" not in text:
            count = int(text)
            if count > MAX_PHASES:
                raise InputError(f"phases '{text}': at most {MAX_PHASES}")
            return _with_ends([k + 2 * i for i in range(count)])
        if ":" not in text:
            return _with_ends([int(item) for item in items])
        pairs = [item.split(":") for item in items]
        spans = [(int(width), Fraction(end)) for width, end in pairs]
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f"cannot read the phases '{text}'", hint="write 5, or 6,8,10, or 6:0.1,10:0.5,14:1"
        ) from None
    ends = [end for _, end in spans]
    if ends != sorted(set(ends)) or ends[0] <= 0 or ends[-1] != 1:
        raise InputError(f"phases '{text}': the ends must rise from above 0 to 1")
    _check_widths([width for width, _ in spans])
    return spans


def _with_ends(widths: list[int]) -> list[tuple[int, Fraction]]:
    _check_widths(widths)
    n = len(widths)
    ends = PAPER_ENDS if n == len(PAPER_ENDS) else [Fraction(i + 1, n) for i in range(n)]
    return list(zip(widths, ends, strict=True))


def _check_widths(widths: list[int]) -> None:
    if not widths or min(widths) < 1:
        raise InputError("phases need at least one span, each of 1 token or more")
    if max(widths) > _WIDEST:
        raise InputError(f"a span of {max(widths)} tokens is wider than any window")
