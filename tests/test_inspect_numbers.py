"""The numbers of dnatk inspect on cases whose answer is known, and against independent tools."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import make_model, random_bases, write_fasta
from test_foreign import make_foreign

from dnatk.analysis.attention_stats import (
    METRICS,
    attention_maps,
    attention_numbers,
    statistics,
)
from dnatk.analysis.layer_probes import base_probe, label_probe, probed
from dnatk.analysis.norms import norm_numbers
from dnatk.analysis.sample import Sample, draw_sample, random_windows
from dnatk.analysis.subject import batches, find_subject
from dnatk.analysis.token_maps import (
    central,
    classes,
    drawn,
    explained,
    kmer_rows,
    marginal,
    pca_map,
    silhouettes,
    token_numbers,
    tsne_map,
)
from dnatk.errors import InputError, ModelError
from dnatk.kmers import Vocabulary, encode
from dnatk.kmers.vocab import FIRST_KMER
from dnatk.labelled.dataset import LabelledSet, LabelSpace

RNG = np.random.default_rng(0)


def as_bases(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


# Token embeddings.


def test_classes_are_the_bases_of_the_kmer():
    for k, offsets in ((1, (0,)), (3, (0, 2)), (6, (2, 3)), (6, (5,))):
        kmers = Vocabulary(k).tokens[FIRST_KMER:]
        wanted = {p: i for i, p in enumerate(itertools.product("ATCG", repeat=len(offsets)))}
        want = [wanted[tuple(kmer[o] for o in offsets)] for kmer in kmers]
        assert classes(k, offsets).tolist() == want
        some = np.array([4**k - 1, 0])
        assert classes(k, offsets, some).tolist() == [want[-1], want[0]]


@pytest.mark.parametrize(
    ("k", "middle", "ends"),
    [
        (1, (0,), (0,)),
        (2, (0, 1), (0, 1)),
        (3, (1, 2), (0, 2)),
        (6, (2, 3), (0, 5)),
        (8, (3, 4), (0, 7)),
    ],
)
def test_central_and_marginal_bases(k, middle, ends):
    assert (central(k), marginal(k)) == (middle, ends)


@pytest.mark.parametrize("k", [2, 4, 5, 6])
def test_an_embedding_of_the_central_pair_is_explained_by_it(k):
    table = RNG.normal(size=(16, 12))
    numbers = token_numbers(table[classes(k, central(k))], k)
    assert numbers["r2"]["central"] == pytest.approx(1)
    if k > 3:
        assert numbers["r2"]["marginal"] == pytest.approx(0, abs=1e-9)
        assert numbers["silhouette"]["central"] == pytest.approx(1, abs=1e-4)
        assert numbers["silhouette"]["marginal"] < 0
    # The pair's interaction is no sum of bases.
    assert numbers["r2"]["additive"] < 0.9


@pytest.mark.parametrize("k", [1, 3, 6])
def test_a_sum_of_bases_is_explained_by_the_sum(k):
    bases = RNG.normal(size=(4, 9)) * np.arange(1, k + 1)[:, None, None]
    rows = sum(bases[offset][classes(k, (offset,))] for offset in range(k))
    numbers = token_numbers(rows, k)
    assert numbers["r2"]["additive"] == pytest.approx(1)
    assert numbers["r2"]["offsets"] == sorted(numbers["r2"]["offsets"]), "larger steps explain more"
    if k == 6:
        assert numbers["r2"]["marginal"] == pytest.approx(
            numbers["r2"]["offsets"][0] + numbers["r2"]["offsets"][5]
        )


def test_the_additive_share_is_scikit_learns_regression():
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import OneHotEncoder

    rows = RNG.normal(size=(256, 7))
    rows[:, 0] += 3 * classes(4, (2,))
    offsets = np.stack([classes(4, (offset,)) for offset in range(4)], axis=1)
    onehot = OneHotEncoder(sparse_output=False).fit_transform(offsets)
    left = rows - LinearRegression().fit(onehot, rows).predict(onehot)
    r2 = 1 - np.square(left).sum() / np.square(rows - rows.mean(axis=0)).sum()
    assert token_numbers(rows, 4)["r2"]["additive"] == pytest.approx(r2, abs=1e-5)


def test_the_explained_share_is_that_of_class_means():
    rows = RNG.normal(size=(64, 5)).astype(np.float32)
    label_N = classes(3, (0, 2))
    means = np.stack([rows[label_N == c].mean(axis=0) for c in label_N])
    between = np.square(means - rows.mean(axis=0)).sum()
    want = between / np.square(rows - rows.mean(axis=0)).sum()
    assert explained(rows, 3, (0, 2)) == pytest.approx(want, rel=1e-5)


def test_chance_is_what_permuted_labels_explain():
    rows = RNG.normal(size=(256, 6)).astype(np.float32)
    rows[:, 0] += 5 * classes(4, (1,))
    shuffled = [explained(RNG.permutation(rows), 4, (1, 2)) for _ in range(400)]
    numbers = token_numbers(rows, 4)
    error = np.std(shuffled) / 20
    assert numbers["r2_chance"]["central"] == pytest.approx(15 / 255)
    assert abs(np.mean(shuffled) - 15 / 255) < 5 * error
    assert numbers["r2_chance"]["additive"] == pytest.approx(12 / 255)


def test_special_tokens_are_left_out():
    rows = RNG.normal(size=(64, 5))
    table = np.concatenate([100 * RNG.normal(size=(5, 5)), rows])
    assert token_numbers(table, 3) == token_numbers(rows, 3)
    with pytest.raises(ValueError, match="no table of 3-mers"):
        kmer_rows(table[:-1], 3)


def test_equal_rows_explain_nothing():
    numbers = token_numbers(np.full((256, 4), 0.1), 4)
    assert math.isnan(numbers["r2"]["central"])
    assert np.isfinite(pca_map(np.full((64, 4), 0.1))[0]).all()


def test_silhouettes_are_scikit_learns():
    from sklearn.metrics import silhouette_score

    rows = RNG.normal(size=(256, 6)).astype(np.float32)
    rows[:, :2] += classes(4, (1, 2))[:, None]
    found = silhouettes(rows, 4, np.arange(256), 0, metric="cosine")
    want = silhouette_score(rows, classes(4, (1, 2)), metric="cosine")
    assert found["central"] == pytest.approx(want, abs=1e-5)
    assert found["central"] > found["chance"] + 0.1
    assert silhouettes(rows[:16], 2, np.arange(16), 0, metric="cosine")["central"] is None


def test_many_kmers_are_drawn_by_the_seed():
    assert drawn(6, 1).tolist() == list(range(4096))
    some = drawn(7, 1)
    assert len(np.unique(some)) == 4096
    assert np.array_equal(some, drawn(7, 1))
    assert not np.array_equal(some, drawn(7, 2))
    numbers = token_numbers(RNG.normal(size=(4**7, 3)), 7)
    assert abs(numbers["silhouette"]["central"]) < 0.2


def test_the_map_is_the_same_for_a_seed():
    rows = RNG.normal(size=(64, 10)).astype(np.float32) + 8 * classes(3, (1,))[:, None]
    first = tsne_map(rows, 1)
    assert first.shape == (64, 2)
    assert np.array_equal(first, tsne_map(rows, 1))


def test_pca_is_scikit_learns():
    from sklearn.decomposition import PCA

    rows = RNG.normal(size=(64, 10)) * np.arange(1, 11)
    points, shares = pca_map(rows)
    fit = PCA(5, svd_solver="full").fit(rows)
    assert np.abs(points) == pytest.approx(np.abs(fit.transform(rows)[:, :2]))
    assert shares == pytest.approx(fit.explained_variance_ratio_[:2])


# Attention.

INNER = slice(1, -1)


def stats(map_TT: np.ndarray, heads: int = 2, reach: int = 2) -> dict[str, float]:
    """Statistics of one window whose heads all have the map."""
    tokens = len(map_TT)
    maps = torch.tensor(map_TT, dtype=torch.float32).expand(1, heads, tokens, tokens)
    centre = torch.arange(tokens - 2, dtype=torch.float32)[None]
    found = statistics(maps, INNER, reach, centre)
    assert tuple(found) == METRICS
    assert all(value.shape == (1, heads) for value in found.values())
    assert all((value == value[0, 0]).all() for value in found.values()), "heads are alike"
    return {name: value[0, 0].item() for name, value in found.items()}


def test_uniform_attention():
    found = stats(np.full((32, 32), 1 / 32))
    near = sum(min(i, 2) + min(29 - i, 2) for i in range(30)) / 30 / 32
    distance = np.abs(np.subtract.outer(np.arange(30), np.arange(30))).mean()
    assert found == pytest.approx(
        {
            "entropy_bits": 5,
            "effective_tokens": 32,
            "top1_share": 1 / 32,
            "top5_share": 5 / 32,
            "cls_share": 1 / 32,
            "sep_share": 1 / 32,
            "self_share": 1 / 32,
            "neighbour_share": near,
            "received_effective_tokens": 32,
            "received_effective_kmers": 30,
            "received_top1_share": 1 / 32,
            "received_top5_share": 5 / 32,
            "distance_bases": distance,
            "head_diversity": 0,
        },
        abs=1e-6,
        rel=1e-5,
    )


def test_attention_on_cls_alone():
    found = stats(np.eye(32)[np.zeros(32, dtype=int)])
    ones = {"effective_tokens", "received_effective_tokens", "top1_share", "top5_share",
            "cls_share", "received_top1_share", "received_top5_share"}  # fmt: skip
    assert {name for name, value in found.items() if value == pytest.approx(1)} == ones | {
        "received_effective_kmers"  # of nothing: 2 to the power of 0
    }
    assert all(
        value == pytest.approx(0, abs=1e-6) for name, value in found.items()
        if name not in ones | {"received_effective_kmers"}
    )  # fmt: skip


def test_attention_on_itself_is_narrow_yet_all_receive():
    found = stats(np.eye(32))
    assert found["self_share"] == 1
    assert found["effective_tokens"] == pytest.approx(1)
    assert found["received_effective_tokens"] == pytest.approx(30, rel=1e-5)
    assert found["distance_bases"] == 0


def test_attention_on_the_next_token():
    rows = np.eye(32, k=1)
    rows[-1, 0] = 1
    found = stats(rows)
    assert found["neighbour_share"] == pytest.approx(29 / 30)
    assert found["sep_share"] == pytest.approx(1 / 30)
    assert found["distance_bases"] == pytest.approx(1)
    assert stats(rows, reach=0)["neighbour_share"] == 0


def test_heads_that_share_nothing_are_a_bit_apart():
    maps = torch.zeros(1, 3, 20, 20)
    for head in range(3):
        maps[0, head, :, head] = 1
    found = statistics(maps, INNER, 0, torch.arange(18.0)[None])
    assert found["head_diversity"] == pytest.approx(torch.ones(1, 3), abs=1e-6)
    maps[0, 1] = maps[0, 0]
    found = statistics(maps, INNER, 0, torch.arange(18.0)[None])
    assert found["head_diversity"][0] == pytest.approx(torch.tensor([0.5, 0.5, 1.0]), abs=1e-6)


def test_head_diversity_is_scipys():
    from scipy.spatial.distance import jensenshannon

    maps = torch.tensor(RNG.dirichlet(np.full(20, 0.3), size=(1, 3, 20)), dtype=torch.float32)
    found = statistics(maps, INNER, 0, torch.arange(18.0)[None])["head_diversity"][0]
    rows = maps[0, :, 1:-1].double().numpy()
    for head in range(3):
        others = [jensenshannon(rows[head], rows[o], base=2, axis=1) ** 2
                  for o in range(3) if o != head]  # fmt: skip
        assert found[head].item() == pytest.approx(np.mean(others), abs=1e-5)


def own_attention(model, windows: list[np.ndarray]) -> list[np.ndarray]:
    """(L, H, T, T) of each window by transformers' own classes and tokenizer."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from dnatk.kmers import spaced

    network = AutoModelForMaskedLM.from_pretrained(
        model, attn_implementation="eager", dtype=torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    maps = []
    for window in windows:
        text = spaced(window.tobytes().decode())
        with torch.inference_mode():
            out = network(**tokenizer(text, return_tensors="pt"), output_attentions=True)
        maps.append(torch.cat(out.attentions).numpy())
    return maps


def test_attention_is_transformers_own(tiny_model):
    windows = [as_bases(random_bases(60, seed)) for seed in range(3)]
    found = attention_numbers(tiny_model, windows, device="cpu")
    own = own_attention(tiny_model, windows)
    assert (found["windows"], found["tokens"], found["reach"]) == (3, 57, 5)
    entropy = np.mean([-(m * np.log2(m))[:, :, 1:-1].sum(axis=3).mean(axis=2) for m in own], axis=0)
    assert np.array(found["heads"]["entropy_bits"]) == pytest.approx(entropy, abs=1e-4)
    assert entropy.max() - entropy.min() > 0.01, "nothing is compared"
    own_share = np.mean([np.trace(m[:, :, 1:-1, 1:-1], axis1=2, axis2=3) / 55 for m in own], axis=0)
    assert np.array(found["heads"]["self_share"]) == pytest.approx(own_share, abs=1e-5)
    assert found["layers"]["self_share"] == pytest.approx(own_share.mean(axis=1), abs=1e-5)
    last = attention_maps(find_subject(tiny_model, "cpu"), windows[0], [1])
    assert last[0] == pytest.approx(own[0][1].mean(axis=0), abs=1e-5)
    assert found["uniform"]["entropy_bits"] == pytest.approx(math.log2(57))


def test_windows_may_differ_in_length(tiny_model):
    windows = [as_bases(random_bases(length, length)) for length in (40, 60, 40)]
    together = attention_numbers(tiny_model, windows, device="cpu")
    apart = [attention_numbers(tiny_model, [window], device="cpu") for window in windows]
    for name in METRICS:
        want = np.mean([each["heads"][name] for each in apart], axis=0)
        assert np.array(together["heads"][name]) == pytest.approx(want, rel=1e-4, abs=1e-6)


def test_batches_are_bounded_and_whole():
    sequences = [np.zeros(n) for n in (5, 3, 9, 3, 3, 20)]
    found = list(batches(sequences, lambda tokens: tokens, 10))
    assert sorted(row for batch in found for row in batch) == list(range(6))
    sizes = [len(batch) * max(len(sequences[row]) for row in batch) for batch in found]
    assert all(size <= 10 or len(batch) == 1 for size, batch in zip(sizes, found, strict=True))
    for batch in batches(sequences, lambda tokens: 0, 10, same=True):
        assert len({len(sequences[row]) for row in batch}) == 1


# Windows.


def test_windows_are_of_the_genome_and_free_of_n(tmp_path):
    contigs = {"a": random_bases(300, 1) + "N" * 50 + random_bases(40, 2), "b": random_bases(90, 3)}
    fasta = write_fasta(tmp_path / "g.fa", contigs)
    sample = draw_sample(fasta, 200, 60, 7, k=3)
    names = list(contigs)
    for row, window in enumerate(sample.windows):
        start = sample.start_N[row]
        assert window.tobytes().decode() == contigs[names[sample.contig_N[row]]][start : start + 60]
        assert b"N" not in window.tobytes()
    again = draw_sample(fasta, 200, 60, 7, k=3)
    assert [w.tobytes() for w in again.windows] == [w.tobytes() for w in sample.windows]
    counts = np.zeros(64, dtype=int)
    for bases in contigs.values():
        ids = encode(bases, 3).astype(int)
        np.add.at(counts, ids[ids >= FIRST_KMER] - FIRST_KMER, 1)
    assert np.array_equal(sample.counts, counts)


def test_every_place_has_the_same_chance(tmp_path):
    contigs = {
        "a": random_bases(13, 1),
        "n": "NNN",
        "b": random_bases(12, 2) + "N" + "ACGTACGTACGT",
    }
    fasta = write_fasta(tmp_path / "g.fa", contigs)
    sample = draw_sample(fasta, 14_000, 10, 3)
    places, counts = np.unique(
        np.stack([sample.contig_N, sample.start_N]), axis=1, return_counts=True
    )
    assert places.T.tolist() == [[0, s] for s in range(4)] + [[2, s] for s in (0, 1, 2, 13, 14, 15)]
    # 10 places, 1400 each, standard deviation 35.5
    assert np.abs(counts - 1400).max() < 5 * 35.5


def test_split_windows_share_no_base(tmp_path):
    fasta = write_fasta(tmp_path / "g.fa", {"a": random_bases(500, 1), "b": random_bases(200, 2)})
    for seed in range(20):
        sample = draw_sample(fasta, 30, 60, seed)
        train, test = sample.split(1 / 3, seed)
        assert len(test) == 10
        assert train
        for a, b in itertools.product(train, test):
            apart = abs(sample.start_N[a] - sample.start_N[b]) >= 60
            assert sample.contig_N[a] != sample.contig_N[b] or apart


# Probes.


def test_a_probe_reads_what_is_there_and_not_what_is_not():
    base_N = RNG.integers(0, 4, 900)
    states_NSD = RNG.normal(size=(900, 3, 8)).astype(np.float32)
    states_NSD[:, 1, :4] += 10 * np.eye(4)[base_N]
    trains = np.arange(900) < 600
    nothing, all_of_it, _ = probed(states_NSD, base_N, trains)
    assert (all_of_it == base_N[~trains]).all()
    assert (nothing == base_N[~trains]).mean() < 0.4
    constant = np.zeros(900, dtype=int)
    assert (probed(states_NSD, constant, trains)[0] == 0).all()


class Reader:
    """In the place of a network: each token's state is one-hot of the base at an offset."""

    def __init__(self, subject, offset: int) -> None:
        self.subject, self.offset = subject, offset

    def __call__(self, input_ids, **_):
        from types import SimpleNamespace

        ids = input_ids.numpy()
        state = np.random.default_rng(1).normal(size=(*ids.shape, self.subject.hidden)) / 100
        for row, tokens in enumerate(ids):
            # The last base of token t is its number modulo 4, so base t + k - 1 + offset is that
            # of token t + offset.
            code = (tokens - FIRST_KMER) % 4
            state[row, np.arange(len(tokens) - self.offset), code[self.offset :]] += 1
        state = torch.tensor(state, dtype=torch.float32)
        blind = torch.zeros_like(state)
        return SimpleNamespace(last_hidden_state=state, hidden_states=(blind, blind, state))


@pytest.mark.parametrize("offset", [1, 4])
def test_offsets_of_the_base_probe(tiny_model, offset):
    from dataclasses import replace

    subject = find_subject(tiny_model, "cpu")
    reader = Reader(subject, offset)
    reader.parameters = subject.network.parameters
    found = base_probe(
        replace(subject, network=reader), random_windows(6, 80, 1), offsets=(1, 4), seed=0
    )
    assert found["accuracy"][str(offset)][2] == 1
    other = str(5 - offset)
    assert found["accuracy"][other][2] < 0.5
    assert found["accuracy"][str(offset)][0] < 0.5
    assert found["majority"]["1"] < 0.4
    assert (found["train"], found["test"]) == (4 * (80 - 6 + 1 - 4), 2 * (80 - 6 + 1 - 4))


def test_too_few_windows_for_a_probe(tiny_model):
    with pytest.raises(InputError, match="too few or too short"):
        base_probe(tiny_model, random_windows(1, 80, 1), device="cpu")
    with pytest.raises(InputError, match="too few or too short"):
        base_probe(tiny_model, random_windows(4, 10, 1), device="cpu")


def labelled(n: int, seed: int, kind: str = "binary") -> LabelledSet:
    texts = [("GGC" if i % 2 else "AAT") * 12 + random_bases(i % 7, seed + i) for i in range(n)]
    targets = np.arange(n) % 2
    space = LabelSpace(kind, ("no", "yes"))
    names = [str(i) for i in range(n)]
    return LabelledSet(space, [as_bases(t) for t in texts], targets, names, list(range(n)), "x.csv")


def test_labels_that_bases_tell(tiny_model):
    found = label_probe(tiny_model, labelled(40, 1), labelled(20, 2), device="cpu")
    assert found["mcc"] == [1, 1, 1]
    assert found["accuracy"] == [1, 1, 1]
    assert (found["majority"], found["train"], found["test"], found["left_out"]) == (0.5, 40, 20, 0)


def test_labels_that_nothing_tells(tiny_model):
    rng = np.random.default_rng(5)
    train, test = labelled(200, 1), labelled(200, 2)
    train.targets, test.targets = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    found = label_probe(tiny_model, train, test, device="cpu")
    assert max(np.abs(found["mcc"])) < 0.3


def test_sequences_without_a_token_are_left_out(tiny_model):
    train = labelled(40, 1)
    train.sequences[0] = as_bases("NNNNNNNN")
    train.sequences[1] = as_bases("ACG")
    found = label_probe(tiny_model, train, labelled(20, 2), device="cpu")
    assert (found["train"], found["left_out"]) == (38, 2)
    with pytest.raises(InputError, match="one class at most"):
        label_probe(tiny_model, train, labelled(1, 2), device="cpu")
    with pytest.raises(InputError, match="a probe needs classes"):
        label_probe(tiny_model, labelled(9, 1, "multilabel"), labelled(9, 2), device="cpu")


def test_pooled_states_are_the_encoders(tiny_model):
    from dnatk.analysis.layer_probes import _pooled_states
    from dnatk.model.loading import load_encoder
    from dnatk.progress import NullProgress

    subject = find_subject(tiny_model, "cpu")
    texts = [random_bases(n, n) for n in (30, 41, 30, 12)]
    ids = [subject.encode(as_bases(text)) for text in texts]
    found = _pooled_states(subject, ids, NullProgress())
    encoder = load_encoder(tiny_model, device="cpu", precision="fp32")
    for row, each in enumerate(ids):
        for layer in range(3):
            tokens = torch.from_numpy(each)
            state = encoder(tokens, torch.arange(len(tokens)), [len(tokens)], layer)
            assert found[row, layer] == pytest.approx(state[1:-1].mean(dim=0).numpy(), abs=1e-5)


# Norms.


def test_norms_and_counts():
    norm = np.arange(1, 65)
    rows = np.zeros((64, 3))
    rows[:, 1] = norm
    found = norm_numbers(rows, norm**3)
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(np.corrcoef(norm, np.log10(norm**3 + 1))[0, 1])
    assert norm_numbers(rows, norm[::-1])["spearman"] == pytest.approx(-1)
    flat = norm_numbers(np.ones((64, 3)), norm * 0)
    assert math.isnan(flat["spearman"])
    assert flat["unseen"] == 64


# Other models.


def test_a_model_of_letters_has_one_mers(tmp_path):
    subject = find_subject(make_foreign(tmp_path / "letters"), "cpu")
    k, rows = subject.kmer_rows()
    table = subject.network.get_input_embeddings().weight.detach().numpy()
    vocab = {"A": 5, "C": 6, "G": 7, "T": 8}
    assert k == 1
    assert np.array_equal(rows, table[[vocab[base] for base in "ATCG"]])
    ids = subject.encode(as_bases("ACGGT"))
    first, end = subject.spans(ids)
    assert first.tolist() == [0, 1, 2, 3, 4]
    assert end.tolist() == [1, 2, 3, 4, 5]
    assert subject.reach == 0
    found = attention_numbers(subject, [as_bases(random_bases(50, 1))])
    assert found["tokens"] == 52


def test_a_model_of_pieces_has_places_but_no_kmers(tmp_path):
    subject = find_subject(make_foreign(tmp_path / "pieces", "pieces"), "cpu")
    assert subject.kmer_rows() is None
    text = random_bases(80, 3)
    first, end = subject.spans(subject.encode(as_bases(text)))
    assert end[-1] == 80
    assert np.array_equal(first[1:], end[:-1])
    assert (end - first).max() > 1
    found = base_probe(subject, Sample(*vars(random_windows(6, 100, 1)).values()), offsets=(1,))
    assert len(found["accuracy"]["1"]) == 3


def test_other_strides_have_no_overlap(tmp_path):
    subject = find_subject(make_model(tmp_path / "m", k=4, kmer_stride=4), "cpu")
    assert subject.reach == 0
    first, end = subject.spans(subject.encode(as_bases("ACGTACGTACG")))
    assert (first.tolist(), end.tolist()) == ([0, 4], [4, 8])
    assert attention_numbers(subject, [as_bases("ACGT" * 9)])["heads"]["neighbour_share"][0][0] == 0


def test_dnaberts_own_layout_is_read(tiny_model, tmp_path):
    from safetensors.torch import load_file

    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in load_file(tiny_model / "model.safetensors").items()
    }
    torch.save(weights, tmp_path / "pytorch_model.bin")
    windows = [as_bases(random_bases(50, 1))]
    assert attention_numbers(tmp_path, windows, device="cpu") == attention_numbers(
        tiny_model, windows, device="cpu"
    )


def test_weights_that_are_no_numbers_are_told(tmp_path):
    from safetensors.torch import load_file, save_file

    path = make_model(tmp_path / "m", k=3)
    weights = load_file(path / "model.safetensors")
    weights["bert.encoder.layer.1.output.dense.weight"][:] = float("nan")
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not finite"):
        attention_numbers(path, [as_bases("ACGTACGTAC")], device="cpu")


def test_an_untied_output_is_seen(tmp_path):
    from safetensors.torch import load_file, save_file

    path = make_model(tmp_path / "m", k=3)
    assert find_subject(path, "cpu").decoder_rows() is None
    weights = load_file(path / "model.safetensors")
    words = weights["bert.embeddings.word_embeddings.weight"]
    weights["cls.predictions.decoder.weight"] = words.clone()
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    assert find_subject(path, "cpu").decoder_rows() is None, "the same numbers twice"
    weights["cls.predictions.decoder.weight"] = words.flip(0).contiguous()
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    assert np.array_equal(find_subject(path, "cpu").decoder_rows(), words.flip(0).numpy()[5:])
