"""Models of other makes, through their own tokenizers: trained, written, scored, refused."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from Bio.Seq import reverse_complement
from conftest import QUICK, SAVE_PLOT, files, no_plot, random_bases, write_fasta
from safetensors.torch import load_file, save_file

import dnatk
from dnatk.errors import InputError, ModelError
from dnatk.inference.sequences import pooled_sequences, score_sequences
from dnatk.model.foreign import TextTokens, load_foreign
from dnatk.model.foreign_attention import set_attention
from dnatk.tasks.registry import find_task
from dnatk.tasks.scorer import load_scorer

EXACT = ("--device", "cpu", "--precision", "fp32")
SEQUENCES = [random_bases(60, 1), random_bases(31, 2) + "N" * 9 + random_bases(10, 3), "ACGTA"]

pytestmark = pytest.mark.usefixtures("clean_home")


@pytest.fixture(autouse=True)
def without_plots(monkeypatch):
    monkeypatch.setattr(SAVE_PLOT, no_plot)


def tokenizer_of(kind: str):
    """A fast tokenizer that reads DNA as text: a token a letter, or pieces of some letters."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<cls>", "<pad>", "<eos>", "<unk>", "<mask>"]
    letters = list("ACGTN" if kind == "letters with N" else "ACGT")
    if kind.startswith("letters"):
        vocab = {token: i for i, token in enumerate(special + letters)}
        tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    elif kind == "pieces":
        merges = [("A", "C"), ("G", "T"), ("AC", "GT"), ("A", "A"), ("T", "T"), ("AA", "A")]
        pieces = special + letters + ["".join(pair) for pair in merges]
        vocab = {token: i for i, token in enumerate(pieces)}
        tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>"))
    else:  # pieces of a word, as WordPiece marks them
        words = ["A", "C", "G", "T", "AC", "GT", "TTA"]
        pieces = special + words + [f"##{word}" for word in words]
        vocab = {token: i for i, token in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<cls> $A <eos>", special_tokens=[("<cls>", 0), ("<eos>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="<cls>",
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=128,
    )


def make_foreign(path: Path, tokens: str = "letters", seed: int = 0) -> Path:
    """A tiny EsmModel with rotary positions and a tokenizer."""
    from transformers import EsmConfig, EsmModel

    tokenizer = tokenizer_of(tokens)
    torch.manual_seed(seed)
    config = EsmConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
        pad_token_id=1,
        mask_token_id=4,
        position_embedding_type="rotary",
        token_dropout=False,
        initializer_range=0.2,
    )
    EsmModel(config, add_pooling_layer=False).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """``foreign(tokens)``: a model directory with that tokenizer, made once."""
    made = {}

    def call(tokens: str = "letters") -> Path:
        if tokens not in made:
            made[tokens] = make_foreign(tmp_path_factory.mktemp("foreign") / tokens, tokens)
        return made[tokens]

    return call


def as_bases(sequence: str) -> np.ndarray:
    return np.frombuffer(sequence.encode(), dtype=np.uint8)


def plain(model, tokenizer, sequence: str) -> np.ndarray:
    """(D,) the mean over valid tokens of transformers' own forward of one sequence."""
    inputs = tokenizer(sequence, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).last_hidden_state[0]
    ids = inputs["input_ids"][0]
    valid = ~torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    return hidden[valid].mean(dim=0).numpy()


@pytest.fixture
def finetune(run, tmp_path, tables):
    def call(model, *options, method="probe", code=0, kind="binary"):
        out = tmp_path / f"{method}-task"
        quick = QUICK if method != "probe" else EXACT
        result = run(
            "finetune", *files(tables, kind), "-o", out, "--model", model, "--method", method,
            *quick, *options,
        )  # fmt: skip
        assert result.code == code, result.err
        assert not [path for path in tmp_path.iterdir() if "partial" in path.name]
        if code:
            assert not out.exists()
            last = result.err.splitlines()[-1]
            assert last.startswith("dnatk: error: "), result.err
            return last.removeprefix("dnatk: error: ")
        return out

    return call


