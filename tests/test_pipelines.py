"""The workflows, shell pipelines, images and recipe under examples/, run as far as can be here."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import random_bases, write_fasta

import dnatk

ROOT = Path(__file__).parents[1]
PIPELINES = ROOT / "examples" / "pipelines"
IMAGES = ROOT / "examples" / "containers"
BIN = Path(sys.executable).parent
SCRIPTS = sorted((PIPELINES / "shell").glob("*.sh"))
TRAINING = sorted((ROOT / "examples").glob("*.sh"))


def need(program: str) -> str:
    path = shutil.which(program, path=f"{BIN}:{os.environ['PATH']}")
    return path or pytest.skip(f"{program} is not installed")


def sh(*command: object, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess:
    """Run it with this environment's dnatk and Python first on the PATH."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


# Snakemake


SNAKEFILE = PIPELINES / "snakemake" / "Snakefile"


def snakemake(directory: Path, *arguments: str, code: int = 0) -> str:
    program = need("snakemake")
    done = sh(program, "-s", SNAKEFILE, "--directory", directory, *arguments, code=code)
    return done.stdout + done.stderr


def test_the_snakemake_workflow_gives_all_it_promises(tmp_path, tiny_model):
    arguments = ("--cores", "2", "--config", f"model={tiny_model}", "device=cpu", "threads=1")
    snakemake(tmp_path, *arguments, "shards=2")
    results = tmp_path / "results"
    assert sorted(path.name for path in results.iterdir()) == [
        "evaluation.json", "genome.h5", "heldout.bed", "scored.bed", "task", "train.bed",
    ]  # fmt: skip
    regions, _ = dnatk.read_embeddings(results / "genome.h5")
    assert set(regions["contig"]) == {"chr1", "chr2", "chr3", "chr4"}
    for log in (tmp_path / "logs/embed").iterdir():
        assert ": 0 rows" not in log.read_text()  # both had work
    evaluation = json.loads((results / "evaluation.json").read_text())
    assert 0 <= evaluation["metrics"]["auroc"]["value"] <= 1
    parts = {part: (results / f"{part}.bed").read_text() for part in ("train", "heldout")}
    assert {line.split("\t")[0] for line in parts["heldout"].splitlines()} == {"chr4"}
    positives = (tmp_path / "example/promoters.bed").read_text()
    assert "".join(parts.values()) == positives  # chr4 comes last
    rows = [x for x in (results / "scored.bed").read_text().splitlines() if x[0] != "#"]
    wanted = (tmp_path / "example/features.bed").read_text().splitlines()
    assert [row.rsplit("\t", 3)[0] for row in rows] == wanted
    assert "Nothing to be done" in snakemake(tmp_path, *arguments, "shards=2")


def test_the_snakefile_is_clean_and_a_wrong_key_is_named(tmp_path):
    assert "good condition" in snakemake(tmp_path, "--lint")
    said = snakemake(tmp_path, "-n", "--config", "genom=x.fa", code=1)
    assert "'genom' was unexpected" in said
    assert not (tmp_path / "results").exists()


def test_the_snakemake_configuration_fits_its_schema():
    config = yaml.safe_load((PIPELINES / "snakemake/config.yaml").read_text())
    schema = yaml.safe_load((PIPELINES / "snakemake/config.schema.yaml").read_text())
    assert set(config) == set(schema["required"]) == set(schema["properties"])
    used = set(re.findall(r'config\["(\w+)"\]', SNAKEFILE.read_text()))
    assert used == set(config)


# Nextflow: without Nextflow, the modules' commands are written out as it would and run.


MODULES = PIPELINES / "nextflow" / "modules" / "dnatk"
NEXTFLOW_FILES = [*sorted(PIPELINES.glob("nextflow/*.nf")), *sorted(MODULES.glob("*/main.nf"))]


