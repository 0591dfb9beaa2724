"""The trunk of a fine-tuning run: loaded, wrapped for training, and written with its task."""

from __future__ import annotations

import copy
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dnatk.errors import InputError, ModelError
from dnatk.kmers import KmerTokens, Tokens, Vocabulary
from dnatk.labelled.dataset import LabelledSet
from dnatk.model.foreign import load_foreign, state_sha256
from dnatk.model.loading import ModelInfo, read_model, read_weights
from dnatk.model.models import is_native
from dnatk.model.places import model_directory, shipped_models
from dnatk.model.tokenizer_files import write_tokenizer
from dnatk.output.files import make_readable
from dnatk.tasks.task import ADAPTER_FILE, HEAD_FILE, TrunkReference
from dnatk.training.finetune_config import FinetuneConfig
from dnatk.training.masked_lm import quiet_transformers
from dnatk.training.task_model import NativeTrunk, TaskModel


@dataclass(frozen=True)
class Trunk:
    """What a run trains on.

    Attributes:
        tokens: its tokenizer.
        hidden: D.
        max_bases: the longest sequence that fits; 0: only its tokenizer can say.
        max_tokens: the same in tokens, specials included.
        reference: what the task will remember of it.
        trained_bases: the longest sequence of which every position is trained; 0: unknown, or all
            are trained here.
    """

    tokens: Tokens
    hidden: int
    max_bases: int
    max_tokens: int
    reference: TrunkReference
    config: FinetuneConfig
    _module: nn.Module | None = None
    trained_bases: int = 0

    @classmethod
    def find(cls, config: FinetuneConfig) -> Trunk:
        """The trunk that ``config.model`` names.

        Raises:
            ModelError, InputError: no such model, or one that cannot be trained as asked.
        """
        quiet_transformers()
        name, info = _named(config)
        if info is not None:
            if config.revision:
                raise InputError(
                    f"--revision: '{config.model}' lies on this disk, a hub's model has commits"
                )
            if not config.from_scratch:
                read_weights(info)  # transformers would leave what is missing random
            reference = TrunkReference(name, info.sha256, True, info.k, info.kmer_stride)
            tokens = KmerTokens(info.k, info.kmer_stride)
            sizes = info.config
            return cls(
                tokens,
                sizes.hidden,
                info.max_window,
                sizes.max_positions,
                reference,
                config,
                trained_bases=0 if config.from_scratch else info.trained_window,
            )
        if config.from_scratch:
            raise InputError("from scratch needs a model of BERT's layout with k-mers")
        if config.kmer_stride:
            raise InputError("a k-mer stride needs a model of BERT's layout with k-mers")
        module, tokens, longest = load_foreign(
            name, trust_remote_code=config.trust_remote_code, revision=config.revision
        )
        if not module.has_cls and config.pool in ("cls", "all"):
            raise InputError(
                f"--pool {config.pool}: this model has no first token that tells of a sequence",
                hint="--pool mean or max",
            )
        reference = TrunkReference(
            name,
            state_sha256(module.model),
            native=False,
            k=0,
            kmer_stride=0,
            revision=config.revision,
            remote_code=config.trust_remote_code,
        )
        return cls(tokens, module.hidden, 0, longest, reference, config, module)

    def module(self, seed: int) -> nn.Module:
        """A fresh module to train, its adapter in place and the rest frozen as the method says."""
        if self._module is not None:
            module = copy.deepcopy(self._module)
        else:
            directory = read_model(self.reference.name).directory
            module = (
                NativeTrunk.fresh(directory, seed)
                if self.config.from_scratch
                else NativeTrunk.load(directory)
            )
        if self.config.method == "full":
            return module
        module.requires_grad_(False)
        if self.config.method == "lora":
            from peft import LoraConfig, get_peft_model

            torch.manual_seed(seed)
            targets = ["query", "key", "value", "dense"] if self.reference.native else "all-linear"
            adapter = LoraConfig(
                r=self.config.lora_r, lora_alpha=self.config.lora_alpha, target_modules=targets
            )
            with warnings.catch_warnings():
                # peft still asks transformers for an attribute by its old name.
                warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
                module.model = get_peft_model(module.model, adapter)
        return module

    def write(self, model: TaskModel, directory: Path) -> None:
        """Write the head, and what the method changed of the trunk, to a task directory."""
        # A probe's weights are large and cancel out, so that they need their digits.
        half = self.config.method == "lora" and not self.config.linear_head
        _save(model.head.state_dict(), directory / HEAD_FILE, half=half)
        if self.config.method == "probe":
            return
        network = model.trunk.model
        if self.config.method == "lora":
            for adapter in network.peft_config.values():
                adapter.base_model_name_or_path = self.reference.name
            network.save_pretrained(directory, save_embedding_layers=False)
            (directory / "README.md").unlink(missing_ok=True)  # peft's; dnatk writes its own
            _save(load_file(directory / ADAPTER_FILE), directory / ADAPTER_FILE, half=True)
            return
        # Each process measures what it wrote: not the first alone, as transformers would have it.
        network.should_save_on_this_rank = lambda is_main_process: is_main_process
        network.save_pretrained(directory)
        for path in directory.glob("*.safetensors"):
            make_readable(path)
        if self.reference.native:
            k, stride = self.reference.k, self.reference.kmer_stride
            write_tokenizer(directory, k, stride, network.config.max_position_embeddings)
            return
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(
            self.reference.name,
            trust_remote_code=self.config.trust_remote_code,
            revision=self.config.revision or None,
        ).save_pretrained(directory)

    def written(self, directory: Path) -> TrunkReference:
        """The reference as the finished task needs it: a full task is its own trunk."""
        if self.config.method != "full":
            return self.reference
        if self.reference.native:
            info = read_model(directory)
            return TrunkReference(self.reference.name, info.sha256, True, info.k, info.kmer_stride)
        module, _, _ = load_foreign(
            directory,
            trust_remote_code=self.config.trust_remote_code,
            revision=self.config.revision,
        )
        return replace(self.reference, sha256=state_sha256(module.model))

    @property
    def vocabulary(self) -> int:
        """How many tokens a model with k-mers knows."""
        return len(Vocabulary(self.reference.k)) if self.reference.native else 0

    def tokens_of(self, length: int) -> int:
        """Tokens of ``length`` bases, specials included.

        Raises:
            InputError: only its tokenizer can say.
        """
        if not self.reference.native:
            raise InputError("--pool positions and --token-counts need a model with k-mer tokens")
        extra = len(self.tokens.prefix) + len(self.tokens.suffix)
        return len(self.tokens.encode(np.full(length, ord("A"), dtype=np.uint8))) + extra

    def check(self, data: LabelledSet) -> None:
        """Raise :class:`InputError` naming the first sequence that the trunk cannot take."""
        extra = len(self.tokens.prefix) + len(self.tokens.suffix)
        for line, sequence in zip(data.lines, data.sequences, strict=True):
            ids = self.tokens.encode(sequence)
            if len(ids) + extra > self.max_tokens:
                fits = f" ({self.max_bases} bases)" if self.max_bases else ""
                raise InputError(
                    f"a sequence of {len(sequence)} bases is {len(ids) + extra} tokens, "
                    f"the model takes {self.max_tokens}{fits}",
                    path=data.path,
                    line=line,
                    hint="--length cuts all to their middle",
                )
            if not self.tokens.valid(ids).any():
                raise InputError(
                    f"no token free of N in this sequence of {len(sequence)} bases",
                    path=data.path,
                    line=line,
                    hint="take it out, or give a longer one",
                )


