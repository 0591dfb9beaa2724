"""Merging row files: the result is the file that one writer would have written."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError
from dnatk.genome.regions import Region
from dnatk.labelled.dataset import LabelSpace
from dnatk.output import layout, merge
from dnatk.output.hdf5 import EmbeddingWriter
from dnatk.output.merge import Piece, merge_rows
from dnatk.output.predictions_hdf5 import PredictionWriter
from dnatk.output.status import Status
from dnatk.output.table import Labeller, Prediction

KINDS = ("pooled", "per-token", "multiclass", "multiclass+vectors", "regression")
LENGTHS = {"chr1": 1000, "chr2": 500, "scaffold é": 60}
SPACES = {
    "multiclass": LabelSpace("multiclass", ("a", "b,c", "ü")),
    "regression": LabelSpace("regression", ("dev", "hk")),
}


def make_rows(kind: str, n: int, seed: int) -> list[tuple]:
    """(region, status, vectors) or predictions of n rows; some unscored, some of other contigs."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        contig = ["chr1", "chr2", "scaffold é", "other", "else"][rng.integers(5)]
        start = int(rng.integers(40))
        name = "" if i % 3 else f"gene {i} å"
        region = Region(contig, start, start + int(rng.integers(20)), "+-."[i % 3], name)
        status = Status(int(rng.integers(4) // 3 * rng.integers(1, 4)))
        rows.append(make_row(kind, region, status, rng))
    return rows


def make_row(kind: str, region: Region, status: Status, rng) -> object:
    if kind in ("pooled", "per-token"):
        tokens = 1 if kind == "pooled" else int(rng.integers(5)) * (not status)
        vectors = rng.normal(size=(tokens, 3))
        return region, status, vectors if kind == "per-token" or not status else vectors * np.nan
    if status:
        return Prediction.unscored(region, status.note)
    space = SPACES[kind.partition("+")[0]]
    output_C = rng.dirichlet([1] * len(space.classes)).astype("f4")
    return Labeller(space)(region, output_C, rng.normal(size=4))


def write(
    path: Path, kind: str, rows: list, *, contigs: dict[str, int] = LENGTHS, **attributes
) -> Path:
    """One file of rows, by the writer of its kind."""
    attributes = {"dnatk_version": "0.2", "command": "dnatk é", "k": 6, **attributes}
    options = {"contigs": contigs, "attributes": attributes}
    if kind in ("pooled", "per-token"):
        per_token = kind == "per-token"
        writer = EmbeddingWriter(path, width=3, dtype="float16", per_token=per_token, **options)
        for region, status, vectors in rows:
            counts = np.array([len(vectors)]) if per_token else None
            writer.append([region], np.array([status]), vectors, counts)
    else:
        space, _, vectors = kind.partition("+")
        writer = PredictionWriter(
            path, space=SPACES[space], width=4 if vectors else None, **options
        )
        writer.append(rows)
    writer.finish()
    return path


def content(path: Path) -> dict[str, object]:
    """Attributes of the root, and each dataset's values, type, shape and chunks."""
    with h5py.File(path) as file:
        found = {f"@{name}": (value, np.dtype(type(value))) for name, value in file.attrs.items()}

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                values = item[:].tolist() if item.dtype == object else item[:].tobytes()
                found[name] = (item.dtype, item.shape, item.maxshape, item.chunks, values)

        file.visititems(visit)
    return found


def split(directory: Path, kind: str, rows: list, cuts: list[int], **options) -> list[Path]:
    """Files of the rows between cuts."""
    edges = [0, *sorted(cuts), len(rows)]
    return [
        write(directory / f"{kind}-{i}.h5", kind, rows[a:b], **options)
        for i, (a, b) in enumerate(pairwise(edges))
    ]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_pieces_become_the_file_written_in_one_go(tmp_path, kind, data):
    n = data.draw(st.integers(0, 30))
    cuts = data.draw(st.lists(st.integers(0, n), max_size=6))
    rows = make_rows(kind, n, data.draw(st.integers(0, 9)))
    whole = write(tmp_path / "whole.h5", kind, rows)
    pieces = split(tmp_path, kind, rows, cuts, contigs={})
    merged = tmp_path / "merged.h5"
    assert merge_rows([Piece(path) for path in pieces], merged, contigs=LENGTHS) == n
    assert content(merged) == content(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_and_chunks_leave_no_seam(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(layout, "BLOCK_BYTES", 700)
    monkeypatch.setattr("dnatk.output.hdf5._CHUNK_BYTES", 600)
    rows = make_rows(kind, 300, 1)
    whole = write(tmp_path / "whole.h5", kind, rows)
    pieces = split(tmp_path, kind, rows, [7, 7, 110, 111, 299])
    merged = tmp_path / "merged.h5"
    merge_rows([Piece(path) for path in pieces], merged)
    assert content(merged) == content(whole)


@pytest.mark.parametrize("most_open", [1, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_files_are_interleaved(tmp_path, kind, most_open, monkeypatch):
    monkeypatch.setattr(merge, "_MOST_OPEN", most_open)
    rows = make_rows(kind, 40, 2)
    parts = [rows[i : i + 3] for i in range(0, 40, 3)]
    files, pieces, ends = [], [], [0, 0]
    for i in (0, 1):
        mine = [row for part in parts[i::2] for row in part]
        files.append(write(tmp_path / f"{i}.h5", kind, mine))
    for number, part in enumerate(parts):
        i = number % 2
        pieces.append(Piece(files[i], ends[i], ends[i] + len(part)))
        ends[i] += len(part)
    merged = tmp_path / "merged.h5"
    assert merge_rows(pieces, merged) == 40
    assert content(merged) == content(write(tmp_path / "whole.h5", kind, rows))


def test_attributes_are_the_first_ones_and_those_given(tmp_path):
    rows = make_rows("pooled", 4, 0)
    a = write(tmp_path / "a.h5", "pooled", rows, shard="1/2", command="first")
    b = write(tmp_path / "b.h5", "pooled", rows, shard="2/2", command="second")
    merged = tmp_path / "merged.h5"
    merge_rows([Piece(a), Piece(b)], merged, attributes={"shard": None, "k": 7})
    with h5py.File(merged) as file:
        attributes = dict(file.attrs)
    assert "shard" not in attributes
    assert (attributes["command"], attributes["k"], attributes["complete"]) == ("first", 7, True)


def test_a_known_length_wins_and_another_is_refused(tmp_path):
    def one(name, contigs):
        row = make_row("pooled", Region("c", 0, 9), Status.SCORED, np.random.default_rng(0))
        return Piece(write(tmp_path / name, "pooled", [row], contigs=contigs))

    merged = tmp_path / "merged.h5"
    unknown, known = one("a.h5", {}), one("b.h5", {"b": 3, "c": 50})
    merge_rows([unknown, known, unknown], merged)
    with h5py.File(merged) as file:
        assert file["contig/name"].asstr()[:].tolist() == ["c", "b"]
        assert file["contig/length"][:].tolist() == [50, 3]
        assert file["region/contig"][:].tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="c has 51 bases, elsewhere 50"):
        merge_rows([known, one("c.h5", {"c": 51})], merged)


def test_other_layouts_and_unfinished_pieces_are_refused(tmp_path):
    pooled = write(tmp_path / "pooled.h5", "pooled", make_rows("pooled", 4, 0))
    for kind in set(KINDS) - {"pooled"}:
        other = write(tmp_path / "other.h5", kind, make_rows(kind, 4, 0))
        with pytest.raises(InputError, match=r"other.h5: is not laid out as .*pooled.h5 is"):
            merge_rows([Piece(pooled), Piece(other)], tmp_path / "merged.h5")
    with h5py.File(pooled, "a") as file:
        file.attrs["complete"] = False
    with pytest.raises(InputError, match="is not complete"):
        merge_rows([Piece(pooled)], tmp_path / "merged.h5")
    with pytest.raises(ValueError, match="no pieces"):
        merge_rows([], tmp_path / "merged.h5")


def test_an_unwritable_output_is_an_os_error(tmp_path):
    piece = Piece(write(tmp_path / "a.h5", "pooled", make_rows("pooled", 4, 0)))
    with pytest.raises(OSError, match="No space left"):
        merge_rows([piece], Path("/dev/full"))


def test_memory_does_not_grow_with_the_files(tmp_path):
    rng = np.random.default_rng(0)
    writer = EmbeddingWriter(
        tmp_path / "a.h5", width=256, dtype="float16", per_token=False, contigs={}, attributes={}
    )
    for _ in range(100):
        regions = [Region("chr1", 0, 9)] * 400
        writer.append(regions, np.zeros(400), rng.normal(size=(400, 256)))
    writer.finish()
    tracemalloc.start()
    assert merge_rows([Piece(tmp_path / "a.h5")] * 2, tmp_path / "merged.h5") == 80_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # the files hold 20 MB and 41 MB
