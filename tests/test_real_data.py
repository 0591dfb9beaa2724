"""On real genomes (DNATK_TEST_DATA), against independent tools."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from Bio.Seq import reverse_complement
from transformers import AutoTokenizer, BertModel

import dnatk
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome, read_fasta
from dnatk.inference.embed import EmbedOptions, embed
from dnatk.kmers import spaced
from dnatk.model.loading import DEFAULT_MODEL, read_model

PROMOTERS = "yeast/promoters_geneStart_m250_p50.bed"


@pytest.fixture(scope="module")
def yeast(data_dir, tmp_path_factory) -> Path:
    """A copy of sacCer3 (bgzip), so that its index is made here."""
    return Path(
        shutil.copy(data_dir / "yeast/sacCer3.fa.gz", tmp_path_factory.mktemp("yeast") / "y.fa.gz")
    )


def test_bases_of_1000_random_regions_agree_with_htslib(yeast):
    pysam = pytest.importorskip("pysam")
    rng = np.random.default_rng(1)
    with Genome(yeast) as genome, pysam.FastaFile(str(yeast)) as htslib:
        assert genome.lengths == dict(zip(htslib.references, htslib.lengths, strict=True))
        contigs = list(genome.lengths)
        for _ in range(1000):
            contig = contigs[rng.integers(len(contigs))]
            start = int(rng.integers(0, genome.lengths[contig] - 1))
            end = min(start + int(rng.integers(1, 3000)), genome.lengths[contig])
            ours = genome.fetch(contig, start, end).tobytes().decode()
            assert ours == htslib.fetch(contig, start, end)


def test_streamed_and_indexed_bases_are_the_same(yeast):
    with Genome(yeast) as genome:
        for name, bases in read_fasta(yeast):
            np.testing.assert_array_equal(genome.fetch(name, 0, genome.lengths[name]), bases)


def test_plain_gzip_is_read_through_the_cache(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = data_dir / "slices/C.elegans.fa.gz"
    with Genome(path) as genome:
        for name, bases in read_fasta(path):
            np.testing.assert_array_equal(genome.fetch(name, 0, genome.lengths[name]), bases)
    assert list((tmp_path / "dnatk").glob("C.elegans.*.fa"))


def test_yeast_contig_names_of_ensembl_are_explained(yeast, tmp_path):
    for name, twin in (("IV", "chrIV"), ("Mito", "chrM"), ("4", "chrIV")):
        (tmp_path / "r.bed").write_text(f"{name}\t0\t100\n")
        with pytest.raises(dnatk.errors.ReferenceError_, match=f"did you mean '{twin}'"):
            embed(yeast, tmp_path / "o.h5", bed=tmp_path / "r.bed")


@pytest.fixture(scope="module")
def promoters(data_dir, tmp_path_factory) -> list:
    """Every 99th yeast promoter window: 67 regions on both strands."""
    return list(read_bed(data_dir / PROMOTERS))[::99]


def plain_forward(sequences: list[str], dtype: torch.dtype) -> np.ndarray:
    """What a user's own script gives: tokenizer, BertModel, mean over the k-mers."""
    directory = read_model(DEFAULT_MODEL).directory
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = BertModel.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", add_pooling_layer=False
    ).eval()
    with torch.inference_mode():
        return np.stack([
            model(**tokenizer(spaced(s), return_tensors="pt")).last_hidden_state[0, 1:-1]
            .float().mean(dim=0).numpy()
            for s in sequences
        ])  # fmt: skip


def test_promoters_agree_with_a_plain_transformers_forward(yeast, promoters, tmp_path):
    """fp32 within 1e-4; bf16 no farther from fp32 than 1.5 times transformers' own bf16."""
    bed = tmp_path / "p.bed"
    bed.write_text("".join("\t".join(region.fields) + "\n" for region in promoters))
    assert {region.strand for region in promoters} == {"+", "-"}
    with Genome(yeast) as genome:
        forward = [
            genome.fetch(r.contig, r.start, r.end).tobytes().decode() for r in promoters
        ]  # fmt: skip
    sequences = [
        reverse_complement(s) if r.strand == "-" else s
        for r, s in zip(promoters, forward, strict=True)
    ]
    exact = plain_forward(sequences, torch.float32)
    vectors = {}
    for precision in ("fp32", "bf16"):
        options = EmbedOptions(device="cpu", precision=precision, dtype="float32")
        embed(yeast, tmp_path / f"{precision}.h5", bed=bed, options=options)
        regions, vectors[precision] = dnatk.read_embeddings(tmp_path / f"{precision}.h5")
        assert regions["name"].tolist() == [r.name for r in promoters]
    np.testing.assert_allclose(vectors["fp32"], exact, atol=1e-4)
    theirs = np.abs(plain_forward(sequences, torch.bfloat16) - exact)
    ours = np.abs(vectors["bf16"] - exact)
    assert ours.mean() <= 1.5 * theirs.mean()
    assert ours.max() <= 1.5 * theirs.max()
    cosine = (vectors["bf16"] * exact).sum(1) / (
        np.linalg.norm(vectors["bf16"], axis=1) * np.linalg.norm(exact, axis=1)
    )
    assert cosine.min() >= 0.999


@pytest.mark.slow
def test_the_whole_yeast_genome(yeast, tmp_path):
    summary = embed(yeast, tmp_path / "o.h5")
    regions, vectors = dnatk.read_embeddings(tmp_path / "o.h5")
    with Genome(yeast) as genome:
        windows = sum(-(-(length - 5) // 510) for length in genome.lengths.values())
    assert summary.rows == len(regions) == windows
    assert np.isfinite(vectors).all()
    assert vectors.shape[1] == 256
