"""``dnatk embed``: rows, coordinates, strands and numbers against a plain transformers pipeline."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys

import h5py
import numpy as np
import pytest
import torch
from Bio.Seq import reverse_complement
from conftest import make_model, random_bases, write_fasta
from transformers import BertModel

import dnatk
from dnatk.errors import DnatkError, InputError, ModelError, OutputError, ReferenceError_
from dnatk.inference.embed import EmbedOptions, embed
from dnatk.kmers import encode
from dnatk.kmers.vocab import CLS, SEP, UNK

EXACT = {"device": "cpu", "precision": "fp32", "dtype": "float32"}


@pytest.fixture
def embed_to(tmp_path, genome, tiny_model):
    """Embed the test genome; gives (regions, vectors)."""

    def call(*, fasta=genome, bed=None, regions=(), **options):
        if bed is not None:
            (tmp_path / "r.bed").write_text(bed)
            bed = tmp_path / "r.bed"
        settings = EmbedOptions(**{**EXACT, **options})
        embed(
            fasta, tmp_path / "out.h5", bed=bed, regions=regions, model=tiny_model,
            options=settings, force=True,
        )  # fmt: skip
        return dnatk.read_embeddings(tmp_path / "out.h5")

    return call


@pytest.fixture(scope="module")
def plain(tiny_model):
    """Hidden states (n_kmers, D) and [CLS] of a sequence by transformers' own eager model."""
    model = BertModel.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation="eager")
    model.eval()

    def call(sequence: str, layer: int = -1):
        kmers = encode(sequence, 6)
        ids = torch.tensor([[CLS, *kmers.tolist(), SEP]])
        with torch.inference_mode():
            hidden = model(ids, output_hidden_states=True).hidden_states[layer][0].numpy()
        return hidden[1:-1], hidden[0], kmers != UNK

    return call


def test_whole_genome_rows_are_tiles_that_hold_every_valid_kmer(embed_to, genome_sequences):
    regions, vectors = embed_to()
    assert set(regions["strand"]) == {"."}
    assert np.isfinite(vectors).all()
    for contig, sequence in genome_sequences.items():
        tiles = regions[regions["contig"] == contig]
        held = [
            i for s, e in zip(tiles["start"], tiles["end"], strict=True) for i in range(s, e - 5)
        ]
        assert len(held) == len(set(held)), "a k-mer stands in two tiles"
        valid = set(np.flatnonzero(encode(sequence, 6) != UNK).tolist())
        assert valid <= set(held)
    assert regions["name"].iloc[-1] == "chr3", "a record that fits one window keeps its name"
    assert regions["name"].iloc[0] == "chr1:1-515"


def test_tiles_equal_a_plain_forward(embed_to, plain, genome_sequences):
    regions, vectors = embed_to()
    for row, vector in zip(regions.itertuples(), vectors, strict=True):
        hidden, _, valid = plain(genome_sequences[row.contig][row.start : row.end])
        np.testing.assert_allclose(vector, hidden[valid].mean(axis=0), atol=1e-4)


def test_tiles_of_only_n_are_skipped_and_counted(tmp_path, genome, tiny_model):
    options = EmbedOptions(window=100, stride=95, **EXACT)
    summary = embed(genome, tmp_path / "o.h5", model=tiny_model, options=options)
    regions, _ = dnatk.read_embeddings(tmp_path / "o.h5")
    assert summary.rows == len(regions)
    # chr2 has N at 1000-1700: tiles 1045-1145, 1140-1240 .. 1520-1620 hold nothing else.
    assert summary.skipped == 6


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("mean", lambda hidden, cls, valid: hidden[valid].mean(axis=0)),
        ("max", lambda hidden, cls, valid: hidden[valid].max(axis=0)),
        ("cls", lambda hidden, cls, valid: cls),
    ],
)
@pytest.mark.parametrize("strand", ["+", "-", "."])
def test_regions_are_read_on_their_strand(
    embed_to, plain, genome_sequences, pool, expected, strand
):
    regions, vectors = embed_to(bed=f"chr2\t900\t1010\tx\t0\t{strand}\n", pool=pool)
    sequence = genome_sequences["chr2"][900:1010]
    if strand == "-":
        sequence = reverse_complement(sequence)
    np.testing.assert_allclose(vectors[0], expected(*plain(sequence)), atol=1e-4)
    assert tuple(regions.iloc[0][["contig", "start", "end", "strand"]]) == (
        "chr2",
        900,
        1010,
        strand,
    )


