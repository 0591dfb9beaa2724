"""Tiles in batches: packed without padding up to a token budget, part by part.

Shapes: T tokens packed, S tiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from dnatk.errors import InputError
from dnatk.genome.regions import Region
from dnatk.kmers import Tokens, pack


@dataclass
class Row:
    """One output row on its way.

    Attributes:
        region: what it is of.
        status: see :class:`dnatk.output.status.Status`.
        part: the number of the part that it belongs to.
        total, weight: what tiles have added up so far, and what to divide it by.
        vector: a second sum, of tiles' embeddings beside their predictions.
        pieces: what tiles gave where it is not added up.
    """

    region: Region
    status: int = 0
    part: int = 0
    total: np.ndarray | None = None
    weight: int = 0
    vector: np.ndarray | None = None
    pieces: list = field(default_factory=list)


@dataclass(frozen=True)
class Tile:
    """A piece of a row that fits the model.

    Attributes:
        ids: (n,) token ids without specials; empty for a row that cannot be scored.
        low, high: the tokens of ``ids`` that this tile answers for.
        last: whether the row is finished with it.
        start, bases: the tile's first base, counted from the row's along its reading direction,
            and how many it has.
        fresh: bases of it that no tile of the input before it has; those told as read.
    """

    row: Row
    ids: np.ndarray
    low: int
    high: int
    last: bool
    start: int = 0
    bases: int = 0
    fresh: int = 0

    def kept(self, tokens: Tokens) -> np.ndarray:
        """(n + specials,) bool: the valid tokens that it answers for, among all of its tokens."""
        first = len(tokens.prefix)
        mask = np.zeros(first + len(self.ids) + len(tokens.suffix), dtype=bool)
        mask[first + self.low : first + self.high] = tokens.valid(self.ids[self.low : self.high])
        return mask

    def turned(self, tokens: Tokens) -> Tile:
        """The same as the other strand reads it."""
        # Tokenizers of text may make more or fewer tokens of the other strand.
        ids = tokens.reverse_complement(self.ids)
        return replace(self, ids=ids, low=len(self.ids) - self.high, high=len(ids) - self.low)


def fresh_bases(start: int, end: int, before: tuple[int, int] | None) -> int:
    """How many bases of [start, end) are not in the piece before it, if there is one."""
    if before is None:
        return end - start
    return end - start - max(0, min(end, before[1]) - max(start, before[0]))


@dataclass(frozen=True)
class Strand:
    """Tiles as one strand reads them, packed.

    Attributes:
        tiles: S of them; equal lengths stand side by side, which run as one product.
        lengths: tokens of each, specials too.
        ids_T, position_T: int64, as :func:`dnatk.kmers.pack`.
        kept_T: bool, the tokens that count.
    """

    tiles: list[Tile]
    lengths: list[int]
    ids_T: np.ndarray
    position_T: np.ndarray
    kept_T: np.ndarray

    @classmethod
    def of(cls, tiles: list[Tile], tokens: Tokens) -> Strand:
        ids_T, position_T, lengths = pack(tokens, [tile.ids for tile in tiles])
        kept_T = np.concatenate([tile.kept(tokens) for tile in tiles])
        return cls(tiles, lengths, ids_T, position_T, kept_T)

    def middle(self) -> int:
        """How many of its tiles, at least one and not all, hold half of its tokens."""
        ends = np.cumsum(self.lengths)
        return min(max(1, int(np.searchsorted(ends, ends[-1] // 2))), len(self.tiles) - 1)

    def split(self, at: int) -> tuple[Strand, Strand]:
        """The first ``at`` tiles, and the others."""
        end = sum(self.lengths[:at])
        return self._piece(slice(at), slice(end)), self._piece(slice(at, None), slice(end, None))

    def _piece(self, tiles: slice, tokens: slice) -> Strand:
        return Strand(
            self.tiles[tiles],
            self.lengths[tiles],
            self.ids_T[tokens],
            self.position_T[tokens],
            self.kept_T[tokens],
        )


@dataclass(frozen=True)
class Batch:
    """Tiles that go through the model at once.

    Attributes:
        part: the part of all of their rows.
        tiles: in the order of the rows.
        strands: those that have tokens, packed; a second one is the other strand. May be empty.
        digest: set on the last batch of a part: of all that the part was made from.
        made: the part was made before; nothing is to be done but to tell so. No tiles.
    """

    part: int
    tiles: list[Tile]
    strands: list[Strand]
    digest: str = ""
    made: bool = False

    @property
    def bases(self) -> int:
        """Bases that are read with it."""
        return sum(tile.fresh for tile in self.tiles)


def batches(
    tiles: Iterable[Tile],
    tokens: Tokens,
    budget: int,
    *,
    both_strands: bool = False,
    longest: int | None = None,
    made: Mapping[int, str] | None = None,
    contigs: Mapping[str, int] | None = None,
) -> Iterator[Batch]:
    """Tiles of one part after another in batches of at most ``budget`` tokens (one tile fits).

    Args:
        both_strands: pack the other strand too.
        longest: tokens of a sequence that the model takes, specials too.
        contigs: their lengths, which count as input too.
        made: the parts that were made before, and their digests: for each a batch that says so.

    Raises:
        InputError: a tile is too long, or a part that was made before is not what it was.
    """
    made, contigs = made or {}, contigs or {}
    seen = set()
    specials = len(tokens.prefix) + len(tokens.suffix)
    for part, group in groupby(tiles, key=lambda tile: tile.row.part):
        if part in made:
            seen.add(part)
            _check(group, made[part], contigs)
            yield Batch(part, [], [], digest=made[part], made=True)
            continue
        digest = _Digest(contigs)
        held: list[Tile] = []
        size = 0
        for tile in group:
            digest.add(tile)
            n = len(tile.ids) + specials
            if longest is not None and n > longest:
                raise _too_long(tile.row.region, n, longest)
            if held and size + n > budget:
                yield Batch(part, held, _strands(held, tokens, both_strands, longest))
                held, size = [], 0
            held.append(tile)
            size += n
        yield Batch(part, held, _strands(held, tokens, both_strands, longest), digest=digest.text())
    if lost := made.keys() - seen:
        raise InputError(
            f"the input has changed since the run began: {len(lost)} of its parts are not there "
            "any more",
            hint="--force starts afresh",
        )


def _strands(tiles: list[Tile], tokens: Tokens, both: bool, longest: int | None) -> list[Strand]:
    scored = sorted((tile for tile in tiles if len(tile.ids)), key=lambda tile: len(tile.ids))
    if not scored:
        return []
    strands = [Strand.of(scored, tokens)]
    if both:
        strands.append(other := Strand.of([tile.turned(tokens) for tile in scored], tokens))
        # Tokenizers of text may make more tokens of the other strand.
        for tile, n in zip(scored, other.lengths, strict=True):
            if longest is not None and n > longest:
                raise _too_long(tile.row.region, n, longest)
    return strands


def _too_long(region: Region, n: int, longest: int) -> InputError:
    return InputError(
        f"{region.contig}:{region.start}-{region.end} gives {n} tokens, the model takes {longest}",
        hint="a smaller embed --window or finetune --length",
    )


class _Digest:
    """Of what a part is made from: its rows' places, names and columns, and their tokens."""

    def __init__(self, contigs: Mapping[str, int]) -> None:
        self._contigs = contigs
        self._hash = hashlib.blake2b(digest_size=16)
        self._row: Row | None = None

    def add(self, tile: Tile) -> None:
        if tile.row is not self._row:
            self._row, region = tile.row, tile.row.region
            length = self._contigs.get(region.contig)
            told = (length, region.contig, region.start, region.end, region.strand, region.name,
                    region.fields, int(tile.row.status))  # fmt: skip
            self._hash.update(repr(told).encode("utf-8", "surrogateescape"))
        self._hash.update(b"%d %d;" % (tile.low, tile.high))
        self._hash.update(tile.ids.tobytes())

    def text(self) -> str:
        return self._hash.hexdigest()


def _check(tiles: Iterable[Tile], wanted: str, contigs: Mapping[str, int]) -> None:
    digest = _Digest(contigs)
    first = last = None
    for tile in tiles:
        digest.add(tile)
        first, last = first or tile.row.region, tile.row.region
    if digest.text() != wanted:
        raise InputError(
            "the input has changed since the run began, somewhere between "
            f"{first.contig}:{first.start}-{first.end} and {last.contig}:{last.start}-{last.end}",
            hint="--force starts afresh",
        )
