"""dnatk doctor: what it finds, on this machine and on broken ones."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import dnatk
from dnatk.cli.doctor import command
from dnatk.diagnosis import (
    CHECKS,
    FAILURE,
    NOTE,
    OK,
    WARNING,
    Asked,
    Finding,
    compute,
    contents,
    diagnose,
    machine,
    places,
    selftest,
    software,
)
from dnatk.diagnosis.report import anonymous, report
from dnatk.model import cpus, placement
from dnatk.model.checksums import SUMS_FILE, summed_files, sums
from dnatk.model.loading import read_model
from dnatk.model.placement import default_threads, precision_reason
from dnatk.model.places import DEFAULT_MODEL, SHIPPED
from dnatk.tasks.places import BUNDLED
from dnatk.tasks.registry import find_task

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[1] / "docs" / "doctor.md"
REMAKE = "run `python examples/make_reference.py`"

pytestmark = pytest.mark.usefixtures("clean_home", "plain_environment")


@pytest.fixture
def plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("DNATK_") or name.endswith("_NUM_THREADS") or name == "NO_COLOR":
            monkeypatch.delenv(name)


def found(check, asked: Asked | None = None) -> list[tuple[str, str]]:
    """(level, text) of each finding."""
    return [(each.level, each.text) for each in check(asked or Asked())]


def one(check, asked: Asked | None = None) -> Finding:
    (finding,) = check(asked or Asked())
    return finding


# The whole


def test_this_machine_is_fine(run):
    result = run("doctor", "--device", "cpu", "-t", "1")
    assert (result.code, result.err) == (0, "")
    for part in ("Software", "Machine", "Places", "Contents", "Compute", "Self-test", "fine: "):
        assert part in result.out
    assert "failure" not in result.out
    assert "\x1b" not in result.out, "plain in a pipe"


def test_json_is_as_documented(run):
    content = json.loads(run("doctor", "--json", "--no-self-test").out)
    assert list(content) == ["format", "format_version", "dnatk", "status", "findings"]
    assert content["format"] == "dnatk-doctor"
    assert content["dnatk"] == dnatk.__version__
    page = DOCS.read_text()
    for each in content["findings"]:
        assert list(each) == ["check", "level", "text", "cure", "facts"]
        assert each["cure"] is None or each["cure"].isprintable()
        assert f"`{each['check']}`" in page
    for key in content:
        assert f"`{key}`" in page


def test_every_check_is_documented():
    """Also those that found nothing here."""
    text = "".join(path.read_text() for path in Path(software.__file__).parent.glob("*.py"))
    page = DOCS.read_text()
    import re

    names = set(re.findall(r'"((?:software|machine|places|contents|compute)\.[a-z_]+)"', text))
    for name in names | {"selftest.run", "selftest.embedding", "selftest.task", "selftest.speed"}:
        assert f"`{name}`" in page, name


SOME = [
    Finding("software.python", OK, "Python 3.11"),
    Finding("software.packages", WARNING, "word " * 30, "pip install something"),
    Finding("places.genome", NOTE, "no genome is named", "dnatk config set genome FILE"),
    Finding("selftest.run", FAILURE, "fails", "report it"),
]


@pytest.fixture
def some(monkeypatch):
    monkeypatch.setattr("dnatk.diagnosis.diagnose", lambda _: iter(SOME))
    monkeypatch.setenv("COLUMNS", "80")


def test_the_report_as_it_is_seen(run, some, monkeypatch):
    monkeypatch.setattr("dnatk.cli.doctor.__version__", "1.2.3")
    result = run("doctor")
    assert result.code == 1
    assert result.out == (GOLDEN / "doctor.txt").read_text()
    assert max(map(len, result.out.splitlines())) <= 80


def test_a_narrow_terminal(run, some, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert max(map(len, run("doctor").out.splitlines())) <= 50


@pytest.mark.parametrize(
    ("no_color", "term", "coloured"),
    [("", "xterm", True), ("", "", True), ("1", "xterm", False), ("", "dumb", False)],
)
def test_colours(some, monkeypatch, no_color, term, coloured):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    out = CliRunner().invoke(command, color=True).output
    assert ("\x1b[31mfailure" in out) is coloured
    assert ("\x1b" in out) is coloured


def test_exit_is_1_only_after_a_failure(run, some, monkeypatch):
    monkeypatch.setattr("dnatk.diagnosis.diagnose", lambda _: iter(SOME[:-1]))
    result = run("doctor")
    assert (result.code, result.out.splitlines()[-1]) == (0, "fine: 1 ok, 1 note, 1 warning")
    assert json.loads(run("doctor", "--json").out)["status"] == WARNING


def test_a_check_that_breaks_keeps_no_other_from_running(monkeypatch):
    def broken(_):
        yield SOME[0]
        raise ZeroDivisionError("what?")

    monkeypatch.setitem(CHECKS, "machine.cpu", broken)
    by_name = {each.check: each for each in diagnose(Asked(self_test=False))}
    assert by_name["machine.cpu"].level == WARNING
    assert by_name["machine.cpu"].text == "cannot be checked: ZeroDivisionError: what?"
    assert {"software.python", "machine.cores", "selftest.run"} <= set(by_name)


def test_reports_do_not_tell_who_you_are(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    for text, shown in (
        ("/home/alice/x and /home/alice", "~/x and ~"),
        ("/home/alice2/x", "/home/alice2/x"),
        ("/scratch/alice/x", "/scratch/~/x"),
        ("alice.fa in /data/malice", "alice.fa in /data/malice"),
    ):
        assert anonymous(text) == shown
    finding = Finding("a.b", OK, "in /home/alice", facts={"/home/alice": ["/home/alice", 1]})
    assert report([finding])["findings"][0]["facts"] == {"~": ["~", 1]}
    assert "alice" not in json.dumps(report([finding]))
    monkeypatch.setenv("HOME", "/")
    assert anonymous("/usr/bin") == "/usr/bin"


# Broken installations, as a shell meets them


def shell(stubs: Path, *args: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "dnatk", "doctor", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(stubs), **env},
    )


@pytest.mark.parametrize(
    ("package", "error", "check"),
    [
        ("torch", "OSError('libcudart.so.12: cannot open shared object file')", "compute.torch"),
        ("numpy", "ImportError('DLL load failed')", "software.imports"),
    ],
)
def test_a_package_that_cannot_be_imported(tmp_path, package, error, check):
    (tmp_path / f"{package}.py").write_text(f"raise {error}\n")
    done = shell(tmp_path, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    by_name = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert by_name[check]["level"] == FAILURE
    assert f"{package} cannot be imported" in by_name[check]["text"]
    assert by_name[check]["cure"] == f"pip install --force-reinstall {package}"
    assert {"machine.cpu", "contents.models", "contents.tasks", "places.cwd"} <= set(by_name)
    assert by_name["contents.models"]["level"] == OK


def test_without_torch_for_people(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')\n")
    done = shell(tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (1, "")
    assert "torch cannot be imported: ImportError: no torch" in done.stdout
    assert "stdout takes ascii" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("broken: ")


# Contents


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of what ships."""
    for name in ("SHIPPED", "BUNDLED"):
        copy = shutil.copytree(getattr(contents, name), tmp_path / name)
        monkeypatch.setattr(contents, name, copy)
    return tmp_path


