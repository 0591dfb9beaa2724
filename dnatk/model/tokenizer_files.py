"""What transformers' ``AutoTokenizer`` needs beside the weights, and dnatk's own model facts.

The tokenizer is WordLevel over whitespace with ``[CLS] $A [SEP]``: it reads k-mers joined by
spaces (:func:`dnatk.kmers.spaced`) with no remote code. Written as plain JSON, so that neither
transformers nor tokenizers is imported.
"""

from __future__ import annotations

import json
from pathlib import Path

from dnatk.kmers.vocab import CLS, FIRST_KMER, SEP, SPECIAL_TOKENS, Vocabulary
from dnatk.model.places import FACTS_FILE

FORMAT = "dnatk-model"
FORMAT_VERSION = 1


def write_tokenizer(
    directory: Path, k: int, kmer_stride: int, max_positions: int, **facts: object
) -> None:
    """Write vocab.txt, tokenizer.json, tokenizer_config.json and dnatk.json into ``directory``.

    ``facts`` are added to dnatk.json beside k and the k-mer stride (how the model was trained).
    """
    vocabulary = Vocabulary(k)
    (directory / "vocab.txt").write_text("\n".join(vocabulary.tokens) + "\n")
    _write_json(directory / "tokenizer.json", _tokenizer(vocabulary))
    special = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_positions,
            "clean_up_tokenization_spaces": False,
            **special,
        },
    )
    own = {"format": FORMAT, "format_version": FORMAT_VERSION, "k": k, "kmer_stride": kmer_stride}
    _write_json(directory / FACTS_FILE, {**own, **facts})


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _tokenizer(vocabulary: Vocabulary) -> dict:
    added = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, token in enumerate(vocabulary.tokens[:FIRST_KMER])
    ]

    def special(index: int) -> dict:
        return {"SpecialToken": {"id": SPECIAL_TOKENS[index], "type_id": 0}}

    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special(CLS), sequence, special(SEP)],
            "pair": [
                special(CLS),
                sequence,
                special(SEP),
                {"Sequence": {"id": "B", "type_id": 1}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
            ],
            "special_tokens": {
                SPECIAL_TOKENS[i]: {
                    "id": SPECIAL_TOKENS[i],
                    "ids": [i],
                    "tokens": [SPECIAL_TOKENS[i]],
                }
                for i in (CLS, SEP)
            },
        },
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {token: i for i, token in enumerate(vocabulary.tokens)},
            "unk_token": "[UNK]",
        },
    }
