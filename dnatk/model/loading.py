"""Model directories: what they hold, whether it fits, and the encoder made of them.

Reads what dnatk writes and what DNABERT's original layout has (config.json, vocab.txt and
model.safetensors or pytorch_model.bin), without importing transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnatk.errors import InputError, ModelError
from dnatk.genome.fasta import sha256
from dnatk.kmers import Vocabulary
from dnatk.kmers.vocab import MAX_K
from dnatk.model.card import INDEX_FILE, longest_window
from dnatk.model.checked import (
    LINE,
    POSITIVE,
    check,
    check_tensors,
    check_version,
    one_of,
    read_json,
    read_tensors,
    shown,
    whole,
)
from dnatk.model.encoder import Encoder, EncoderConfig
from dnatk.model.places import DEFAULT_MODEL, FACTS_FILE, existing_model
from dnatk.model.tokenizer_files import FORMAT_VERSION

WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")

# What config.json may say; its tensors are compared with it before they are used.
_CONFIG = {
    "vocab_size": whole(1),
    "hidden_size": whole(1),
    "num_hidden_layers": whole(1, 1000),
    "num_attention_heads": whole(1),
    "intermediate_size": whole(1),
    "max_position_embeddings": whole(3),  # [CLS], a k-mer, [SEP]
    "type_vocab_size": whole(1),
    "layer_norm_eps": POSITIVE,
    "hidden_act": LINE,
    "position_embedding_type": one_of("absolute"),
    "is_decoder": one_of(False),
}


@dataclass(frozen=True)
class ModelInfo:
    """What a model directory says of itself, checked, before its weights are read.

    Attributes:
        name: as the user gave it (a shipped name or a path).
        weights: the weights file.
        sha256: of the weights file.
        k, kmer_stride: how bases become tokens.
        config: the encoder's sizes.
        trained_positions: those that its last pre-training reached. The embeddings of later
            ones are as they were drawn, or the rest has moved away from them since.
    """

    name: str
    directory: Path
    weights: Path
    sha256: str
    k: int
    kmer_stride: int
    config: EncoderConfig
    trained_positions: int

    @property
    def max_window(self) -> int:
        """The longest window in bases that fits the positions: 515 for k = 6 and 512 positions."""
        return longest_window(self.config.max_positions, self.k, self.kmer_stride)

    @property
    def trained_window(self) -> int:
        """The longest window in bases of which every position is trained."""
        return longest_window(self.trained_positions, self.k, self.kmer_stride)


def read_model(model: str | Path = DEFAULT_MODEL) -> ModelInfo:
    """Find ``model`` (a name or a directory) and check that dnatk can run it.

    Raises:
        ModelError: no such model, a file is missing, another architecture or vocabulary.
    """
    directory = existing_model(model)
    config = read_json(directory / "config.json")
    weights = next((p for n in WEIGHTS_FILES if (p := directory / n).is_file()), None)
    if weights is None:
        hint = "of k-mer models those in shards are not read: save them as one model.safetensors"
        raise ModelError(
            f"has no weights ({' or '.join(WEIGHTS_FILES)})",
            path=directory,
            hint=hint if (directory / INDEX_FILE).is_file() else None,
        )
    sizes = _encoder_config(config, directory / "config.json")
    k, kmer_stride = _tokenization(directory, sizes)
    return ModelInfo(
        name=str(model),
        directory=directory,
        weights=weights,
        sha256=sha256(weights),
        k=k,
        kmer_stride=kmer_stride,
        config=sizes,
        trained_positions=_trained_positions(directory, sizes.max_positions),
    )


def load_encoder(
    model: str | Path | ModelInfo = DEFAULT_MODEL, *, device: str = "auto", precision: str = "auto"
) -> Encoder:
    """The inference encoder of a model, on a device, in a precision (see :mod:`.placement`).

    >>> encoder = dnatk.load_encoder("dnatk-small", device="cpu", precision="fp32")
    >>> encoder.max_tokens, encoder.dtype
    (512, torch.float32)
    """
    from dnatk.model.placement import resolve_device, resolve_precision

    info = model if isinstance(model, ModelInfo) else read_model(model)
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    encoder: Encoder = Encoder(info.config, read_weights(info)).to(device=place, dtype=dtype)
    return encoder


def read_weights(info: ModelInfo) -> dict[str, Any]:
    """The encoder's tensors by BertModel's names (prefix "bert." removed), on the CPU."""
    # Checkpoints of TensorFlow's days call LayerNorm's weight and bias gamma and beta.
    named = {
        name.removeprefix("bert.")
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias"): tensor
        for name, tensor in read_tensors(info.weights).items()
    }
    expected = info.config.shapes()
    check_tensors(named, expected, info.weights, "config.json", closed="encoder.layer.")
    return {name: named[name] for name in expected}


def _tokenization(directory: Path, config: EncoderConfig) -> tuple[int, int]:
    """(k, k-mer stride): from dnatk.json, or from vocab.txt, which is checked in any case."""
    path, vocab = directory / FACTS_FILE, directory / "vocab.txt"
    facts = read_json(path) if path.exists() else {}
    check_version(facts, FORMAT_VERSION, path)
    check(facts, {"k": whole(1, MAX_K)}, path)
    try:
        tokens = vocab.read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        raise ModelError("has no readable vocab.txt", path=directory) from None
    tokens = [token.rstrip("\r") for token in tokens]
    while tokens and not tokens[-1]:
        tokens.pop()
    k = facts.get("k", len(tokens[-1]) if tokens else 0)
    try:
        vocabulary = Vocabulary(k)
    except InputError:
        raise ModelError("is no k-mer vocabulary", path=vocab) from None
    vocabulary.check_tokens(tokens, str(vocab))
    if config.vocab_size != len(vocabulary):
        raise ModelError(
            f"vocab_size is {config.vocab_size}, vocab.txt has {len(vocabulary)}",
            path=directory / "config.json",
        )
    check(facts, {"kmer_stride": whole(1, k)}, path)
    return k, facts.get("kmer_stride", 1)


def _trained_positions(directory: Path, most: int) -> int:
    """As dnatk.json tells of the last of its runs; ``most`` where it tells nothing of windows."""
    path = directory / FACTS_FILE
    runs: Any = read_json(path).get("training") if path.exists() else None
    run = runs[-1] if isinstance(runs, list) and runs else runs
    told: dict[str, Any] = run if isinstance(run, dict) else {}
    sizes: list[Any] = [told.get(key) for key in ("window", "k", "kmer_stride")]
    if not all(map(whole(1).holds, sizes)):
        return most
    window, k, kmer_stride = sizes
    reached = (window - k) // kmer_stride + 3
    return min(reached, most) if reached >= 3 else most


def _encoder_config(config: dict[str, Any], path: Path) -> EncoderConfig:
    if config.get("model_type") != "bert":
        raise ModelError(
            f"model_type is {shown(config.get('model_type'))}; dnatk runs BERT-layout models",
            path=path,
        )
    check(config, _CONFIG, path)
    try:
        return EncoderConfig(
            vocab_size=config["vocab_size"],
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            max_positions=config["max_position_embeddings"],
            types=config.get("type_vocab_size", 2),
            eps=config.get("layer_norm_eps", 1e-12),
            activation=config.get("hidden_act", "gelu"),
        )
    except KeyError as error:
        raise ModelError(f"has no {error.args[0]}", path=path) from None
    except ModelError as error:
        raise ModelError(error.message, path=path, hint=error.hint) from None
