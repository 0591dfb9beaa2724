"""``dnatk embed`` of every kind of model against transformers' own eager forward.

The measure is transformers' model in fp32, with eager attention, one sequence at a time. fp32 may
differ by 1e-4 at most (seen: 6e-6, and 3e-5 of 12 layers x 768, of elements of about 4); bf16 by
half as much again as transformers' own bf16 does.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from Bio.Seq import reverse_complement
from conftest import SAVE_PLOT, cli, files, make_model, no_plot, random_bases, write_fasta
from safetensors.torch import load_file
from test_foreign import make_foreign, tokenizer_of
from transformers import AutoModel, AutoTokenizer, BertModel

import dnatk
from dnatk.errors import DnatkError, InputError, ModelError
from dnatk.inference.embed import EmbedOptions, embed
from dnatk.inference.predict_options import PredictOptions
from dnatk.kmers import Vocabulary, spaced
from dnatk.kmers.vocab import UNK
from dnatk.model.models import find_model
from dnatk.model.presets import preset
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import load_scorer

FP32 = 1e-4
EXACT = {"device": "cpu", "precision": "fp32", "dtype": "float32"}
CHR = random_bases(4000, 11)
CHR = CHR[:900] + "NNNNNNN" + CHR[907:1500] + CHR[1500:1800].lower() + CHR[1800:]


@dataclass
class Case:
    """A model, and how transformers itself reads a sequence with it.

    Attributes:
        k: of its k-mers; 0: it reads text.
        longest: the longest window in bases.
        layer: a middle one.
    """

    path: Path
    k: int
    longest: int
    layer: int
    lengths: tuple[int, ...]

    def own(self, dtype: torch.dtype = torch.float32):
        """``own(sequence, layer)`` -> (n, D) hidden states of its tokens, and which are valid."""
        known: dict[str, tuple] = {}
        model = AutoModel.from_pretrained(self.path, dtype=dtype, attn_implementation="eager")
        model.eval()
        if self.k:
            vocabulary = {token: i for i, token in enumerate(Vocabulary(self.k).tokens)}
        else:
            tokenizer = AutoTokenizer.from_pretrained(self.path)

        def forward(sequence: str) -> tuple:
            if self.k:
                words = spaced(sequence.upper(), self.k).split()
                inner = [vocabulary.get(word, UNK) for word in words]
                ids, invalid = [2, *inner, 3], [UNK]
            else:
                ids = tokenizer(sequence.upper())["input_ids"]
                invalid = tokenizer.all_special_ids
            with torch.inference_mode():
                out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            layers = [*out.hidden_states[:-1], out.last_hidden_state]
            return [each[0, 1:-1].float().numpy() for each in layers], ~np.isin(ids[1:-1], invalid)

        def call(sequence: str, layer: int = -1):
            if sequence not in known:
                known[sequence] = forward(sequence)
            layers, valid = known[sequence]
            return layers[layer], valid

        return call


def native(name: str, path: Path) -> Case:
    make_model(path, **preset(name).bert_config(6))
    lengths = (6, 7, 8, 60, 60, 131, 514, 515) if name != "dnabert-base" else (6, 31, 90, 90)
    return Case(path, 6, 515, {"mini": 2, "small": 3, "dnabert-base": 6}[name], lengths)


def dnabert_of_old(path: Path) -> Case:
    """As the hub has it: pytorch_model.bin, "bert." prefixes, gamma and beta, no dnatk.json."""
    make_model(path, num_hidden_layers=3, seed=4)
    weights = {}
    for name, tensor in load_file(path / "model.safetensors").items():
        name = name if name.startswith(("bert.", "cls.")) else f"bert.{name}"
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        weights[name.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    assert any(name.endswith("gamma") for name in weights)
    torch.save(weights, path / "pytorch_model.bin")
    for file in path.iterdir():
        if file.name not in ("config.json", "vocab.txt", "pytorch_model.bin"):
            file.unlink()
    assert sorted(file.name for file in path.iterdir()) == [
        "config.json", "pytorch_model.bin", "vocab.txt",
    ]  # fmt: skip
    return Case(path, 6, 515, 1, (6, 7, 60, 131, 515))


def modernbert(path: Path, tokens: str = "letters") -> Case:
    """Local attention over 8 tokens on either side; every other layer is global."""
    from transformers import ModernBertConfig, ModernBertModel

    tokenizer = tokenizer_of(tokens)
    tokenizer.model_max_length = 300
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=300, local_attention=16,
        global_attn_every_n_layers=2, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        cls_token_id=0, sep_token_id=2, initializer_range=0.2, initializer_cutoff_factor=3.0,
    )  # fmt: skip
    ModernBertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Case(path, 0, 298, 2, (1, 2, 9, 40, 40, 170, 298))


def esm(path: Path, tokens: str = "letters") -> Case:
    make_foreign(path, tokens)
    return Case(path, 0, 126, 1, (1, 2, 40, 40, 77, 126))


MAKERS = {
    "mini": partial(native, "mini"),
    "small": partial(native, "small"),
    "dnabert-base": partial(native, "dnabert-base"),
    "dnabert-of-old": dnabert_of_old,
    "modernbert": modernbert,
    "esm": esm,
    "esm-pieces": partial(esm, tokens="pieces"),
}
FOREIGN = ("modernbert", "esm", "esm-pieces")
QUICK = ("mini", "dnabert-of-old", *FOREIGN)


@pytest.fixture(scope="session")
def case_of(tmp_path_factory):
    made: dict[str, Case] = {}

    def call(name: str) -> Case:
        if name not in made:
            made[name] = MAKERS[name](tmp_path_factory.mktemp("models") / name)
        return made[name]

    yield call
    for case in made.values():
        shutil.rmtree(case.path)


@pytest.fixture(scope="session")
def fasta(tmp_path_factory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", {"chr": CHR})


def places(case: Case) -> list[tuple[int, int, str]]:
    """(start, end, strand) of regions of all lengths; one with N inside, one in lower case."""
    rng = np.random.default_rng(5)
    found = []
    for i, length in enumerate(case.lengths):
        start = int(rng.integers(0, 880 - length)) if length < 800 else 0
        found.append((start, start + length, "+-."[i % 3]))
    long = min(case.longest, 60)
    return [*found, (880, 880 + long, "+"), (1590, 1590 + long, "-")]


def read(start: int, end: int, strand: str) -> str:
    bases = CHR[start:end]
    return reverse_complement(bases) if strand == "-" else bases


@pytest.fixture
def embedded(tmp_path, fasta):
    """Embed the places of a case; gives the rows, or with pool none each row's tokens."""

    def call(case: Case, **options) -> list[np.ndarray]:
        lines = [f"chr\t{s}\t{e}\tr{i}\t0\t{x}\n" for i, (s, e, x) in enumerate(places(case))]
        (tmp_path / "r.bed").write_text("".join(lines))
        settings = EmbedOptions(**{**EXACT, **options})
        embed(
            fasta, tmp_path / "o.h5", bed=tmp_path / "r.bed", model=case.path, options=settings,
            force=True,
        )  # fmt: skip
        regions, vectors = dnatk.read_embeddings(tmp_path / "o.h5")
        assert regions["name"].tolist() == [f"r{i}" for i in range(len(lines))]
        assert regions["status"].eq(0).all()
        if settings.pool != "none":
            return list(vectors)
        return [vectors[s:e] for s, e in zip(regions.token_start, regions.token_end, strict=True)]

    return call