def most_bases(config: FinetuneConfig) -> int:
    """The longest sequence that the model of ``config`` takes; 0: only its tokenizer can say."""
    info = _named(config)[1]
    return info.max_window if info else 0


def _named(config: FinetuneConfig) -> tuple[str, ModelInfo | None]:
    """The model's name, of a directory its path; what is known of one of k-mers.

    Raises:
        ModelError: no such model.
    """
    name = config.model
    directory = model_directory(name)
    # Of a name that is too long pathlib raises.
    if name not in shipped_models() and os.path.isdir(directory):
        name = str(directory.resolve())
    # A name with a slash that is no directory is of a hub.
    if is_native(directory) if os.path.isdir(directory) else "/" not in name:
        return name, _with_stride(read_model(name), config.kmer_stride)
    return name, None


def _with_stride(info: ModelInfo, kmer_stride: str) -> ModelInfo:
    """The model as it shall read bases here: overlapping k-mers ("1"), others ("k"), its own ("").

    The vocabulary is the same: Liang et al. (arXiv 2310.07644, observation 1) fine-tune models on
    overlapping k-mers that were pre-trained without overlaps, and the other way round.
    """
    stride = {"": info.kmer_stride, "1": 1, "k": info.k}[kmer_stride]
    return replace(info, kmer_stride=stride)


def _save(tensors: dict[str, torch.Tensor], path: Path, *, half: bool) -> None:
    """Write weights, ``half`` in half precision; what is measured later is what was written."""
    dtype = torch.float16 if half else torch.float32
    kept = {name: tensor.detach().to(dtype).cpu().contiguous() for name, tensor in tensors.items()}
    save_file(kept, path, metadata={"format": "pt"})
    make_readable(path)


def require_sequence_head(trunk: Trunk, kind: str) -> None:
    """Per-base labels need tokens whose bases are known."""
    if kind == "per-base" and not trunk.reference.native:
        raise ModelError(
            "per-base labels need a model with k-mer tokens",
            path=trunk.reference.name,
            hint="its tokenizer does not say which bases a token covers",
        )
