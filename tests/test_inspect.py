"""``dnatk inspect`` from end to end: the directory, the page, the figures, the errors."""

from __future__ import annotations

import base64
import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import make_model, random_bases, write_fasta, write_labelled
from PIL import Image
from test_foreign import make_foreign

from dnatk.analysis.inspect import InspectOptions, inspect, tidy
from dnatk.analysis.inspect_inputs import labelled_sets
from dnatk.errors import InputError, OutputError
from dnatk.labelled.places import Spans
from dnatk.labelled.read import ReadOptions
from dnatk.training.config import PretrainConfig

GOLDEN = Path(__file__).parent / "golden"
FIGURES = {
    "tokens_pca", "tokens_variance", "attention_layers", "attention_heads", "attention_maps",
    "probe_bases",
}  # fmt: skip
QUIET = ("--windows", "6", "--window", "70", "--device", "cpu", "-t", "1")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A model of 3-mers that says how it was trained."""
    path = make_model(tmp_path_factory.mktemp("model") / "small <3>", k=3)
    PretrainConfig(inputs=("g.fa",), k=3, max_steps=100).write(path)
    rows = [
        {"step": s, "loss": 2.0, "bits": round(6 - s / 50, 3), "span": 3, "tokens": 100 * s}
        for s in range(10, 110, 10)
    ]
    rows.append({"step": 100, "tokens": 10_000, "heldout_bits": {"3": 4.25}})
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled") / "train.csv", "binary", 80, 1)


@pytest.fixture(scope="module")
def full(tmp_path_factory, small, genome, table) -> Path:
    """DIR of a run with everything in it."""
    from conftest import cli

    out = tmp_path_factory.mktemp("full") / "out"
    assert cli("-q", "inspect", small, genome, "-o", out, "--labelled", table, *QUIET) == 0
    return out


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Figures take longest: a run without them, and without a page."""
    monkeypatch.setattr("dnatk.analysis.inspect_plots.draw_figures", lambda *_: {})
    monkeypatch.setattr("dnatk.analysis.inspect_page.page", lambda *_: "")