def test_what_ships_is_as_recorded(package):
    assert found(contents.models) == [(OK, f"1 shipped model as recorded: {DEFAULT_MODEL}")]
    assert one(contents.tasks).text.startswith("7 bundled tasks as recorded: core-promoter, ")


def test_weights_that_changed_or_are_gone(package):
    weights = package / "SHIPPED" / DEFAULT_MODEL / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    changed = one(contents.models)
    assert changed.level == FAILURE
    assert f"{weights}: has changed" in changed.text
    assert "reinstall" in changed.cure
    weights.unlink()
    assert f"{weights}: is missing" in one(contents.models).text
    (package / "SHIPPED" / SUMS_FILE).unlink()
    assert "checksums are missing" in one(contents.models).text


def test_a_task_that_changed(package):
    (package / "BUNDLED" / "tf-0" / "task.json").write_text("{}")
    assert [level for level, _ in found(contents.tasks)] == [FAILURE]


@pytest.mark.parametrize("root", [SHIPPED, BUNDLED], ids=lambda p: p.name)
def test_the_recorded_checksums_are_fresh(root):
    assert (root / SUMS_FILE).read_text() == sums(root, summed_files(root)), REMAKE


# The self-test


def test_the_reference_is_of_what_ships():
    reference = json.loads(selftest.REFERENCE.read_text())
    assert reference["model_sha256"] == read_model(DEFAULT_MODEL).sha256, REMAKE
    assert reference["task_sha256"] == find_task(BUNDLED / reference["task"]).sha256(), REMAKE


