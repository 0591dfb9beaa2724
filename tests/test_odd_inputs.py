"""Inputs that are odd: what is valid gets the exact answer, what is not one error of one line.

The faults below the middle were found by test_fuzz.py.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_model, make_task, random_bases, write_fasta
from fuzz_inputs import bgzipped, limit

import dnatk
from dnatk.errors import InputError, ReferenceError_
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome, read_fasta
from dnatk.genome.names import unknown_contig_hint
from dnatk.genome.regions import Region, parse_region
from dnatk.inference.embed import EmbedOptions
from dnatk.inference.predict import PredictOptions
from dnatk.model.loading import load_encoder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def streamed(path: Path | str) -> dict[str, str]:
    return {name: bases.tobytes().decode() for name, bases in read_fasta(path)}


def indexed(path: Path) -> dict[str, str]:
    with Genome(path) as genome:
        return {
            name: genome.fetch(name, 0, length).tobytes().decode()
            for name, length in genome.lengths.items()
        }


K, WINDOW = 6, 60
CPU = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """One layer, and windows of 60 bases at most."""
    path = tmp_path_factory.mktemp("odd") / "model"
    return make_model(path, max_position_embeddings=WINDOW - K + 3, num_hidden_layers=1)


@pytest.fixture(scope="module")
def task(model) -> Path:
    return make_task(model.parent / "task", model, method="probe")


@pytest.fixture(scope="module")
def mean_of(model):
    """The mean over the k-mers of one window, by k-mers counted out and the encoder alone."""
    import torch

    encoder = load_encoder(model, **CPU)
    kmers = {"".join(kmer): i for i, kmer in enumerate(itertools.product("ATCG", repeat=K), 5)}

    def call(bases: str) -> np.ndarray:
        bases = bases.upper()
        ids = [kmers.get(bases[i : i + K], 1) for i in range(len(bases) - K + 1)]
        all_ids = torch.tensor([2, *ids, 3])
        hidden = encoder(all_ids, torch.arange(len(all_ids)), [len(all_ids)]).numpy()
        return hidden[1:-1][np.array(ids) != 1].mean(0)

    return call


@pytest.fixture
def embed(model, tmp_path):
    """(regions, vectors, summary) of dnatk.embed, fp32."""
    numbers = itertools.count()

    def call(fasta, *, na: bool = True, **more):
        path = tmp_path / f"{next(numbers)}.h5"
        options = EmbedOptions(dtype="float32", on_error="na" if na else "fail", **CPU)
        summary = dnatk.embed(fasta, path, model=model, options=options, **more)
        return *dnatk.read_embeddings(path), summary

    return call


@pytest.fixture
def predict(task, tmp_path):
    """Rows of dnatk.predict, as lists of columns."""

    def call(source, **more) -> list[list[str]]:
        text = io.StringIO()
        options = PredictOptions(header=False, provenance=False, **CPU)
        dnatk.predict(source, text, task=task, options=options, **more)
        return [line.split("\t") for line in text.getvalue().split("\n")[:-1]]

    return call


@pytest.fixture
def bed(tmp_path):
    """A BED file of rows of columns."""

    def call(*rows) -> Path:
        path = tmp_path / "regions.bed"
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")
        return path

    return call


def triples(regions) -> list[tuple[str, int, int]]:
    return list(zip(regions["contig"], regions["start"], regions["end"], strict=True))


# Lengths


LENGTHS = (0, 1, K - 1, K, K + 1, WINDOW, WINDOW + 1)


@pytest.fixture
def lengths(tmp_path) -> tuple[Path, dict[str, str]]:
    contigs = {f"c{length}": random_bases(length, length) for length in LENGTHS}
    return write_fasta(tmp_path / "lengths.fa", contigs), contigs


def test_contigs_round_the_lengths_that_matter_are_tiled(lengths, embed, mean_of, monkeypatch):
    path, contigs = lengths
    step = WINDOW - K + 1  # the next window begins with the first k-mer that this one lacks
    wanted = [("c6", 0, 6), ("c7", 0, 7), ("c60", 0, 60), ("c61", 0, 60), ("c61", step, 61)]
    text = path.read_text()
    for fasta in (path, "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        regions, vectors, summary = embed(fasta)
        assert triples(regions) == wanted
        assert (summary.rows, summary.skipped) == (5, 3)
        means = [mean_of(contigs[name][start:end]) for name, start, end in wanted]
        np.testing.assert_allclose(vectors, means, atol=1e-5)


def test_whole_contigs_as_regions(lengths, embed, predict, bed, mean_of):
    """In a region every k-mer counts once: of the two windows of 61 bases, 50 k-mers and 6."""
    path, contigs = lengths
    names = list(contigs)[1:]  # BED has no region without a base
    source = bed(*((name, 0, len(contigs[name])) for name in names))
    regions, vectors, summary = embed(path, bed=source)
    assert triples(regions) == [(name, 0, len(contigs[name])) for name in names]
    assert list(regions["status"]) == [1, 1, 0, 0, 0, 0]
    assert (summary.rows, {int(k): v for k, v in summary.unscored.items()}) == (6, {1: 2})
    assert np.isnan(vectors[:2]).all()
    means = [mean_of(contigs[name]) for name in names[2:-1]]
    np.testing.assert_allclose(vectors[2:-1], means, atol=1e-5)
    assert np.isfinite(vectors[-1]).all()
    rows = predict(source, genome=path)
    assert [row[5] for row in rows] == ["too_short"] * 2 + ["."] * 4


def test_records_of_these_lengths_are_scored_one_by_one(lengths, predict, monkeypatch):
    path, _ = lengths
    rows = predict(path)
    assert [row[:3] for row in rows] == [[f"c{n}", "0", str(n)] for n in LENGTHS]
    assert [row[5] for row in rows] == ["too_short"] * 3 + ["."] * 4
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert predict("-") == rows


def test_regions_at_the_very_ends_of_a_contig(tmp_path, embed, predict, bed, mean_of):
    bases = random_bases(150, 5)
    path = write_fasta(tmp_path / "ends.fa", {"a": bases, "b": random_bases(9, 1)})
    spans = [(0, 6), (144, 150), (149, 150), (0, 1), (145, 151), (150, 151), (90, 150), (0, 60)]
    source = bed(*(("a", *span) for span in spans))
    regions, vectors, _ = embed(path, bed=source)
    assert list(regions["status"]) == [0, 0, 1, 1, 2, 2, 0, 0]
    scored = (regions["status"] == 0).to_numpy()
    means = [mean_of(bases[a:b]) for (a, b), ok in zip(spans, scored, strict=True) if ok]
    np.testing.assert_allclose(vectors[scored], means, atol=1e-5)
    assert np.isnan(vectors[~scored]).all()
    rows = predict(source, genome=path)
    assert [row[5] for row in rows] == ["."] * 4 + ["out_of_bounds"] * 2 + ["."] * 2
    with pytest.raises(ReferenceError_, match=r"regions\.bed:5: a:145-151 .* of 150 bases"):
        embed(path, bed=source, na=False)


# Names


NAMES = {
    "a": "a of some species, chromosome 1",
    "x/y": "x/y",
    "é|1|染色体": "é|1|染色体\ttabbed",
    "c:1-9": "c:1-9",
    "q'uo\"te`$(x)": "q'uo\"te`$(x)",
    "#hash": "#hash # more",
    "-": "-",
    "NA": "NA",
    "../up": "../up",
    "x" * 5000: "x" * 5000,
}


def test_names_of_any_kind_come_out_as_they_went_in(tmp_path, embed, predict, bed, monkeypatch):
    path = tmp_path / "names.fa"
    bases = {name: random_bases(20 + i, i) for i, name in enumerate(NAMES)}
    path.write_text("".join(f">{NAMES[n]}\n{b}\n" for n, b in bases.items()), "utf-8")
    for fasta in (path, "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        regions, whole, _ = embed(fasta)
        assert list(regions["contig"]) == list(regions["name"]) == list(NAMES)
    assert [row[0] for row in predict(path)] == list(NAMES)
    names = [name for name in NAMES if name != "#hash"]  # a comment, in BED
    source = bed(*((name, 0, len(bases[name])) for name in names))
    regions, vectors, _ = embed(path, bed=source)
    assert list(regions["contig"]) == names
    keep = [name != "#hash" for name in NAMES]
    np.testing.assert_allclose(vectors, whole[keep], atol=1e-5)
    assert [row[0] for row in predict(source, genome=path)] == names
    regions, vectors, _ = embed(path, regions=["c:1-9", "c:1-9:1-10"])
    assert triples(regions) == [("c:1-9", 0, 23), ("c:1-9", 0, 10)]


@pytest.mark.parametrize("packed", [False, True])
def test_the_name_of_a_genome_need_not_be_text(packed, run, genome, model, tmp_path, monkeypatch):
    """Its index is kept under it, where it may not lie beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / os.fsdecode(b"g\xff.fa" + b".gz" * packed)
    path.write_bytes(gzip.compress(genome.read_bytes()) if packed else genome.read_bytes())
    result = run("embed", path, "--region", "chr1:1-60", "--model", model, "-o", tmp_path / "o.h5")
    assert result.code == 0, result.err


