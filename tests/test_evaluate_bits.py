"""examples/evaluate_bits.py on a generated genome."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_bases, write_fasta

from dnatk.kmers import Vocabulary, encode
from dnatk.kmers.vocab import MASK


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[1] / "examples" / "evaluate_bits.py"
    spec = importlib.util.spec_from_file_location("evaluate_bits", path)
    module = sys.modules["evaluate_bits"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Oracle(torch.nn.Module):
    """Gives the true token 1/4 and shares the rest; notes what it was shown."""

    def __init__(self, true_NT: np.ndarray, vocabulary: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.true_NT, self.vocabulary, self.seen = true_NT, vocabulary, []

    def forward(self, input_ids):
        first = sum(map(len, self.seen))
        self.seen.append(input_ids.numpy())
        true_BT = torch.from_numpy(self.true_NT[first : first + len(input_ids)])
        p = torch.full((*input_ids.shape, self.vocabulary), 0.75 / (self.vocabulary - 1))
        p[:, 1:-1].scatter_(2, true_BT[..., None], 0.25)
        return type("Output", (), {"logits": p.log() + 3.0})


def test_model_bits_of_a_model_with_known_answers(script):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (7, 80))
    spans = script.draw_spans(codes, 8, 6, rng)
    letters = np.frombuffer(b"ATCG", dtype=np.uint8)[codes]
    true = np.stack([encode(row, 6) for row in letters]).astype(np.int64)
    oracle = Oracle(true, len(Vocabulary(6)))
    bits, unread, labels = script.model_bits(oracle, 6, spans, batch=3, bf16=False)
    np.testing.assert_allclose(bits, 2.0, rtol=1e-5)
    np.testing.assert_array_equal(labels, spans.tokens_Nm)
    # With c hidden bases 4**c k-mers agree with the visible ones, the true one among them.
    hidden = np.array([1, 2, 3, 3, 3, 3, 2, 1])
    expected = -np.log2(0.25 + (4**hidden - 1) * 0.75 / 4100)
    np.testing.assert_allclose(unread, np.tile(expected, (7, 1)), rtol=1e-4)
    for row, start, shown in zip(true, spans.start_N, np.concatenate(oracle.seen), strict=True):
        expected = row.copy()
        expected[start : start + 8] = MASK
        np.testing.assert_array_equal(shown, [2, *expected, 3])


def test_unread_bits_know_which_bases_are_hidden(script):
    """All mass on k-mers that agree, spread over the hidden bases: nothing is unread."""
    k, span = 3, 6
    tokens = np.random.default_rng(0).integers(0, 4**k, (1, span))
    p = torch.zeros(1, span, 4**k + 5)
    for t in range(span):
        true = np.base_repr(tokens[0, t] + 4**k, 4)[1:]
        for other in range(4**k):
            tried = np.base_repr(other + 4**k, 4)[1:]
            visible = [j for j in range(k) if not k - 1 <= t + j <= span - 1]
            p[0, t, 5 + other] = all(tried[j] == true[j] for j in visible)
    p = p / p.sum(-1, keepdim=True)
    labels = torch.from_numpy(tokens + 5)
    np.testing.assert_allclose(script.unread_nats(p.log(), labels, k), 0, atol=1e-6)


def test_spans_keep_their_flanks_and_reach_both_ends(script):
    codes = np.random.default_rng(0).integers(0, 4, (2000, 60))
    start = script.draw_spans(codes, 10, 6, np.random.default_rng(1)).start_N
    # 55 tokens, a span of 10, 12 on either side
    assert (start.min(), start.max()) == (12, 33)


def test_windows_hold_no_n_and_come_from_all_contigs(script):
    one, two = (np.frombuffer(random_bases(300, seed).encode(), np.uint8).copy() for seed in (1, 2))
    one[100:110] = ord("N")
    windows = script.draw_windows([one, two], 50, 2000, np.random.default_rng(0))
    assert windows.min() == 0
    assert windows.max() == 3
    text = "".join("ATCG"[c] for c in windows[0])
    assert text in one.tobytes().decode() or text in two.tobytes().decode()
    # 251 starts in the second contig, 51 + 141 in the first
    second = sum("".join("ATCG"[c] for c in w) in two.tobytes().decode() for w in windows)
    assert abs(second / 2000 - 251 / 443) < 0.05


def test_end_to_end(script, tiny_model, tmp_path, capsys):
    """Random bases: the chain cannot beat 2 bits a base, and an untrained model knows less."""
    sequences = {"train": random_bases(200_000, 1), "test": random_bases(5000, 2)}
    fasta = write_fasta(tmp_path / "genome.fa", sequences)
    out = tmp_path / "bits.json"
    arguments = [tiny_model, fasta, "--holdout", "test", "--spans", "6,9", "--windows", "60"]
    assert script.main([str(a) for a in [*arguments, "--json", out]]) == 0
    result = json.loads(out.read_text())
    assert [row["tokens"] for row in result["results"]] == [360, 540]
    assert [row["uniform"] for row in result["results"]] == pytest.approx([2.0, 48 / 9])
    for row in result["results"]:
        assert row["same_tokens"]
        assert row["markov"] == pytest.approx(row["uniform"], abs=0.2)
        assert row["unigram"] == pytest.approx(12, abs=0.2)
        assert row["model"] > 11.5
    assert "| 6 | 1 |" in capsys.readouterr().out


def test_a_contig_that_is_not_there_is_an_error(script, tiny_model, tmp_path, capsys):
    fasta = write_fasta(tmp_path / "genome.fa", {"a": random_bases(500, 1)})
    assert script.main([str(tiny_model), str(fasta), "--holdout", "b"]) == 1
    assert "no contig b" in capsys.readouterr().err
