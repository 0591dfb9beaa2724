"""A model under inspection: its tokens, its table of embeddings, and forwards that show all.

Shapes: V tokens of the vocabulary, D hidden, B sequences, T tokens of the longest one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dnatk.errors import ModelError, first_line
from dnatk.kmers import Tokens, Vocabulary
from dnatk.kmers.vocab import FIRST_KMER, MAX_K
from dnatk.model.loading import ModelInfo, read_model, read_weights
from dnatk.model.models import find_model
from dnatk.model.placement import quick_products, resolve_device
from dnatk.model.places import model_directory


@dataclass(frozen=True)
class Subject:
    """A model in fp32 whose forward gives attention and hidden states of every layer.

    Attributes:
        name, sha256: as :class:`dnatk.model.models.Model`.
        directory: where it lies.
        k, kmer_stride: of its k-mer tokens; 0, 0 where they are of another make.
        layers, heads, hidden: sizes.
        max_window: the longest window in bases that fits in any case.
        trained_window: the longest of which every position is trained.
        tokens: its tokenizer.
        network: transformers' model, with eager attention.
        pad_id: what sequences are filled up with.
        pieces: text of each token (V) where they are of another make, else ().
        shows_attention: whether its layers give their attention.
    """

    name: str
    sha256: str
    directory: Path
    k: int
    kmer_stride: int
    layers: int
    heads: int
    hidden: int
    max_window: int
    trained_window: int
    tokens: Tokens
    network: nn.Module
    pad_id: int = 0
    pieces: tuple[str, ...] = ()
    shows_attention: bool = True

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def inner(self) -> slice:
        """Where the tokens that stand for bases lie among all of a sequence."""
        return slice(len(self.tokens.prefix), -len(self.tokens.suffix) or None)

    @property
    def reach(self) -> int:
        """How many tokens on either side share a base with a token."""
        return -(-self.k // self.kmer_stride) - 1 if self.k else 0

    def encode(self, bases: np.ndarray) -> np.ndarray:
        """(T,) int64 ids of bases (L,), special tokens included."""
        parts = self.tokens.prefix, self.tokens.encode(bases), self.tokens.suffix
        return np.concatenate(parts).astype(np.int64)

    def spans(self, ids_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """0-based half-open bases of the inner tokens of ``ids_T``: (first, end), each (T',)."""
        inner_T = ids_T[self.inner]
        if self.k:
            first_T = np.arange(len(inner_T)) * self.kmer_stride
            return first_T, first_T + self.k
        end_T = np.cumsum([len(self.pieces[i]) for i in inner_T.tolist()], dtype=np.int64)
        return np.concatenate([[0], end_T[:-1]]), end_T

    def kmer_rows(self) -> tuple[int, np.ndarray] | None:
        """(k, embedding of each k-mer (4^k, D) in dnatk's order); None: tokens are no k-mers.

        A vocabulary of another make has k-mers where half or more of its pieces of DNA are all
        4^k of one length.
        """
        table_VD = self.network.get_input_embeddings().weight.detach().cpu().numpy()
        if self.k:
            return self.k, table_VD[FIRST_KMER:]
        ids = {piece: i for i, piece in enumerate(self.pieces) if piece and set(piece) <= {*"ACGT"}}
        total = sum(piece in ids for piece in self.pieces)  # AC and ##AC are two
        for k in range(MAX_K, 0, -1):
            alike = [piece for piece in self.pieces if piece in ids and len(piece) == k]
            if len(alike) == len(set(alike)) == 4**k and 2 * 4**k >= total:
                kmers = Vocabulary(k).tokens[FIRST_KMER:]
                return k, table_VD[[ids[kmer] for kmer in kmers]]
        return None

    def decoder_rows(self) -> np.ndarray | None:
        """(4^k, D) k-mer rows of the masked-LM output, where it is not the embedding itself."""
        if not self.k:
            return None
        from dnatk.model.checked import read_tensors

        info = read_model(self.name)
        tensors = read_tensors(info.weights)
        decoder_VD = tensors.get("cls.predictions.decoder.weight")
        words_VD = self.network.get_input_embeddings().weight
        if decoder_VD is None or decoder_VD.shape != words_VD.shape:
            return None
        if torch.equal(decoder_VD.float(), words_VD.cpu()):
            return None
        return decoder_VD.float().numpy()[FIRST_KMER:]

    def forward(self, sequences: Sequence[np.ndarray], *, attention: bool = False):
        """transformers' output over ids (T_i,) of sequences: hidden states, perhaps attention.

        Raises:
            ModelError: hidden states that are not finite.
        """
        longest = max(map(len, sequences))
        ids_BT = np.full((len(sequences), longest), self.pad_id, dtype=np.int64)
        real_BT = np.zeros(ids_BT.shape, dtype=np.int64)
        for row, ids_T in enumerate(sequences):
            ids_BT[row, : len(ids_T)], real_BT[row, : len(ids_T)] = ids_T, 1
        with torch.inference_mode(), quick_products(self.device, torch.float32):
            out = self.network(
                input_ids=torch.from_numpy(ids_BT).to(self.device),
                attention_mask=torch.from_numpy(real_BT).to(self.device),
                output_hidden_states=True,
                output_attentions=attention,
            )
        if not out.last_hidden_state.isfinite().all():
            raise ModelError("its hidden states are not finite numbers", path=self.directory)
        return out


def find_subject(model: str | Path | Subject, device: str = "auto") -> Subject:
    """A model by its name or directory, on a device; a subject is given back as it is.

    Raises:
        ModelError: as :func:`dnatk.model.models.find_model`.
    """
    if isinstance(model, Subject):
        return model
    found = find_model(model)
    own = {"name": found.name, "sha256": found.sha256, "directory": model_directory(model)}
    own |= {"k": found.k, "kmer_stride": found.kmer_stride, "layers": found.layers}
    own |= {"hidden": found.hidden, "max_window": found.max_window, "tokens": found.tokens}
    own |= {"trained_window": found.trained_window}
    if found.k:
        network = _bert(read_model(model)).to(resolve_device(device)).eval()
        return Subject(network=network, heads=network.config.num_attention_heads, **own)
    return _foreign(found.load(device, "fp32"), own)


def _bert(info: ModelInfo) -> nn.Module:
    from transformers import BertConfig, BertModel

    config = BertConfig.from_json_file(str(info.directory / "config.json"))
    config._attn_implementation = "eager"  # any other keeps its attention to itself
    config.dtype = torch.float32
    network = BertModel(config, add_pooling_layer=False)
    weights = {name: tensor.float() for name, tensor in read_weights(info).items()}
    network.load_state_dict(weights, strict=True)
    return network


def _foreign(trunk, own: dict) -> Subject:
    from transformers import AutoTokenizer

    from dnatk.model.foreign import letters_of
    from dnatk.model.foreign_attention import set_attention

    shows = True
    try:
        set_attention(trunk.model, "eager")
    except Exception:  # whatever the model's own code makes of it
        shows = False
    tokenizer = AutoTokenizer.from_pretrained(own["directory"])
    pieces = [""] * trunk.model.get_input_embeddings().weight.shape[0]
    for piece, number in tokenizer.get_vocab().items():
        if number < len(pieces) and number not in tokenizer.all_special_ids:
            pieces[number] = letters_of(piece)
    config = trunk.model.config
    heads = getattr(config, "num_attention_heads", 0)
    subject = Subject(
        network=trunk.model,
        heads=heads,
        pad_id=trunk.pad_id,
        pieces=tuple(pieces),
        shows_attention=shows and bool(heads),
        **own,
    )
    return _tried(subject)


def _tried(subject: Subject) -> Subject:
    """``subject`` after one forward, which says whether it shows what is to be seen."""
    bases = np.frombuffer(b"ACGTTGCAAGCTTCGATCCGGATA", dtype=np.uint8)
    ids_T = subject.encode(bases[: subject.max_window])
    try:
        out = subject.forward([ids_T], attention=subject.shows_attention)
        states = getattr(out, "hidden_states", None)
        if not states or len(states) != subject.layers + 1:
            raise ModelError("its forward gives no hidden states")
    except Exception as error:
        raise ModelError(
            f"cannot be inspected: {first_line(error)}", path=subject.directory
        ) from None
    maps = getattr(out, "attentions", None) or ()
    whole = (1, subject.heads, len(ids_T), len(ids_T))
    shows = len(maps) == subject.layers and all(
        each is not None and tuple(each.shape) == whole for each in maps
    )
    return replace(subject, shows_attention=shows)


def batches(
    sequences: Sequence[np.ndarray], elements_of, most: int, *, same: bool = False
) -> Iterator[list[int]]:
    """Numbers of the sequences of each batch, shortest first, of ``most`` elements at most.

    Args:
        sequences: ids (T_i,).
        elements_of: elements that one sequence of T tokens needs; one sequence may need more.
        same: only sequences of one length share a batch.
    """
    batch: list[int] = []
    for row in np.argsort([len(each) for each in sequences], kind="stable").tolist():
        tokens = len(sequences[row])
        other = same and batch and len(sequences[batch[0]]) != tokens
        if batch and (other or (len(batch) + 1) * elements_of(tokens) > most):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