def test_names_of_files_need_not_be_text(run, genome, model, task, tmp_path, monkeypatch):
    """They are shown as far as they are."""
    source = tmp_path / os.fsdecode(b"r\xff.bed")
    source.write_text("chr1\t0\t60\n")
    shown = f"{tmp_path}/r\\udcff.bed"
    h5, table, page = (tmp_path / name for name in ("o.h5", "o.bed", "o.html"))

    def dnatk_says(*args: object) -> str:
        monkeypatch.setattr(sys, "argv", ["dnatk", *map(str, args)])
        result = run("-q", *args)
        assert (result.code, result.err) == (0, "")
        return result.out

    predict = ("predict", source, "--task", task, "--genome", genome)
    text = dnatk_says(*predict)
    assert f"##dnatk input={shown}\n" in text
    assert f"##dnatk command=dnatk predict '{shown}'" in text
    dnatk_says(*predict, "-o", table, "--h5", h5, "--report", page)
    assert f"##dnatk input={shown}\n" in table.read_text("utf-8")
    assert "r\\udcff.bed, scored by" in page.read_text("utf-8")
    assert f"dnatk predict '{shown}'" in dnatk_says("h5", "info", h5)
    dnatk_says("embed", genome, "--bed", source, "-o", h5, "--model", model, "--force")
    assert f"--bed '{shown}'" in dnatk_says("h5", "info", h5)