@pytest.mark.parametrize("layer", [0, 1, 2, -3])
def test_layer_indexes_hidden_states(embed_to, plain, genome_sequences, layer):
    _, vectors = embed_to(regions=["chr1:11-110"], layer=layer)
    hidden, _, _ = plain(genome_sequences["chr1"][10:110], layer)
    np.testing.assert_allclose(vectors[0], hidden.mean(axis=0), atol=1e-4)


def test_pool_none_keeps_every_kmer_in_order(embed_to, plain, genome_sequences):
    bed = "chr1\t0\t100\nchr1\t50\t55\nchr2\t980\t1040\tn\t0\t-\n"
    regions, tokens = embed_to(bed=bed, pool="none", on_error="na")
    assert regions["token_end"].tolist() == [95, 95, 150]
    assert regions["status"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(tokens[:95], plain(genome_sequences["chr1"][:100])[0], atol=1e-4)
    reverse = reverse_complement(genome_sequences["chr2"][980:1040])
    np.testing.assert_allclose(tokens[95:], plain(reverse)[0], atol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
def test_a_long_region_takes_each_kmer_from_the_tile_where_it_lies_deepest(
    embed_to, plain, genome_sequences, pool
):
    window, stride, length = 60, 25, 200
    _, vectors = embed_to(bed=f"chr1\t7\t{7 + length}\n", pool=pool, window=window, stride=stride)
    sequence = genome_sequences["chr1"][7 : 7 + length]
    best: dict[int, tuple[int, np.ndarray]] = {}
    for start in range(0, length, stride):
        end = min(start + window, length)
        hidden, _, _ = plain(sequence[start:end])
        for i, vector in enumerate(hidden):
            depth = min(i, len(hidden) - 1 - i)
            if start + i not in best or depth > best[start + i][0]:
                best[start + i] = depth, vector
        if end == length:
            break
    expected = np.array([best[i][1] for i in range(length - 5)])
    if pool == "none":
        np.testing.assert_allclose(vectors, expected, atol=1e-4)
    else:
        np.testing.assert_allclose(vectors[0], getattr(expected, pool)(axis=0), atol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "none"])
def test_rc_average_turns_the_other_strand_round(embed_to, plain, genome_sequences, pool):
    _, vectors = embed_to(regions=["chr1:101-180"], rc="average", pool=pool)
    sequence = genome_sequences["chr1"][100:180]
    both = (plain(sequence)[0] + plain(reverse_complement(sequence))[0][::-1]) / 2
    expected = both if pool == "none" else both.mean(axis=0)[None]
    np.testing.assert_allclose(vectors, expected, atol=1e-4)


def test_rc_average_does_not_depend_on_the_strand(embed_to):
    bed = "".join(f"chr1\t100\t600\tx\t0\t{strand}\n" for strand in "+-")
    _, vectors = embed_to(bed=bed, rc="average", pool="mean")
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-4)


def test_batches_do_not_change_rows_or_their_order(embed_to):
    bed = "".join(f"chr1\t{i * 37}\t{i * 37 + 20 + i * 61 % 700}\tr{i}\n" for i in range(40))
    regions, whole = embed_to(bed=bed)
    small_regions, small = embed_to(bed=bed, batch_tokens=64)
    assert regions["name"].tolist() == [f"r{i}" for i in range(40)]
    assert small_regions.equals(regions)
    np.testing.assert_allclose(small, whole, atol=1e-5)


def test_streamed_fasta_equals_the_file(embed_to, genome, monkeypatch):
    from_file = embed_to()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(genome.read_bytes())))
    regions, vectors = embed_to(fasta="-")
    assert regions.equals(from_file[0])
    np.testing.assert_array_equal(vectors, from_file[1])