def command_of(module: str, block: str, values: dict[str, object]) -> str:
    """The shell command of a ``script`` or ``stub`` block, names in it replaced as Groovy does."""
    text = (MODULES / module / "main.nf").read_text()
    template = re.search(rf'{block}:.*?"""\n(.*?)"""', text, re.DOTALL)[1]
    template = re.sub(r"(?<!\\)\$\{([\w.]+)\}", lambda name: str(values[name[1]]), template)
    assert not re.search(r"(?<!\\)\$", template), "only ${name} is understood here"
    lines = re.sub(r"\\([\\$])", r"\1", template).splitlines(keepends=True)
    return "".join(line.removeprefix("    ") for line in lines)


def run_module(directory: Path, module: str, block: str, **values: object) -> None:
    directory.mkdir()
    values |= {"task.cpus": 1, "task.process": "NAME", "prefix": "sample"}
    sh("bash", "-euo", "pipefail", "-c", command_of(module, block, values), cwd=directory)
    versions = yaml.safe_load((directory / "versions.yml").read_text())
    assert versions == {"NAME": {"dnatk": dnatk.__version__}}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A directory of a genome of two contigs, regions, and genes on both strands."""
    path = tmp_path_factory.mktemp("small")
    write_fasta(path / "genome.fa", {"chr1": random_bases(3000, 1), "chr2": random_bases(900, 2)})
    rows = ["chr1\t100\t200\ta\t0\t+", "chr1\t500\t560\tb\t0\t-", "chr2\t0\t70\tc\t0\t+"]
    (path / "regions.bed").write_text("".join(f"{row}\n" for row in rows))
    rows = ["chr1\t900\t1500\tup\t0\t+", "chr1\t1600\t2000\tdown\t0\t-", "chr2\t10\t90\tedge\t0\t+"]
    (path / "genes.bed").write_text("".join(f"{row}\n" for row in rows))
    return path


def test_the_nextflow_modules_commands_run(tmp_path, small, tiny_model, task_of):
    genome, regions = small / "genome.fa", small / "regions.bed"
    embed = {"fasta": genome, "regions": f"--bed {regions}", "args": f"--model {tiny_model}"}
    run_module(tmp_path / "embed", "embed", "script", **embed)
    assert len(dnatk.read_embeddings(tmp_path / "embed/sample.h5")[0]) == 3
    task = {"task_name": task_of("binary"), "regions": regions, "fasta": genome, "args": ""}
    run_module(tmp_path / "predict", "predict", "script", **task)
    rows = (tmp_path / "predict/sample.scored.bed").read_text().splitlines()
    assert [row.split("\t")[3] for row in rows if row[0] != "#"] == ["a", "b", "c"]


@pytest.mark.parametrize(("module", "made"), [("embed", "*.h5"), ("predict", "*.scored.bed")])
def test_a_nextflow_module_keeps_to_its_description(tmp_path, module, made):
    run_module(tmp_path / "stub", module, "stub")
    assert len(list((tmp_path / "stub").glob(made))) == 1
    text, meta = (MODULES / module / "main.nf").read_text(), MODULES / module / "meta.yml"
    assert f'path("{made}")' in text
    described = yaml.safe_load(meta.read_text())
    assert made in str(described["output"])
    inputs = re.search(r"input:\n(.*?)\n\n", text, re.DOTALL)[1]
    groups = (entry if isinstance(entry, list) else [entry] for entry in described["input"])
    names = [name for group in groups for entry in group for name in entry]
    assert names == re.findall(r"(?:val|path)[( ](\w+)", inputs)


def test_nextflow_files_are_groovy(tmp_path):
    groovy, java = need("groovy"), Path(need("java")).resolve()
    parse = tmp_path / "parse.groovy"
    parse.write_text(
        "def (builder, phase) = [new org.codehaus.groovy.ast.builder.AstBuilder(),"
        " org.codehaus.groovy.control.CompilePhase.CONVERSION]\n"
        "for (name in args) builder.buildFromString(phase, false, new File(name).text)\n"
    )
    files = [*NEXTFLOW_FILES, PIPELINES / "nextflow/nextflow.config"]
    home = f"JAVA_HOME={java.parents[1]}"
    sh("env", home, groovy, parse, *files)
    broken = tmp_path / "broken.nf"
    broken.write_text(files[-2].read_text().replace("val(meta),", "val(meta", 1))
    sh("env", home, groovy, parse, broken, code=1)


def test_nextflow_asks_slurm_for_the_gpu():
    """Its executor for Slurm leaves process.accelerator out."""
    text = (PIPELINES / "nextflow/nextflow.config").read_text()
    profile = re.search(r"^    slurm \{\n(.*?)^    \}", text, re.DOTALL | re.MULTILINE)[1]
    assert 'task.accelerator ? "--gres=gpu:${task.accelerator.request}" : null' in profile


def test_nextflow_runs_the_stubs(tmp_path, small):
    nextflow = need("nextflow")
    if subprocess.run([nextflow, "-version"], capture_output=True).returncode:
        pytest.skip("Nextflow's launcher is here, but not Nextflow")
    options = ("--genome", small / "genome.fa", "--regions", small / "regions.bed")
    sh(nextflow, "run", PIPELINES / "nextflow", "-stub-run", *options, cwd=tmp_path)
    assert (tmp_path / "results/regions.h5").exists()


# Shell pipelines


@pytest.mark.parametrize("script", [*SCRIPTS, *TRAINING], ids=lambda path: path.stem)
def test_a_script_is_sound_and_says_how_it_is_used(script):
    sh("bash", "-n", script)
    wrong = ["x"] if script in TRAINING else ["x"] * 9
    done = sh(script, *wrong, code=2)
    used = f"examples/{script.name}" if script in TRAINING else script.name
    assert (done.stdout, done.stderr.split()[0]) == ("", used)
    for option in ("-h", "--help"):
        asked = sh(script, option)
        assert (asked.stderr, asked.stdout.count(done.stderr)) == ("", 1)
        comment = re.match(r"#!.*\n((?:#.*\n)+)", script.read_text())[1]
        assert asked.stdout == re.sub(r"^# ?", "", comment, flags=re.MULTILINE)
    if shutil.which("shellcheck"):
        sh("shellcheck", script)


@pytest.mark.parametrize(
    ("script", "needs", "arguments"),
    [
        ("pipelines/shell/scan.sh", "bedtools dnatk", ["g.fa"]),
        ("pipelines/shell/promoters.sh", "bedtools dnatk", ["g.fa", "genes.bed"]),
        ("pipelines/shell/compare.sh", "dnatk", ["g.fa", "r.bed", "a", "b"]),
        ("train_bundled_tasks.sh", "dnatk python", ["data", "out"]),
        ("train_shipped_model.sh", "dnatk", ["data", "out"]),
    ],
)
def test_a_program_that_is_missing_is_named_at_once(tmp_path, script, needs, arguments):
    for name in needs.split():
        place = tmp_path / f"without-{name}"
        place.mkdir()
        for other in {*needs.split(), "bash", "sed", "cut", "dirname"} - {name}:
            (place / other).symlink_to(shutil.which(other) or "/bin/true")
        done = subprocess.run(
            [ROOT / "examples" / script, *arguments], cwd=place, env={"PATH": str(place)},
            capture_output=True, text=True,
        )  # fmt: skip
        said = f"{ROOT / 'examples' / script}: needs {name}, which is not in the PATH\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
        assert not (place / "out").exists()


def test_data_of_a_bundled_task_that_are_missing_are_named(tmp_path):
    gue = tmp_path / "gue"
    sets = ("prom/prom_300_all", "prom/prom_300_notata", "prom/prom_300_tata")
    for name in (*(f"{each}/dev" for each in sets), "prom/prom_300_tata/train"):
        path = gue / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"sequence,label\nACGT,1\n"))
    script, out = ROOT / "examples/train_bundled_tasks.sh", tmp_path / "out"
    done = sh(script, tmp_path, out, "promoter", code=1)
    missing = gue / "LPD/prom_300/dev.csv.gz"
    said = f"{script}: {missing}: is missing (docs/data.md says where it comes from)\n"
    assert (done.stdout, done.stderr) == ("", said)
    assert not (out / "promoter.csv").exists()
    page = (ROOT / "docs/data.md").read_text()
    assert "`gue/LPD/prom_300/" in page


def test_every_example_has_a_help_or_is_said_to_be_a_module():
    """By examples/README.md; nothing is run but what parses options."""
    text = (ROOT / "examples/README.md").read_text()
    modules = set()
    for folder, names in re.findall(r"`(\w+)/\{([\w,]+)\}\.py`", text):
        modules |= {ROOT / "examples" / folder / f"{name}.py" for name in names.split(",")}
    for script in (ROOT / "examples").rglob("*.py"):
        parses = re.search(r"parse_args|argparse|import click", script.read_text()) is not None
        assert parses == (script not in modules), script


def scores(small: Path, task: Path, bed: str, *options: str) -> list[list[str]]:
    """Rows that dnatk predict gives for a BED text."""
    (small / "own.bed").write_text(bed)
    fixed = ("--no-header", "--no-provenance", "--genome", small / "genome.fa")
    done = sh("dnatk", "-q", "predict", "--task", task, small / "own.bed", *fixed, *options)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_promoters_are_the_regions_before_the_genes(small, task_of):
    need("bedtools")
    task = task_of("binary")
    script = PIPELINES / "shell/promoters.sh"
    done = sh(script, small / "genome.fa", small / "genes.bed", task, "2")
    rows = scores(
        small,
        task,
        "chr1\t650\t950\tup\t0\t+\nchr1\t1950\t2250\tdown\t0\t-\nchr2\t0\t60\tedge\t0\t+\n",
    )
    best = sorted(rows, key=lambda row: -float(row[7]))[:2]
    assert [line.split("\t") for line in done.stdout.splitlines()] == best


def test_a_scan_merges_the_windows_that_score(small, task_of):
    need("bedtools")
    task = task_of("binary")
    sizes = sh(PIPELINES / "shell/sizes.sh", small / "genome.fa").stdout
    assert sizes == "chr1\t3000\nchr2\t900\n"
    places = [("chr1", i, min(i + 100, 3000)) for i in range(0, 3000, 50)]
    places += [("chr2", i, min(i + 100, 900)) for i in range(0, 900, 50)]
    bed = "".join(f"{contig}\t{start}\t{end}\n" for contig, start, end in places)
    scored = [float(row[4]) for row in scores(small, task, bed, "--rc", "average")]
    least = sorted(scored)[len(scored) * 2 // 3]
    merged: list[list] = []
    for (contig, start, end), score in zip(places, scored, strict=True):
        if score >= least and merged and merged[-1][0] == contig and start <= merged[-1][2]:
            merged[-1][2:] = [end, max(score, merged[-1][3])]
        elif score >= least:
            merged.append([contig, start, end, score])
    assert 1 < len(merged) < sum(score >= least for score in scored)
    done = sh(PIPELINES / "shell/scan.sh", small / "genome.fa", task, "100", "50", str(least))
    found = [line.split("\t") for line in done.stdout.splitlines()]
    assert [[a, int(b), int(c), float(score)] for a, b, c, _, score in found] == merged


def test_compare_puts_the_greatest_difference_first(small, task_of):
    a, b = task_of("binary"), task_of("binary", seed=5)
    done = sh(PIPELINES / "shell/compare.sh", small / "genome.fa", small / "regions.bed", a, b)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {row[3] for row in rows} == {"a", "b", "c"}
    known = {row[3]: row[7] for row in scores(small, b, (small / "regions.bed").read_text())}
    for row in rows:
        assert row[7] == known[row[3]]
        assert float(row[8]) == pytest.approx(float(row[7]) - float(row[6]), abs=1e-6)
    differences = [abs(float(row[8])) for row in rows]
    assert differences == sorted(differences, reverse=True)
    done = sh(PIPELINES / "shell/compare.sh", "g.fa", "gone.bed", a, b, code=1)
    assert "gone.bed: is no file" in done.stderr


# Images and the recipe


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_what_the_images_copy_is_there(tmp_path):
    dockerfile, definition = (IMAGES / name for name in ("Dockerfile", "dnatk.def"))
    copied = [line.split()[1:-1] for line in dockerfile.read_text().splitlines() if "COPY " in line]
    section = re.search(r"%files\n(.*?)\n\n", definition.read_text(), re.DOTALL)[1]
    sources = [name for names in copied for name in names]
    assert sources == [line.split()[0] for line in section.splitlines()]
    assert all((ROOT / name).exists() for name in sources)
    post = re.search(r"%post\n(.*?)\n%", definition.read_text(), re.DOTALL)[1]
    (tmp_path / "post.sh").write_text(post.replace("{{ TORCH }}", "cpu"))
    sh("sh", "-n", tmp_path / "post.sh")
    pinned = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^torch==", pinned, re.MULTILINE)
    python = re.search(r"^FROM python:([\d.]+)-slim$", dockerfile.read_text(), re.MULTILINE)[1]
    assert project()["requires-python"] == f">={python}"


def test_caches_of_an_image_are_the_users_own():
    """Apptainer shares /tmp with the host, where another user's directory may stand."""
    section = re.search(r"%environment\n(.*?)\n%", (IMAGES / "dnatk.def").read_text(), re.DOTALL)[1]
    names = ("HF_HUB_OFFLINE", "XDG_CACHE_HOME", "MPLCONFIGDIR")
    show = section + "".join(f'\necho "${name}"' for name in names)

    def values(**given: str) -> list[str]:
        env = {"PATH": os.environ["PATH"], **given}
        done = subprocess.run(["sh", "-eu", "-c", show], env=env, capture_output=True, text=True)
        assert not done.stderr
        return done.stdout.splitlines()

    user = os.getuid()
    assert values() == ["1", f"/tmp/cache-{user}", f"/tmp/matplotlib-{user}"]
    assert values(XDG_CACHE_HOME="/a b", MPLCONFIGDIR="/c") == ["1", "/a b", "/c"]


