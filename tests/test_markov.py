"""The Markov baseline against enumeration of every assignment of the hidden bases."""

import itertools

import numpy as np
import pytest

from dnatk.analysis.markov import MarkovChain, span_posteriors
from dnatk.errors import InputError
from dnatk.kmers.encode import as_bases


def random_chain(order: int, seed: int = 0) -> MarkovChain:
    rng = np.random.default_rng(seed)
    return MarkovChain(order, rng.dirichlet([0.5] * 4, size=4**order))


def likelihood(chain: MarkovChain, codes: np.ndarray) -> float:
    """Of a whole window given its first bases, one transition after another."""
    total = 1.0
    for j in range(chain.order, len(codes)):
        context = 0
        for code in codes[j - chain.order : j]:
            context = context * 4 + code
        total *= chain.probability[context, codes[j]]
    return total


def enumerated(chain: MarkovChain, codes: np.ndarray, start: int, span: int, k: int) -> list:
    """Posterior of each masked token: every hidden assignment tried over the whole window."""
    shown = {j for t in range(len(codes) - k + 1) for j in range(t, t + k)
             if not start <= t < start + span}  # fmt: skip
    hidden = [j for j in range(len(codes)) if j not in shown]
    matching, total = np.zeros(span), 0.0
    for assignment in itertools.product(range(4), repeat=len(hidden)):
        tried = codes.copy()
        tried[hidden] = assignment
        weight = likelihood(chain, tried)
        total += weight
        for t in range(span):
            covered = slice(start + t, start + t + k)
            matching[t] += weight * (tried[covered] == codes[covered]).all()
    return list(matching / total)


@pytest.mark.parametrize(
    ("order", "k", "span"),
    [(0, 3, 5), (1, 3, 3), (1, 3, 7), (2, 2, 5), (3, 4, 8), (5, 6, 6), (5, 6, 9), (5, 3, 6)],
)
def test_posteriors_equal_enumeration(order, k, span):
    chain = random_chain(order)
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (3, 24))
    start = np.array([6, 7, 8])
    found = span_posteriors(chain, codes, start, span, k)
    expected = [enumerated(chain, c, s, span, k) for c, s in zip(codes, start, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_long_spans_equal_enumeration_when_hidden_bases_exceed_a_token():
    """Seven hidden bases, three a token: tokens with free bases before and behind them."""
    chain = random_chain(2, seed=3)
    codes = np.random.default_rng(4).integers(0, 4, (1, 20))
    found = span_posteriors(chain, codes, np.array([5]), 9, 3)
    np.testing.assert_allclose(found[0], enumerated(chain, codes[0], 5, 9, 3), rtol=1e-9)


def test_many_windows_are_the_same_as_one_by_one():
    chain = random_chain(5)
    codes = np.random.default_rng(2).integers(0, 4, (150, 60))
    start = np.random.default_rng(3).integers(10, 30, 150)
    together = span_posteriors(chain, codes, start, 14, 6)
    alone = [span_posteriors(chain, codes[i : i + 1], start[i : i + 1], 14, 6) for i in range(150)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-12)


def test_a_span_shorter_than_k_hides_nothing():
    codes = np.zeros((2, 40), dtype=np.int64)
    assert (span_posteriors(random_chain(5), codes, np.array([12, 13]), 5, 6) == 1).all()


def test_too_little_flank_is_an_error():
    with pytest.raises(InputError, match="5 known bases"):
        span_posteriors(random_chain(5), np.zeros((1, 20), dtype=int), np.array([10]), 8, 6)


def test_fit_counts_by_hand():
    """AATAN: after A come A and T once each, after T comes A; the N and its pair are left out."""
    chain = MarkovChain.fit([as_bases("AATAN")], order=1)
    np.testing.assert_allclose(chain.probability[0], [2 / 6, 2 / 6, 1 / 6, 1 / 6])
    np.testing.assert_allclose(chain.probability[1], [2 / 5, 1 / 5, 1 / 5, 1 / 5])


def test_fit_of_both_strands_is_symmetric():
    sequence = as_bases("AACGGATTTCAGC" * 5)
    both = MarkovChain.fit([sequence], order=2, both_strands=True).probability
    other = as_bases("GCTGAAATCCGTT" * 5)
    np.testing.assert_allclose(both, MarkovChain.fit([sequence, other], order=2).probability)


def test_a_repeat_that_was_learnt_costs_almost_nothing():
    repeat = as_bases("ACGGTTCAGA" * 500)
    chain = MarkovChain.fit([repeat], order=5)
    codes = np.array(["ATCG".index(c) for c in "ACGGTTCAGA" * 6])[None]
    assert span_posteriors(chain, codes, np.array([20]), 14, 6).min() > 0.9
    wrong = codes.copy()
    wrong[0, 28] ^= 1
    assert span_posteriors(chain, wrong, np.array([20]), 14, 6).min() < 0.01