def test_region_names_may_repeat_and_be_anything(genome, embed, predict, bed):
    names = ["same", "same", "", ".", "a b", "é", "x" * 5000, "NA", "#x", "same"]
    source = bed(*(("chr1", i, i + 60, name) for i, name in enumerate(names)))
    regions, _, _ = embed(genome, bed=source)
    positions = [f"chr1:{i + 1}-{i + 60}" for i in range(len(names))]
    wanted = [positions[i] if n in ("", ".") else n for i, n in enumerate(names)]
    assert list(regions["name"]) == wanted
    assert [row[3] for row in predict(source, genome=genome)] == names


# Order, repeats and columns


def test_backwards_overlapping_and_repeated_regions_keep_their_order(
    genome, embed, predict, bed, mean_of, genome_sequences
):
    spans = [("chr3", 100, 160), *(("chr1", s, s + 60) for s in range(400, 0, -7))]
    spans += [("chr1", 7, 67)] * 1000 + [("chr2", 0, 60)]
    regions, vectors, _ = embed(genome, bed=bed(*spans))
    assert triples(regions) == spans
    means = {span: mean_of(genome_sequences[span[0]][span[1] : span[2]]) for span in set(spans)}
    np.testing.assert_allclose(vectors, [means[span] for span in spans], atol=1e-5)
    rows = predict(bed(*spans), genome=genome)
    assert [(r[0], int(r[1]), int(r[2])) for r in rows] == spans
    assert len({tuple(row) for row in rows}) == len(set(spans))


