"""dnatk h5 export: every format gives back the numbers of the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
from test_h5_merge import KINDS, make_rows, write

from dnatk.output.export import export
from dnatk.output.frames import read_embeddings, read_predictions
from dnatk.output.hdf5 import EmbeddingWriter
from dnatk.output.verify import verify

REGION = ["contig", "start", "end", "strand", "name", "status"]


@pytest.fixture(params=[2**21, 500], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr("dnatk.output.layout.BLOCK_BYTES", request.param)
    monkeypatch.setattr("dnatk.output.export._GROUP_BYTES", request.param)
    monkeypatch.setattr("dnatk.output.export._TEXT_BYTES", request.param)


def expected(path, kind) -> pd.DataFrame:
    """The rows of a file by its reader, in the columns of an export."""
    if kind in ("pooled", "per-token"):
        frame, vectors = read_embeddings(path)
        if kind == "per-token":
            first, last = frame.pop("token_start"), frame.pop("token_end")
            rows = []  # (region, token, vector)
            for i, (a, b) in enumerate(zip(first, last, strict=True)):
                rows += [(i, t - a, vectors[t]) for t in range(a, b)]
                rows += [(i, -1, np.full(3, np.nan, "f2"))] if a == b else []
            frame = frame.iloc[[i for i, _, _ in rows]].reset_index(drop=True)
            frame["token"] = [token for _, token, _ in rows]
            vectors = np.array([vector for _, _, vector in rows])
    else:
        frame, vectors = read_predictions(path)
    frame.attrs.clear()
    if vectors is not None:
        vectors = pd.DataFrame(vectors, columns=[f"e{i}" for i in range(vectors.shape[1])])
        frame = pd.concat([frame, vectors], axis=1)
    return frame


@pytest.fixture(params=KINDS)
def source(request, tmp_path):
    kind = request.param
    path = write(tmp_path / "a.h5", kind, make_rows(kind, 60, 7), dataset="å")
    return path, kind, expected(path, kind)


def same(found: pd.DataFrame, wanted: pd.DataFrame, **options) -> None:
    assert list(found) == list(wanted)
    pd.testing.assert_frame_equal(
        found.astype({"contig": object, "strand": object}), wanted, check_dtype=False, **options
    )


def test_tsv_has_the_shortest_text_of_each_number(run, source, blocks):
    path, _, wanted = source
    done = run("h5", "export", path)
    assert (done.code, done.err) == (0, "")
    lines = [line.split("\t") for line in done.out.splitlines()]
    assert lines[0] == ["#contig", *list(wanted)[1:]]
    assert len(lines) == len(wanted) + 1
    for fields, row in zip(lines[1:], wanted.itertuples(index=False), strict=True):
        for name, text, value in zip(wanted, fields, row, strict=True):
            if isinstance(value, float):
                value = wanted[name].dtype.type(value)  # the tuple has Python's
            assert text == ("NA" if value != value else str(value))


def test_tsv_to_a_file_is_the_same(run, source, tmp_path):
    path, *_ = source
    out = tmp_path / "a.tsv"
    assert run("h5", "export", path, "-o", out).err == f"{out}: {len(source[2])} rows\n"
    assert out.read_text() == run("h5", "export", path, "--format", "tsv").out
    done = run("h5", "export", path, "-o", out)
    assert (done.code, done.err) == (
        1,
        f"dnatk: error: {out}: exists already (--force overwrites it)\n",
    )


def test_names_cannot_break_a_table(run, tmp_path):
    path = write(tmp_path / "a.h5", "pooled", make_rows("pooled", 2, 0))
    with h5py.File(path, "a") as file:
        file["region/name"][0] = "a\tb\nc\r\u2028"
    assert run("h5", "export", path).out.splitlines()[1].split("\t")[4] == "a_b_c__"


def test_parquet(run, source, tmp_path, blocks):
    path, _, wanted = source
    out = tmp_path / "a.parquet"
    assert run("h5", "export", path, "-o", out).code == 0
    same(pd.read_parquet(out), wanted)
    from pyarrow import parquet

    schema = parquet.read_schema(out)
    assert json.loads(schema.metadata[b"dnatk"])["dataset"] == "å"
    assert str(schema.field(schema.names[-1]).type) == "float"


def test_npz(run, source, tmp_path, blocks):
    path, _, wanted = source
    out = tmp_path / "a.npz"
    assert run("h5", "export", path, "-o", out).code == 0
    with np.load(out) as arrays:
        found = dict(arrays)
    columns = [*REGION, *(name for name in ("label", "score", "token") if name in wanted)]
    for name in columns:
        assert found.pop(name).tolist() == pytest.approx(wanted[name].tolist(), nan_ok=True)
    assert json.loads(str(found.pop("attributes")))["k"] == 6
    for name, prefix in (("probability", "p_"), ("value", "value_"), ("embedding", "e")):
        if name in found:
            matrix = found.pop(name)
            stored = wanted[[each for each in wanted if each.startswith(prefix) and each != "end"]]
            np.testing.assert_array_equal(matrix, stored)
            assert matrix.dtype == ("f2" if name == "embedding" else "f4")
    assert set(found) <= {"class"}


def test_h5ad(run, source, tmp_path, blocks):
    from anndata import read_h5ad

    path, kind, wanted = source
    out = tmp_path / "a.h5ad"
    done = run("h5", "export", path, "-o", out)
    if kind == "per-token":
        assert done.code == 1
        assert "has a vector for each token, h5ad has one for each region" in done.err
        assert not out.exists()
        return
    assert done.code == 0
    found = read_h5ad(out)
    assert found.uns["dataset"] == "å"
    variables = [name for name in wanted if name in found.var_names]
    assert list(found.var_names) == variables
    assert (variables[0] == "e0") == (kind in ("pooled", "multiclass+vectors"))
    np.testing.assert_array_equal(found.X, wanted[variables].to_numpy("f4"))
    assert list(found.obs_names) == [str(i) for i in range(60)]
    for name in found.obs:
        assert found.obs[name].tolist() == pytest.approx(wanted[name].tolist(), nan_ok=True)
    assert set(found.obs) | set(variables) == set(wanted)


@pytest.mark.parametrize("format", ["tsv", "npz", "parquet", "h5ad"])
def test_a_file_without_rows(run, tmp_path, format):
    for kind in KINDS:
        path = write(tmp_path / f"{kind}.h5", kind, [])
        done = run("h5", "export", path, "-o", tmp_path / f"{kind}.{format}")
        assert done.code == (kind == "per-token" and format == "h5ad"), done.err


def test_the_format_is_named_by_the_output(run, tmp_path):
    path = write(tmp_path / "a.h5", "pooled", make_rows("pooled", 2, 0))
    done = run("h5", "export", path, "-o", tmp_path / "a.xyz")
    assert done.code == 2
    assert "name the format with --format" in done.err
    done = run("h5", "export", path, "--format", "npz")
    assert done.code == 2
    assert "npz cannot go to stdout" in done.err
    assert run("h5", "export", path, "-o", tmp_path / "a.xyz", "--format", "npz").code == 0
    with np.load(tmp_path / "a.xyz") as arrays:
        assert arrays["embedding"].shape == (2, 3)


@pytest.mark.parametrize(("format", "library"), [("parquet", "pyarrow"), ("h5ad", "anndata")])
def test_a_missing_library_is_named(run, tmp_path, monkeypatch, format, library):
    path = write(tmp_path / "a.h5", "pooled", make_rows("pooled", 2, 0))
    for name in (library, "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    out = tmp_path / f"a.{format}"
    done = run("h5", "export", path, "-o", out)
    said = f"{format} needs {library} (pip install 'dnatk[export]')"
    assert (done.code, done.err) == (1, f"dnatk: error: {out}: {said}\n")


def test_a_reader_may_stop_early(tmp_path):
    writer = EmbeddingWriter(
        tmp_path / "a.h5", width=64, dtype="float32", per_token=False, contigs={}, attributes={}
    )
    regions = [row[0] for row in make_rows("pooled", 4000, 0)]
    writer.append(regions, np.zeros(4000), np.random.default_rng(0).normal(size=(4000, 64)))
    writer.finish()
    command = f"{sys.executable} -m dnatk h5 export {tmp_path / 'a.h5'} | head -n 2"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("per_token", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path, per_token):
    """12 MB of vectors, in a per-token file those of ten regions; as text four times as much."""
    rng, path = np.random.default_rng(0), tmp_path / "a.h5"
    facts = {"contigs": {}, "attributes": {}}
    writer = EmbeddingWriter(path, width=600, dtype="float16", per_token=per_token, **facts)
    regions = [row[0] for row in make_rows("pooled", 1000, 0)]
    for _ in range(10):
        mine = regions[:1] if per_token else regions
        counts = np.array([1000]) if per_token else None
        writer.append(mine, np.zeros(len(mine)), rng.normal(size=(1000, 600)), counts)
    writer.finish()
    with open(os.devnull, "wb") as null:
        for work, most in (
            (lambda: verify(path), 8e6),
            (lambda: export(path, tmp_path / "a.npz", "npz"), 8e6),
            (lambda: export(path, null, "tsv"), 12e6),  # every float16 as text: 5 MB
        ):
            tracemalloc.start()
            work()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < most
