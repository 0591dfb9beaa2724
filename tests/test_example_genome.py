"""The made-up genome of the tutorials: the same bytes from the same seed, motifs where BED says."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from dnatk.genome.bed import read_bed

SCRIPT = Path(__file__).parents[1] / "examples" / "genome" / "make_genome.py"
SHA256 = {
    "features.bed": "e2f8a2ded586ea84b16329c8d98941a7ab92514dc953669b74533be4049335bd",
    "genes.bed": "b27b758d2a0fd15a2852c658f15bf9b265254ed9b0c7453a1717a814a107d5f1",
    "genome.fa": "162b8c7e54bc36235abe05e213731b468bb2399f1f14e1387656a7db53361ba1",
    "genome.sizes": "4e239c4bffd3a4eaec42708d9d45aa654538b538d64e007f4eefb828c5b39a97",
    "promoters.bed": "fa206234cbaa043e80d2a6ad52ffcb65a4dbc85d65ecf85c08e1d9d0fd98f168",
    "tss.bed": "9923414749305fa9261439c7077c0dadd9222724405b1a99a20020d073ac9216",
}


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_genome", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(maker, tmp_path_factory) -> Path:
    """A genome whose motifs have no errors."""
    path = tmp_path_factory.mktemp("genome")
    maker.write(path, seed=5, mutation=0)
    return path


def bases(path: Path, bed: str) -> list[str]:
    """Of each region of a BED file, along its strand, as they are written."""
    sequences, found = contigs(path), []
    for region in read_bed(path / bed):
        piece = sequences[region.contig][region.start : region.end]
        if region.strand == "-":
            piece = piece.translate(str.maketrans("ACGTacgt", "TGCAtgca"))[::-1]
        found.append(piece)
    return found


def contigs(path: Path) -> dict[str, str]:
    records = (record.split() for record in (path / "genome.fa").read_text().split(">")[1:])
    return {name: "".join(lines) for name, *lines in records}


def test_the_same_seed_gives_these_bytes(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "a/b"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((tmp_path / "a/b").iterdir())
    }
    assert digests == SHA256


def test_another_seed_gives_another_genome(made, maker, tmp_path):
    maker.write(tmp_path, seed=6)
    assert (tmp_path / "genome.fa").read_bytes() != (made / "genome.fa").read_bytes()
    assert (tmp_path / "genome.sizes").read_bytes() == (made / "genome.sizes").read_bytes()


def test_motifs_stand_where_the_bed_file_says(made):
    found = bases(made, "promoters.bed")
    assert {len(each) for each in found} == {80}
    # The first base of the gene is the 51st: the box stands 31 before it, the initiator 2.
    pattern = re.compile("^.{19}TATA[AT]AA[AG].{21}[CT][CT]A.[AT][CT][CT].{25}$")
    assert all(pattern.match(each) for each in found)
    strands = [region.strand for region in read_bed(made / "promoters.bed")]
    assert min(strands.count("+"), strands.count("-")) > 50


def test_some_letters_of_the_motifs_differ_by_default(maker, tmp_path):
    maker.write(tmp_path, seed=5)
    boxes = [each[19:27] for each in bases(tmp_path, "promoters.bed")]
    wrong = sum(a != b for box in boxes for a, b in zip(box, "TATA", strict=False))
    assert 0.05 < wrong / (4 * len(boxes)) < 0.1  # a replaced letter is the same in one of four


def test_genes_and_their_first_bases(made):
    genes, firsts = list(read_bed(made / "genes.bed")), list(read_bed(made / "tss.bed"))
    promoters = list(read_bed(made / "promoters.bed"))
    for gene, first, promoter in zip(genes, firsts, promoters, strict=True):
        assert gene.name == first.name == promoter.name
        assert gene.strand == first.strand == promoter.strand
        start = gene.start if gene.strand == "+" else gene.end - 1
        assert (first.start, first.end) == (start, start + 1)
        upstream = 50 if gene.strand == "+" else 29
        assert (promoter.start, promoter.end) == (start - upstream, start - upstream + 80)


def test_features_are_what_they_say(made):
    regions = list(read_bed(made / "features.bed"))
    pieces = bases(made, "features.bed")
    assert {len(piece) for piece in pieces} == {80}
    for region, piece in zip(regions, pieces, strict=True):
        assert piece.islower() == (region.name == "repeat")
        assert "N" not in piece.upper()
    spans = sorted((r.contig, r.start, r.end) for r in regions)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(spans))
    share = {
        kind: _gc("".join(p for r, p in zip(regions, pieces, strict=True) if r.name == kind))
        for kind in ("gene", "between")
    }
    assert share["gene"] - share["between"] > 0.1


def _gc(piece: str) -> float:
    return sum(base in "GC" for base in piece) / len(piece)


def test_the_genome_has_the_sizes_and_one_run_of_n(made):
    sizes = dict(line.split("\t") for line in (made / "genome.sizes").read_text().splitlines())
    assert {name: str(len(sequence)) for name, sequence in contigs(made).items()} == sizes
    assert sum(map(len, contigs(made).values())) == 180_000
    runs = [(name, len(run)) for name in sizes for run in re.findall("N+", contigs(made)[name])]
    assert runs == [("chr2", 600)]
