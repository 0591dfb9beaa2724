"""dnatk models: listed, shown, verified, exported, pulled; names for --model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_model, random_bases, write_fasta
from damage import edit
from test_foreign import make_foreign, tokenizer_of

import dnatk
from dnatk.errors import DnatkError, InputError, ModelError, OutputError
from dnatk.model.card import ModelCard
from dnatk.model.checksums import SUMS_FILE, write_sums
from dnatk.model.copying import check_model, export_model
from dnatk.model.hub import pull_model
from dnatk.model.models import find_model
from dnatk.model.places import DEFAULT_MODEL, SHIPPED, known_models, model_directory, user_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
EXACT = {"device": "cpu", "precision": "fp32"}

pytestmark = pytest.mark.usefixtures("clean_home")


@pytest.fixture(scope="session")
def foreign_model(tmp_path_factory) -> Path:
    return make_foreign(tmp_path_factory.mktemp("foreign") / "esm")


@pytest.fixture
def own(tiny_model, clean_home) -> Path:
    """``tiny_model`` among the user's own, as "mine"."""
    return Path(shutil.copytree(tiny_model, user_models() / "mine"))


def vectors(model: str | Path) -> np.ndarray:
    return dnatk.embed_sequences([random_bases(60, 1), random_bases(31, 2)], model=model, **EXACT)


# Names


def test_a_user_s_model_goes_by_its_name(own, tiny_model, tmp_path, monkeypatch, run):
    assert known_models() == {DEFAULT_MODEL: SHIPPED / DEFAULT_MODEL, "mine": own}
    assert np.array_equal(vectors("mine"), vectors(tiny_model))
    fasta = write_fasta(tmp_path / "x.fa", {"a": random_bases(80, 3)})
    out = tmp_path / "x.h5"
    result = run("embed", fasta, "-o", out, "--model", "mine", "--device", "cpu", "-t", "1")
    assert result.code == 0, result.err
    # A directory at hand goes before it, but not one that is no model.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert model_directory("mine") == own
    shutil.copytree(tiny_model, tmp_path / "mine", dirs_exist_ok=True)
    assert model_directory("mine") == Path("mine")


def test_a_shipped_name_means_what_ships(tiny_model, tmp_path, monkeypatch):
    """Tasks that ship stand on it."""
    shutil.copytree(tiny_model, user_models() / DEFAULT_MODEL)
    shutil.copytree(tiny_model, tmp_path / DEFAULT_MODEL)
    monkeypatch.chdir(tmp_path)
    assert model_directory(DEFAULT_MODEL) == SHIPPED / DEFAULT_MODEL
    assert known_models()[DEFAULT_MODEL] == SHIPPED / DEFAULT_MODEL


def test_models_of_other_makes_go_by_their_names(foreign_model):
    shutil.copytree(foreign_model, user_models() / "esm")
    assert np.array_equal(vectors("esm"), vectors(foreign_model))


@pytest.mark.parametrize("native", [True, False])
def test_a_task_remembers_where_its_trunk_is(native, own, foreign_model):
    from dnatk.training.finetune_config import FinetuneConfig
    from dnatk.training.trunks import Trunk

    shutil.copytree(foreign_model, user_models() / "esm")
    name = "mine" if native else "esm"
    reference = Trunk.find(FinetuneConfig(model=name)).reference
    assert (reference.name, reference.native) == (str(user_models() / name), native)


def test_a_name_that_is_none(run, own):
    result = run("models", "show", "mime")
    assert (result.code, result.out) == (1, "")
    assert result.err == "dnatk: error: no model 'mime' (did you mean 'mine'?)\n"
    hint = f"give a directory, or one of those installed: {DEFAULT_MODEL}, mine"
    assert f"({hint})" in run("embed", __file__, "--model", "xyz", "-o", "x.h5").err


# list and show


def test_list(run, own):
    (own / "pytorch_model.bin").write_bytes(b"")  # not read: there is model.safetensors
    (user_models() / ".other.1.partial").mkdir()
    (user_models() / ".other.1.partial" / "config.json").write_text("{}")
    lines = [line.split() for line in run("models").out.splitlines()]
    assert lines[0] == ["name", "layers", "tokens", "parameters", "size", "sha256", "origin"]
    assert [line[0] for line in lines[1:]] == [DEFAULT_MODEL, "mine"]
    assert lines[1][1:6] == ["6", "x", "256", "6-mers", "6.0M"]
    assert lines[2][1:5] == ["2", "x", "64", "6-mers"]
    assert [line[-1] for line in lines[1:]] == ["shipped", "yours"]
    assert run("models", "list").out == run("models").out