# What conda calls some packages of PyPI.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


def test_the_bioconda_recipe_agrees_with_the_project():
    jinja2 = pytest.importorskip("jinja2")
    text = (PIPELINES / "bioconda/meta.yaml").read_text()
    rendered = jinja2.Template(text).render(
        PYTHON="python", pin_subpackage=lambda name, max_pin: f"{name} {max_pin}"
    )
    recipe, facts = yaml.safe_load(rendered), project()
    wanted = [re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in facts["dependencies"]]
    run = [f"{CONDA_NAMES.get(name, name)} {version}" for name, version in wanted]
    assert recipe["requirements"]["run"] == [f"python {facts['requires-python']}", *sorted(run)]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert [line.replace(" ", "") for line in recipe["requirements"]["host"][2:]] == build
    points = [f"{name} = {target}" for name, target in facts["scripts"].items()]
    assert recipe["build"]["entry_points"] == points
    assert recipe["package"]["name"] == facts["name"]
    version = recipe["package"]["version"]
    assert recipe["source"]["url"].endswith(f"/d/dnatk/dnatk-{version}.tar.gz")
    assert recipe["about"]["license"] == facts["license"]
    assert recipe["about"]["summary"] == facts["description"]
    for name in recipe["test"]["imports"]:
        assert (ROOT / f"{name.replace('.', '/')}.py").exists() or name == "dnatk"
