#!/usr/bin/env python3
"""Fetch real genomes, genes and labelled sets, each checked by its SHA-256.

    examples/data/fetch.py --list
    examples/data/fetch.py --only yeast -o data
    DNATK_TEST_DATA=data pytest

What there is stands in sources.tsv beside this file. A file appears under its name only when it
is whole and its sum is right; a download that was cut off goes on where it stood. Sources that
give no fixed file (UCSC, Ensembl) have no sum in sources.tsv: theirs is noted in DIR/SHA256SUMS
at the first fetch, and held against every later one. sha256sum -c SHA256SUMS checks them all.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import http.client
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CATALOGUE = Path(__file__).with_name("sources.tsv")
NOTED = "SHA256SUMS"
CHUNK = 1 << 20


class FetchError(Exception):
    """Why a file cannot be had, in one line."""


class Source(NamedTuple):
    """A line of sources.tsv."""

    name: str  # the path under DIR
    url: str
    sha256: str  # of what the URL gives, "-" where that is not fixed
    note: str

    @property
    def packed(self) -> bool:
        """Whether the file is to be gzipped once its sum is known."""
        return self.name.endswith(".gz") and not self.url.endswith(".gz")


def read_catalogue(path: Path) -> list[Source]:
    lines = path.read_text("utf-8").splitlines()
    return [Source(*line.split("\t")) for line in lines if line and not line.startswith("#")]


def chosen(sources: list[Source], wanted: list[str]) -> list[Source]:
    """Those whose path is one of ``wanted`` or begins with it; all where nothing is wanted."""
    for each in wanted:
        if not any(_within(source.name, each) for source in sources):
            raise FetchError(f"no data named '{each}': see --list")
    return [s for s in sources if not wanted or any(_within(s.name, each) for each in wanted)]


def _within(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(wanted.rstrip("/") + "/")


def fetch(source: Source, directory: Path) -> str:
    """Fetch one file unless it is there; what was done, in words."""
    final = directory / source.name
    noted = _noted(directory)
    if final.exists():
        known = noted.get(source.name)
        if known is None and not source.packed and source.sha256 != "-":
            known = source.sha256
        if known is None:
            return "is there, not fetched by this script: left as it is"
        if _sha256(final) != known:
            raise FetchError(
                f"{final}: has changed since it was fetched; remove it to fetch it again"
            )
        return "is there"
    partial = final.with_name(final.name + ".download")
    _download(source.url, partial)
    found = _sha256(partial)
    expected = noted.get(source.name, "-") if source.sha256 == "-" else source.sha256
    if expected not in ("-", found):
        partial.unlink()
        raise FetchError(f"{source.url}: its SHA-256 is {found}, not {expected}; nothing was kept")
    if source.sha256 == "-" and source.name.endswith(".gz"):
        _unpack_all(partial, source.url)
    if source.packed:
        _pack(partial)
    _note(directory, source.name, _sha256(partial))
    partial.replace(final)
    return "fetched" if expected != "-" else f"fetched, its SHA-256 noted in {directory / NOTED}"


def _download(url: str, partial: Path) -> None:
    """Write what the URL gives to ``partial``, after the bytes that are there already."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "dnatk-fetch"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            goes_on = answer.status == 206
            partial.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "ab" if goes_on else "wb") as file:
                for chunk in _chunks(answer):
                    file.write(chunk)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to fetch: the sum will tell
            return
        raise FetchError(f"{url}: HTTP {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        kept = partial.stat().st_size if partial.exists() else 0
        after = f"; {kept:,} bytes are kept, run it again to go on" if kept else ""
        raise FetchError(f"{url}: {reason or type(error).__name__}{after}") from None


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """What comes, piece by piece; an error where it ends too early."""
    left = answer.length
    while chunk := answer.read1(CHUNK):
        yield chunk
        if left is not None:
            left -= len(chunk)
    if left:
        raise OSError(f"the connection ended {left:,} bytes too early")


def _unpack_all(path: Path, url: str) -> None:
    """Read a gzip file to its end: its own checksums tell whether it is whole."""
    try:
        with gzip.open(path) as file:
            while file.read(CHUNK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        path.unlink()
        raise FetchError(f"{url}: gives no whole gzip file ({error}); nothing was kept") from None


def _pack(path: Path) -> None:
    """Gzip a file in its place; the same bytes whenever it is done."""
    packed = path.with_name(path.name + ".gz")
    with open(packed, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(path.read_bytes())
    packed.replace(path)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noted(directory: Path) -> dict[str, str]:
    """File to sum, as sha256sum writes them."""
    with contextlib.suppress(FileNotFoundError):
        lines = (directory / NOTED).read_text("utf-8").splitlines()
        return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    return {}


def _note(directory: Path, name: str, digest: str) -> None:
    sums = {**_noted(directory), name: digest}
    path = directory / (NOTED + ".new")
    path.write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)), "utf-8")
    path.replace(directory / NOTED)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and fetch nothing")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a file or a directory of the list; repeatable (default: all)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to put the files")
    parser.add_argument("--sources", type=Path, default=CATALOGUE, help="another list of sources")
    args = parser.parse_args()
    try:
        sources = chosen(read_catalogue(args.sources), args.only)
        if args.list:
            for source in sources:
                print(source.name, source.url, source.note, sep="\t")
            return 0
        if args.output is None:
            parser.error("name a directory with -o DIR (or see --list)")
        return fetch_all(sources, args.output)
    except FetchError as error:
        print(f"fetch.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fetch.py: interrupted; run it again to go on", file=sys.stderr)
        return 130


def fetch_all(sources: list[Source], directory: Path) -> int:
    """Fetch what can be had; 1 if one could not."""
    failed = 0
    for source in sources:
        try:
            print(f"{directory / source.name}: {fetch(source, directory)}", file=sys.stderr)
        except FetchError as error:
            failed += 1
            print(f"fetch.py: error: {error}", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