def test_list_as_json_counts_what_is_there(run, own):
    from safetensors.numpy import load_file

    listed = json.loads(run("models", "--json").out)
    assert listed == json.loads(run("models", "list", "--json").out)
    mine = listed[1]
    weights = load_file(own / "model.safetensors")
    assert mine["parameters"] == sum(each.size for each in weights.values())
    assert (mine["k"], mine["kmer_stride"], mine["dtype"]) == (6, 1, "F32")
    assert mine["bytes"] == (own / "model.safetensors").stat().st_size
    assert list(mine["sha256"]) == ["model.safetensors"]
    assert mine["sha256"]["model.safetensors"] == find_model("mine").sha256
    assert (mine["origin"], mine["recorded"], mine["pulled"]) == ("yours", False, None)


def test_a_model_that_is_broken_hides_no_other(run, own):
    broken = Path(shutil.copytree(own, user_models() / "broken"))
    (broken / "model.safetensors").write_bytes(b"\xff" * 100)
    result = run("models")
    assert result.code == 0
    assert "mine" in result.out
    assert "broken" not in result.out
    assert "broken/model.safetensors: cannot be read" in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"a": {"dtype": "F32", "shape": ["a"]}}',
        b'{"a": {"dtype": "F32", "shape": "a"}}',
        b'{"a": {"dtype": "F32", "shape": [1.5]}}',
        b'{"a": {"dtype": "F32", "shape": [-1]}}',
        b'{"a": {"dtype": "F32", "shape": [' + b",".join([b"4000000000"] * 50) + b"]}}",
    ],
    ids=["nested", "letter", "text", "half", "negative", "huge"],
)
def test_a_damaged_header_hides_no_other(run, own, header):
    broken = Path(shutil.copytree(own, user_models() / "broken"))
    weights = broken / "model.safetensors"
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    for arguments in ((), ("list", "--json")):
        result = run("models", *arguments)
        assert result.code == 0
        assert "mine" in result.out
        assert "broken" not in result.out
        (line,) = result.err.splitlines()
        assert f"{weights}: cannot be read: " in line


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("dnatk.json", {"k": "six"}, "k is 'six'; it must be a whole number"),
        ("dnatk.json", {"training": ["x"]}, "training is ['x']; it must be a run, or a list"),
        ("dnatk.json", {"training": {"sources": [{"bases": "many"}]}}, "training is {'s"),
    ],
)
def test_a_file_that_is_odd_is_told_in_a_line(run, own, file, content, said):
    broken = Path(shutil.copytree(own, user_models() / "broken"))
    (broken / file).write_text(json.dumps(content))
    result = run("models", "show", "broken")
    assert (result.code, result.out) == (1, "")
    assert f"{broken / file}: {said}" in result.err
    assert len(result.err.splitlines()) == 1
    result = run("models")
    assert (result.code, len(result.err.splitlines())) == (0, 1)
    assert "mine" in result.out