@pytest.mark.parametrize("columns", [3, 4, 6, 12, 20])
def test_bed_of_any_width_comes_back_untouched(columns, genome, embed, predict, bed):
    rows = [
        ["chr1", "007", "67", f"n{i} x", "9.50", "+-."[i % 3], *(f"e{j}, " for j in range(14))]
        for i in range(5)
    ]
    source = bed(*(row[:columns] for row in rows))
    found = predict(source, genome=genome)
    assert [row[:columns] for row in found] == [row[:columns] for row in rows]
    assert {len(row) for row in found} == {columns + 3}
    regions, _, _ = embed(genome, bed=source)
    strands = ["."] * 5 if columns < 6 else ["+", "-", ".", "+", "-"]
    assert list(regions["strand"]) == strands
    assert triples(regions) == [("chr1", 7, 67)] * 5


# Letters


def test_soft_masked_bases_are_bases_and_iupac_codes_are_not(tmp_path, embed, predict, mean_of):
    upper = random_bases(60, 9)
    contigs = {
        "upper": upper,
        "lower": upper.lower(),
        "mixed": upper[:30] + upper[30:].lower(),
        "iupac": upper[:20] + "R" + upper[21:40] + "y" + upper[41:],
        "rich": "N" * 27 + upper[27:33] + "n" * 27,
        "none": "RYSWKMBDHVN" * 5,
        "spread": "ACGTAN" * 10,
        "gaps": "-" * 20 + upper[20:40] + "*." * 10,
    }
    path = write_fasta(tmp_path / "letters.fa", contigs)
    regions, vectors, summary = embed(path)
    scored = [name for name in contigs if name not in ("none", "spread")]
    assert list(regions["contig"]) == scored
    assert summary.skipped == 2
    np.testing.assert_allclose(vectors, [mean_of(contigs[n]) for n in scored], atol=1e-5)
    np.testing.assert_allclose(vectors[1:3], vectors[[0, 0]], atol=1e-6)
    rows = predict(path)
    notes = {row[0]: row[5] for row in rows}
    assert notes == {n: "." if n in scored else "no_valid_kmer" for n in contigs}
    assert rows[0][1:] == rows[1][1:] == rows[2][1:]


def test_a_genome_of_n_alone(tmp_path, embed, predict, bed):
    path = write_fasta(tmp_path / "n.fa", {"a": "N" * 100, "b": "n" * 1000})
    with pytest.raises(InputError, match=r"nothing to embed"):
        embed(path)
    assert not list(tmp_path.glob("*.h5"))
    assert [row[-1] for row in predict(path)] == ["no_valid_kmer"] * 2
    source = bed(("a", 0, 60), ("b", 900, 1000))
    regions, vectors, summary = embed(path, bed=source)
    assert list(regions["status"]) == [1, 1]
    assert np.isnan(vectors).all()
    assert summary.rows == 2
    assert [row[-1] for row in predict(source, genome=path)] == ["no_valid_kmer"] * 2
    with pytest.raises(InputError, match=r"regions\.bed:1: a:0-60 has no 6-mer free of N"):
        embed(path, bed=source, na=False)


# Sizes


MEASURED = """
import json, resource, sys, time
import dnatk
from dnatk.genome.fasta import Genome
from dnatk.inference.embed import EmbedOptions
from dnatk.inference.predict import PredictOptions
command, fasta, bed, output, model, task = sys.argv[1:]
start = time.monotonic()
Genome(fasta).close()
index = time.monotonic() - start
cpu = dict(device="cpu", precision="fp32")
if command == "embed":
    dnatk.embed(fasta, output, bed=bed, model=model, options=EmbedOptions(**cpu))
else:
    dnatk.predict(bed, output, genome=fasta, task=task, options=PredictOptions(**cpu))
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"index": index, "all": time.monotonic() - start, "mib": mib}))
"""


@pytest.fixture
def measured(model, tmp_path):
    """Seconds of indexing and of all, and the most memory in MiB, of a run of its own."""
    task = make_task(tmp_path / "task8", model, method="probe", length=8)

    def call(command: str, fasta: Path, bed: Path, output: Path) -> dict[str, float]:
        run = subprocess.run(
            [sys.executable, "-c", MEASURED, command, fasta, bed, output, model, task],
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]
        found = json.loads(run.stdout.splitlines()[-1])
        print(command, fasta.name, bed.name, found)
        return found

    return call