@pytest.mark.parametrize("tokens", ["letters", "pieces"])
@pytest.mark.parametrize("method", ["full", "lora", "probe"])
def test_a_task_on_another_make_scores_as_transformers_does(
    method, tokens, foreign, finetune, run, tmp_path
):
    from transformers import AutoModel, AutoTokenizer

    trunk = foreign(tokens)
    directory = finetune(trunk, method=method)
    task = find_task(directory)
    assert (task.trunk.native, task.trunk.name) == (False, str(trunk))
    tokenizer = AutoTokenizer.from_pretrained(trunk)
    source = directory if method == "full" else trunk
    model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    if method == "lora":
        from peft import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an attribute that peft asks for by its old name
            model = PeftModel.from_pretrained(model, directory).eval()
    scorer = load_scorer(task, device="cpu", precision="fp32")
    bases = [as_bases(s) for s in SEQUENCES]
    features = np.stack([plain(model, tokenizer, s) for s in SEQUENCES])
    np.testing.assert_allclose(pooled_sequences(scorer, bases), features, atol=1e-4)
    with torch.inference_mode():
        logits = scorer.head(torch.from_numpy(features)).double().numpy() / task.temperature
    wanted = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted /= wanted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(score_sequences(scorer, bases), wanted, atol=2e-4)
    fasta = write_fasta(tmp_path / "s.fa", {f"s{i}": s for i, s in enumerate(SEQUENCES)})
    result = run("-q", "predict", fasta, "--task", directory, "--probabilities", *EXACT)
    assert result.code == 0, result.err
    assert result.err == ""
    rows = [line.split("\t") for line in result.out.splitlines() if line[0] != "#"]
    np.testing.assert_allclose([float(row[-1]) for row in rows], wanted[:, 1], atol=3e-4)


def test_figures_of_training_and_evaluation_agree(foreign, finetune, run, tables):
    directory = finetune(foreign("pieces"), method="lora")
    result = run("evaluate", directory, tables / "binary.test.csv", "--json", *EXACT)
    found = json.loads(result.out)["metrics"]
    measured = json.loads((directory / "task.json").read_text())["metrics"]["test"]
    for name, each in measured.items():
        assert found[name] == pytest.approx(each, abs=1e-5), name
    assert found["mcc"]["value"] > 0.5


@pytest.mark.parametrize("tokens", ["letters", "pieces", "words"])
def test_rc_average_is_the_mean_of_both_strands(tokens, foreign, finetune, run, tmp_path):
    """Pieces of text: the other strand has another number of tokens."""
    directory = finetune(foreign(tokens))
    scorer = load_scorer(find_task(directory), device="cpu", precision="fp32")
    lengths = {len(scorer.tokens.encode(as_bases(s))) for s in (SEQUENCES[0],)}
    lengths.add(len(scorer.tokens.encode(as_bases(reverse_complement(SEQUENCES[0])))))
    assert (len(lengths) > 1) == (tokens != "letters")
    names = [SEQUENCES[0], random_bases(60, 8), random_bases(45, 9)]
    strands = [as_bases(s) for s in names], [as_bases(reverse_complement(s)) for s in names]
    logits = np.mean([score_sequences(scorer, each, raw=True) for each in strands], axis=0)
    logits = logits.astype(np.float64) / scorer.task.temperature
    wanted = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    fasta = write_fasta(tmp_path / "s.fa", {f"s{i}": s for i, s in enumerate(names)})
    result = run("predict", fasta, "--task", directory, "--rc", "average", *EXACT)
    assert result.code == 0, result.err
    rows = [line.split("\t") for line in result.out.splitlines() if line[0] != "#"]
    np.testing.assert_allclose([float(row[-2]) for row in rows], wanted, atol=2e-4)