def test_a_file_called_as_stdin_takes_no_regions_of_it(tmp_path, genome, tiny_model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_text("chr1\t0\t60\n")
    given = b"chr1\t0\t100\nchr1\t100\t200\nchr1\t200\t300\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    embed(genome, "out.h5", bed="-", model=tiny_model, options=EmbedOptions(**EXACT))
    regions, _ = dnatk.read_embeddings("out.h5")
    assert regions["start"].tolist() == [0, 100, 200]


def test_non_overlapping_kmers(tmp_path, genome):
    model = make_model(tmp_path / "m", kmer_stride=6)
    options = EmbedOptions(pool="none", **EXACT)
    embed(genome, tmp_path / "o.h5", regions=["chr1:1-4000"], model=model, options=options)
    _, tokens = dnatk.read_embeddings(tmp_path / "o.h5")
    assert len(tokens) == 4000 // 6
    options = EmbedOptions(pool="none", window=100, **EXACT)
    embed(genome, tmp_path / "w.h5", regions=["chr1:1-4000"], model=model, options=options)
    assert len(dnatk.read_embeddings(tmp_path / "w.h5")[1]) == 4000 // 6
    with pytest.raises(InputError, match="multiple of 6"):
        embed(genome, tmp_path / "p.h5", model=model, options=EmbedOptions(stride=100, **EXACT))


def test_a_region_whose_valid_kmers_lie_between_tokens_is_not_scored(tmp_path):
    """Non-overlapping 6-mers at 0 and 6 both hold an N; the valid one at 1 is no token."""
    model = make_model(tmp_path / "m", kmer_stride=6)
    fasta = write_fasta(tmp_path / "g.fa", {"a": "NACGTACGTAAN", "b": "ACGTACGTACGT"})
    (tmp_path / "r.bed").write_text("a\t0\t12\nb\t0\t12\n")
    options = EmbedOptions(on_error="na", **EXACT)
    embed(fasta, tmp_path / "o.h5", bed=tmp_path / "r.bed", model=model, options=options)
    regions, vectors = dnatk.read_embeddings(tmp_path / "o.h5")
    assert regions["status"].tolist() == [1, 0]
    assert np.isnan(vectors[0]).all()
    assert np.isfinite(vectors[1]).all()


def test_layout_is_as_documented(tmp_path, genome, tiny_model):
    embed(genome, tmp_path / "o.h5", model=tiny_model, command="dnatk embed it")
    with h5py.File(tmp_path / "o.h5") as file:
        n = len(file["embedding"])
        assert file["embedding"].dtype == np.float16
        assert file["embedding"].chunks is not None
        kinds = {name: file[f"region/{name}"].dtype for name in file["region"]}
        assert kinds.pop("name").kind == "O"
        assert kinds == {
            "contig": np.uint32, "start": np.int64, "end": np.int64,
            "strand": np.dtype("S1"), "status": np.uint8,
        }  # fmt: skip
        assert all(len(file[f"region/{name}"]) == n for name in file["region"])
        assert file["contig/name"].asstr()[:].tolist() == ["chr1", "chr2", "chr3"]
        assert file["contig/length"][:].tolist() == [5000, 3000, 200]
        attributes = dict(file.attrs)
        for name, value in {
            "format": "dnatk-embedding", "format_version": 1, "complete": True,
            "dnatk_version": dnatk.__version__, "command": "dnatk embed it", "k": 6,
            "kmer_stride": 1, "window": 515, "stride": 510, "pool": "mean", "layer": 2,
            "rc": "none", "model": str(tiny_model),
        }.items():  # fmt: skip
            assert attributes[name] == value, name
        assert len(attributes["model_sha256"]) == 64
        assert attributes["precision"] in ("bfloat16", "float32")


def test_unscorable_regions_give_nan_rows_with_a_status(embed_to):
    bed = "chr1\t0\t100\nchr2\t1100\t1300\nchr1\t4990\t5010\nchrX\t0\t10\nchr1\t5\t9\n"
    regions, vectors = embed_to(bed=bed, on_error="na")
    assert regions["status"].tolist() == [0, 1, 2, 3, 1]
    assert regions["contig"].tolist() == ["chr1", "chr2", "chr1", "chrX", "chr1"]
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr2\t1100\t1300", r"r.bed:2: chr2:1100-1300 has no 6-mer free of N"),
        ("chr1\t4990\t5010", r"r.bed:2: chr1:4990-5010 \(0-based\) is outside the contig of 5000"),
        ("1\t0\t10", r"r.bed:2: no contig '1' in .*did you mean 'chr1'"),
        ("chr1\t9", r"r.bed:2: 2 column\(s\)"),
    ],
)
def test_fail_names_file_and_line_and_leaves_nothing(embed_to, tmp_path, line, message):
    with pytest.raises(DnatkError, match=message):
        embed_to(bed=f"chr1\t0\t100\n{line}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["r.bed"]


def test_nothing_to_embed_is_an_error(tmp_path, tiny_model):
    fasta = write_fasta(tmp_path / "n.fa", {"a": "N" * 300, "b": "ACG"})
    with pytest.raises(InputError, match="nothing to embed"):
        embed(fasta, tmp_path / "o.h5", model=tiny_model)
    assert not (tmp_path / "o.h5").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "shorter than one 6-mer"),
        ({"window": 516}, "at most 515"),
        ({"stride": 0}, "at least 1"),
        ({"layer": 9}, "the model has 2"),
        ({"precision": "fp16"}, "fp16 on a CPU"),
        ({"device": "cuda:9"}, "not here"),
    ],
)
def test_options_that_cannot_be_are_refused(embed_to, options, message):
    with pytest.raises(DnatkError, match=message):
        embed_to(**options)