def write_long(path: Path, length: int) -> tuple[str, str]:
    """A contig of ``length`` bases in lines of 60; its first and last 600 bases."""
    block = "".join(random_bases(60, i) + "\n" for i in range(100))
    with open(path, "w") as handle:
        handle.write(">long\n")
        for _ in range(length // 6000):
            handle.write(block)
        handle.write(random_bases(length % 6000, 7) + "\n" if length % 6000 else "")
    plain = block.replace("\n", "")
    return plain[:600], plain[-600:]


@pytest.mark.slow
def test_a_contig_of_a_hundred_million_bases(tmp_path, measured, mean_of):
    length = 99_996_000
    first, last = write_long(tmp_path / "long.fa", length)
    write_long(tmp_path / "short.fa", 600_000)
    for name, size in (("long", length), ("short", 600_000)):
        spans = [(0, 60), (size - 60, size), (size // 2, size // 2 + 600)]
        lines = (f"long\t{start}\t{end}\n" for start, end in spans)
        (tmp_path / f"{name}.bed").write_text("".join(lines))
    long, short = (
        measured("embed", tmp_path / f"{n}.fa", tmp_path / f"{n}.bed", tmp_path / f"{n}.h5")
        for n in ("long", "short")
    )
    assert long["mib"] < short["mib"] + 64, "memory must not grow with the contig"
    assert long["index"] < 60
    _, vectors = dnatk.read_embeddings(tmp_path / "long.h5")
    np.testing.assert_allclose(vectors[:2], [mean_of(first[:60]), mean_of(last[-60:])], atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["embed", "predict"])
def test_a_million_regions(command, tmp_path, genome, measured):
    """Of 8 bases each: what is measured is reading and planning."""
    memory = {}
    for count in (10_000, 1_000_000):
        bed = tmp_path / f"{count}.bed"
        with open(bed, "w") as handle:
            for i in range(count):
                handle.write(f"chr1\t{i % 4990}\t{i % 4990 + 8}\n")
        output = tmp_path / f"{count}.out"
        memory[count] = measured(command, genome, bed, output)["mib"]
        if command == "embed":
            regions, _ = dnatk.read_embeddings(output)
            assert len(regions) == count
        else:
            with open(output, "rb") as handle:
                assert sum(not line.startswith(b"#") for line in handle) == count
    assert memory[1_000_000] < memory[10_000] + 100, "memory must not grow with the regions"


# Faults that the fuzzing found: each was a wrong base, a lost row, a hang or another error


@pytest.mark.parametrize(
    "text",
    [
        b">a\rACGT\r>b\rGG\r",  # a Macintosh of 1999: one line, and no base in it
        b">a\nACGT\n>b about\rGG\nAC\n",
        b"\r>a\nACGT\n",
    ],
)
def test_a_carriage_return_shifts_and_hides_no_bases(tmp_path, text):
    path = tmp_path / "mac.fa"
    path.write_bytes(text)
    for read in (streamed, indexed):
        with pytest.raises(InputError, match=r"carriage return|not FASTA"):
            read(path)


@pytest.mark.parametrize(
    "line", ["\rACGT\n", " ACGT\n", "ACGT \nACGT \n", "AC\n \nG\n", "\x0cAC\n"]
)
def test_white_space_round_bases_shifts_nothing(tmp_path, line):
    """Streamed it is taken away; by index it was counted, so all behind it lay elsewhere."""
    path = tmp_path / "space.fa"
    path.write_bytes(b">a\nAC\n" * (line[0] == " ") + f">b\n{line}".encode())
    assert streamed(path)["b"] == "".join(line.split())
    with pytest.raises(InputError, match=r"white space among the bases of b|different length"):
        Genome(path)
    path.write_bytes(b">a\nAC\n \n\t\n")
    assert indexed(path) == streamed(path) == {"a": "AC"}


def test_lines_that_end_as_on_old_macs_are_told_so(tmp_path):
    path = tmp_path / "mac.txt"
    for text in (">a\rACGT\r", "chr1\t0\t5\ta\rchr1\t5\t9\tb\r", "#c\rchr1\t0\t5\nchr1\t5\t9\n"):
        path.write_bytes(text.encode())
        with pytest.raises(InputError) as caught:
            list(read_fasta(path) if text[0] == ">" else read_bed(path))
        assert str(caught.value).startswith(f"{path}:1: a carriage return inside the line (")
        assert "tr '\\r' '\\n'" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [("chr1\t0\t5\ta\0b\n", 1), ("#x\nchr1\t0\t5\nch\0r1\t0\t5\n", 3), ("#\0\nchr1\t0\t5\n", 1)],
)
def test_a_nul_in_a_bed_is_refused_at_its_line(tmp_path, text, line):
    """HDF5 cannot hold it in a name."""
    path = tmp_path / "nul.bed"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        list(read_bed(path))
    assert str(caught.value) == f"{path}:{line}: is not a text file"


def test_a_nul_in_a_name_is_refused(tmp_path):
    path = tmp_path / "nul.fa"
    for data in (b">a\0b\nACGT\n", ">ab\nACGT\n".encode("utf-16")[2:]):
        path.write_bytes(data)
        for read in (streamed, indexed):
            with pytest.raises(InputError, match=r"nul\.fa"):
                read(path)


def test_a_header_begins_its_line(tmp_path):
    """For every other tool '>b' after a space is bases; the index read past the record before."""
    path = tmp_path / "space.fa"
    for text in (" >a\nACGT\n>b\nGG\n", ">a\nACGT\n >b\nGGTT\n", "\n\x0b>a\nAC\n>b\nGG\n"):
        path.write_text(text)
        for read in (streamed, indexed):
            with pytest.raises(InputError):
                read(path)


@pytest.mark.parametrize(
    "text",
    [
        b">a\nACGT\nACG\r\nACGT\n",  # the short line has as many bytes as the others
        b">a\nACGTA\nAC\r\r\r\nGGGGG\n>b\nACGT\n",
    ],
)
def test_a_short_line_is_not_hidden_by_a_longer_line_end(tmp_path, text):
    path = tmp_path / "ends.fa"
    path.write_bytes(text)
    with pytest.raises(InputError, match=r"ends.fa:3: lines of different length in a"):
        Genome(path)


def test_a_byte_order_mark_before_a_fasta_is_named(tmp_path):
    path = tmp_path / "bom.fa"
    path.write_bytes(b"\xef\xbb\xbf>a\nACGT\n")
    for read in (streamed, indexed):
        with pytest.raises(InputError, match=r"byte order mark \(save it as plain UTF-8"):
            read(path)


def test_contigs_may_be_called_track_and_browser(tmp_path):
    path = tmp_path / "track.bed"
    path.write_text("track name=x\nbrowser position chr1:1-9\ntrack\t0\t5\nbrowser 5 9 +\ntrack\n")
    assert [(r.contig, r.start, r.end) for r in read_bed(path)] == [
        ("track", 0, 5),
        ("browser", 5, 9),
    ]


@pytest.mark.parametrize("second", [gzip.compress, lambda data: bgzipped(data)[:-28] + bytes(40)])
def test_bgzip_with_something_else_behind_it_is_refused(tmp_path, second):
    path = tmp_path / "joined.fa.gz"
    path.write_bytes(bgzipped(b">a\nACGT\n") + second(b">b\nGG\n"))
    with pytest.raises(InputError) as caught:
        Genome(path)
    assert "joined.fa.gz: is not bgzip from end to end" in str(caught.value)


def test_a_pipe_is_no_genome_and_is_not_waited_for(tmp_path):
    """It was opened twice, and the second time nobody writes."""
    path = tmp_path / "pipe.fa"
    os.mkfifo(path)
    for pipe in (path, Path(os.devnull)):
        with limit(5), pytest.raises(InputError) as caught:
            Genome(pipe)
        assert str(caught.value).startswith(f"{pipe}: is a pipe or a device, no file")


@pytest.mark.parametrize(
    "fai",
    [
        "a\t12\t3\t5\t6\nb\t4\t22\t4\t5\n",  # lines of 5 and lines of 4: the end is the same
        "a\t12\t2\t4\t5\nb\t4\t21\t4\t5\n",  # places one byte too early
        "b\t4\t21\t4\t5\na\t12\t3\t4\t5\n",  # another order
        "a\t12\t3\t4\t5\nb\t4\t21\t4\t5\n\n\n",  # blank lines at the end
        f"a\t12\t3\t4\t5\nb\t{10**30}\t21\t4\t5\n",
        "a\t12\t3\t4\t5\nb\t-30\t21\t4\t5\n",
        "a\t12\t3\t-4\t5\nb\t4\t21\t4\t5\n",
        f"a\t12\t3\t4\t{10**18}\nb\t4\t21\t4\t5\n",
    ],
)
def test_an_index_that_is_not_the_files_own_is_made_again(tmp_path, fai):
    path = write_fasta(tmp_path / "genome.fa", {"a": "ACGTTGCAAGCT", "b": "GATT"}, width=4)
    wanted = indexed(path)
    index = Path(f"{path}.fai")
    assert index.read_text() == "a\t12\t3\t4\t5\nb\t4\t21\t4\t5\n"
    index.write_text(fai)
    os.utime(index, (2e9, 2e9))
    assert indexed(path) == wanted == {"a": "ACGTTGCAAGCT", "b": "GATT"}
    assert index.read_text() == "a\t12\t3\t4\t5\nb\t4\t21\t4\t5\n"


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("spoil", [lambda n: n + 1, lambda n: 1 << 63, lambda n: 0])
def test_a_block_table_that_is_not_the_files_own_is_made_again(tmp_path, at, spoil):
    """Else bases would come from another place, with no complaint."""
    text = b">a\n" + random_bases(1400, 1).encode() + b"\n"
    path = tmp_path / "genome.fa.gz"
    path.write_bytes(bgzipped(text))
    wanted, table = indexed(path), Path(f"{path}.gzi")
    numbers = list(struct.unpack("<5Q", table.read_bytes()))
    numbers[at] = spoil(numbers[at])
    table.write_bytes(struct.pack("<5Q", *numbers))
    os.utime(table, (2e9, 2e9))
    assert indexed(path) == wanted
    with Genome(path) as genome:
        for start in range(0, 1400, 100):
            bases = genome.fetch("a", start, start + 50).tobytes().decode()
            assert bases == wanted["a"][start : start + 50]


def test_regions_on_contigs_that_are_not_there_take_no_time(tmp_path):
    """The likely twin was sought among all contigs for every row that was to be NA."""
    contigs = {f"scaffold_{i}": "ACGT" for i in range(3000)}
    regions = [Region(f"scaffold_{i}.1", 0, 4) for i in range(3000)]
    with Genome(write_fasta(tmp_path / "genome.fa", contigs)) as genome, limit(5):
        for region in regions:
            with pytest.raises(ReferenceError_):
                genome.check(region)
        with pytest.raises(ReferenceError_, match="did you mean 'scaffold_71'"):
            genome.check(Region("scaffold_7_1", 0, 4))


@pytest.mark.parametrize("letter", ["i", "I", "a", "N", "M"])
def test_the_twin_of_a_very_long_name_is_not_sought_for_ever(letter):
    name = letter * 200_000
    with limit(5):
        assert "did you mean" not in unknown_contig_hint(name, ["chr1", "chr2"])
        unknown_contig_hint(name + "x", [name, "chr1"])
        unknown_contig_hint("chr1", [f"chrI{name}", "1"])


@pytest.mark.parametrize("text", ["a:1-" + "9" * 19, "a:" + "9" * 25])
def test_a_region_string_beyond_any_genome_is_refused(text):
    """HDF5 has 64 bits for it."""
    with pytest.raises(InputError, match="beyond any genome"):
        parse_region(text, {"a": 100})


def test_gzip_with_a_mark_of_bgzip_that_is_none_is_read_as_gzip(tmp_path):
    """pyfaidx refuses it with an error of its own."""
    data = bytearray(bgzipped(b">a\nACGT\n"))
    data[14] = 0  # bytes of the block's size: two, and nothing else
    path = tmp_path / "genome.fa.gz"
    path.write_bytes(data)
    assert indexed(path) == streamed(path) == {"a": "ACGT"}
