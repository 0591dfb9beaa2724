"""bgzip: gzip in blocks of at most 64 KiB, which a table (.gzi) lets one read at any place.

A place is where a block begins: (packed, unpacked) bytes from the start of the file. The table
has those of every block but the first and the empty one that stands at the end.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from dnatk.errors import InputError
from dnatk.genome.files import begins_block, broken_gzip

Place = tuple[int, int]

# How many blocks a table is held against; each costs two short reads.
_SAMPLE = 2000


def find_blocks(source: Path, shown: Path) -> list[Place]:
    """What belongs into the table of a file of which every block can be unpacked.

    Raises:
        InputError: naming ``shown``: no empty block at the end, or something that is no block.
    """
    places, (packed, unpacked), size = [], (0, 0), 0
    end = source.stat().st_size
    with open(source, "rb") as handle:
        while packed < end:
            places.append((packed, unpacked))
            sizes = _sizes(handle, packed)
            if sizes is None:
                raise InputError(
                    "is not bgzip from end to end",
                    path=shown,
                    hint="unpack it, and pack it again with bgzip",
                )
            size = sizes[1]
            packed, unpacked = packed + sizes[0], unpacked + size
    if size:
        raise broken_gzip(shown)
    return places[1:-1]


def write_table(path: Path, places: list[Place]) -> None:
    """Write a .gzi."""
    numbers = [number for place in places for number in place]
    path.write_bytes(struct.pack(f"<{1 + len(numbers)}Q", len(places), *numbers))


def read_table(path: Path) -> list[Place]:
    """The places in a .gzi; struct.error where it is damaged."""
    table = path.read_bytes()
    numbers = struct.unpack(f"<{2 * struct.unpack_from('<Q', table)[0]}Q", table[8:])
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def table_fits(handle: BinaryIO, places: list[Place]) -> bool:
    """Whether blocks begin at ``places``: some are looked at, of a short table all."""
    places = [(0, 0), *places]
    end = handle.seek(0, 2)
    if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(places)) or places[-1][0] >= end:
        return False
    for i in range(0, len(places), -(-len(places) // _SAMPLE)):
        after = _after(handle, places[i])
        if after is None or places[i + 1 : i + 2] not in ([], [after]):
            return False
    after = _after(handle, places[-1])
    return after is not None and _after(handle, after) == (end, after[1])


def _after(handle: BinaryIO, place: Place) -> Place | None:
    """Where the block after the one at a place begins, or None where there is none."""
    sizes = _sizes(handle, place[0])
    return None if sizes is None else (place[0] + sizes[0], place[1] + sizes[1])


def _sizes(handle: BinaryIO, start: int) -> tuple[int, int] | None:
    """(packed, unpacked) bytes of the block that begins there, or None where none does."""
    handle.seek(start)
    head = handle.read(18)
    if not begins_block(head):
        return None
    packed = int.from_bytes(head[16:], "little") + 1
    handle.seek(start + max(packed, 22) - 4)
    size = handle.read(4)
    return (packed, int.from_bytes(size, "little")) if len(size) == 4 else None


class Unpacked:
    """A bgzip file read at places of its unpacked text."""

    def __init__(self, handle: BinaryIO, places: list[Place]) -> None:
        from Bio.bgzf import BgzfReader

        self._places = [(0, 0), *places]
        self._reader = BgzfReader(fileobj=handle, mode="rb")

    def seek(self, at: int) -> None:
        from Bio.bgzf import make_virtual_offset

        block = bisect_right(self._places, at, key=lambda place: place[1]) - 1
        packed, unpacked = self._places[block]
        self._reader.seek(make_virtual_offset(packed, at - unpacked))

    def read(self, size: int) -> bytes:
        return self._reader.read(size)
