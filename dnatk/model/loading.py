"""Model directories: what they hold, whether it fits, and the encoder made of them.

Reads what dnatk writes and what DNABERT's original layout has (config.json, vocab.txt and
model.safetensors or pytorch_model.bin), without importing transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dnatk.errors import InputError, ModelError, first_line
from dnatk.genome.fasta import sha256
from dnatk.kmers import Vocabulary
from dnatk.model.encoder import Encoder, EncoderConfig
from dnatk.model.tokenizer_files import FACTS_FILE, FORMAT_VERSION

SHIPPED = Path(__file__).parent / "weights"
DEFAULT_MODEL = "dnatk-small"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class ModelInfo:
    """What a model directory says of itself, checked, before its weights are read.

    Attributes:
        name: as the user gave it (a shipped name or a path).
        weights: the weights file.
        sha256: of the weights file.
        k, kmer_stride: how bases become tokens.
        config: the encoder's sizes.
    """

    name: str
    directory: Path
    weights: Path
    sha256: str
    k: int
    kmer_stride: int
    config: EncoderConfig

    @property
    def max_window(self) -> int:
        """The longest window in bases that fits the positions: 515 for k = 6 and 512 positions."""
        return (self.config.max_positions - 3) * self.kmer_stride + self.k


def shipped_models() -> list[str]:
    """Names of the models in this installation."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))


def read_model(model: str | Path = DEFAULT_MODEL) -> ModelInfo:
    """Find ``model`` (a shipped name, or a directory) and check that dnatk can run it.

    Raises:
        ModelError: no such model, a file is missing, another architecture or vocabulary.
    """
    directory = SHIPPED / str(model) if str(model) in shipped_models() else Path(model)
    if not directory.is_dir():
        raise ModelError(
            f"no model '{model}'",
            hint=f"give a directory, or one of those installed: {', '.join(shipped_models())}",
        )
    config = _read_json(directory / "config.json")
    weights = next((p for n in WEIGHTS_FILES if (p := directory / n).exists()), None)
    if weights is None:
        raise ModelError(f"has no weights ({' or '.join(WEIGHTS_FILES)})", path=directory)
    k, kmer_stride = _tokenization(directory, config)
    return ModelInfo(
        name=str(model),
        directory=directory,
        weights=weights,
        sha256=sha256(weights),
        k=k,
        kmer_stride=kmer_stride,
        config=_encoder_config(config, directory / "config.json"),
    )


def load_encoder(
    model: str | Path | ModelInfo = DEFAULT_MODEL, *, device: str = "auto", precision: str = "auto"
) -> Encoder:
    """The inference encoder of a model, on a device, in a precision (see :mod:`.placement`)."""
    from dnatk.model.placement import resolve_device, resolve_precision

    info = model if isinstance(model, ModelInfo) else read_model(model)
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    return Encoder(info.config, read_weights(info)).to(device=place, dtype=dtype)


def read_weights(info: ModelInfo) -> dict:
    """The encoder's tensors by BertModel's names (prefix "bert." removed), on the CPU."""
    import torch

    try:
        if info.weights.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors = load_file(info.weights)
        else:
            tensors = torch.load(info.weights, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"cannot be read: {first_line(error)}", path=info.weights, hint="is the file cut short?"
        ) from None
    # Checkpoints of TensorFlow's days call LayerNorm's weight and bias gamma and beta.
    named = {
        name.removeprefix("bert.")
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias"): tensor
        for name, tensor in tensors.items()
    }
    expected = info.config.shapes()
    for name, shape in expected.items():
        if name not in named:
            raise ModelError(f"has no tensor '{name}'", path=info.weights)
        if tuple(named[name].shape) != shape:
            raise ModelError(
                f"'{name}' is {tuple(named[name].shape)}, config.json says {shape}",
                path=info.weights,
            )
    return {name: named[name] for name in expected}


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ModelError(f"has no {path.name}", path=path.parent) from None
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ModelError(f"cannot be read: {first_line(error)}", path=path) from None
    if not isinstance(content, dict):
        raise ModelError("is not a JSON object", path=path)
    return content


def _tokenization(directory: Path, config: dict) -> tuple[int, int]:
    """(k, k-mer stride): from dnatk.json, or from vocab.txt, which is checked in any case."""
    facts = _read_json(directory / FACTS_FILE) if (directory / FACTS_FILE).exists() else {}
    if facts.get("format_version", FORMAT_VERSION) > FORMAT_VERSION:
        raise ModelError(
            "was written by a newer dnatk", path=directory / FACTS_FILE, hint="update dnatk"
        )
    vocab = directory / "vocab.txt"
    try:
        tokens = vocab.read_text().split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        raise ModelError("has no readable vocab.txt", path=directory) from None
    tokens = [token.rstrip("\r") for token in tokens]
    while tokens and not tokens[-1]:
        tokens.pop()
    try:
        k = int(facts.get("k", len(tokens[-1]) if tokens else 0))
        vocabulary = Vocabulary(k)
    except (InputError, ValueError):
        raise ModelError("is no k-mer vocabulary", path=vocab) from None
    vocabulary.check_tokens(tokens, str(vocab))
    if config.get("vocab_size") != len(vocabulary):
        raise ModelError(
            f"vocab_size is {config.get('vocab_size')}, vocab.txt has {len(vocabulary)}",
            path=directory / "config.json",
        )
    return k, int(facts.get("kmer_stride", 1))


def _encoder_config(config: dict, path: Path) -> EncoderConfig:
    if config.get("model_type") != "bert":
        raise ModelError(
            f"model_type is '{config.get('model_type')}'; dnatk runs BERT-layout models", path=path
        )
    for key, wanted in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if config.get(key, wanted) != wanted:
            raise ModelError(f"{key} is {config[key]}; dnatk's encoder needs {wanted}", path=path)
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