def test_fp32_gives_the_reference():
    by_name = {f.check: f for f in selftest.selftest(Asked("cpu", "fp32", 1))}
    assert {each.level for each in by_name.values()} == {OK}
    # 5 and 4 decimals are kept of each.
    assert by_name["selftest.embedding"].facts["difference"] < 3e-5
    assert by_name["selftest.task"].facts["difference"] < 1e-4
    assert by_name["selftest.speed"].facts["bases_per_second"] > 0


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(selftest, "_rate", lambda *_: 1.0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_head_that_is_gone_is_seen(monkeypatch, quick, precision):
    from dnatk.model import loading

    read = loading.read_weights

    def damaged(info):
        weights = read(info)
        name = "encoder.layer.3.attention.self.value.weight"
        weights[name] = weights[name].clone()
        weights[name][:64] = 0
        return weights

    monkeypatch.setattr(loading, "read_weights", damaged)
    finding = next(iter(selftest.selftest(Asked("cpu", precision, 1))))
    assert (finding.check, finding.level) == ("selftest.embedding", FAILURE)
    assert "beyond" in finding.text


def test_nan_is_no_result(monkeypatch, quick):
    embed = selftest.Embedder.embed
    monkeypatch.setattr(selftest.Embedder, "embed", lambda *a: embed(*a) * np.nan)
    assert next(iter(selftest.selftest(Asked("cpu", "fp32", 1)))).level == FAILURE


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory\nmore"), OSError(5)])
def test_a_device_that_fails(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(selftest.Embedder, "embed", fail)
    finding = one(selftest.selftest, Asked("cpu", "fp32", 1))
    assert finding.level == FAILURE
    assert "\n" not in finding.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_difference_that_is_no_number_is_null_in_json(run, monkeypatch, value):
    """NaN and Infinity are no JSON."""

    def refuse(name):
        pytest.fail(f"{name} is no JSON")

    embed = selftest.Embedder.embed
    monkeypatch.setattr(selftest.Embedder, "embed", lambda *args: embed(*args) * value)
    result = run("doctor", "--json", "--device", "cpu", "-t", "1")
    assert result.code == 1
    findings = json.loads(result.out, parse_constant=refuse)["findings"]
    (off,) = [each for each in findings if each["check"] == "selftest.embedding"]
    assert (off["level"], off["facts"]["difference"]) == (FAILURE, None)
    assert f"off the stored numbers by {value}" in off["text"]


def test_no_self_test(run):
    assert "not run, as asked for" in run("doctor", "--no-self-test").out


# Software


def test_versions_out_of_range(monkeypatch):
    real = metadata.version
    versions = {"numpy": "1.0", "tokenizers": "0.0.1", "rich": None}

    def version(name):
        if name in versions and versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return versions.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    texts = found(software.packages)
    assert any(t == (WARNING, f"dnatk wants numpy>=1.26: {'1.0'} is installed") for t in texts)
    assert any(level == FAILURE and "dnatk wants rich" in text for level, text in texts)
    assert any(
        level == WARNING and "transformers wants tokenizers" in text for level, text in texts
    )
    assert OK not in [level for level, _ in texts]


def test_a_dnatk_that_is_not_installed(monkeypatch):
    def none(_):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", none)
    assert one(software.packages).level == NOTE


def test_output_that_takes_ascii_only(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    finding = one(software.output)
    monkeypatch.undo()
    assert (finding.level, finding.cure) == (WARNING, "export PYTHONUTF8=1")


# The machine


def test_a_cpu_without_avx2(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPUINFO", path)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    path.write_text("model name\t: Old\nflags\t\t: fpu sse2\n")
    assert found(machine.cpu) == [(WARNING, "Old has no avx2: everything is several times slower")]
    path.write_text("model name\t: New: R\nflags\t\t: fpu avx2 avx512_bf16 amx_tile\n")
    assert found(machine.cpu) == [(OK, "New: R: avx2, avx512_bf16, amx_tile")]
    path.unlink()
    assert one(machine.cpu).level == OK


def test_cores_and_who_limits_them(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(machine, "affinity", lambda: 16)
    monkeypatch.setattr(machine, "quota", lambda: 2.5)
    monkeypatch.setattr(machine, "usable", lambda: 3)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    told = "3 cores usable (64 in the machine, 16 by affinity, 2.5 by the container's quota)"
    assert found(machine.cores) == [(OK, told)]
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert one(machine.cores).cure == "give commands -t 2"
    monkeypatch.setattr(os, "getloadavg", lambda: (100.0, 0.0, 0.0))
    assert [level for level, _ in found(machine.cores)] == [WARNING, NOTE]


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "250000 100000\n"}, 2.5),
        ({"a/cpu.max": "150000 100000\n", "cpu.max": "400000 100000\n"}, 1.5),
        ({"cpu.max": "rubbish\n"}, None),
        ({"cpu/a/cpu.cfs_quota_us": "200000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_a_container_s_quota(monkeypatch, tmp_path, files, limit):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text("3:cpuset:/a\n2:cpu:/a\n0::/a/b\n")
    monkeypatch.setattr(cpus, "_CGROUPS", tmp_path)
    monkeypatch.setattr(cpus, "_OWN", tmp_path / "own")
    monkeypatch.setattr(cpus, "affinity", lambda: 16)
    assert cpus.quota() == limit
    usable = 16 if limit is None else -int(-limit // 1)
    assert cpus.usable() == default_threads() == usable


@pytest.mark.parametrize(
    ("value", "level"),
    [("many", WARNING), ("0", WARNING), ("400", WARNING), ("1", NOTE), ("8", "")],
)
def test_omp_num_threads(monkeypatch, value, level):
    monkeypatch.setattr(machine, "usable", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert [each for each, _ in found(machine.thread_variables)] == [level] * bool(level)


def test_little_memory(monkeypatch, tmp_path):
    path = tmp_path / "meminfo"
    monkeypatch.setattr(machine, "_MEMINFO", path)
    monkeypatch.setattr(machine, "_CGROUP_MEMORY", (str(tmp_path / "max"),))
    path.write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    assert found(machine.memory) == [(OK, "16.4 GB memory, 8.2 GB available")]
    (tmp_path / "max").write_text("500000000\n")
    assert one(machine.memory).level == WARNING
    path.unlink()
    assert one(machine.memory).level == NOTE


def test_few_open_files(monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    assert one(machine.open_files).cure == "ulimit -n 1024"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert one(machine.open_files).level == OK


# Places


def test_settings_that_cannot_be_read(run, clean_home):
    path = clean_home / "config" / "dnatk" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('genome = "x"\nwhat\n')
    result = run("doctor", "--json", "--no-self-test")
    assert result.code == 1
    (fault,) = [f for f in json.loads(result.out)["findings"] if f["level"] == FAILURE]
    assert fault["check"] == "places.settings"
    assert "config.toml:2: is not TOML" in fault["text"]


def test_presets_are_heeded(run, clean_home, monkeypatch):
    path = clean_home / "config" / "dnatk" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('precision = "bf16"\n')
    monkeypatch.setenv("DNATK_THREADS", "1")
    monkeypatch.setenv("DNATK_GENOM", "secret")
    content = json.loads(run("doctor", "--json", "--no-self-test", "--device", "cpu").out)
    by_name = {each["check"]: each for each in content["findings"]}
    facts = by_name["compute.precision"]["facts"]
    assert facts == {"device": "cpu", "precision": "bfloat16", "reason": "asked for", "threads": 1}
    told = [
        (f["level"], f["text"]) for f in content["findings"] if f["check"] == "places.variables"
    ]
    assert told == [
        (WARNING, "DNATK_GENOM is set, but unknown: did you mean 'DNATK_GENOME'?"),
        (OK, "DNATK_THREADS is 1"),
    ]
    assert "secret" not in json.dumps(content)


def test_presets_of_other_commands_are_heeded_too(run, clean_home, genome, monkeypatch):
    path = clean_home / "config" / "dnatk" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'json = true\n[predict]\ngenome = "{genome}"\n')
    monkeypatch.setenv("DNATK_DOCTOR_DEVICE", "cuda:7")
    result = run("doctor", "--no-self-test", "--device", "cpu")
    assert result.code == 0, result.out
    assert f"genome {genome}" in " ".join(result.out.split())
    assert "DNATK_DOCTOR_DEVICE is set, but unknown" in " ".join(result.out.split())
    path.write_text('[finetune]\nepochs = "many"\n')
    result = run("doctor", "--no-self-test")
    assert result.code == 1
    assert "config.toml:2: epochs: must be a number" in " ".join(result.out.split())


def test_variables_of_doctor_alone_are_not_read(run, monkeypatch):
    monkeypatch.setenv("DNATK_DOCTOR_DEVICE", "cuda:7")
    assert run("doctor", "--no-self-test").code == 0


def test_a_home_that_may_not_be_looked_into(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)  # root may look into anything
    monkeypatch.setattr(os.path, "exists", lambda path: not Path(path).is_relative_to(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    fault = "config.toml: cannot be read: Permission denied"
    finding = one(places.settings, Asked(settings_fault=fault))
    assert (finding.level, finding.text) == (FAILURE, fault)
    assert "places.config" in {each.check for each in places.directories(Asked())}


def test_a_user_without_a_home(run, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    result = run("doctor", "--no-self-test")
    assert "cannot be checked" not in result.out
    assert "no settings (/.config/dnatk/config.toml)" in " ".join(result.out.split())


def test_genomes(genome, monkeypatch, tmp_path):
    assert one(places.genome).level == NOTE
    monkeypatch.setenv("DNATK_GENOME", str(genome))
    finding = one(places.genome)
    assert (finding.level, finding.facts["path"]) == (OK, str(genome))
    monkeypatch.setenv("DNATK_GENOME", str(tmp_path / "none.fa"))
    finding = one(places.genome)
    assert finding.level == WARNING
    assert "none.fa: no such file" in finding.text
    assert "DNATK_GENOME" in finding.text


def test_a_place_that_may_not_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    by_name = {each.check: each for each in places.directories(Asked())}
    assert {name for name, each in by_name.items() if each.level != OK} == {"places.cache"}
    assert by_name["places.cache"].cure == "export XDG_CACHE_HOME=DIR"
    assert not by_name["places.cache"].facts["writable"]
    assert not (tmp_path / "home").exists(), "nothing is made"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_working_directory_that_may_not_be_written(monkeypatch):
    monkeypatch.chdir("/proc")
    by_name = {each.check: each for each in places.directories(Asked())}
    assert by_name["places.cwd"].level == WARNING
    assert not found(places.locking)


def test_a_full_disk(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert {level for level, _ in found(places.directories)} == {WARNING}


def test_file_systems_of_a_network(monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nhost:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(places, "_MOUNTS", mounts)
    monkeypatch.chdir(tmp_path)
    finding = one(places.locking)
    assert (finding.level, finding.facts["filesystem"]) == (NOTE, "nfs4")
    assert finding.cure == "export HDF5_USE_FILE_LOCKING=FALSE"
    assert places._filesystem(Path("/")) == "ext4"

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    finding = one(places.locking)
    assert finding.level == WARNING
    assert "No locks available" in finding.text


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_hub_switched_off(monkeypatch, value, off):
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    finding = one(places.hub)
    assert finding.level == OK
    assert (finding.facts["switched_off_by"] == "HF_HUB_OFFLINE") is off


# Devices


def fake_torch(*, built: str | None, gpus: int = 0, mps: bool = False, said: str = "") -> object:
    import warnings

    def available() -> bool:
        if said:
            warnings.warn(said, stacklevel=1)
        return gpus > 0

    about = SimpleNamespace(name="GPU X", total_memory=80e9, major=9, minor=0)
    return SimpleNamespace(
        version=SimpleNamespace(cuda=built, hip=None),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
        cuda=SimpleNamespace(
            is_available=available,
            device_count=lambda: gpus,
            get_device_properties=lambda _: about,
        ),
    )


@pytest.mark.parametrize(
    ("torch_", "driver", "level", "part"),
    [
        (fake_torch(built=None), "", OK, "no GPU: everything runs on the CPU"),
        (fake_torch(built="12.8"), "", OK, "no GPU: everything runs on the CPU"),
        (fake_torch(built=None), "550.1", WARNING, "this torch is built for the CPU"),
        (
            fake_torch(built="12.8", said="The driver is too old. Update it."),
            "450.1",
            WARNING,
            "torch sees no GPU: The driver is too old",
        ),
        (fake_torch(built=None, mps=True), "", NOTE, "mps"),
        (
            fake_torch(built="12.8", gpus=1),
            "550.1",
            OK,
            "cuda:0 GPU X, 80.0 GB, compute capability 9.0, driver 550.1",
        ),
    ],
)
def test_devices(monkeypatch, torch_, driver, level, part):
    monkeypatch.setattr(compute, "torch_or_none", lambda: torch_)
    monkeypatch.setattr(compute, "driver", lambda: driver)
    finding = one(compute.devices)
    assert finding.level == level
    assert part in finding.text


def test_the_driver_s_version(monkeypatch, tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 550.54.15\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert compute.driver() == "550.54.15"
    smi.write_text("#!/bin/sh\nexit 9\n")
    monkeypatch.setattr(compute, "_DRIVER", tmp_path / "none")
    assert compute.driver() == ""
    monkeypatch.setattr(compute, "_DRIVER", smi)
    assert compute.driver() == "unknown"


def test_a_device_that_is_not_here(run):
    result = run("doctor", "--device", "cuda:77")
    assert result.code == 1
    assert "device 'cuda:77' is not here" in " ".join(result.out.split())


def test_the_reason_of_a_precision(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for name, answer in (("amx_tile", False), ("avx512_bf16", True)):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda answer=answer: answer)
    monkeypatch.setattr(placement, "is_intel", lambda: False)
    assert precision_reason(cpu) == "bf16 is native here (avx512_bf16)"
    monkeypatch.setattr(placement, "is_intel", lambda: True)
    assert precision_reason(cpu).startswith("avx512_bf16 of Intel's CPUs is slower than fp32")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert precision_reason(cpu).startswith("this CPU has neither avx512_bf16 nor amx_tile")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert precision_reason(cuda) == "bf16 is native here (compute capability 9.0)"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "older" in precision_reason(cuda)
    assert precision_reason(torch.device("mps")) == "bf16 is not used on mps"
