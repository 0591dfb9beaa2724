"""examples/evaluate_promoters.py on a generated genome with promoters that differ."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import random_bases, write_fasta

from dnatk.analysis.background import draw_background, kmer_frequencies, oriented, usable_regions
from dnatk.analysis.probe import probe
from dnatk.errors import ReferenceError_
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region
from dnatk.labelled.places import Spans

CONTIGS = ("chrI", "chrII", "chrIII", "chrIV")
LENGTH = 60


def load_example(name: str):
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Path, Path]:
    """Four contigs with a run of N; every 400 bases a promoter, rich in A as its strand reads."""
    folder = tmp_path_factory.mktemp("promoters")
    sequences, lines = {}, []
    for number, contig in enumerate(CONTIGS):
        bases = list(random_bases(8000, 10 + number))
        bases[7000:7200] = "N" * 200
        for at in range(100, 6900, 400):
            minus = at // 400 % 2 == 1
            alphabet = "TTTTGCA" if minus else "AAAAGCT"
            bases[at : at + LENGTH] = random_bases(LENGTH, at + number, alphabet)
            lines.append(f"{contig}\t{at}\t{at + LENGTH}\tp\t0\t{'-' if minus else '+'}\n")
        sequences[contig] = "".join(bases)
    fasta = write_fasta(folder / "genome.fa", sequences)
    bed = folder / "promoters.bed"
    bed.write_text("".join(lines))
    return fasta, bed


def test_background_matches_promoters_and_avoids_them(data):
    genome, promoters = Genome(data[0]), list(read_bed(data[1]))
    windows = draw_background(genome, promoters, promoters, np.random.default_rng(1))
    for window, promoter in zip(windows, promoters, strict=True):
        assert (window.contig, len(window), window.strand) == (
            promoter.contig,
            len(promoter),
            promoter.strand,
        )
    assert not Spans(promoters).overlapping(windows).any()
    assert not any(b"N" in oriented(genome, window) for window in windows)
    assert len({(w.contig, w.start) for w in windows}) == len(windows)
    again = draw_background(genome, promoters, promoters, np.random.default_rng(2))
    assert [w.start for w in again] != [w.start for w in windows]


def test_only_usable_regions_stay(data):
    genome = Genome(data[0])
    good = Region("chrI", 100, 160, "+")
    bad = [Region("chrI", 7990, 8050, "+"), Region("chrI", 6950, 7010, "-")]
    bad.append(Region("chrI", -5, 55, "+"))
    assert usable_regions(genome, [good, *bad, good]) == [good]
    with pytest.raises(ReferenceError_, match="no contig 'I'"):
        usable_regions(genome, [Region("I", 100, 160)])


def test_frequencies_read_the_strand(data):
    genome = Genome(data[0])
    forward, reverse = (oriented(genome, Region("chrI", 100, 110, s)) for s in "+-")
    assert reverse == forward.translate(bytes.maketrans(b"ACGT", b"TGCA"))[::-1]
    row = kmer_frequencies([b"AAAT"], 2)[0]
    np.testing.assert_allclose([row[0], row[1], row.sum()], [2 / 3, 1 / 3, 1], rtol=1e-6)


def test_probe_is_blind_to_labels_of_the_test_part():
    """Noise scores as noise, and turning the test labels round changes no probability."""
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(240, 8)), np.arange(240) % 2 == 0
    contig = np.repeat(list("abcd"), 60)
    test = contig == "d"
    p, chosen = probe(x, label, contig, test, jobs=1)
    assert 0.3 < chosen["cv_auroc"] < 0.7
    turned, _ = probe(x, label ^ test, contig, test, jobs=1)
    np.testing.assert_array_equal(p, turned)


def test_end_to_end(data, tiny_model, tmp_path, capsys):
    script = load_example("evaluate_promoters")
    out = tmp_path / "result.json"
    arguments = [tiny_model, *data, "--holdout", "chrIV", "--seeds", "2", "--json", out]
    assert script.main([str(a) for a in [*arguments, "--kmers", "3", "--layer", "1"]]) == 0
    result = json.loads(out.read_text())
    assert result["promoters"] == {"listed": 68, "used": 68}
    for split in result["splits"]:
        assert (split["train"], split["test"], split["test_promoters"]) == (102, 34, 17)
        assert split["overlaps"] == split["duplicates"] == 0
    by_name = {row["features"]: row for row in result["results"]}
    assert set(by_name) == {"embedding, layer 1", "untrained, layer 1", "3-mer frequencies"}
    assert by_name["3-mer frequencies"]["auroc"] > 0.95
    assert len(by_name["embedding, layer 1"]["runs"]) == 2
    assert "| 3-mer frequencies | 64 |" in capsys.readouterr().out


def test_shift_moves_windows_within_bounds_and_keeps_their_lengths():
    script = load_example("evaluate_promoters")
    regions = [Region("c", 1000, 1060, "-")] * 500
    moved = script.shift(regions, 7, np.random.default_rng(0))
    assert {r.start for r in moved} == set(range(993, 1008))
    assert {(r.contig, len(r), r.strand) for r in moved} == {("c", 60, "-")}
    assert script.shift(regions, 0, np.random.default_rng(0)) == regions


def test_copies_are_reported_and_left_out(data, tiny_model, tmp_path, capsys):
    """A held-out promoter that is the reverse complement of a training one."""
    genome = Genome(data[0])
    sequences = {name: genome.fetch(name, 0, 8000).tobytes().decode() for name in CONTIGS}
    copy = oriented(genome, Region("chrI", 100, 160, "-")).decode()
    sequences["chrIV"] = sequences["chrIV"][:100] + copy + sequences["chrIV"][160:]
    fasta = write_fasta(tmp_path / "copies.fa", sequences)
    script = load_example("evaluate_promoters")
    out = tmp_path / "result.json"
    arguments = [tiny_model, fasta, data[1], "--holdout", "chrIV", "--seeds", "1", "--json", out]
    assert script.main([str(a) for a in [*arguments, "--kmers", "2", "--no-control"]]) == 0
    result = json.loads(out.read_text())
    assert result["splits"][0]["duplicates"] == 1
    assert all("without_duplicates" in run for row in result["results"] for run in row["runs"])
    assert "without a copy in training" in capsys.readouterr().out


def test_control_has_other_weights_and_the_same_sizes(tiny_model, tmp_path):
    from dnatk.model.loading import read_model, read_weights

    script = load_example("evaluate_promoters")
    control = read_model(script.write_control(tiny_model, tmp_path / "control", seed=7))
    trained = read_model(tiny_model)
    assert (control.config, control.k) == (trained.config, trained.k)
    name = "encoder.layer.0.output.dense.weight"
    assert not np.allclose(read_weights(control)[name], read_weights(trained)[name])


def test_no_held_out_contig_is_an_error(data, tiny_model, capsys):
    script = load_example("evaluate_promoters")
    assert script.main([str(tiny_model), *map(str, data), "--holdout", "chrX"]) == 1
    assert "no contig chrX" in capsys.readouterr().err