def test_batches_do_not_change_scores(foreign, finetune):
    """Padding changes sums: fp32 within 1e-5."""
    scorer = load_scorer(find_task(finetune(foreign())), device="cpu", precision="fp32")
    bases = [as_bases(random_bases(length, length)) for length in (60, 7, 33, 60, 12, 45)]
    wanted = score_sequences(scorer, bases, batch_tokens=1)
    got = score_sequences(scorer, bases, batch_tokens=10_000)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_scoring_keeps_no_gradients(foreign, finetune, monkeypatch):
    from dnatk.model.foreign import ForeignTrunk

    seen = []
    whole = ForeignTrunk.forward

    def forward(self, *args):
        out = whole(self, *args)
        seen.append(out.requires_grad)
        return out

    scorer = load_scorer(find_task(finetune(foreign(), method="full")), device="cpu")
    monkeypatch.setattr(ForeignTrunk, "forward", forward)
    score_sequences(scorer, [as_bases(SEQUENCES[0])])
    assert seen == [False]


@pytest.mark.parametrize("tokens", ["letters", "pieces", "words"])
def test_tokens_of_text(tokens, foreign):
    _, reader, longest = load_foreign(foreign(tokens))
    assert longest == 128
    bases = as_bases(SEQUENCES[0])
    ids = reader.encode(bases)
    assert reader.valid(ids).all()
    assert (reader.prefix.tolist(), reader.suffix.tolist()) == ([0], [2])
    np.testing.assert_array_equal(reader.encode(as_bases(SEQUENCES[0].lower())), ids)
    other = reader.encode(as_bases(reverse_complement(SEQUENCES[0])))
    np.testing.assert_array_equal(reader.reverse_complement(ids), other)
    assert not reader.valid(reader.encode(as_bases("NNNN"))).any()


def test_long_words_are_no_unknown_ones(foreign):
    """WordPiece gives up on words of more than 100 letters, which sequences are."""
    _, reader, _ = load_foreign(foreign("words"))
    ids = reader.encode(as_bases(random_bases(2500, 3)))
    assert reader.valid(ids).all()
    assert len(ids) > 800


def test_marks_alone_are_no_bases(foreign, tmp_path):
    """SentencePiece has a piece for the beginning of a text."""
    model = shutil.copytree(foreign(), tmp_path / "model")
    content = json.loads((model / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["\u2581"] = mark = len(vocabulary)
    (model / "tokenizer.json").write_text(json.dumps(content))
    reader = TextTokens(load_broken(model), "x")
    assert not reader.valid(np.array([mark])).any()
    assert reader.valid(reader.encode(as_bases("ACGT"))).all()


def test_a_row_without_a_known_token_is_told_of_tokens(foreign, run, tmp_path):
    fasta = write_fasta(tmp_path / "s.fa", {"a": "NNNNNNNN"})
    result = run("embed", fasta, "--region", "a", "-o", tmp_path / "x.h5", "--model", foreign())
    assert result.code == 1
    assert "a:0-8 has no token free of N" in result.err


def test_letters_and_a_vocabulary_file_are_one_model_everywhere(foreign, run, tmp_path):
    """A BERT of single bases, as transformers 4 saved it: vocab.txt beside tokenizer.json."""
    from transformers import BertConfig, BertModel

    model = tmp_path / "bert"
    tokenizer = tokenizer_of("letters with N")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=10, intermediate_size=64, max_position_embeddings=130, pad_token_id=1, **sizes
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(model)
    tokenizer.save_pretrained(model)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda piece: piece[1])
    (model / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces))
    fasta = write_fasta(tmp_path / "s.fa", {"a": SEQUENCES[0]})
    result = run("embed", fasta, "-o", tmp_path / "x.h5", "--model", model, *EXACT)
    assert result.code == 0, result.err
    assert run("models", "verify", model).code == 0
    assert "its own tokenizer" in run("models", "show", model).out


# What is refused


def test_remote_code_needs_a_revision(foreign, finetune):
    message = finetune(foreign(), "--trust-remote-code", code=1)
    assert message == (
        "--trust-remote-code needs --revision SHA (code from a hub may change; a commit cannot)"
    )


