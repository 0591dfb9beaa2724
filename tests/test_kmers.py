"""Bases to ids: against a dictionary over itertools.product, and against Biopython."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from Bio.Seq import Seq
from hypothesis import given, settings
from hypothesis import strategies as st

from dnatk.errors import InputError, ModelError
from dnatk.kmers import Vocabulary, encode, reverse_complement, spaced
from dnatk.kmers.vocab import SPECIAL_TOKENS, UNK

DNA = st.text("ACGT", max_size=80)
MESSY = st.text("ACGTacgtNnRYKMSWBDHVU-.* é", max_size=80)
K = st.integers(1, 8)

# U is no DNA, but its complement A is; é is no single byte.
_NOT_RNA = str.maketrans("Uué", "NnN")
_DICTIONARIES: dict[int, dict[str, int]] = {}


def brute_ids(sequence: str, k: int, stride: int = 1) -> list[int]:
    if k not in _DICTIONARIES:
        kmers = map("".join, itertools.product("ATCG", repeat=k))
        _DICTIONARIES[k] = {kmer: 5 + i for i, kmer in enumerate(kmers)}
    ids = _DICTIONARIES[k]
    starts = range(0, len(sequence) - k + 1, stride)
    return [ids.get(sequence[i : i + k].upper(), UNK) for i in starts]


def as_bytes(sequence: str) -> np.ndarray:
    return np.frombuffer(sequence.encode(), dtype=np.uint8)


@given(MESSY, K, st.data())
@settings(max_examples=150, deadline=None)
def test_encode_equals_looking_every_kmer_up(sequence, k, data):
    stride = data.draw(st.sampled_from([1, k, 2]))
    assert encode(sequence, k, stride).tolist() == brute_ids(sequence, k, stride)


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("non_overlapping", [False, True])
def test_every_k_gives_known_ids_on_a_long_sequence(k, non_overlapping):
    sequence = "".join(np.random.default_rng(k).choice(list("ACGTacgtN"), 700))
    stride = k if non_overlapping else 1
    ids = encode(sequence, k, stride)
    assert ids.tolist() == brute_ids(sequence, k, stride)
    assert len(ids) == (700 - k) // stride + 1
    assert ids.dtype == (np.int32 if k == 8 else np.int16)


@pytest.mark.parametrize("k", [1, 5, 6, 7, 8])
@pytest.mark.parametrize("extra", [-1, 0, 1, 7, 8])
def test_blocks_of_64k_join_without_a_seam(k, extra):
    n = (1 << 16) + extra
    sequence = "".join(np.random.default_rng(n).choice(list("ACGT"), n - 4)) + "NACG"
    ids = encode(sequence, k)
    assert len(ids) == n - k + 1
    around = slice((1 << 16) - 20, None)
    assert ids[around].tolist() == brute_ids(sequence[around], k)
    assert ids[:20].tolist() == brute_ids(sequence[: 20 + k - 1], k)


def test_a_whole_sequence_of_three_blocks_equals_the_dictionary():
    sequence = "".join(np.random.default_rng(0).choice(list("ACGT" * 100 + "N"), 140_000))
    assert encode(sequence, 6).tolist() == brute_ids(sequence, 6)


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("stride", [1, 3])
def test_a_sequence_shorter_than_k_gives_no_id(k, stride):
    for sequence in ("", "ACGTACGT"[: k - 1]):
        ids = encode(sequence, k, stride)
        assert len(ids) == 0
        assert ids.dtype == Vocabulary(k).dtype


@pytest.mark.parametrize(
    ("sequence", "unknown"),
    [
        ("AAANAAAA", [False, True, True, True, False, False]),
        ("NACGT", [True, False, False]),
        ("ACGTn", [False, False, True]),
        ("ACRGT", [True, True, True]),
        ("ACUGT", [True, True, True]),
        ("ACGéACG", [False, True, True, True, False]),
    ],
)
def test_only_kmers_that_hold_another_letter_than_acgt_are_unknown(sequence, unknown):
    assert (encode(sequence, 3) == UNK).tolist() == unknown


def test_text_bytes_and_arrays_of_either_case_give_the_same_ids():
    text = "ACGTTGCANGATTACA"
    wanted = encode(text, 4).tolist()
    for same in (text.lower(), text.encode(), text.lower().encode(), as_bytes(text)):
        assert encode(same, 4).tolist() == wanted


def test_encode_leaves_its_input_alone_and_takes_a_reversed_view():
    bases = as_bytes("ACGTTGCANGATTACA").copy()
    before = bases.copy()
    assert encode(bases[::-1], 3).tolist() == brute_ids("ACATTAGNACGTTGCA", 3)
    assert (bases == before).all()


@pytest.mark.parametrize("k", [-1, 0, 9])
def test_a_k_outside_1_to_8_is_an_input_error(k):
    with pytest.raises(InputError, match=f"between 1 and 8, not {k}"):
        encode("ACGT", k)


@given(MESSY, K)
@settings(max_examples=100, deadline=None)
def test_the_other_strand_in_id_space_is_the_other_strand_of_the_bases(sequence, k):
    vocabulary, sequence = Vocabulary(k), sequence.translate(_NOT_RNA)
    ids = encode(sequence, k)
    other = vocabulary.reverse_complement(ids)
    assert other.tolist() == encode(reverse_complement(as_bytes(sequence)), k).tolist()
    assert other.dtype == ids.dtype
    assert vocabulary.reverse_complement(other).tolist() == ids.tolist()


@given(st.integers(0, 12), K, st.data())
@settings(max_examples=40, deadline=None)
def test_non_overlapping_kmers_turn_round_where_they_fill_the_sequence(n, k, data):
    sequence = data.draw(st.text("ACGTN", min_size=n * k, max_size=n * k))
    other = Vocabulary(k).reverse_complement(encode(sequence, k, k))
    assert other.tolist() == encode(reverse_complement(as_bytes(sequence)), k, k).tolist()


@pytest.mark.parametrize("k", range(1, 9))
def test_the_table_of_reverse_complements_names_every_token(k):
    vocabulary = Vocabulary(k)
    table, tokens = vocabulary.reverse_complement_ids, vocabulary.tokens
    assert table[:5].tolist() == [0, 1, 2, 3, 4]
    assert (table[table] == np.arange(len(vocabulary))).all()
    for i in {5, 6, 7, 8, 5 + 4**k // 3, len(vocabulary) - 1}:
        assert tokens[table[i]] == str(Seq(tokens[i]).reverse_complement())


@given(st.text("ACGTUacgtuRYSWKMBDHVNryswkmbdhvn-.", max_size=60))
@settings(max_examples=100, deadline=None)
def test_reverse_complement_equals_biopythons_case_and_iupac_codes_kept(sequence):
    ours = reverse_complement(as_bytes(sequence)).tobytes().decode()
    assert ours == str(Seq(sequence).reverse_complement())


@pytest.mark.parametrize(
    ("k", "entries"), [(1, 9), (3, 69), (4, 261), (5, 1029), (6, 4101), (8, 65541)]
)
def test_the_vocabulary_is_dnaberts(k, entries):
    vocabulary = Vocabulary(k)
    assert len(vocabulary) == len(vocabulary.tokens) == len(set(vocabulary.tokens)) == entries
    assert vocabulary.tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert vocabulary.tokens[5:9] == ["A" * (k - 1) + base for base in "ATCG"]
    assert vocabulary.tokens[-1] == "G" * k
    some = range(5, min(25, entries))
    assert [encode(vocabulary.tokens[i], k).item() for i in some] == list(some)


def test_check_tokens_takes_its_own_vocabulary():
    assert Vocabulary(3).check_tokens(list(Vocabulary(3).tokens), "vocab.txt") is None


def test_check_tokens_refuses_another_order_and_names_both():
    alphabetical = [*SPECIAL_TOKENS, *map("".join, itertools.product("ACGT", repeat=3))]
    with pytest.raises(ModelError) as caught:
        Vocabulary(3).check_tokens(alphabetical, "model/vocab.txt")
    # AAA is the same in both; line 7 is the first that differs.
    assert str(caught.value).startswith("model/vocab.txt:7: ")
    assert "AAC AAG AAT ACA" in str(caught.value)
    assert "AAT AAC AAG ATA" in str(caught.value)


def test_check_tokens_refuses_specials_in_another_order():
    tokens = list(Vocabulary(3).tokens)
    tokens[1], tokens[2] = tokens[2], tokens[1]
    with pytest.raises(ModelError, match=r"vocab\.txt:2: .*\[CLS\] \[UNK\].*\[UNK\] \[CLS\]"):
        Vocabulary(3).check_tokens(tokens, "vocab.txt")


@pytest.mark.parametrize("tokens", [Vocabulary(4).tokens, Vocabulary(3).tokens[:-1], []])
def test_check_tokens_refuses_another_number_of_tokens(tokens):
    with pytest.raises(ModelError, match=f"{len(tokens)} tokens where 3-mers have 69"):
        Vocabulary(3).check_tokens(list(tokens), "vocab.txt")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("ACGTACG",), "ACGTAC CGTACG"),
        (("acgTACG", 6), "ACGTAC CGTACG"),
        (("ACGTACG", 3), "ACG CGT GTA TAC ACG"),
        (("ACGTACG", 3, 3), "ACG TAC"),
        (("ACNNA", 2), "AC CN NN NA"),
        (("ACGTA", 6), ""),
    ],
)
def test_spaced_writes_the_kmers_apart(arguments, expected):
    assert spaced(*arguments) == expected


@given(DNA, K, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_spaced_and_encode_speak_of_the_same_kmers(sequence, k, stride):
    words = spaced(sequence, k, stride).split()
    assert [encode(word, k).item() for word in words] == encode(sequence, k, stride).tolist()
