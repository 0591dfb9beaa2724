"""Maps of regions: what is drawn, by what it is coloured, and what is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import write_fasta
from html_pages import Page
from PIL import Image

from dnatk.analysis.region_colours import Colours, check_colour
from dnatk.analysis.region_figure import _key, map_figure
from dnatk.analysis.region_map import draw_map
from dnatk.errors import InputError, OutputError
from dnatk.genome.regions import Region
from dnatk.output.hdf5 import EmbeddingWriter
from dnatk.output.status import Status

GROUPS = ("promoter", "random")


@pytest.fixture(autouse=True)
def without_umap(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)


def lines(n: int) -> list[tuple[str, ...]]:
    return [
        (f"chr{1 + i % 2}", str(10 * i), str(10 * i + 50), GROUPS[i % 2], f"{i / 7:.2f}", "+")
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> tuple[Path, Path]:
    """(HDF5, BED) of 40 regions: two clouds apart by 10 along one direction; row 5 is NaN."""
    directory = tmp_path_factory.mktemp("map")
    h5, bed = directory / "e.h5", directory / "r.bed"
    rows = lines(40)
    bed.write_text(
        "#chrom\tstart\tend\tname\tgc\tstrand\n" + "".join("\t".join(row) + "\n" for row in rows)
    )
    write_rows(h5, rows)
    return h5, bed


def write_rows(path: Path, rows: list[tuple[str, ...]], per_token: bool = False) -> None:
    n = len(rows)
    x_ND = np.random.default_rng(0).normal(size=(n, 8)).astype("f4")
    x_ND[:, 0] += [10 * (row[3] == GROUPS[0]) for row in rows]
    status = np.zeros(n, dtype="u1")
    if n > 5:
        status[5], x_ND[5] = Status.OUT_OF_BOUNDS, np.nan
    writer = EmbeddingWriter(
        path, width=8, dtype="float32", per_token=per_token, contigs={"chr1": 900, "chr2": 900},
        attributes={"model": "<script>m</script>", "pool": "mean"},
    )  # fmt: skip
    regions = [Region(r[0], int(r[1]), int(r[2]), r[5], r[3]) for r in rows]
    writer.append(regions, status, x_ND, np.ones(n, dtype="i8") if per_token else None)
    writer.finish()


def test_a_picture_of_every_kind(embedded, tmp_path):
    h5, _ = embedded
    for suffix in ("png", "svg", "pdf", "html"):
        summary = draw_map(h5, tmp_path / f"m.{suffix}", colour="name")
    assert str(summary) == (
        "39 rows, PCA (umap-learn is not installed), coloured by name, 1 row without a vector "
        "left out"
    )
    assert (tmp_path / "m.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "m.png") as image:
        assert min(image.size) > 500
    page = Page(tmp_path / "m.html")
    assert page.figures == ["PCA map of the regions"]
    assert "<script>m</script>" in page.text
    assert {p.name for p in tmp_path.iterdir()} == {"m.png", "m.svg", "m.pdf", "m.html"}


def test_same_seed_same_bytes(embedded, tmp_path):
    h5, _ = embedded
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    said = [str(draw_map(h5, path, most=12, seed=s)) for path, s in ((a, 1), (b, 1), (c, 2))]
    assert said[0].startswith("12 of 39 rows, drawn by seed 1, PCA")
    assert a.read_bytes() == b.read_bytes() != c.read_bytes()


def test_the_first_component_is_the_one_that_was_planted(embedded):
    import h5py

    from dnatk.analysis.region_map import _drawn_rows, _placed, _vectors

    with h5py.File(embedded[0]) as file:
        row_N, rows, unscored = _drawn_rows(file, "x", 100, 0)
        x_ND = _vectors(file, "x", row_N)
    assert (len(row_N), rows, unscored) == (39, 39, 1)
    assert 5 not in row_N
    xy_N2, names = _placed(x_ND, "pca", 0)
    group_N = row_N % 2 == 0
    left, right = sorted((xy_N2[group_N, 0], xy_N2[~group_N, 0]), key=np.mean)
    assert left.max() < right.min()
    assert names[0].startswith("PC 1 (7") or names[0].startswith("PC 1 (8")


@pytest.mark.parametrize(
    ("texts", "numeric"),
    [
        (["1", "0", "1", ""], False),
        (["0.5", "1", "."], True),
        ([str(i) for i in range(30)], True),
        (["a", "1"], False),
        ([".", "NA"], False),
    ],
)
def test_numbers_and_names_are_told_apart(texts, numeric):
    assert (Colours.of("x", texts).numbers is not None) == numeric


def test_many_names_are_folded():
    names = [f"n{i}" for i in range(20) for _ in range(i + 1)] + [""]
    key = _key(Colours("x", names=names))
    assert list(key)[:3] == ["n19", "n18", "n17"]
    assert len(key) == 11
    assert key[None][1] == sum(range(1, 12))
    assert key[""][1] == 1
    assert len({shade for shade, _ in key.values()}) == 11
    assert None not in _key(Colours("x", names=[f"n{i}" for i in range(10)] * 2))


def test_a_class_called_other_is_not_the_others():
    names = ["other"] * 30 + ["(none)"] * 25 + [f"n{i}" for i in range(20)] + ["", ""]
    key = _key(Colours("x", names=names))
    assert (key["other"][1], key["(none)"][1], key[""][1]) == (30, 25, 2)
    assert sum(count for _, count in key.values()) == len(names)
    figure = map_figure(np.zeros((len(names), 2)), ("a", "b"), Colours("x", names=names), 0)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts.count("other (30)") == 1
    assert texts[-1] == "(none) (2)"


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_vectors_that_are_all_equal_lie_in_one_place(tmp_path, method, monkeypatch):
    """t-SNE would end the process (a segmentation fault)."""
    monkeypatch.setattr("dnatk.analysis.region_map.check_map", lambda *_: None)
    h5 = tmp_path / "e.h5"
    writer = EmbeddingWriter(h5, width=8, dtype="float32", per_token=False, attributes={})
    regions = [Region("chr1", 0, 100)] * 9
    writer.append(regions, np.zeros(9, dtype="u1"), np.ones((9, 8), dtype="f4"))
    writer.finish()
    summary = draw_map(h5, tmp_path / "m.png", method=method)
    assert str(summary).startswith("9 rows, PCA (all vectors are equal), without colours")


@pytest.mark.parametrize(
    ("colour", "name"),
    [("", "contig"), ("gc", "gc"), ("5", "gc"), ("score", "gc"), ("chrom", "chrom"),
     ("name", "name"), ("4", "name"), ("strand", "strand"), ("length", "length")],
)  # fmt: skip
def test_columns_of_the_bed_file(embedded, tmp_path, monkeypatch, colour, name):
    monkeypatch.setattr("dnatk.analysis.region_map._save", lambda _, path, *__: path.touch())
    h5, bed = embedded
    assert draw_map(h5, tmp_path / "m.png", colour=colour, bed=bed).colour == name


def test_what_is_refused(embedded, tmp_path):
    h5, _ = embedded
    out = tmp_path / "m.png"
    other = tmp_path / "other.bed"
    rows = lines(40)
    with pytest.raises(InputError, match="no column 'gc' without the regions' BED file"):
        draw_map(h5, out, colour="gc")
    moved = [("chr1", "21", "71", *row[3:]) if i == 2 else row for i, row in enumerate(rows)]
    for told, colour, wrong in (
        (r"no column 'gc' \(one of chrom, start, end, name, score", "gc", rows),
        (r"has 39 regions, .*e.h5 has 40 rows", "5", rows[:39]),
        (r"other.bed:3: is not the region of row 3 of", "5", moved),
    ):
        other.write_text("".join("\t".join(row) + "\n" for row in wrong))
        with pytest.raises(InputError, match=told):
            draw_map(h5, out, colour=colour, bed=other)
    with pytest.raises(InputError, match=r"umap-learn is not installed \(pip install"):
        draw_map(h5, out, method="umap")
    with pytest.raises(OutputError, match=r"is no name of a plot \(end it in .png, .svg, .pdf or"):
        draw_map(h5, tmp_path / "m.jpg")
    few, tokens = tmp_path / "few.h5", tmp_path / "tokens.h5"
    write_rows(few, lines(2))
    with pytest.raises(InputError, match="needs at least 3 rows with a vector, there are 2"):
        draw_map(few, out)
    write_rows(tokens, lines(9), per_token=True)
    with pytest.raises(InputError, match="holds a vector for each token"):
        draw_map(tokens, out)
    own = [(*row[:3], f"gene{i}", *row[4:]) for i, row in enumerate(lines(20))]
    write_rows(few, own)
    with pytest.raises(InputError, match="column 'name' is different in every row"):
        draw_map(few, out, colour="name")
    assert not out.exists()
    with pytest.raises(InputError, match="no column '5' without"):
        check_colour("5", "-")


@pytest.mark.parametrize(("rows", "neighbours", "start"), [(40, 15, "spectral"), (3, 2, "random")])
def test_umap_where_it_is_installed(tmp_path, monkeypatch, rows, neighbours, start):
    told = {}

    def fit(**options):
        told.update(options)
        return SimpleNamespace(fit_transform=lambda x: x[:, :2])

    module = ModuleType("umap")
    module.UMAP = fit
    monkeypatch.setitem(sys.modules, "umap", module)
    write_rows(tmp_path / "e.h5", lines(rows))
    summary = draw_map(tmp_path / "e.h5", tmp_path / "m.svg", seed=7)
    assert (summary.method, summary.why) == ("UMAP", "")
    assert told == {"n_neighbors": neighbours, "init": start, "random_state": 7, "n_jobs": 1}


@pytest.mark.parametrize("rows", [3, 4, 5])
def test_umap_of_few_rows(tmp_path, monkeypatch, rows):
    monkeypatch.delitem(sys.modules, "umap")
    pytest.importorskip("umap")
    write_rows(tmp_path / "e.h5", lines(rows))
    summary = draw_map(tmp_path / "e.h5", tmp_path / "m.png", method="umap")
    assert (summary.drawn, summary.method) == (rows, "UMAP")


def test_embed_draws_what_it_has_written(run, tiny_model, genome_sequences, tmp_path):
    genome = write_fasta(tmp_path / "g.fa", genome_sequences)
    bed = tmp_path / "r.bed"
    bed.write_text(
        "".join(f"chr1\t{i}\t{i + 80}\tgroup{i % 3}\t{i}\t+\n" for i in range(0, 900, 50))
    )
    common = ("--bed", bed, "--model", tiny_model, "--device", "cpu", "-o", tmp_path / "o.h5")
    plot = tmp_path / "map.html"
    result = run("embed", genome, *common, "--plot", plot, "--color", "score", "--map", "pca")
    assert (result.code, result.out) == (0, "")
    assert result.err.splitlines()[-1] == f"{plot}: 18 rows, PCA, coloured by score"
    assert Page(plot).figures == ["PCA map of the regions"]
    again = run("h5", "plot", tmp_path / "o.h5", "-o", tmp_path / "m.png", "--rows", "10")
    assert again.code == 0, again.err
    assert "10 of 18 rows, drawn by seed 42" in again.err
    assert run("h5", "plot", tmp_path / "o.h5", "-o", tmp_path / "m.png").code == 1  # no --force


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--plot", "m.jpg"), 1, "is no name of a plot"),
        (("--plot", "m.png", "--colour", "9"), 1, "no column '9'"),
        (("--plot", "m.png", "--colour", "label"), 1, "no column 'label'"),
        (("--plot", "o.html", "-o", "./o.html"), 1, "cannot be both the embeddings and their map"),
        (("--plot", "r.png", "--bed", "r.png", "--force"), 1, "r.png: is what is read"),
        (("--plot", "m.png", "--pool", "none"), 2, "needs a vector for each row"),
        (("--plot", "m.png", "--shard", "1/2"), 2, "merge the shards, then dnatk h5 plot"),
        (("--map", "pca"), 2, "--colour and --map go with --plot"),
    ],
)
def test_a_map_that_cannot_be_is_refused_at_once(
    run, genome, tmp_path, monkeypatch, options, code, said
):
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t0\t100\n")
    shutil.copy(bed, tmp_path / "r.png")
    monkeypatch.chdir(tmp_path)
    result = run("embed", genome, "--bed", bed, "-o", tmp_path / "o.h5", *options)
    assert result.code == code
    assert said in result.err
    assert not list(tmp_path.glob("o.h5*"))


def test_the_map_needs_no_torch(embedded, tmp_path):
    import subprocess

    script = (
        "import sys\nfrom dnatk.cli import main\n"
        f"try:\n    main(['h5', 'plot', {str(embedded[0])!r}, '-o', {str(tmp_path / 'm.png')!r}])\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