def test_a_revision_alone_trusts_no_code(foreign, finetune, monkeypatch, run, tmp_path):
    """Pinning a model is no leave to run its code, now or when the task is used."""
    from transformers import AutoModel

    trusted = []
    whole = AutoModel.from_pretrained.__func__

    def load(cls, *args, **options):
        trusted.append(options.get("trust_remote_code"))
        return whole(cls, *args, **options)

    monkeypatch.setattr(AutoModel, "from_pretrained", classmethod(load))
    directory = finetune(foreign(), "--revision", "0" * 40)
    fasta = write_fasta(tmp_path / "s.fa", {"a": SEQUENCES[0]})
    assert run("predict", fasta, "--task", directory, *EXACT).code == 0
    assert len(trusted) >= 2
    assert not any(trusted)


def test_a_task_runs_no_code_that_came_with_it_unasked(foreign, finetune, run, tmp_path):
    """A task from elsewhere may name code to run; only its user can allow that."""
    directory = Path(shutil.copytree(finetune(foreign()), tmp_path / "task"))
    content = json.loads((directory / "task.json").read_text())
    content["trunk"] |= {"remote_code": True, "revision": "0" * 40}
    (directory / "task.json").write_text(json.dumps(content))
    fasta = write_fasta(tmp_path / "s.fa", {"a": SEQUENCES[0]})
    result = run("predict", fasta, "--task", directory, *EXACT)
    assert result.code == 1
    assert f"{directory}: runs code that came with '{foreign()}' (--trust-remote-code" in result.err


def test_labels_of_bases_need_tokens_of_bases(foreign, finetune):
    message = finetune(foreign(), "--kind", "per-base", code=1, kind="per-base")
    assert message == (
        f"{foreign()}: per-base labels need a model with k-mer tokens "
        "(its tokenizer does not say which bases a token covers)"
    )


def test_a_sequence_of_too_many_tokens_is_named(foreign, finetune, tables, tmp_path):
    long = tmp_path / "long.csv"
    long.write_text((tables / "binary.dev.csv").read_text() + "ACGT" * 40 + ",1\n")
    message = finetune(foreign(), "--dev", long, code=1)
    assert message.startswith(
        f"{long}:26: a sequence of 160 bases is 162 tokens, the model takes 128"
    )


def test_a_model_from_scratch_is_native(foreign):
    from dnatk.training.finetune_config import FinetuneConfig
    from dnatk.training.trunks import Trunk

    config = FinetuneConfig(model=str(foreign()), method="full", from_scratch=True)
    with pytest.raises(InputError, match="from scratch needs a model of BERT's layout"):
        Trunk.find(config)


def test_a_tokenizer_that_makes_nothing_of_dna_is_told(foreign, finetune, tmp_path):
    model = shutil.copytree(foreign(), tmp_path / "model")
    content = json.loads((model / "tokenizer.json").read_text())
    letters = {"A": "x", "C": "y", "G": "z", "T": "w"}
    vocab = content["model"]["vocab"]
    content["model"]["vocab"] = {letters.get(name, name): i for name, i in vocab.items()}
    (model / "tokenizer.json").write_text(json.dumps(content))
    assert finetune(model, code=1).startswith(f"{model}: its tokenizer makes nothing of plain ACGT")
    with pytest.raises(ModelError, match="makes nothing of plain ACGT"):
        TextTokens(load_broken(model), "x")