def test_a_model_that_may_not_be_read_hides_no_other(run, own, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dnatk.model.copying.wrong_files", refuse)
    result = run("models", "verify", "mine", "mine")
    assert (result.code, result.err) == (1, "")
    assert result.out == "mine: [Errno 13] Permission denied\n" * 2


def test_listing_imports_nothing_heavy():
    script = (
        "import sys\nfrom dnatk.cli import main\n"
        "try:\n    main(['models'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_show(run, own):
    out = run("models", "show", DEFAULT_MODEL).out
    for part in (
        "# dnatk-small",
        "bert, 6 x 256, 4 heads",
        "windows of up to 515 bases",
        "sha256 ",
    ):
        assert part in out
    assert out.count("\ntrained ") == 5, "all runs that it comes from"
    assert out.count("# dnatk-small") == 1
    (own / "README.md").write_text("A word about it.\n")
    out = run("models", "show", "mine").out
    assert out.endswith("\n\nA word about it.\n")
    assert f"directory          {own}" in out
    assert run("models", "show", own).out == out
    assert json.loads(run("models", "show", own, "--json").out)["name"] == "mine"


def test_show_a_model_of_another_make(run, foreign_model):
    out = run("models", "show", foreign_model).out
    assert "esm, 2 x 32, 4 heads" in out
    assert "its own tokenizer" in out


def test_a_model_in_pieces(tmp_path, own):
    from safetensors.numpy import load_file, save_file

    weights = load_file(own / "model.safetensors")
    whole = ModelCard.read(own).parameters
    names = sorted(weights)
    pieces = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in pieces.items():
        save_file({name: weights[name] for name in part}, own / file)
    (own / "model.safetensors").unlink()
    where = {name: file for file, part in pieces.items() for name in part}
    index = own / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    assert ModelCard.read(own).parameters == whole
    assert list(ModelCard.read(own).sha256) == list(pieces)
    with pytest.raises(ModelError, match=r"has no weights .*in shards .* one model.safetensors"):
        find_model(own)
    (own / "b.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no 'b.safetensors'"):
        ModelCard.read(own)
    index.write_text("{}")
    with pytest.raises(ModelError, match="weight_map"):
        ModelCard.read(own)


def test_whole_weights_go_before_those_in_pieces(own):
    """As transformers and dnatk's own encoder take them."""
    (own / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')
    assert list(ModelCard.read(own).sha256) == ["model.safetensors"]
    assert find_model(own).sha256 == ModelCard.read(own).sha256["model.safetensors"]


def test_pickles_are_not_opened(own):
    (own / "model.safetensors").rename(own / "pytorch_model.bin")
    card = ModelCard.read(own)
    assert (card.parameters, card.dtype) == (None, "")
    (own / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        ModelCard.read(own)


# verify


def test_verify(run, own):
    result = run("models", "verify")
    assert result.code == 0
    assert result.out == (
        f"{DEFAULT_MODEL}: ok, files as recorded, it loads\nmine: ok, it loads (no SHA256SUMS)\n"
    )
    write_sums(own)
    assert run("models", "verify", "mine").out == "mine: ok, files as recorded, it loads\n"


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_a_file_that_changed_is_named(run, own, name):
    write_sums(own)
    content = bytearray((own / name).read_bytes())
    content[len(content) // 2] ^= 1
    (own / name).write_bytes(content)
    result = run("models", "verify", DEFAULT_MODEL, own)
    assert result.code == 1
    first, second = result.out.splitlines()
    assert first == f"{DEFAULT_MODEL}: ok, files as recorded, it loads"
    assert second.startswith(f"{own}: {own / name}: has changed (sha256 ")
    (own / name).unlink()
    assert f"{own / name}: is missing" in run("models", "verify", own).out


def test_without_a_record_loading_tells(run, own):
    weights = own / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    result = run("models", "verify", own)
    assert result.code == 1
    assert "cannot be read" in result.out
    result = run("models", "verify", "nothing", "mine")
    assert result.code == 1
    assert "nothing: no model 'nothing'" in result.out


def test_a_record_that_cannot_be_read(run, own):
    (own / SUMS_FILE).write_text("what\n")
    result = run("models", "verify", own)
    assert result.code == 1
    assert result.out == f"{own}: {own / SUMS_FILE}: cannot be read (a line is: sha256  name)\n"


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum")
def test_sha256sum_reads_the_record(own):
    write_sums(own)
    done = subprocess.run(["sha256sum", "-c", SUMS_FILE], cwd=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors: OK" in done.stdout


# export


def test_the_shipped_model_for_plain_transformers(run, tmp_path):
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from dnatk.kmers import KmerTokens, spaced

    target = tmp_path / "deep" / "plain"
    result = run("models", "export", DEFAULT_MODEL, target)
    assert (result.code, result.err) == (0, f"model in {target}\n")
    tokenizer = AutoTokenizer.from_pretrained(target)
    model, loading = AutoModelForMaskedLM.from_pretrained(
        target, dtype=torch.float32, output_loading_info=True
    )
    assert not [*loading["missing_keys"], *loading["unexpected_keys"]]
    sequence = random_bases(60, 1)
    ids = tokenizer(spaced(sequence), return_tensors="pt")
    tokens = KmerTokens(6, 1)
    bases = np.frombuffer(sequence.encode(), dtype=np.uint8)
    wanted = [*tokens.prefix, *tokens.encode(bases), *tokens.suffix]
    assert ids["input_ids"][0].tolist() == [int(each) for each in wanted]
    with torch.no_grad():
        hidden = model.eval()(**ids, output_hidden_states=True).hidden_states[-1][0, 1:-1]
    assert np.allclose(hidden.mean(0).numpy(), vectors(target)[0], atol=1e-4)
    assert np.array_equal(vectors(target), vectors(DEFAULT_MODEL))
    assert run("models", "verify", target).out == f"{target}: ok, files as recorded, it loads\n"


def test_export_copies_what_a_model_needs_and_no_more(own, tmp_path, foreign_model):
    (own / "checkpoint-10").mkdir()
    (own / "metrics.jsonl").write_text("")
    (own / "modeling_own.py").write_text("")
    target = export_model(own, tmp_path / "out")
    names = {path.name for path in target.iterdir()}
    assert {"config.json", "dnatk.json", "vocab.txt", "model.safetensors", SUMS_FILE} <= names
    assert not names & {"checkpoint-10", "metrics.jsonl", "modeling_own.py"}
    export_model(foreign_model, tmp_path / "esm")
    assert np.array_equal(vectors(tmp_path / "esm"), vectors(foreign_model))


def test_export_replaces_models_only(run, own, tmp_path):
    target = tmp_path / "out"
    assert run("models", "export", "mine", target).code == 0
    again = run("models", "export", "mine", target)
    assert (again.code, "--force replaces it" in again.err) == (1, True)
    assert run("models", "export", DEFAULT_MODEL, target, "--force").code == 0
    assert ModelCard.read(target).hidden == 256
    other = tmp_path / "other"
    other.mkdir()
    assert "has no config.json, so it is not replaced" in run(
        "models", "export", "mine", other, "--force").err  # fmt: skip
    inside = export_model("mine", target / "run")
    with pytest.raises(OutputError, match="holds what is read"):
        export_model(inside, target, force=True)
    with pytest.raises(OutputError, match="is the model itself"):
        export_model(own, own, force=True)
    assert own.is_dir()


def test_an_export_that_fails_leaves_what_was_there(own, tmp_path, monkeypatch):
    target = export_model(own, tmp_path / "out")
    (target / "README.md").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError, match="No space left"):
        export_model(own, target, force=True)
    assert (target / "README.md").read_text() == "old"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_has_changed_is_not_exported(own, tmp_path):
    write_sums(own)
    (own / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config.json: has changed"):
        export_model(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# pull


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """``hub(model)``: the hub has that model, with code and pickles beside; what was asked."""
    asked = []

    def call(model: Path) -> list:
        def snapshot_download(repo, **options):
            asked.append((repo, options))
            target = tmp_path / "cache" / "snapshots" / COMMIT
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(model, target)
            for name in ("modeling.py", "pytorch_model.bin", "README.md"):
                (target / name).write_text("x")
            return str(target)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        return asked

    return call


@pytest.mark.parametrize("native", [True, False])
def test_pull(run, hub, tiny_model, foreign_model, native):
    model = tiny_model if native else foreign_model
    asked = hub(model)
    result = run("models", "pull", "some/Model-1.5", "--revision", "v1")
    target = user_models() / "Model-1.5"
    assert result.code == 0, result.err
    assert result.err == f"{target}: commit {COMMIT[:12]}; --model Model-1.5\n"
    assert np.array_equal(vectors("Model-1.5"), vectors(model))
    names = {path.name for path in target.iterdir()}
    assert "README.md" in names
    assert not [name for name in names if name.endswith((".py", ".bin"))]
    assert ModelCard.read("Model-1.5").pulled == {"repo": "some/Model-1.5", "revision": COMMIT}
    assert f"some/Model-1.5, commit {COMMIT}" in run("models", "show", "Model-1.5").out
    assert "files as recorded" in run("models", "verify", "Model-1.5").out
    ((repo, options),) = asked
    assert (repo, options["revision"]) == ("some/Model-1.5", "v1")
    assert not [p for p in options["allow_patterns"] if p.endswith((".bin", ".py", ".pt", "*"))
                and not p.startswith("LICENSE")]  # fmt: skip


def test_pull_by_another_name_and_again(run, hub, tiny_model):
    hub(tiny_model)
    assert run("models", "pull", "some/model", "--name", "mine").code == 0
    again = run("models", "pull", "some/model", "--name", "mine")
    assert again.code == 1
    assert "mine: exists already (--force replaces it)" in again.err
    assert run("models", "pull", "some/model", "--name", "mine", "--force").code == 0
    assert [path.name for path in user_models().iterdir()] == ["mine"]


def test_pull_a_model_without_a_table_of_positions(run, hub, tmp_path):
    from transformers import BloomConfig, BloomModel

    tokenizer = tokenizer_of("letters")
    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=4)
    BloomModel(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    edit(tmp_path / "model/config.json", max_position_embeddings=None)
    hub(tmp_path / "model")
    result = run("models", "pull", "some/model")
    assert result.code == 0, result.err
    assert ModelCard.read("model").positions is None
    assert "architecture       bloom" in run("models", "show", "model").out


@pytest.mark.parametrize(
    ("repo", "name"),
    [
        ("a/b/c", ""),
        ("../x", ""),
        ("a b", ""),
        ("a/b", DEFAULT_MODEL),
        ("a/b", "../b"),
        ("a/b", "."),
    ],
)
def test_names_that_cannot_be(hub, tiny_model, repo, name):
    asked = hub(tiny_model)
    with pytest.raises(InputError):
        pull_model(repo, name=name)
    assert not asked


def _without_safetensors(path: Path) -> None:
    (path / "model.safetensors").unlink()


def _with_own_code(path: Path) -> None:
    config = {"model_type": "own_make", "auto_map": {"AutoModel": "modeling.Own"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "vocab.txt").unlink()


def _cut_short(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def _encoder_and_decoder(path: Path) -> None:
    from transformers import T5Config, T5Model

    shutil.rmtree(path)
    tokenizer = tokenizer_of("letters")
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5Model(T5Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(path)
    tokenizer.save_pretrained(path)


def _with_odd_facts(path: Path) -> None:
    shutil.rmtree(path)
    make_foreign(path)
    (path / "dnatk.json").write_text('{"training": ["x"]}')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_encoder_and_decoder, "cannot be run: "),
        (_with_odd_facts, "dnatk: error: dnatk.json: training is ['x']; it must be a run"),
        (_without_safetensors, "has no model.safetensors, and pickles are not read from a hub"),
        (_with_own_code, "the code that comes with it, which is not fetched"),
        (_cut_short, "cannot be read"),
    ],
)
def test_what_dnatk_cannot_run_is_not_kept(run, hub, tiny_model, tmp_path, damage, said):
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    damage(model)
    hub(model)
    result = run("models", "pull", "some/model")
    assert result.code == 1
    assert said in result.err
    assert len(result.err.splitlines()) == 1
    assert "partial" not in result.err
    assert list(user_models().glob("*")) == []


def hub_errors() -> list:
    from huggingface_hub import errors

    response = SimpleNamespace(headers={}, request=None, status_code=404)
    return [
        (errors.GatedRepoError("gated", response=response), "its owner asks who you are"),
        (errors.RevisionNotFoundError("none", response=response), "has no revision 'v1'"),
        (errors.RepositoryNotFoundError("none", response=response), "is not on the hub"),
        (errors.LocalEntryNotFoundError("not\nhere"), "HF_HUB_OFFLINE is set"),
        (ConnectionError("no route"), "cannot be fetched from the hub"),
    ]


@pytest.mark.parametrize("number", range(5))
def test_what_the_hub_says(run, monkeypatch, number):
    error, said = hub_errors()[number]

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = run("models", "pull", "some/model", "--revision", "v1")
    assert result.code == 1
    assert said in result.err
    assert len(result.err.splitlines()) == 1
    assert not user_models().exists() or not list(user_models().iterdir())


def test_a_full_disk_is_no_fault_of_the_network(run, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device", "/cache/blob")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    result = run("models", "pull", "some/model")
    assert result.err == "dnatk: error: /cache/blob: No space left on device\n"


@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_a_network(clean_home, offline):
    """The real huggingface_hub: the way out is in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "dnatk", "models", "pull", "some/model"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HF_HUB_OFFLINE": offline, "HF_ENDPOINT": "http://127.0.0.1:9",
             "HF_HOME": str(clean_home / "hf")},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("dnatk: error: some/model: cannot be fetched from the hub: ")
    assert ("HF_HUB_OFFLINE is set" in line) is (offline == "1")
    assert "hf download some/model --local-dir model" in line
    assert str(clean_home / "data" / "dnatk" / "models" / "model") in line


def test_what_check_model_says_of_nothing():
    with pytest.raises(DnatkError, match="no model"):
        check_model("nothing")


def test_a_model_with_another_k(tmp_path, run):
    make_model(tmp_path / "k3", k=3, kmer_stride=3)
    out = run("models", "show", tmp_path / "k3").out
    assert "3-mers, every 3 bases; windows of up to 1530 bases" in out
    assert find_model(tmp_path / "k3").max_window == 1530