@pytest.mark.parametrize("options", [{"pool": "none"}, {"window": 200}])
def test_a_row_has_all_its_kmers(embed_to, options):
    """A stride that leaves gaps between windows is for windows that are rows."""
    window = options.get("window", 515)
    with pytest.raises(InputError, match=rf"--stride 600 leaves out .* \(at most {window - 5}\)"):
        embed_to(bed="chr1\t0\t1500\n", stride=600, **options)
    regions, _ = embed_to(stride=600, window=200)
    assert set(np.diff(regions[regions["contig"] == "chr1"]["start"])) == {600}


def test_a_finished_file_of_another_dtype_is_not_taken_for_this(tmp_path, genome, tiny_model):
    options = EmbedOptions(device="cpu", precision="fp32")
    embed(genome, tmp_path / "o.h5", model=tiny_model, options=options)
    assert embed(genome, tmp_path / "o.h5", model=tiny_model, options=options, resume=True).kept
    with pytest.raises(OutputError, match="is finished, but with dtype float16, not float32"):
        embed(
            genome, tmp_path / "o.h5", model=tiny_model, options=EmbedOptions(**EXACT), resume=True
        )


def test_the_genome_is_never_replaced(tmp_path, genome_sequences, tiny_model):
    fasta = write_fasta(tmp_path / "g.fa", genome_sequences)
    before = fasta.read_bytes()
    with pytest.raises(OutputError, match=r"g\.fa: is what is read"):
        embed(fasta, fasta, model=tiny_model, force=True)
    assert fasta.read_bytes() == before


def test_output_is_guarded(tmp_path, genome, tiny_model):
    (tmp_path / "there.h5").write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        embed(genome, tmp_path / "there.h5", model=tiny_model)
    assert (tmp_path / "there.h5").read_text() == "mine"
    with pytest.raises(OutputError, match="does not exist"):
        embed(genome, tmp_path / "no/dir.h5", model=tiny_model)
    with pytest.raises(OutputError, match="is a directory"):
        embed(genome, tmp_path, model=tiny_model)


def test_an_interrupted_run_leaves_nothing(tmp_path, genome, tiny_model, monkeypatch):
    from dnatk.output.hdf5 import EmbeddingWriter

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddingWriter, "append", interrupt)
    with pytest.raises(KeyboardInterrupt):
        embed(genome, tmp_path / "o.h5", model=tiny_model)
    assert not list(tmp_path.iterdir())


HDF5_FULL = """Can't close file (file write failed: time = Mon Nov 23 15:22:09 2026
, filename = 'x', file descriptor = 4, errno = 28, error message = 'No space left on device')"""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(HDF5_FULL)])
def test_a_full_disk_is_one_clear_error(tmp_path, genome, tiny_model, monkeypatch, error):
    from dnatk.output.hdf5 import EmbeddingWriter

    def full(*_, **__):
        raise error

    monkeypatch.setattr(EmbeddingWriter, "finish", full)
    with pytest.raises(OutputError, match=r"o.h5: cannot be written: No space left on device$"):
        embed(genome, tmp_path / "o.h5", model=tiny_model)
    assert not list(tmp_path.iterdir())


