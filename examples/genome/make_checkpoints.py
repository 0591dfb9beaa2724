#!/usr/bin/env python3
"""Tiny models of other makes with random weights, laid out as their authors publish them.

    examples/genome/make_checkpoints.py DIR [--fasta genome.fa] [--seed 1]

They stand in for the real ones, which are large and must be downloaded: what works with these
works with those, only the numbers mean nothing. DIR gets

    dnabert                 BERT, overlapping 6-mers: config.json, vocab.txt, pytorch_model.bin
    nucleotide-transformer  ESM, 6-mers side by side: config.json, vocab.txt, model.safetensors
    modernbert              ModernBERT, byte pairs learnt from --fasta (else from random bases)
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
SIX_MERS = ["".join(bases) for bases in product("ATCG", repeat=6)]


def dnabert(directory: Path) -> None:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SIX_MERS]
    config = BertConfig(vocab_size=len(tokens), **SIZES)
    directory.mkdir(parents=True, exist_ok=True)
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(directory)
    torch.save(BertForMaskedLM(config).state_dict(), directory / "pytorch_model.bin")
    (directory / "vocab.txt").write_text("\n".join(tokens) + "\n")


def nucleotide_transformer(directory: Path) -> None:
    from transformers import EsmConfig, EsmForMaskedLM, EsmTokenizer

    special = {name: f"<{name.removesuffix('_token')}>" for name in ("pad_token", "mask_token")}
    tokens = ["<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", *SIX_MERS, *"ATCGN"]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(tokens))
    tokenizer = EsmTokenizer(
        str(directory / "vocab.txt"), eos_token=None, model_max_length=1000, **special
    )
    tokenizer.save_pretrained(directory)
    config = EsmConfig(
        vocab_size=len(tokens),
        pad_token_id=1,
        mask_token_id=2,
        max_position_embeddings=1002,
        position_embedding_type="absolute",
        **SIZES,
    )
    EsmForMaskedLM(config).save_pretrained(directory)


def modernbert(directory: Path, sequences: list[str]) -> None:
    from tokenizers import Tokenizer, models, processors, trainers
    from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    pairs = Tokenizer(models.BPE(unk_token="[UNK]"))
    pairs.train_from_iterator(
        sequences,
        trainers.BpeTrainer(vocab_size=256, special_tokens=special, show_progress=False),
    )
    pairs.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pairs,
        model_max_length=512,
        **{f"{name.strip('[]').lower()}_token": name for name in special},
    )
    tokenizer.save_pretrained(directory)
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        max_position_embeddings=512,
        local_attention=128,
        **SIZES,
    )
    ModernBertForMaskedLM(config).save_pretrained(directory)


def pieces(fasta: Path | None, length: int = 100) -> list[str]:
    """Upper-case pieces of a FASTA, or random ones."""
    if fasta is None:
        rng = np.random.default_rng(1)
        return ["".join(rng.choice(list("ACGT"), length)) for _ in range(500)]
    lines = [line.upper() for line in fasta.read_text().split() if line[:1] != ">"]
    return [line for line in lines if not set(line) - set("ACGT")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write; it is made")
    parser.add_argument("--fasta", type=Path, help="what byte pairs are learnt from")
    parser.add_argument("--seed", type=int, default=1, help="of the weights (default: 1)")
    args = parser.parse_args()

    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(args.seed)
    dnabert(args.directory / "dnabert")
    nucleotide_transformer(args.directory / "nucleotide-transformer")
    modernbert(args.directory / "modernbert", pieces(args.fasta))


if __name__ == "__main__":
    main()
