"""The readers of docs/formats.md read what dnatk has just written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import SAVE_PLOT, cli, no_plot
from pages import DOCS, Block, blocks

import dnatk

PAGE = DOCS / "formats.md"
# What the readers are given: regions on both strands, a row that is not scored, and no name.
BED = "chr1\t100\t190\ta\t0\t+\nchr3\t10\t80\tb\t7\t-\nchr2\t1050\t1060\tlost\t0\t-\nchr2\t5\t90\n"
ROWS = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory, genome, tiny_model, task_of):
    """A directory with a file of each kind, under the names that the page uses."""
    path = tmp_path_factory.mktemp("formats")
    (path / "r.bed").write_text(BED)
    embed = ("-q", "embed", genome, "--bed", path / "r.bed", "--model", tiny_model)
    predict = ("-q", "predict", "--task", task_of("binary"), path / "r.bed", "--genome", genome)
    pretrain = ("-q", "pretrain", genome, "-o", path / "model", "--preset", "tiny")
    sizes = ("--max-steps", 2, "--batch-tokens", 256, "--window", 69, "--log-steps", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(path / "no-settings"))
        patch.setattr(SAVE_PLOT, no_plot)
        for arguments in (
            (*embed, "--on-error", "na", "-o", path / "promoters.h5"),
            (*embed, "--on-error", "na", "-o", path / "bases.h5", "--pool", "none"),
            (*predict, "-o", path / "scored.bed", "--h5", path / "scored.h5"),
            (*predict, "-o", path / "scored.jsonl", "--format", "jsonl"),
            ("h5", "export", path / "promoters.h5", "-o", path / "promoters.tsv"),
            ("h5", "export", path / "promoters.h5", "-o", path / "promoters.npz"),
            (*pretrain, *sizes, "--save-steps", 1, "--holdout", "chr3", "-t", 1),
        ):
            assert cli(*arguments) == 0, arguments
        for extra, name in (("pyarrow", "promoters.parquet"), ("anndata", "promoters.h5ad")):
            if find_spec(extra):
                assert cli("h5", "export", path / "promoters.h5", "-o", path / name) == 0
    shutil.copytree(task_of("binary"), path / "task")
    return path


def expected(path) -> dict[str, object]:
    """What the names of the readers must hold, by file."""
    regions, vectors = dnatk.read_embeddings(path / "promoters.h5")
    scored, _ = dnatk.read_predictions(path / "scored.h5")
    _, tokens = tokens_of(path / "bases.h5")
    task = json.loads((path / "task/task.json").read_text())
    return {
        "regions": len(regions),
        "frame": ROWS,
        "vectors": vectors.tolist(),
        "start": regions["start"].tolist(),
        "contig": regions["contig"].tolist(),
        "tokens": tokens,
        "classes": task["class_names"],
        "label": scored["label"].tolist(),
        "probability": scored.filter(like="p_").to_numpy().tolist(),
        "length": 60,
        "k": 6,
        "steps": [1, 2],
    }


def tokens_of(path) -> tuple[list[int], list]:
    """Offsets, and the vectors of row 1."""
    import h5py

    with h5py.File(path) as file:
        offset = file["token/offset"][:].tolist()
        return offset, file["token/embedding"][offset[1] : offset[2]].tolist()


def code(language: str) -> list:
    """The page's readers, each named by its heading."""
    text = PAGE.read_text()
    found = []
    for block in blocks(PAGE, language):
        heading = re.findall(r"^#+ (.+)$", "\n".join(text.split("\n")[: block.line]), re.M)[-1]
        found.append(pytest.param(block, id=f"{heading}-{block.line}"))
    return found


def test_every_reader_has_four_lines_at_most():
    readers = blocks(PAGE, "python", "r")
    assert len(readers) > 20
    assert not [
        str(block) for block in readers if len([x for x in block.text.splitlines() if x]) > 4
    ]
    assert len(readers) == len(blocks(PAGE)), "a block in another language is not tested"


@pytest.mark.parametrize("block", code("python"))
def test_python_readers(block: Block, made, monkeypatch):
    for extra in ("anndata", "parquet"):
        if extra in block.text:
            pytest.importorskip({"parquet": "pyarrow"}.get(extra, extra))
    monkeypatch.chdir(made)
    names: dict[str, object] = {}
    exec(compile(block.text, str(block), "exec"), names)
    given = {name: value for name, value in names.items() if not name.startswith("__")}
    checked = compare(given, expected(made))
    assert checked or {"facts", "model", "head", "options", "data"} & set(given), "nothing is read"
    if "facts" in given:
        assert {given["facts"].get("format")} <= {"dnatk-embedding", "dnatk-model"}
    if "options" in given:
        assert given["options"]["pretrain"]["max_steps"] == 2
    if "data" in given:
        assert given["data"].shape == (ROWS, 64)
    if "model" in given:
        assert len(given["tokenizer"]("ACGTAC CGTACG")["input_ids"]) == 4


def compare(given: dict, wanted: dict) -> list[str]:
    """Check what a reader has read against what is there; the names that were checked."""
    checked = [name for name in wanted if name in given]
    for name in checked:
        value, target = given[name], wanted[name]
        if value is None:
            assert name == "vectors"  # of predictions without --embeddings
        elif name in ("regions", "frame"):
            assert len(value) == target
        elif name == "steps":
            assert list(value["step"]) == target
        elif name in ("vectors", "tokens", "probability"):
            np.testing.assert_allclose(np.array(value, dtype=float), target, rtol=1e-3, atol=1e-6)
        elif name == "classes":
            assert sorted(value) == sorted(target)
        else:
            assert np.asarray(value).tolist() == target, name
    return checked


# Adds what was read to a list, numbers in full and NaN as null.
R_KEEP = """
for (name in intersect(ls(), c({names}))) {{
  value <- get(name)
  read[[length(read) + 1]] <- list(block = {number}, name = name,
    value = if (is.data.frame(value)) nrow(value) else if (is.list(value)) value else unname(value))
}}
rm(list = setdiff(ls(), "read"))
"""


def test_r_readers(made):
    if not shutil.which("Rscript"):
        pytest.skip("there is no Rscript")
    for package in ("hdf5r", "jsonlite"):
        has = ["Rscript", "-e", f"quit(status = !requireNamespace('{package}', quietly = TRUE))"]
        if subprocess.run(has, capture_output=True).returncode:
            pytest.skip(f"R has no {package}")
    wanted = expected(made)
    numbered = dict(enumerate(blocks(PAGE, "r")))
    quoted = ", ".join(f'"{name}"' for name in (*wanted, "facts", "options"))
    script = ["read <- list()"]
    for number, block in numbered.items():
        script += [block.text, R_KEEP.format(names=quoted, number=number)]
    script.append("cat(jsonlite::toJSON(read, auto_unbox = TRUE, digits = NA, na = 'null'))")
    done = subprocess.run(
        ["Rscript", "-e", "\n".join(script)], cwd=made, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    read: dict[int, dict[str, object]] = {number: {} for number in numbered}
    for entry in json.loads(done.stdout):
        read[entry["block"]][entry["name"]] = entry["value"]
    for number, names in read.items():
        assert names, f"{numbered[number]} reads nothing"
        for name, value in names.items():
            if name in ("frame", "steps"):
                assert value == (ROWS if name == "frame" else len(wanted["steps"]))
            elif name == "facts":
                assert value["format"] in ("dnatk-embedding", "dnatk-model")
            elif name == "options":
                assert value["max_steps"] == 2
            else:
                compare({name: value}, wanted)