def test_reading_refuses_other_and_unfinished_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        dnatk.read_embeddings(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError, match="no HDF5"):
        dnatk.read_embeddings(tmp_path / "text.h5")
    for name, attributes, message in (
        ("other", {}, "not an embedding file"),
        (
            "cut",
            {"format": "dnatk-embedding", "format_version": 1, "complete": False},
            "not complete",
        ),
    ):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.attrs.update(attributes)
        with pytest.raises(InputError, match=message):
            dnatk.read_embeddings(tmp_path / f"{name}.h5")


def test_unknown_contig_error_is_a_reference_error(embed_to):
    with pytest.raises(ReferenceError_):
        embed_to(regions=["chrZ:1-10"])


def test_a_whole_contig_that_is_unknown_has_its_name_alone(embed_to):
    regions, _ = embed_to(regions=["chrZ"], on_error="na")
    assert regions["name"].tolist() == ["chrZ"]


def test_names_with_spaces_unicode_and_repeats_are_kept(embed_to):
    names = ["a b", "ü/x", "twice", "twice"]
    regions, _ = embed_to(bed="".join(f"chr1\t0\t90\t{name}\n" for name in names))
    assert regions["name"].tolist() == names


def disk_that_fails(*_: object):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("bed", [None, "chr1\t0\t90\n"])
def test_a_genome_that_cannot_be_read_is_told_as_such(embed_to, genome, bed, monkeypatch, tmp_path):
    """Not as an output that cannot be written."""
    monkeypatch.setattr("pyfaidx.Faidx.fetch", disk_that_fails)
    with pytest.raises(InputError) as told:
        embed_to(bed=bed)
    assert str(told.value) == f"{genome}: cannot be read: Input/output error"


def test_regions_that_cannot_be_read_are_told_as_such(embed_to, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "dnatk.inference.embed_source.read_bed", lambda _: map(disk_that_fails, "a")
    )
    with pytest.raises(InputError) as told:
        embed_to(bed="chr1\t0\t90\n")
    assert str(told.value) == f"{tmp_path / 'r.bed'}: cannot be read: Input/output error"


def test_a_stream_that_cannot_be_read_is_told_as_such(embed_to, monkeypatch):
    monkeypatch.setattr(
        "dnatk.inference.embed_source.read_fasta", lambda _: map(disk_that_fails, "a")
    )
    with pytest.raises(InputError) as told:
        embed_to(fasta="-")
    assert str(told.value) == "<stdin>: cannot be read: Input/output error"


def test_more_rows_than_a_chunk(tmp_path, tiny_model):
    fasta = write_fasta(tmp_path / "many.fa", {f"s{i}": random_bases(12, i) for i in range(5000)})
    embed(fasta, tmp_path / "o.h5", model=tiny_model, options=EmbedOptions(**EXACT))
    regions, vectors = dnatk.read_embeddings(tmp_path / "o.h5")
    assert regions["name"].tolist() == [f"s{i}" for i in range(5000)]
    assert vectors.shape == (5000, 64)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("pool", ["mean", "none"])
def test_a_model_that_gives_no_numbers_is_told_of(tmp_path, genome, tiny_model, pool):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "model"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    name = next(n for n in weights if n.endswith("layer.1.output.dense.weight"))
    weights[name][0, 0] = float("nan")
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(ModelError, match="not finite, at or after chr1"):
        embed(genome, tmp_path / "o.h5", model=broken, options=EmbedOptions(pool=pool))
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_numbers_beyond_float16_are_told_of(tmp_path, genome, tiny_model):
    from safetensors.torch import load_file, save_file

    large = tmp_path / "model"
    shutil.copytree(tiny_model, large)
    weights = load_file(large / "model.safetensors")
    name = next(n for n in weights if n.endswith("layer.1.output.LayerNorm.weight"))
    weights[name][:] = 1e6
    save_file(weights, large / "model.safetensors")
    with pytest.raises(ModelError, match="--dtype"):
        embed(genome, tmp_path / "o.h5", model=large)
    embed(genome, tmp_path / "o.h5", model=large, options=EmbedOptions(dtype="float32"))
