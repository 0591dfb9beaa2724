"""Negatives for positives: places of the same genome that resemble them, or shuffled copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region
from dnatk.labelled.places import Spans

# Random places tried at once; one whose GC is this close is taken, else the closest of all tries.
_TRIES, _ROUNDS, _GC_TOLERANCE = 64, 8, 0.02
_MOST_BASES = 1 << 22  # in memory at once, for such tries

_GC_CODE = np.full(256, 2, dtype=np.uint8)  # 0: A or T, 1: G or C, 2: anything else
_GC_CODE[np.frombuffer(b"ATat", np.uint8)] = 0
_GC_CODE[np.frombuffer(b"GCgc", np.uint8)] = 1


def spread(n_positives: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """(round(n_positives * ratio),) the positive that each negative goes with, in rising order."""
    whole, rest = divmod(round(n_positives * ratio), n_positives)
    extra = rng.permutation(n_positives)[:rest]
    return np.sort(np.concatenate([np.tile(np.arange(n_positives), whole), extra]))


def shuffle_dinucleotides(bases: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(L,) a random sequence with the same dinucleotide counts and the same first and last base.

    Altschul and Erickson (1985): each letter's followers are shuffled, the last of them such that
    every letter still leads to the final one, and then used up in order from the first letter on.
    """
    if len(bases) < 3:
        return bases.copy()
    letters, codes = np.unique(bases, return_inverse=True)
    followers = [codes[1:][codes[:-1] == letter] for letter in range(len(letters))]
    final = int(codes[-1])
    while True:
        tails = {
            letter: int(rng.integers(len(options)))
            for letter, options in enumerate(followers)
            if letter != final
        }
        leads_to = {letter: int(followers[letter][tail]) for letter, tail in tails.items()}
        if _all_reach(final, leads_to):
            break
    queues = []
    for letter, options in enumerate(followers):
        if letter == final:
            queue = rng.permutation(options).tolist()
        else:
            rest = np.delete(options, tails[letter])
            queue = [*rng.permutation(rest).tolist(), leads_to[letter]]
        queues.append(iter(queue))
    walk = [int(codes[0])]
    for _ in range(len(bases) - 1):
        walk.append(next(queues[walk[-1]]))
    return letters[walk]


def _all_reach(final: int, leads_to: dict[int, int]) -> bool:
    for letter in leads_to:
        for _ in leads_to:
            letter = leads_to.get(letter, final)
        if letter != final:
            return False
    return True


def unlike_places(
    genome: Genome,
    like: Sequence[Region],
    avoid: Iterable[Region],
    rng: np.random.Generator,
    *,
    match_gc: bool,
) -> list[Region]:
    """One random place a region of ``like``: its contig, length and strand, off ``avoid`` and N.

    With ``match_gc`` its share of G and C comes as close as some hundred random places allow.
    Places may overlap one another; none is drawn twice. Row i belongs to ``like[i]``.

    Raises:
        InputError: a contig has no such place left.
    """
    rows_of = defaultdict(list)
    for row, region in enumerate(like):
        rows_of[region.contig].append(row)
    spans = Spans(avoid)
    drawn: list[Region | None] = [None] * len(like)
    for contig, rows in rows_of.items():
        codes = _GC_CODE[genome.fetch(contig, 0, genome.lengths[contig])]
        used: set[tuple[int, int]] = set()
        for row in rows:
            region = like[row]
            gc = _gc_share(codes[region.start : region.end]) if match_gc else None
            start = _draw(codes, contig, len(region), gc, spans, used, rng)
            if start is None:
                raise InputError(
                    f"{contig} has no place left for a negative of {len(region)} bases",
                    path=region.source or None,
                    line=region.line,
                    hint="fewer with --negative-ratio, or shuffled: --negatives dinucleotide",
                )
            used.add((start, len(region)))
            end = start + len(region)
            drawn[row] = Region(contig, start, end, region.strand, "", region.source, region.line)
    return drawn


def _gc_share(codes: np.ndarray) -> float:
    """Of the bases that are known, as negatives have no others; a half where none is."""
    known = np.count_nonzero(codes < 2)
    return np.count_nonzero(codes == 1) / known if known else 0.5


def _draw(
    codes: np.ndarray,
    contig: str,
    length: int,
    gc: float | None,
    spans: Spans,
    used: set[tuple[int, int]],
    rng: np.random.Generator,
) -> int | None:
    """A start that is allowed and, where ``gc`` is given, the closest to it of those tried."""
    best, distance = None, float("inf")
    all_windows = np.lib.stride_tricks.sliding_window_view(codes, length)
    n_starts, at_once = len(all_windows), max(1, _MOST_BASES // length)

    def consider(starts: np.ndarray) -> None:
        nonlocal best, distance
        starts = starts[~spans.touch(contig, starts, starts + length)]
        windows = all_windows[starts]
        usable = np.flatnonzero((windows < 2).all(axis=1))
        away = np.zeros(len(starts)) if gc is None else abs((windows == 1).mean(axis=1) - gc)
        for at in usable[np.argsort(away[usable], kind="stable")]:
            if away[at] >= distance:
                break
            if (int(starts[at]), length) not in used:
                best, distance = int(starts[at]), float(away[at])
                break

    for _ in range(_ROUNDS):
        consider(rng.integers(n_starts, size=min(_TRIES, at_once)))
        if distance <= _GC_TOLERANCE:
            return best
    if best is None:  # hardly a free place: look at all of them, in random order
        order = rng.permutation(n_starts)
        for chunk in np.array_split(order, -(-n_starts // at_once)):
            consider(chunk)
            if best is not None:
                break
    return best