def load_broken(model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


def test_weights_cut_short_or_missing_are_told(foreign, finetune, tmp_path):
    model = shutil.copytree(foreign(), tmp_path / "model")
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    assert finetune(model, code=1).startswith(f"{model}: cannot be loaded: ")
    weights.write_bytes(whole)
    tensors = load_file(weights)
    del tensors[next(name for name in tensors if "layer.1" in name)]
    save_file(tensors, weights, metadata={"format": "pt"})
    message = finetune(model, code=1)
    assert message.startswith(f"{model}: lacks weights: encoder.layer.1.")
    weights.unlink()
    assert finetune(model, code=1).startswith(f"{model}: cannot be loaded: ")


def test_a_changed_trunk_is_refused(foreign, finetune, run, tmp_path):
    model = shutil.copytree(foreign(), tmp_path / "model")
    directory = finetune(model, method="lora")
    fasta = write_fasta(tmp_path / "s.fa", {"a": SEQUENCES[0]})
    make_foreign(model, seed=1)
    result = run("predict", fasta, "--task", directory, *EXACT)
    assert result.code == 1
    assert f"was trained on other weights of '{model}'" in result.err
    shutil.rmtree(model)
    result = run("predict", fasta, "--task", directory, *EXACT)
    assert result.code == 1
    assert result.err.startswith(f"dnatk: error: {model}: ")
    assert result.err.count("\n") == 1


def test_export_of_another_make(foreign, finetune, run, tmp_path):
    """A full task carries its trunk; an adapter does not, and says so."""
    fasta = write_fasta(tmp_path / "s.fa", {"a": SEQUENCES[0]})
    directory = finetune(foreign(), method="full")
    wanted = run("predict", fasta, "--task", directory, "--no-provenance", *EXACT).out
    assert run("tasks", "export", directory, tmp_path / "copy").code == 0
    shutil.rmtree(directory)
    got = run("predict", fasta, "--task", tmp_path / "copy", "--no-provenance", *EXACT)
    assert got.out == wanted
    result = run("tasks", "export", finetune(foreign(), method="probe"), tmp_path / "none")
    assert result.code == 1
    assert "which dnatk does not copy" in result.err
    assert not (tmp_path / "none").exists()


def test_a_piece_for_n_stands_for_no_base(foreign):
    """Nor for a row of its own: it is neither pooled nor scored."""
    from transformers import EsmModel

    model = foreign("letters with N")
    clean, gap = random_bases(40, 5), random_bases(20, 6) + "N" * 20 + random_bases(20, 7)
    vectors = dnatk.embed_sequences(
        [clean, "N" * 60, gap], model=model, device="cpu", precision="fp32"
    )
    assert np.isnan(vectors[1]).all()
    _, tokens, _ = load_foreign(model)
    ids = tokens.encode(as_bases(gap))
    assert tokens.valid(ids).tolist() == [base != "N" for base in gap]
    turned = tokens.encode(as_bases(reverse_complement(gap)))
    assert tokens.reverse_complement(ids).tolist() == turned.tolist()
    own = EsmModel.from_pretrained(model, add_pooling_layer=False).eval()
    with torch.inference_mode():
        inputs = torch.from_numpy(np.concatenate([tokens.prefix, ids, tokens.suffix]))[None]
        hidden_TD = own(input_ids=inputs).last_hidden_state[0, 1:-1]
    wanted = hidden_TD[torch.from_numpy(tokens.valid(ids))].mean(dim=0).numpy()
    np.testing.assert_allclose(vectors[2], wanted, atol=1e-4)


@pytest.mark.parametrize("padded", [False, True])
def test_the_last_layer_keeps_no_other(foreign, padded, monkeypatch):
    trunk, tokens, _ = load_foreign(foreign())
    if padded:
        trunk.first_position = None
        set_attention(trunk.model, "sdpa")
    asked = []
    forward = trunk.model.forward

    def spy(*args, **options):
        asked.append(options.get("output_hidden_states"))
        return forward(*args, **options)

    monkeypatch.setattr(trunk.model, "forward", spy)
    ids = np.concatenate([tokens.prefix, tokens.encode(as_bases(SEQUENCES[0])), tokens.suffix])
    batch = torch.from_numpy(ids), torch.arange(len(ids)), [len(ids)]
    with torch.inference_mode():
        states = [trunk(*batch, layer) for layer in (-1, 2, 1)]
    assert asked == [False, False, True]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
