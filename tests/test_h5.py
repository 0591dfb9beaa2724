"""dnatk h5 info, verify and merge, as they are used on the command line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from test_h5_merge import KINDS, content, make_rows, write

from dnatk.genome.regions import Region
from dnatk.labelled.dataset import LabelSpace
from dnatk.output.predictions_hdf5 import PredictionWriter
from dnatk.output.status import Status
from dnatk.output.table import Labeller
from dnatk.output.verify import verify

FACTS = {"model": "small", "command": "dnatk embed g.fa"}


@pytest.fixture
def pooled(tmp_path):
    return write(tmp_path / "a.h5", "pooled", make_rows("pooled", 40, 5), **FACTS)


def test_info_tells_what_is_in_a_file(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.h5", "per-token", make_rows("per-token", 40, 5), **FACTS)
    size = path.stat().st_size
    done = run("h5", "info", "a.h5")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "file            a.h5\n"
        "format          dnatk-embedding\n"
        "format_version  1\n"
        "rows            40\n"
        "tokens          62\n"
        "width           3\n"
        "dtype           float16\n"
        "dnatk_version   0.2\n"
        "k               6\n"
        "model           small\n"
        "contigs         5\n"
        "strands         + 14, - 13, . 13\n"
        "status          scored 31, no_valid_kmer 1, out_of_bounds 5, unknown_contig 3\n"
        f"bytes           {size}\n"
        "command         dnatk embed g.fa\n"
    )


def write_predictions(path, kind, labels, classes=("a", "b")):
    """A file whose rows have these labels, each scored."""
    space = LabelSpace(kind, classes)
    writer = PredictionWriter(path, space=space, contigs={"c": 99}, attributes={})
    label = Labeller(space)
    rows = [label(Region("c", 0, 9), np.array(each, dtype="f4")) for each in labels]
    writer.append(rows)
    writer.finish()
    return path


@pytest.mark.parametrize(
    ("kind", "outputs", "counts"),
    [
        ("binary", [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], {"a": 1, "b": 2}),
        ("multilabel", [[0.9, 0.8], [0.2, 0.8], [0.3, 0.1]], {"a": 1, "b": 2, ".": 1}),
        ("regression", [[5, 6]], None),
    ],
)
def test_labels_are_counted_and_found_well(run, tmp_path, kind, outputs, counts):
    path = write_predictions(tmp_path / "p.h5", kind, outputs)
    facts = json.loads(run("h5", "info", path, "--json").out)
    assert facts.get("labels") == counts
    assert (facts["kind"], facts["classes"], facts["rows"]) == (kind, ["a", "b"], len(outputs))
    assert facts["status"] == {"scored": len(outputs)}
    assert verify(path).problems == []


def test_a_class_with_a_comma_is_counted_under_one_name(run, tmp_path):
    """That of the labels: one without a comma, which joins them."""
    outputs = [[0.9, 0.8, 0.9], [0.7, 0.1, 0.1]]
    path = write_predictions(tmp_path / "p.h5", "multilabel", outputs, ("a,b", "_c", "d"))
    facts = json.loads(run("h5", "info", path, "--json").out)
    assert facts["labels"] == {"a_b": 2, "_c": 1, "d": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_what_writers_write_is_well(run, tmp_path, kind):
    a = write(tmp_path / "a.h5", kind, make_rows(kind, 50, 1))
    b = write(tmp_path / "b.h5", kind, [])
    done = run("h5", "verify", a, b)
    assert done.out == f"{a}: ok, 50 rows\n{b}: ok, 0 rows\n"
    assert (done.code, done.err) == (0, "")


def set_value(name, at, value):
    def harm(file):
        file[name][at] = value

    return harm


def scored_row(file):
    return int(np.flatnonzero(file["region/status"][:] == 0)[0])


def set_scored(name, value):
    def harm(file):
        file[name][scored_row(file)] = value

    return harm


def remove(name):
    def harm(file):
        del file[name]

    return harm


def cut(name, length):
    def harm(file):
        file[name].resize(length, axis=0)

    return harm


def drop(file):
    file.attrs["complete"] = False


def twice(file):
    names = file["contig/name"]
    names[1] = names[0]


# Row 3 is the first scored one of all these files, row 0 the first that is not.
HARMS = [
    ("pooled", drop, "is not complete: the run that wrote it was cut off"),
    ("pooled", remove("region/strand"), "has no dataset /region/strand"),
    ("pooled", remove("contig/length"), "has no dataset /contig/length"),
    ("pooled", cut("region/end", 39), "/region/end has the length 39, not 40"),
    ("pooled", cut("embedding", 41), "/embedding has the length 41, not 40"),
    ("pooled", set_value("region/contig", 7, 77), "row 7: there is no contig 77"),
    ("pooled", set_value("region/start", 7, -1), "row 7: its start is -1"),
    ("pooled", set_value("region/start", 7, 99), "row 7: its end * is before its start 99"),
    ("pooled", set_scored("region/end", 10**6), "row *: its end 1000000 is past its contig's, *"),
    ("pooled", set_value("region/strand", 7, b"x"), "row 7: its strand is 'x'"),
    ("pooled", set_value("region/name", 7, b"\xff"), "row 7: its name is not utf-8"),
    ("pooled", set_scored("region/status", 9), "row *: its status 9 is unknown"),
    ("pooled", set_scored("region/status", 1), "row *: /embedding is not NaN, but its status *"),
    ("pooled", set_scored("embedding", np.inf), "row *: /embedding is not finite, but its sta*"),
    ("pooled", twice, "/contig/name has a name twice"),
    ("pooled", set_value("contig/length", 1, -2), "contig 1: its length is -2"),
    ("per-token", set_value("token/offset", 0, 1), "/token/offset begins with 1, not 0"),
    ("per-token", set_value("token/offset", 40, 9**9), "/token/offset ends with 387420489, *"),
    ("per-token", set_value("token/offset", 9, 0), "row *: its tokens end before they begin"),
    ("per-token", set_value("token/embedding", 5, np.nan), "token 5: its vector is not finite"),
    ("per-token", cut("token/offset", 40), "/token/offset has the length 40, not 41"),
    ("multiclass", remove("prediction/score"), "has no dataset /prediction/score"),
    ("multiclass", set_scored("prediction/label", "d"), "row *: its label 'd' is no class"),
    ("multiclass", set_scored("prediction/label", "."), "row *: its label '.' is no class"),
    (
        "multiclass",
        set_scored("prediction/probability", 1.1),
        "row *: /prediction/probability is *",
    ),
    ("multiclass", set_scored("prediction/score", -1), "row *: /prediction/score is outside of *"),
    ("regression", set_scored("prediction/value", np.nan), "row *: /prediction/value is not fi*"),
    ("regression", set_scored("prediction/label", "5"), "row *: its label '5' is no class"),
]


@pytest.mark.parametrize(
    ("kind", "harm", "said"), HARMS, ids=[f"{i}-{each[2][:20]}" for i, each in enumerate(HARMS)]
)
def test_each_harm_is_told_with_its_place(run, tmp_path, kind, harm, said):
    from fnmatch import fnmatchcase

    path = write(tmp_path / "a.h5", kind, make_rows(kind, 40, 5))
    with h5py.File(path, "a") as file:
        first = scored_row(file)
        harm(file)
    done = run("h5", "verify", path)
    assert done.code == 1
    lines = done.out.splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    said = said.replace("row *", f"row {first}" if "scored" in harm.__qualname__ else "row *")
    patterns = [f"{path}: {said}", f"{path}: {said} (and * more)"]
    assert any(fnmatchcase(line, each) for line in lines for each in patterns), done.out
    for command in (["info"], ["export"], ["merge", "-o", tmp_path / "out.h5"]):
        done = run("h5", *command, path)  # which need not come by it
        assert done.code == 0 or done.err.startswith(f"dnatk: error: {path}: "), done.err


def test_a_row_that_was_not_scored_has_no_label_and_no_tokens(tmp_path):
    path = write(tmp_path / "p.h5", "multiclass", make_rows("multiclass", 40, 5))
    with h5py.File(path, "a") as file:
        row = int(np.flatnonzero(file["region/status"][:])[0])
        file["prediction/label"][row] = "a"
    assert verify(path).problems == [f"row {row}: its label is 'a', but it is not scored"]
    path = write(tmp_path / "t.h5", "per-token", make_rows("per-token", 40, 5))
    with h5py.File(path, "a") as file:
        counts = np.diff(file["token/offset"][:])
        row = int(np.flatnonzero(counts)[0])
        file["region/status"][row] = Status.UNKNOWN_CONTIG
    assert verify(path).problems == [f"row {row}: has {counts[row]} tokens, but is not scored"]


def test_problems_are_counted_over_all_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("dnatk.output.layout.BLOCK_BYTES", 700)
    path = write(tmp_path / "a.h5", "pooled", make_rows("pooled", 300, 5))
    assert verify(path).problems == []
    with h5py.File(path, "a") as file:
        file["region/strand"][100:] = b"?"
    assert verify(path).problems == ["row 100: its strand is '?' (and 199 more)"]


def test_a_packed_copy_is_no_damaged_file(run, tmp_path):
    """As h5repack makes it: equal vectors take a thousandth of their size."""
    path, packed = tmp_path / "a.h5", tmp_path / "packed.h5"
    path = write(path, "pooled", make_rows("pooled", 4000, 5))
    with h5py.File(path, "a") as file:
        file["embedding"][:] = 1
        file["region/status"][:] = 0
    with h5py.File(path) as file, h5py.File(packed, "w") as copy:
        copy.attrs.update(file.attrs)

        def add(name, item):
            if isinstance(item, h5py.Dataset):
                options = {"compression": "gzip", "shuffle": True, "chunks": True}
                copy.create_dataset(name, data=item[:], dtype=item.dtype, **options)

        file.visititems(add)
        assert copy["embedding"].nbytes > copy["embedding"].id.get_storage_size() * 20
    assert run("h5", "info", packed).code == 0
    assert run("h5", "export", packed).out == run("h5", "export", path).out
    assert "larger than the file" not in run("h5", "verify", packed).out


def test_a_damaged_file_is_a_line_and_not_a_traceback(run, tmp_path, pooled):
    """Cut anywhere, or with a broken structure inside."""
    whole = pooled.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        pooled.write_bytes(whole[:length])
        done = run("h5", "verify", pooled)
        assert done.out == f"{pooled}: is no HDF5 file, or a damaged one\n"
        assert done.code == 1
        assert run("h5", "info", pooled).err == (
            f"dnatk: error: {pooled}: is no HDF5 file, or a damaged one\n"
        )
    # The marks of HDF5's own structures: groups, chunk indexes and texts.
    places = [found.start() for found in re.finditer(b"GCOL|TREE|SNOD|HEAP", whole)]
    assert len(places) > 10
    for place in places:
        pooled.write_bytes(whole[:place] + b"gone" + whole[place + 4 :])
        done = run("h5", "verify", pooled)
        assert (done.code, done.err) == (1, "")
        out = tmp_path / "out.h5"
        for command in (["info"], ["export"], ["merge", "-o", out, "--force"]):
            done = run("h5", *command, pooled)  # which need not come by it
            assert done.code == 0 or done.err.startswith(f"dnatk: error: {pooled}: "), done.err


def test_columns_that_are_not_equally_long_are_not_exported(run, tmp_path):
    """The rows that they have in common are not those of the file."""
    path = write(tmp_path / "a.h5", "multiclass", make_rows("multiclass", 40, 5))
    for name in ("region/end", "region/name", "prediction/label", "prediction/probability"):
        with h5py.File(path, "a") as file:
            file[name].resize(41, axis=0)
        done = run("h5", "export", path)
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            f"dnatk: error: {path}: its columns are not equally long (dnatk h5 verify says which)\n"
        )
        with h5py.File(path, "a") as file:
            file[name].resize(40, axis=0)


def test_other_files_are_named(run, tmp_path):
    text = tmp_path / "t.h5"
    text.write_text("text")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    for path, said in [
        (text, "is no HDF5 file, or a damaged one"),
        (tmp_path / "none.h5", "no such file"),
        (tmp_path, "is a directory"),
        (tmp_path / "other.h5", "is no embedding or prediction file of dnatk"),
    ]:
        assert run("h5", "verify", path).out == f"{path}: {said}\n"
        for command in (["info", path], ["export", path], ["merge", path, "-o", tmp_path / "x.h5"]):
            done = run("h5", *command)
            assert (done.code, done.err) == (1, f"dnatk: error: {path}: {said}\n")


def shards(tmp_path, kind, rows, n):
    """n shards of a run: neighbouring rows."""
    made = []
    cuts = [len(rows) * i // n for i in range(n + 1)]
    for i in range(n):
        facts = {"shard": f"{i + 1}/{n}", "command": f"shard {i + 1}"}
        made.append(write(tmp_path / f"s{i + 1}.h5", kind, rows[cuts[i] : cuts[i + 1]], **facts))
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_shards_become_the_file_of_the_whole_run(run, tmp_path, kind):
    rows = make_rows(kind, 32, 8)
    made = shards(tmp_path, kind, rows, 3)
    out = tmp_path / "out.h5"
    done = run("h5", "merge", made[2], made[0], made[1], "-o", out)
    assert (done.code, done.out, done.err) == (0, "", f"{out}: 32 rows\n")
    assert content(out) == content(write(tmp_path / "whole.h5", kind, rows, command="shard 1"))
    assert verify(out).problems == []


def test_shards_must_be_all_there_and_once(run, tmp_path):
    made = shards(tmp_path, "pooled", make_rows("pooled", 20, 8), 4)
    out = tmp_path / "out.h5"

    def error(*files):
        done = run("h5", "merge", *files, "-o", out)
        assert done.code == 1
        assert not out.exists()
        return done.err.removeprefix("dnatk: error: ").rstrip("\n")

    assert error(made[0], made[2], made[3]) == "shard missing: 2/4"
    assert error(made[3]) == "shards missing: 1/4, 2/4, 3/4"
    assert error(*made, made[1]) == f"{made[1]}: is given twice"
    copy = shutil.copyfile(made[1], tmp_path / "copy.h5")
    assert error(*made, copy) == f"{copy}: is shard 2/4, so is {made[1]}"
    plain = write(tmp_path / "plain.h5", "pooled", make_rows("pooled", 3, 0))
    assert error(*made, plain) == f"{plain}: is no shard, but {made[0]} is shard 1/4"
    other = write(tmp_path / "other.h5", "pooled", make_rows("pooled", 3, 0), shard="5/5")
    assert error(*made, other) == f"{other}: is shard 5/5, {made[0]} is 1/4"


def test_files_alike_follow_one_another(run, tmp_path):
    rows = make_rows("pooled", 10, 3)
    a = write(tmp_path / "a.h5", "pooled", rows[6:], command="first")
    b = write(tmp_path / "b.h5", "pooled", rows[:6], command="second")
    out = tmp_path / "out.h5"
    assert run("h5", "merge", b, a, "-o", out).code == 0
    assert content(out) == content(write(tmp_path / "c.h5", "pooled", rows, command="second"))
    done = run("h5", "merge", b, a, "-o", out)
    assert done.err == f"dnatk: error: {out}: exists already (--force overwrites it)\n"
    assert run("h5", "-h").code == 0
    # *.h5 may hold the one that was made before.
    before = out.read_bytes()
    done = run("h5", "merge", b, a, out, "-o", out, "--force")
    assert done.err == f"dnatk: error: {out}: is what is read (name another output)\n"
    assert out.read_bytes() == before


def test_files_unlike_are_refused(run, tmp_path):
    a = write(tmp_path / "a.h5", "pooled", make_rows("pooled", 4, 0))
    hint = " (only files that agree in this can be merged)"
    for other, kind, said in [
        ({"k": 5}, "pooled", f"has k 5, {a} has 6"),
        ({"rc": "average"}, "pooled", f"has rc average, {a} has none"),
        ({}, "per-token", f"has per-token vectors True, {a} has False"),
        ({}, "multiclass", f"has format dnatk-prediction, {a} has dnatk-embedding"),
    ]:
        b = write(tmp_path / "b.h5", kind, make_rows(kind, 4, 0), **other)
        done = run("h5", "merge", a, b, "-o", tmp_path / "out.h5")
        assert (done.code, done.err) == (1, f"dnatk: error: {b}: {said}{hint}\n")
    p = write_predictions(tmp_path / "p.h5", "binary", [[0.9, 0.1]])
    q = write_predictions(tmp_path / "q.h5", "binary", [[0.9, 0.1]], classes=("a", "c"))
    done = run("h5", "merge", p, q, "-o", tmp_path / "out.h5")
    assert done.err == f"dnatk: error: {q}: has classes ['a', 'c'], {p} has ['a', 'b']{hint}\n"


@pytest.mark.parametrize("most", [3000, 100_000])
def test_a_full_disk_leaves_nothing(tmp_path, pooled, most):
    """A limit on the size of files stands in for the end of the disk."""
    script = (
        "import resource, sys; from dnatk.cli import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, -1)); main(sys.argv[1:])"
    )
    out = tmp_path / "out.h5"
    command = [sys.executable, "-c", script, "h5", "merge", pooled, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True)
    said = f"dnatk: error: {out}: cannot be written: File too large\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert list(tmp_path.iterdir()) == [pooled]