class Page(HTMLParser):
    """Every attribute that could fetch, the images, the text, and whether tags close."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open, self.urls, self.images, self.text = [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "iframe", "object", "embed", "link")
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "poster"):
                self.urls.append(value)
            if tag == "img" and name == "alt":
                self.images.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def keys(value: object, at: str = "") -> list[str]:
    """The paths of all keys; lists are left alone."""
    if not isinstance(value, dict):
        return [at]
    return [path for key, each in value.items() for path in keys(each, f"{at}.{key}".lstrip("."))]


def test_the_page_stands_alone(full):
    page = Page(full / "index.html")
    assert not page.open, "a tag is not closed"
    assert len(page.urls) == len(page.images) == len(FIGURES) + 4
    for url in page.urls:
        head, data = url.split(",", 1)
        assert head == "data:image/svg+xml;base64"
        ET.fromstring(base64.b64decode(data))
    style = re.search(r"<style>(.*?)</style>", (full / "index.html").read_text(), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "small <3>" in page.text, "escaped"
    for said in ("How to read it", "two central bases", "bits a masked token", "MCC"):
        assert said in page.text
    assert "No FASTA" not in page.text


def test_every_figure_can_be_opened(full):
    names = FIGURES | {"tokens_tsne", "probe_labels", "norms", "loss"}
    assert {p.name for p in full.iterdir()} == {"config.toml", "index.html", "inspect.json"} | {
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    }
    for name in names:
        with Image.open(full / f"{name}.png") as image:
            image.load()
            assert min(image.size) > 300
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 5, "nothing drawn"
        root = ET.parse(full / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)


def test_the_keys_are_golden(full):
    numbers = json.loads((full / "inspect.json").read_text())
    assert (full / "inspect.json").read_text() == (
        json.dumps(numbers, indent=1, sort_keys=True) + "\n"
    )
    text = "\n".join(sorted(keys(numbers))) + "\n"
    golden = GOLDEN / "inspect_keys.txt"
    if os.environ.get("DNATK_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_what_the_numbers_say(full, small, genome, table):
    from dnatk.genome.fasta import sha256

    numbers = json.loads((full / "inspect.json").read_text())
    assert numbers["model"]["sha256"] == sha256(small / "model.safetensors")
    assert numbers["input"]["fasta_sha256"] == sha256(genome)
    assert numbers["input"]["labelled_sha256"] == sha256(table)
    assert numbers["options"] == {"seed": 42, "tsne": True, "window": 70, "windows": 6}
    assert numbers["attention"]["tokens"] == 70
    assert numbers["attention"]["reach"] == 2
    assert numbers["training"]["bits"] == 4
    assert numbers["training"]["heldout_bits"] == {"3": 4.25}
    assert numbers["labels"]["mcc"][0] > 0.9, "thirds of AAT or GGC"
    assert len(numbers["bases"]["accuracy"]["8"]) == 3


def test_the_same_seed_gives_the_same_bytes(full, run, small, genome, table, tmp_path):
    result = run("inspect", small, genome, "-o", tmp_path / "o", "--labelled", table, *QUIET)
    assert result.code == 0
    for path in full.iterdir():
        assert path.read_bytes() == (tmp_path / "o" / path.name).read_bytes(), path.name
    other = inspect(small, genome, options=InspectOptions(6, 70, tsne=False, seed=1), device="cpu")
    numbers = json.loads((full / "inspect.json").read_text())
    assert other["attention"] != numbers["attention"]


def test_without_a_fasta(run, tiny_model, tmp_path):
    out = tmp_path / "new" / "out"
    result = run("inspect", tiny_model, "-o", out, "--no-tsne", *QUIET)
    assert (result.code, result.out) == (0, "")
    line = re.fullmatch(
        rf"{out}/index.html: central bases explain \d+ % of the token embeddings, marginal ones "
        r"\d+ %, layer [12] attends to \d+ of 67 tokens, layer [012] tells the next base in \d+ % "
        r"\(majority \d+ %\)\n",
        result.err,
    )
    assert line, result.err
    assert {p.stem for p in out.glob("*.png")} == FIGURES
    assert "measured on random bases" in Page(out / "index.html").text
    numbers = json.loads((out / "inspect.json").read_text())
    assert numbers["input"]["fasta"] is None
    assert numbers["norms"] is None
    assert numbers["training"] is None
    assert numbers["tokens"]["tsne_silhouette"] is None


@pytest.mark.parametrize("k", [1, 2, 7])
def test_other_k(tmp_path, k):
    model = make_model(tmp_path / "m", k=k, num_hidden_layers=1)
    numbers = inspect(
        model, output=tmp_path / "o", options=InspectOptions(3, 40, tsne=k < 3), device="cpu"
    )
    assert numbers["tokens"]["k"] == k
    assert numbers["tokens"]["mapped"] == min(4**k, 4096)
    if k == 1:
        assert numbers["tokens"]["r2"]["central"] == 1
        assert numbers["tokens"]["silhouette"]["central"] is None
    assert (tmp_path / "o" / "tokens_tsne.png").exists() == (k == 2)
    assert any("all there are" in note for note in numbers["notes"]) == (k < 3)


@pytest.mark.parametrize("tokens", ["letters", "wordpiece"])
def test_models_of_other_makes(run, genome, tmp_path, tokens, monkeypatch):
    """Installed ones by their name, of which a hub is not asked."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    make_foreign(tmp_path / "data/dnatk/models/tiny", tokens)
    result = run("inspect", "tiny", genome, "-o", tmp_path / "o", *QUIET)
    assert result.code == 0, result.err
    numbers = json.loads((tmp_path / "o" / "inspect.json").read_text())
    assert numbers["model"]["k"] == 0
    assert numbers["attention"]["windows"] == 6
    assert Page(tmp_path / "o" / "index.html").images
    if tokens == "letters":
        assert numbers["tokens"]["k"] == 1
        assert numbers["norms"]["kmers"] == 7500
    else:
        assert numbers["tokens"] is None
        assert "no token map" in numbers["notes"][0]


def test_one_window_has_no_probe(small, tmp_path):
    options = InspectOptions(windows=1, window=60, tsne=False)
    numbers = inspect(small, output=tmp_path / "o", options=options, device="cpu")
    assert numbers["bases"] is None
    assert "No probe of bases" in numbers["notes"][0]
    assert not (tmp_path / "o" / "probe_bases.png").exists()


def test_a_damaged_log_is_a_note(small, tmp_path, genome):
    model = tmp_path / "m"
    model.mkdir()
    for path in small.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    (model / "metrics.jsonl").write_text('{"step": 1, "bi')
    numbers = inspect(model, options=InspectOptions(2, 60, tsne=False), device="cpu")
    assert numbers["training"] is None
    assert numbers["notes"] == ["Its metrics.jsonl is no log of a pre-training run."]


