"""FASTA and BED files that nobody would write, drawn from a seed: what test_fuzz.py feeds readers.

Every case is told by (seed, number) alone, so that one that failed can be made again:

    >>> draw(seed=0, number=17).data

``text`` is the case unpacked, by zlib and not by dnatk; the parsers here are as simple as can be
and know nothing of dnatk's.
"""

from __future__ import annotations

import gzip
import io
import random
import re
import signal
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

from Bio import bgzf

NAMES = ("chr1", "chr2", "chrM", "1", "MT", "é|1", "a:1-9", "s/p'q\"", "#x", "n" * 300, "track")
SPACES = (b" ", b"\t", b"\r", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xe2\x80\xa8", b"\x1c", b"\x85")
NUMBERS = (
    b"0", b"-1", b"1", b"7", b"60", b"99999999999", b"9" * 18, b"9" * 19, b"9" * 400, b"1e3",
    b"0x10", b"1_0", b"+5", b"1.5", b"NaN", "٣".encode(), b"", b"18446744073709551616",
)  # fmt: skip
TOKENS = (
    b">", b"\n", b"\r\n", b"\r", b"\0", b"\xef\xbb\xbf", b"#", b";", b"track", b"\xff\xfe",
    "日本".encode(), b"\n\n", b">\n", b"ACGT", b"NNNN", b"*-.", b"!", b"\t\t", b"+", b"browser x\n",
    *SPACES, *NUMBERS,
)  # fmt: skip


class Slow(BaseException):
    """What does not come to an end; nothing catches it on its way."""


@contextmanager
def limit(seconds: float):
    """Raise :class:`Slow` in the middle of what takes longer."""

    def stop(*_):
        raise Slow(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Case:
    """One input file.

    Attributes:
        kind: what it began as, "fasta" or "bed".
        way: mutated, grammar or noise.
        packing: see ``PACKINGS``.
        data: the bytes of the file.
        text: them unpacked; None where that cannot be done.
    """

    seed: int
    number: int
    kind: str
    way: str
    packing: str
    data: bytes
    text: bytes | None

    def __str__(self) -> str:
        start = self.data if len(self.data) < 200 else self.data[:200] + b"..."
        return (
            f"fuzz_inputs.draw(seed={self.seed}, number={self.number}): "
            f"{self.way} {self.kind}, {self.packing}, {len(self.data)} bytes {start!r}"
        )


def draw(seed: int, number: int) -> Case:
    """The case of that number."""
    rng = random.Random(f"{seed}:{number}")
    kind = rng.choice(("fasta", "fasta", "bed"))
    way = rng.choices(("mutated", "grammar", "noise"), (6, 3, 1))[0]
    if way == "noise":
        data = noise(rng, kind)
    else:
        data = fasta(rng, wild=way == "grammar") if kind == "fasta" else bed(rng, way == "grammar")
        for _ in range(rng.choice((0, 1, 1, 2, 3, 8)) if way == "mutated" else 0):
            data = rng.choice(MUTATIONS)(rng, data)
    packing = rng.choices(list(PACKINGS), [weight for weight, _ in PACKINGS.values()])[0]
    data = PACKINGS[packing][1](rng, data)
    return Case(seed, number, kind, way, packing, data, unpacked(data))


# Files as they should be, and (wild) as a grammar allows them to be


def bases(rng: random.Random, most: int = 400) -> bytes:
    length = rng.choice((0, 1, 5, 6, 7, 60, 61, rng.randint(0, most)))
    alphabet = rng.choice((b"ACGT", b"ACGT", b"acgtN", b"N", b"ACGTRYSWKMBDHVN", b"ACGTU-.*"))
    return bytes(rng.choices(alphabet, k=length))


def fasta(rng: random.Random, wild: bool = False) -> bytes:
    """A FASTA of lines of one length; wild: of any, between blank lines, spaces and comments."""
    end = rng.choice((b"\n", b"\n", b"\r\n"))
    width = rng.choice((1, 5, 60, 61, 10_000))
    parts = []
    for name in rng.sample(NAMES, rng.randint(1, 6)):
        if wild and rng.random() < 0.1:
            name = rng.choice(NAMES)
        about = rng.choice((b"", b" about > it", b"\tabout", *(SPACES if wild else ())))
        parts += [b">", name.encode(), about, end]
        sequence = bases(rng, 5000 if rng.random() < 0.05 else 400)
        while sequence:
            if wild and rng.random() < 0.1:
                width = rng.randint(1, 80)
            if wild and rng.random() < 0.05:
                end = rng.choice((b"\n", b"\r\n", b"\r", b"\r\r\n", b"\n\n", b" \n", b"\n "))
            parts += [sequence[:width], end]
            sequence = sequence[width:]
    text = b"".join(parts)
    if wild and rng.random() < 0.1:
        text = rng.choice((b"; a comment\n", b"\n\n", b" \n", b"\xef\xbb\xbf", b" ")) + text
    return text if rng.random() < 0.7 else text.rstrip(b"\r\n")


def bed(rng: random.Random, wild: bool = False) -> bytes:
    """A BED of 3 to 20 columns; wild: of columns that may be anything now and then."""
    end = rng.choice((b"\n", b"\n", b"\r\n"))
    columns = rng.choice((3, 4, 5, 6, 9, 12, 20))
    between = b"\t" if rng.random() < 0.8 else b" "
    lines = [rng.choice((b"#chrom", b"track name=x", b"browser position", b""))]
    for _ in range(rng.choice((1, 2, 5, 30))):
        start = rng.randint(0, 300)
        row = [rng.choice(NAMES).encode(), b"%d" % start, b"%d" % (start + rng.randint(1, 200))]
        row += [rng.choice(("x", "é", "a:b", ".")).encode(), b"%d" % rng.randint(0, 1000)]
        row += [rng.choice((b"+", b"-", b".")), *(b"%d" % rng.randint(0, 99) for _ in range(20))]
        row = row[:columns]
        if wild and rng.random() < 0.15:
            row[rng.randrange(columns)] = rng.choice((*NUMBERS, *TOKENS))
        if wild and rng.random() < 0.05:
            row = row[: rng.randint(0, columns)]
        lines.append(between.join(row))
    text = end.join(lines) + end
    return text if rng.random() < 0.7 else text.rstrip(b"\r\n")


def noise(rng: random.Random, kind: str) -> bytes:
    start = rng.choice((b"", b">a\n" if kind == "fasta" else b"chr1\t0\t5\n"))
    alphabet = rng.choice((bytes(range(256)), b">ACGTN\n\r \t;", b"chr1\t\n 0123456789+-.#"))
    return start + bytes(rng.choices(alphabet, k=rng.choice((0, 1, 2, 3, 40, 3000))))


# Mutations: each takes a file and gives another


def _flip(rng: random.Random, data: bytes) -> bytes:
    array = bytearray(data)
    for _ in range(rng.choice((1, 1, 4)) if array else 0):
        array[rng.randrange(len(array))] ^= 1 << rng.randrange(8)
    return bytes(array)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _behead(rng: random.Random, data: bytes) -> bytes:
    return data[rng.randint(0, len(data)) :]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _lead(rng: random.Random, data: bytes) -> bytes:
    return rng.choice(TOKENS) + data


def _number(rng: random.Random, data: bytes) -> bytes:
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return data
    span = rng.choice(found)
    return data[: span.start()] + rng.choice(NUMBERS) + data[span.end() :]


def _chunk(rng: random.Random, data: bytes) -> bytes:
    """A chunk deleted, doubled or put elsewhere."""
    low, high = sorted(rng.randint(0, len(data)) for _ in range(2))
    rest = data[:low] + data[high:]
    at = rng.randint(0, len(rest))
    moved = rest[:at] + data[low:high] + rest[at:]
    return rng.choice((rest, data[:high] + data[low:], moved))


def _lines(rng: random.Random, data: bytes) -> bytes:
    """A line deleted or doubled, or two exchanged."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data * 2
    i, j = rng.sample(range(len(lines)), 2)
    what = rng.randrange(3)
    if what == 0:
        del lines[i]
    elif what == 1:
        lines.insert(j, lines[i])
    else:
        lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def _ends(rng: random.Random, data: bytes) -> bytes:
    """Other line ends: of all lines, or of one."""
    end = rng.choice((b"\r\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\0\n", b"", b" \n"))
    lines = data.split(b"\n")
    if rng.random() < 0.5 or len(lines) < 2:
        return end.join(lines)
    at = rng.randrange(1, len(lines))
    return b"\n".join(lines[:at]) + end + b"\n".join(lines[at:])


def _long(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice((b"A", b" ", b"\t", b"9", b">", b"\n")) * 100_000 + data[at:]


def _wide(rng: random.Random, data: bytes) -> bytes:
    return data.decode("latin-1").encode(rng.choice(("utf-16", "utf-8-sig", "utf-32-le")))


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip, _flip, _cut, _behead, _insert, _insert, _lead, _number, _chunk, _lines, _lines, _ends,
    _ends, _long, _wide,
)  # fmt: skip


# Packings


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)


def bgzipped(data: bytes) -> bytes:
    """As bgzip, in blocks of 500 bytes: so small files have several."""
    target = io.BytesIO()
    with bgzf.BgzfWriter(fileobj=target, compresslevel=1) as writer:
        for start in range(0, len(data), 500):
            writer.write(data[start : start + 500])
            writer.flush()
        target.close = lambda: None
    return target.getvalue()


def _spoilt(pack: Callable[[bytes], bytes]) -> Callable[[random.Random, bytes], bytes]:
    def spoil(rng: random.Random, data: bytes) -> bytes:
        spoiler = rng.choice((_flip, _cut, _chunk, _insert))
        return spoiler(rng, pack(data))

    return spoil


def _joined(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    first, second = (rng.choice((_gzip, bgzipped, bytes)) for _ in range(2))
    return first(data[:at]) + second(data[at:])


PACKINGS: dict[str, tuple[int, Callable[[random.Random, bytes], bytes]]] = {
    "plain": (50, lambda _, data: data),
    "gzip": (8, lambda _, data: _gzip(data)),
    "bgzip": (14, lambda _, data: bgzipped(data)),
    "spoilt gzip": (8, _spoilt(_gzip)),
    "spoilt bgzip": (12, _spoilt(bgzipped)),
    "joined": (6, _joined),
    "gzip of gzip": (2, lambda _, data: _gzip(_gzip(data))),
}


def unpacked(data: bytes) -> bytes | None:
    """What a gzip file holds, every member of it; ``data`` where it is none, None if broken."""
    if data[:2] != b"\x1f\x8b":
        return data
    parts = []
    while data:
        member = zlib.decompressobj(31)
        # Flags that mean nothing are let pass by gzip and by Python, not by zlib.
        data = data[:3] + bytes(flag & 0x1F for flag in data[3:4]) + data[4:]
        try:
            parts.append(member.decompress(data))
        except zlib.error:
            return None
        if not member.eof:
            return None
        data = member.unused_data.lstrip(b"\0")  # padding
    return b"".join(parts)


# What these files say, read as simply as can be


@dataclass(frozen=True)
class Plain:
    """A FASTA without a doubtful thing in it; ``even``: it can be indexed."""

    records: dict[str, bytes]
    even: bool


_IUPAC = re.compile(rb"[ACGTURYSWKMBDHVN.*-]*", re.IGNORECASE)


def plain_fasta(text: bytes) -> Plain | None:
    """The records of a FASTA that is as it should be, else None."""
    if re.search(rb"\r(?!\n)", text) or b"\0" in text:
        return None
    records: dict[str, bytes] = {}
    even = True
    for block in re.split(rb"^>", text, flags=re.MULTILINE)[1:]:
        header, *lines = [line.removesuffix(b"\r") for line in block.split(b"\n")]
        name = re.split(rb"[ \t\x0b\x0c]", header)[0]
        try:
            name = name.decode()
        except UnicodeDecodeError:
            return None
        if not name or name in records or not all(map(_IUPAC.fullmatch, lines)):
            return None
        records[name] = b"".join(lines)
        even = even and _even(block)
    begins = text.startswith(b">")
    return Plain(records, even) if begins and records else None


def _even(block: bytes) -> bool:
    lines = block.split(b"\n")[1:]
    if lines and not lines[-1]:
        lines.pop()
    widths, ends = [len(line.rstrip(b"\r")) for line in lines], {line[-1:] for line in lines[:-1]}
    full = set(widths[:-1])
    return len(full) < 2 and 0 not in widths and (not full or widths[-1] <= full.pop()) and (
        b"\r" not in ends or ends == {b"\r"}
    )  # fmt: skip


def counted_records(text: bytes) -> int:
    """Lines that begin with '>', whatever lines end with."""
    return len(re.findall(rb"(?:\A|[\r\n])>", text))


def counted_bases(text: bytes) -> int:
    """Bytes that are no white space on lines below the first header."""
    below = re.sub(rb"\A(?:[^>\n][^\n]*\n|\n)*", b"", text)
    return len(b"".join(re.sub(rb"^>.*", b"", below, flags=re.MULTILINE).split()))


def plain_bed(text: bytes) -> list[tuple[str, int, int, str]] | None:
    """(contig, start, end, strand) of a BED that is as it should be, else None."""
    if re.search(rb"\r(?!\n)", text) or b"\0" in text:
        return None
    regions = []
    for line in text.split(b"\n"):
        line = line.removesuffix(b"\r")
        if not line or line.startswith((b"#", b"track ", b"browser ")):
            continue
        match = re.fullmatch(rb"([\x21-\x7e]+)\t(\d{1,18})\t(\d{1,18})((?:\t[\x20-\x7e]*)*)", line)
        more = match[4].split(b"\t")[1:] if match else []
        strand = more[2].decode() if len(more) > 2 else "."
        if match is None or strand not in ("+", "-", ".") or int(match[2]) >= int(match[3]):
            return None
        if match[1].startswith((b">", b";")):
            return None
        regions.append((match[1].decode(), int(match[2]), int(match[3]), strand))
    try:
        text.decode()
    except UnicodeDecodeError:
        return None
    return regions or None


def counted_regions(text: bytes) -> int:
    """Lines that hold something and are no comment, whatever lines end with."""
    text = text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    lines = re.split(r"[\r\n]", text)
    return sum(
        bool(line.strip())
        and not re.match(r"#|\s*(track|browser)(?!\S)(?!\s+-?\d+\s+-?\d+(?!\S))", line)
        for line in lines
    )