def expected(case: Case, own, pool: str, layer: int = -1) -> list[np.ndarray]:
    rows = []
    for place in places(case):
        hidden, valid = own(read(*place), layer)
        rows.append(hidden if pool == "none" else hidden[valid].mean(axis=0))
    return rows


def worst(got: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference of an element."""
    assert [each.shape for each in got] == [each.shape for each in wanted]
    return max(float(np.abs(a - b).max()) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("name", MAKERS)
def test_fp32_is_what_transformers_gives(name, case_of, embedded):
    case = case_of(name)
    own = case.own()
    cases = [("mean", -1), ("none", case.layer), ("mean", case.layer), ("none", -1)]
    for pool, layer in cases[: 2 if name == "dnabert-base" else 4]:
        wanted = expected(case, own, pool, layer)
        assert np.std(np.concatenate(wanted)) > 0.05, "nothing is compared"
        seen = worst(embedded(case, pool=pool, layer=layer, batch_tokens=700), wanted)
        print(f"{name} {pool} {layer}: {seen:.1e}")
        assert seen <= FP32, (pool, layer)


@pytest.mark.parametrize("name", MAKERS)
def test_bf16_is_as_near_as_transformers_own(name, case_of, embedded):
    case = case_of(name)
    exact, rough = case.own(), case.own(torch.bfloat16)
    for pool in ("mean", "none"):
        wanted, theirs = (np.concatenate(expected(case, own, pool)) for own in (exact, rough))
        got = np.concatenate(embedded(case, pool=pool, precision="bf16", batch_tokens=700))
        ours, own, scale = (np.linalg.norm(x) for x in (got - wanted, theirs - wanted, wanted))
        print(f"{name} {pool}: {ours / scale:.1e}, transformers' own {own / scale:.1e}")
        assert 0 < ours <= 1.5 * own


@pytest.mark.parametrize(
    ("name", "pool"), [*((name, pool) for name in QUICK[:-1] for pool in ("mean", "none")),
                       ("esm-pieces", "mean")]
)  # fmt: skip
def test_the_other_strand_is_averaged_in(name, pool, case_of, embedded):
    case = case_of(name)
    own = case.own()
    wanted = []
    for place in places(case):
        forward, valid = own(read(*place))
        backward, other_valid = own(reverse_complement(read(*place)))
        if pool == "none":
            wanted.append((forward + backward[::-1]) / 2)
        else:
            wanted.append((forward[valid].mean(0) + backward[other_valid].mean(0)) / 2)
    assert worst(embedded(case, pool=pool, rc="average", batch_tokens=900), wanted) <= FP32


@pytest.mark.parametrize("name", QUICK)
def test_float16_on_disk_is_the_only_loss(name, case_of, embedded):
    case = case_of(name)
    exact = np.stack(embedded(case, pool="mean"))
    stored = np.stack(embedded(case, pool="mean", dtype="float16"))
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, exact.astype(np.float16))


def test_a_model_of_old_gives_what_the_same_in_new_files_gives(case_of, embedded, tmp_path):
    """And its files are told apart by what is in them, not by their names."""
    case = case_of("dnabert-of-old")
    old = np.stack(embedded(case))
    new = Case(make_model(tmp_path / "new", num_hidden_layers=3, seed=4), 6, 515, 1, case.lengths)
    np.testing.assert_array_equal(np.stack(embedded(new)), old)
    assert BertModel.from_pretrained(new.path).config.num_hidden_layers == 3


# Models without k-mers, by the command line


def h5_of(path: Path) -> tuple[dict, list, np.ndarray]:
    regions, vectors = dnatk.read_embeddings(path)
    with h5py.File(path) as file:
        return dict(file.attrs), list(zip(regions.start, regions.end, strict=True)), vectors


@pytest.mark.parametrize("name", FOREIGN)
def test_windows_of_a_foreign_model_do_not_overlap(name, case_of, fasta, tmp_path, run):
    case = case_of(name)
    out = tmp_path / "o.h5"
    options = ("--device", "cpu", "--precision", "fp32", "--dtype", "float32", "-t", 1)
    result = run("-q", "embed", fasta, "--model", case.path, "-o", out, *options)
    assert (result.code, result.err) == (0, "")
    facts, tiles, vectors = h5_of(out)
    assert (facts["window"], facts["stride"], facts["k"]) == (case.longest, case.longest, 0)
    step = case.longest
    assert tiles == [(at, min(at + step, len(CHR))) for at in range(0, len(CHR), step)]
    own = case.own()
    for (start, end), vector in zip(tiles, vectors, strict=True):
        hidden, valid = own(CHR[start:end])
        np.testing.assert_allclose(vector, hidden[valid].mean(0), atol=FP32)
    # The same stride said aloud, and a smaller window.
    for more in (("--window", 50, "--stride", 50), ("--window", 50)):
        result = run(
            "-q", "embed", fasta, "--model", case.path, "-o", out, "--force", *more, *options
        )
        assert (result.code, result.err) == (0, "")
        facts, tiles, _ = h5_of(out)
        assert (facts["window"], facts["stride"]) == (50, 50)
        assert tiles[:2] == [(0, 50), (50, 100)]


@pytest.mark.parametrize("stride", [1, 49, 51])
def test_no_other_stride(stride, case_of, fasta, tmp_path, run):
    result = run("embed", fasta, "--model", case_of("esm").path, "-o", tmp_path / "o.h5",
                 "--window", 50, "--stride", stride)  # fmt: skip
    assert result.code == 1
    assert result.err.splitlines()[-1] == (
        f"dnatk: error: --stride {stride}: the windows of a model without k-mers do not overlap "
        "(leave --stride away)"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_region_longer_than_the_window_is_made_of_windows_side_by_side(
    case_of, fasta, tmp_path, run
):
    case = case_of("modernbert")
    own = case.own()
    places = [(100, 700, "+"), (100, 700, "-")]
    (tmp_path / "r.bed").write_text(
        "".join(f"chr\t{s}\t{e}\tx\t0\t{strand}\n" for s, e, strand in places)
    )
    for window in (None, 70):
        chosen = ("--window", window) if window else ()
        result = run("-q", "embed", fasta, "--bed", tmp_path / "r.bed", "--model", case.path,
                     "-o", tmp_path / "o.h5", "--force", "--device", "cpu", "--precision", "fp32",
                     "--dtype", "float32", *chosen)  # fmt: skip
        assert (result.code, result.err) == (0, "")
        step = window or case.longest
        _, _, vectors = h5_of(tmp_path / "o.h5")
        for place, vector in zip(places, vectors, strict=True):
            bases = read(*place)
            hidden = [own(bases[at : at + step])[0] for at in range(0, len(bases), step)]
            np.testing.assert_allclose(vector, np.concatenate(hidden).mean(0), atol=FP32)


def test_a_window_of_too_many_tokens_names_its_place(case_of, fasta, tmp_path, run):
    """Pieces of text: how many tokens a window has is seen when it is read."""
    result = run("embed", fasta, "--model", case_of("esm").path, "-o", tmp_path / "o.h5",
                 "--window", 127, "--device", "cpu")  # fmt: skip
    assert result.code == 1
    assert result.err.splitlines()[-1] == (
        "dnatk: error: chr:0-127 gives 129 tokens, the model takes 128 "
        "(a smaller embed --window or finetune --length)"
    )
    assert list(tmp_path.iterdir()) == []
    # Two bases a token: a window may have more bases than the model takes tokens.
    result = run("-q", "embed", fasta, "--model", case_of("esm-pieces").path,
                 "-o", tmp_path / "o.h5", "--window", 135, "--device", "cpu")  # fmt: skip
    assert (result.code, result.err) == (0, "")


def test_the_other_strand_may_have_too_many_tokens(case_of, tmp_path):
    """AAAG is two pieces (AAA, G), its other strand three (C, TT, T)."""
    case = case_of("esm-pieces")
    tokens = find_model(case.path).tokens
    few, many = (len(tokens.encode(np.frombuffer(4 * bases, dtype=np.uint8))) for bases in (
        b"AAAG", b"CTTT"))  # fmt: skip
    assert (few, many) == (8, 12)
    fasta = write_fasta(tmp_path / "a.fa", {"a": "AAAG" * 100})
    embed(fasta, tmp_path / "o.h5", model=case.path, options=EmbedOptions(window=200, **EXACT))
    options = EmbedOptions(window=200, rc="average", **EXACT)
    with pytest.raises(InputError) as told:
        embed(fasta, tmp_path / "p.h5", model=case.path, options=options)
    assert str(told.value) == (
        "a:0-200 gives 152 tokens, the model takes 128 "
        "(a smaller embed --window or finetune --length)"
    )


def test_unequal_strands_have_no_average_of_each_token(case_of, fasta, tmp_path):
    options = EmbedOptions(pool="none", rc="average", **EXACT)
    with pytest.raises(InputError):
        embed(fasta, tmp_path / "o.h5", model=case_of("esm-pieces").path, options=options)


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
def test_a_foreign_model_and_every_pool(pool, case_of, embedded):
    case = case_of("esm")
    hidden = expected(case, case.own(), "none")
    rows = embedded(case, pool=pool)
    valid = [case.own()(read(*place))[1] for place in places(case)]
    if pool == "none":
        wanted = hidden
    else:
        wanted = [getattr(h[v], pool)(axis=0) for h, v in zip(hidden, valid, strict=True)]
    assert worst(rows, wanted) <= FP32


def test_a_foreign_model_is_named_by_its_weights(case_of, tmp_path):
    """Twice the same directory: the same model; other weights: another."""
    case = case_of("esm")
    shutil.copytree(case.path, tmp_path / "copy")
    assert find_model(tmp_path / "copy").sha256 == find_model(case.path).sha256
    other = make_foreign(tmp_path / "other", seed=1)
    assert find_model(other).sha256 != find_model(case.path).sha256


def test_a_directory_that_is_no_model(case_of, tmp_path):
    shutil.copytree(case_of("esm").path, tmp_path / "m")
    (tmp_path / "m/model.safetensors").unlink()
    with pytest.raises(ModelError, match="m: cannot be loaded: "):
        find_model(tmp_path / "m")
    (tmp_path / "m/config.json").write_text("[]")
    with pytest.raises(DnatkError):
        find_model(tmp_path / "m")


# Predictions


@pytest.fixture(scope="module")
def task_on_modernbert(case_of, tables, tmp_path_factory):
    """A probe on it: the trunk is as it was, the head is trained for a moment."""
    out = tmp_path_factory.mktemp("probe") / "task"
    named = files(tables, "binary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SAVE_PLOT, no_plot)
        code = cli("-q", "finetune", *named, "-o", out, "--model", case_of("modernbert").path,
                   "--method", "probe", "--device", "cpu", "--precision", "fp32")  # fmt: skip
    assert code == 0
    return find_task(out)


@pytest.mark.parametrize("rc", ["none", "average"])
def test_predictions_of_a_foreign_trunk_are_those_of_its_own_forward(
    rc, case_of, task_on_modernbert, tmp_path
):
    """Logits of the mean over tokens, from one base to the task's window; fp32 and bf16."""
    task = task_on_modernbert
    case = case_of("modernbert")
    own, rough = case.own(), case.own(torch.bfloat16)
    # Many: rounding makes the difference of a few a matter of luck.
    sequences = [random_bases(1 + i % 60, i) for i in range(150)]
    fasta = write_fasta(tmp_path / "s.fa", {f"s{i}": s for i, s in enumerate(sequences)})
    head = load_scorer(task, device="cpu", precision="fp32").head

    def wanted(forward) -> np.ndarray:
        logits = []
        for sequence in sequences:
            strands = [sequence, reverse_complement(sequence)][: 1 + (rc == "average")]
            pooled = np.stack([forward(strand)[0].mean(0) for strand in strands])
            with torch.inference_mode():
                logits.append(head(torch.from_numpy(pooled)).double().mean(0).numpy())
        return task.outputs(np.stack(logits))[:, 1]

    def got(precision: str) -> np.ndarray:
        options = PredictOptions(rc=rc, device="cpu", precision=precision, batch_tokens=100)
        dnatk.predict(fasta, tmp_path / "o.tsv", h5=tmp_path / "o.h5", task=task,
                      options=options, force=True)  # fmt: skip
        return dnatk.read_predictions(tmp_path / "o.h5")[0]["p_1"].to_numpy()

    exact = wanted(own)
    assert exact.std() > 0.01
    assert np.abs(got("fp32") - exact).max() <= FP32
    ours, theirs = (np.linalg.norm(x - exact) for x in (got("bf16"), wanted(rough)))
    assert 0 < ours <= 1.5 * theirs


# On a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["small", "dnabert-base", *FOREIGN])
def test_cuda_is_as_transformers(name, precision, case_of, embedded):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    case = case_of(name)
    exact, rough = case.own(), case.own(torch.bfloat16)
    for pool in ("mean", "none"):
        wanted, theirs = (np.concatenate(expected(case, own, pool)) for own in (exact, rough))
        options = {"device": "cuda", "precision": precision, "batch_tokens": 700}
        got = np.concatenate(embedded(case, pool=pool, **options))
        error = np.linalg.norm(got - wanted)
        if precision == "fp32":  # TF32 products, where they are switched on
            assert error <= 2e-3 * np.linalg.norm(wanted)
        else:
            assert error <= 1.5 * np.linalg.norm(theirs - wanted)