def test_an_untrained_table_has_no_map(tmp_path):
    from safetensors.torch import load_file, save_file

    model = make_model(tmp_path / "m", k=3)
    weights = load_file(model / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"][:] = 0.5
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    numbers = inspect(model, output=tmp_path / "o", options=InspectOptions(2, 60), device="cpu")
    assert numbers["tokens"]["r2"]["central"] is None
    assert "undefined" in Page(tmp_path / "o" / "index.html").text


def test_dirs_that_may_be_written(run, small, tmp_path, undrawn):
    args = ("-q", "inspect", small, "--no-tsne", *QUIET)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(*args, "-o", empty).code == 0, "an empty one may be there"
    first = (empty / "inspect.json").read_text()
    again = run(*args, "-o", empty)
    assert (again.code, again.err) == (
        1, f"dnatk: error: {empty}: exists already (--force replaces it)\n",
    )  # fmt: skip
    (empty / "mine.txt").write_text("")
    assert run(*args, "-o", empty, "--force", "--seed", "1").code == 0
    assert not (empty / "mine.txt").exists()
    assert (empty / "inspect.json").read_text() != first
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("precious")
    refused = run(*args, "-o", other, "--force")
    assert "has no inspect.json, so it is not replaced" in refused.err
    assert (other / "thesis.tex").read_text() == "precious"


def test_nothing_is_left_of_a_run_that_fails(small, tmp_path, monkeypatch, undrawn):
    import dnatk.analysis.inspect_page as module

    def fail(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(module, "page", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        inspect(small, output=tmp_path / "o", options=InspectOptions(2, 40, tsne=False))
    assert list(tmp_path.iterdir()) == []


ERRORS = [
    ("model", ["nowhere"]),
    ("fasta", ["MODEL", "missing.fa"]),
    ("short", ["MODEL", "short.fa"]),
    ("window", ["MODEL", "--window", "9999"]),
    ("labels", ["MODEL", "--labelled", "values.csv", "--window", "40"]),
    ("columns", ["MODEL", "--labelled", "columns.csv", "--window", "40"]),
    ("no_labels", ["MODEL", "--labelled", "missing.csv", "--window", "40"]),
]


@pytest.mark.parametrize(("name", "args"), ERRORS, ids=[e[0] for e in ERRORS])
def test_bad_input_is_one_clear_line(run, tiny_model, tmp_path, monkeypatch, name, args):
    monkeypatch.chdir(tmp_path)
    write_fasta(tmp_path / "short.fa", {"a": random_bases(60, 1) + "NN" + random_bases(20, 2)})
    (tmp_path / "values.csv").write_text(
        "sequence,label\n" + "".join(f"{random_bases(30, i)},{i + 0.5}\n" for i in range(9))
    )
    (tmp_path / "columns.csv").write_text("name,height\na,1\n")
    args = [tiny_model if arg == "MODEL" else arg for arg in args]
    result = run("-q", "inspect", *args, "-o", "out", "--device", "cpu", "--no-tsne")
    assert (result.code, result.out) == (1, "")
    line = result.err.replace(str(tiny_model), "MODEL").replace(str(tmp_path), "TMP")
    golden = GOLDEN / f"error_inspect_{name}.txt"
    if os.environ.get("DNATK_UPDATE_GOLDEN"):
        golden.write_text(line)
    assert line == golden.read_text()
    assert line.count("\n") == 1
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["dnatk-small"], "Missing option '-o'"),
        (["dnatk-small", "-", "-o", "x"], "must be a file"),
        (["dnatk-small", "-o", "x", "--labelled-dev", "d.csv"], "goes with --labelled"),
        (["dnatk-small", "-o", "x", "--windows", "0"], "0 is not in the range"),
    ],
)
def test_usage_errors_exit_2(run, args, message):
    result = run("inspect", *args)
    assert result.code == 2
    assert message in result.err


@pytest.fixture
def peaks(tmp_path, genome_sequences):
    """``peaks(**options)``: the sets of two BEDs of positives that take turns on a contig."""
    genome = write_fasta(tmp_path / "g.fa", genome_sequences)
    starts = range(0, 3200, 160)
    for name, rows in (("a", starts[::2]), ("b", starts[1::2])):
        bed = "".join(f"chr1\t{start}\t{start + 100}\n" for start in rows)
        (tmp_path / f"{name}.bed").write_text(bed)
    subject = SimpleNamespace(trained_window=515)

    def call(dev: str = "b.bed"):
        options = InspectOptions(
            labelled=str(tmp_path / "a.bed"),
            labelled_dev=dev and str(tmp_path / dev),
            read=ReadOptions(genome=str(genome), negatives="random"),
        )
        return labelled_sets(options, subject)

    return call


def test_negatives_keep_clear_of_the_other_file(peaks):
    sets = peaks()
    for one, other in (sets, sets[::-1]):
        negative = [r for r, t in zip(one.regions, one.targets, strict=True) if t == 0]
        assert len(negative) == 10
        assert not Spans(other.regions).overlapping(negative).any()


def test_one_contig_that_cannot_be_split_asks_for_what_inspect_has(peaks):
    with pytest.raises(InputError, match=r"a split by chromosome needs one each") as caught:
        peaks(dev="")
    assert caught.value.hint == "--labelled-dev FILE"
    assert str(caught.value.path).endswith("a.bed")


def test_tidy_numbers():
    import numpy as np

    messy = {1: [np.float32(1 / 3), float("nan"), (2, None)], "x": {"y": -np.inf}}
    assert tidy(messy) == {"1": [0.333333, None, [2, None]], "x": {"y": None}}


def test_what_is_read_is_not_replaced(tmp_path):
    model = make_model(tmp_path / "looked" / "model", k=3)
    (tmp_path / "looked" / "inspect.json").write_text("{}")
    with pytest.raises(OutputError, match="holds what is read"):
        inspect(model, output=tmp_path / "looked", force=True)
    assert (model / "config.json").exists()
