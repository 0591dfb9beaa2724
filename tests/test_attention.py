"""Attention over packed sequences: transformers' SDPA, one sequence at a time, is the measure.

Shapes: T tokens of all sequences one after another, H heads, E values a head.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dnatk.model import attention
from dnatk.model.attention import _bounds, equal_runs, packed_attention
from dnatk.model.pooling import _pool_segments, pool_tiles

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
CASES = settings(deadline=None, max_examples=60)


def drawn(lengths, heads: int, width: int, seed: int, dtype=torch.float32) -> list[torch.Tensor]:
    """q, k, v (T, H, E) as an encoder has them: views of one product."""
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(sum(lengths), 3 * heads * width, generator=generator).to(dtype)
    return [part.unflatten(1, (heads, -1)) for part in qkv.chunk(3, dim=1)]


def one_by_one(q_THE, k_THE, v_THE, lengths, scaling: float) -> torch.Tensor:
    parts = []
    for q, k, v in zip(*(x.split(lengths) for x in (q_THE, k_THE, v_THE)), strict=True):
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=scaling)
        parts.append(mixed[0].transpose(0, 1))
    return torch.cat(parts)


class Mode:
    """How a model is run."""

    grad = staticmethod(torch.enable_grad)
    none = staticmethod(torch.no_grad)
    inference = staticmethod(torch.inference_mode)


MODES = ("grad", "none", "inference")


@CASES
@given(
    LENGTHS,
    st.integers(1, 3),
    st.sampled_from([4, 8, 20]),
    st.sampled_from(MODES),
    st.sampled_from([0.1, 0.35, 1.0]),
    st.integers(0, 99),
    st.sampled_from([60, 4000, 1 << 20]),
)
def test_packed_is_sdpa_of_each_sequence(lengths, heads, width, mode, scaling, seed, scores):
    q, k, v = drawn(lengths, heads, width, seed)
    assert not q.is_contiguous() or sum(lengths) == 1
    with pytest.MonkeyPatch.context() as patch, getattr(Mode, mode)():
        patch.setattr(attention, "_CPU_SCORES", scores)
        got = packed_attention(q, k, v, lengths, scaling)
        torch.testing.assert_close(got, one_by_one(q, k, v, lengths, scaling), atol=2e-6, rtol=1e-5)


def eager(q_THE, k_THE, v_THE, lengths, scaling: float) -> torch.Tensor:
    """As transformers' eager attention computes it: scores in the dtype of the model."""
    parts = []
    for q, k, v in zip(*(x.split(lengths) for x in (q_THE, k_THE, v_THE)), strict=True):
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        scores = q @ k.transpose(1, 2) * scaling
        parts.append((scores.softmax(-1, dtype=torch.float32).to(q.dtype) @ v).transpose(0, 1))
    return torch.cat(parts)


@CASES
@given(LENGTHS, st.integers(1, 3), st.sampled_from([4, 8, 20]), st.integers(0, 99))
@pytest.mark.parametrize("mode", MODES)
def test_bf16_is_as_near_to_fp32_as_eager_attention(mode, lengths, heads, width, seed):
    ours = theirs = 0.0
    # The errors are random roundings: it takes many for their size to be certain.
    for draw in range(1 + 4000 // (sum(lengths) * heads * width)):
        q, k, v = drawn(lengths, heads, width, 100 * draw + seed, torch.bfloat16)
        exact = one_by_one(q.float(), k.float(), v.float(), lengths, 0.3)
        with getattr(Mode, mode)():
            got = packed_attention(q, k, v, lengths, 0.3)
        assert got.dtype == torch.bfloat16
        ours += (got.float() - exact).square().sum().item()
        theirs += (eager(q, k, v, lengths, 0.3).float() - exact).square().sum().item()
    # Above 1: with gradients q is scaled before the product, which is quicker and rounds once more.
    assert ours**0.5 <= 1.25 * theirs**0.5


@CASES
@given(LENGTHS, st.integers(1, 2), st.integers(0, 99))
def test_gradients_are_those_of_sdpa(lengths, heads, seed):
    ours, theirs = (
        [x.detach().clone().requires_grad_() for x in drawn(lengths, heads, 8, seed)]
        for _ in range(2)
    )
    weight = torch.randn(ours[0].shape, generator=torch.Generator().manual_seed(seed + 1))
    (packed_attention(*ours, lengths, 0.3) * weight).sum().backward()
    (one_by_one(*theirs, lengths, 0.3) * weight).sum().backward()
    for mine, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad, atol=1e-5, rtol=1e-4)


def test_gradients_take_memory_by_the_token_whatever_the_number_of_sequences():
    # The gradient of a slice is a tensor as long as all tokens, most of it zeros.
    def allocated(sequences: int) -> float:
        lengths = list(range(4, 4 + sequences))
        q, k, v = (x.requires_grad_() for x in drawn(lengths, 1, 8, 0))
        out = packed_attention(q, k, v, lengths, 0.3).sum()
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            out.backward()
        own = (event.self_cpu_memory_usage for event in profile.events())
        scores = sum(length**2 for length in lengths)
        return sum(size for size in own if size > 0) / (8 * sum(lengths) + scores)

    assert allocated(64) < 1.5 * allocated(8)


def test_dropout_is_only_where_it_is_asked_for():
    lengths = [20, 20, 7]
    q, k, v = drawn(lengths, 2, 8, 0)
    torch.manual_seed(1)
    dropped = packed_attention(q, k, v, lengths, 0.3, dropout=0.5)
    assert (dropped - packed_attention(q, k, v, lengths, 0.3)).abs().max() > 0.1
    # What is left is scaled up: over many draws the mean is the whole.
    mean = sum(packed_attention(q, k, v, lengths, 0.3, dropout=0.5) for _ in range(400)) / 400
    assert (mean - packed_attention(q, k, v, lengths, 0.3)).abs().mean() < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [[9], [30, 30, 30], [1, 1, 2, 40, 3]])
def test_what_was_in_memory_before_does_not_leak(lengths, dtype, monkeypatch):
    """Room for scores and results is not cleared; NaN and infinity there must not show."""
    q, k, v = drawn(lengths, 2, 8, 0, dtype)
    with torch.no_grad():
        wanted = packed_attention(q, k, v, lengths, 0.3)
    poisoned = []

    def poison(make):
        def call(*args, **more):
            poisoned.append(make.__name__)
            return make(*args, **more).fill_(float("nan"))

        return call

    monkeypatch.setattr(torch.Tensor, "new_empty", poison(torch.Tensor.new_empty))
    monkeypatch.setattr(torch, "empty_like", poison(torch.empty_like))
    with torch.no_grad():
        got = packed_attention(q, k, v, lengths, 0.3)
    assert poisoned == ["empty_like", "new_empty"]
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("mode", MODES)
def test_views_of_any_order_are_read_as_they_are(mode):
    lengths = [7, 7, 13, 1]
    solid = [x.contiguous() for x in drawn(lengths, 2, 8, 3)]
    wanted = packed_attention(*solid, lengths, 0.3)
    views = (
        [x.permute(2, 0, 1).contiguous().permute(1, 2, 0) for x in solid],
        [x.transpose(0, 1).contiguous().transpose(0, 1) for x in solid],
        [torch.stack([x, x], dim=-1)[..., 1] for x in solid],
        [x[:1].expand_as(x) if i == 1 else x for i, x in enumerate(solid)],
    )
    before = [[x.clone() for x in view] for view in views]
    for number, view in enumerate(views):
        with getattr(Mode, mode)():
            got = packed_attention(*view, lengths, 0.3)
        assert got.is_contiguous()
        if number == 3:  # all keys alike: the mean of the values
            wanted = torch.cat([x.mean(0, keepdim=True).expand_as(x) for x in
                                solid[2].split(lengths)])  # fmt: skip
        torch.testing.assert_close(got, wanted, atol=2e-6, rtol=1e-5)
        for x, old in zip(view, before[number], strict=True):
            assert torch.equal(x, old), "what was given is changed"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lengths", [[], [1], [1, 1], [0], [0, 3, 0, 0, 2], [3, 0]])
def test_no_token_or_a_single_one(mode, lengths):
    q, k, v = drawn(lengths, 2, 8, 0)
    with getattr(Mode, mode)():
        got = packed_attention(q, k, v, lengths, 0.3)
    assert got.shape == (sum(lengths), 2, 8)
    if max(lengths, default=0) <= 1:
        torch.testing.assert_close(got, v)  # it sees nothing but itself
    else:
        some = [n for n in lengths if n]
        torch.testing.assert_close(got, one_by_one(q, k, v, some, 0.3))


@CASES
@given(st.lists(st.integers(1, 5), max_size=12))
def test_runs_of_equal_lengths(lengths):
    runs = list(equal_runs(lengths))
    assert [length for _, count, length in runs for _ in range(count)] == lengths
    assert [start for start, _, _ in runs] == [
        sum(count * length for _, count, length in runs[:i]) for i in range(len(runs))
    ]
    assert all(a[2] != b[2] for a, b in pairwise(runs))


# What CUDA's kernel needs, as far as a CPU can tell


@CASES
@given(LENGTHS)
def test_bounds_of_sequences(lengths):
    bounds, longest = _bounds(tuple(lengths), torch.device("cpu"))
    assert bounds.dtype == torch.int32
    assert bounds.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    assert longest == max(lengths)


def test_bounds_are_made_once_for_all_layers():
    first = _bounds((5, 7), torch.device("cpu"))[0]
    assert _bounds((5, 7), torch.device("cpu"))[0] is first


def test_bounds_made_in_inference_serve_training():
    _bounds.cache_clear()
    with torch.inference_mode():
        bounds, _ = _bounds((3, 4), torch.device("cpu"))
    assert not bounds.is_inference()
    weight = torch.ones(3, requires_grad=True)
    (weight * bounds).sum().backward()
    assert weight.grad.tolist() == [0.0, 3.0, 7.0]


def test_a_cpu_never_takes_the_kernel_of_cuda():
    for dtype in (torch.float32, torch.bfloat16):
        assert not attention._has_varlen(torch.zeros(1, dtype=dtype))


@pytest.mark.parametrize("scaling", [0.125, 0.3])
def test_what_the_kernel_of_cuda_is_given(monkeypatch, scaling):
    """A stand-in with the arguments of torch 2.10's, which scales by E ** -0.5."""
    lengths = [7, 7, 1, 12]

    def varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
        assert (cu_seq_q.dtype, cu_seq_q.tolist()) == (torch.int32, [0, 7, 14, 15, 27])
        assert cu_seq_k is cu_seq_q
        assert (max_q, max_k) == (12, 12)
        return one_by_one(query, key, value, lengths, query.shape[-1] ** -0.5)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    monkeypatch.setattr(attention, "_has_varlen", lambda x: True)
    q, k, v = drawn(lengths, 4, 64, 0)
    got = packed_attention(q, k, v, lengths, scaling)
    torch.testing.assert_close(got, one_by_one(q, k, v, lengths, scaling))


# Pooling


@pytest.mark.parametrize("pool_tiles", [pool_tiles, _pool_segments])  # CPU and others; CUDA
@CASES
@given(LENGTHS, st.integers(0, 99), st.sampled_from([torch.float32, torch.bfloat16]))
def test_pools_are_those_of_each_tile_alone(pool_tiles, lengths, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(sum(lengths), 6, generator=generator).to(dtype)
    kept_T = torch.rand(sum(lengths), generator=generator) < 0.6
    pieces = list(zip(hidden_TD.float().split(lengths), kept_T.split(lengths), strict=True))
    nothing = torch.full((1, 6), -torch.inf)
    wanted = {
        "mean": [hidden[kept].sum(0) for hidden, kept in pieces],
        "max": [torch.cat([nothing, hidden[kept]]).amax(0) for hidden, kept in pieces],
        "cls": [hidden[0] for hidden, _ in pieces],
    }
    for pool, rows in wanted.items():
        got = pool_tiles(hidden_TD, lengths, kept_T, pool)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, torch.stack(rows), atol=1e-5, rtol=1e-5)


# On a GPU


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "lengths", [[1], [64, 64, 64], [1, 514, 17, 200, 17, 3], list(range(1, 60))]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scaling", [0.125, 0.3])
def test_cuda_is_as_the_cpu(cuda, lengths, dtype, scaling):
    q, k, v = drawn(lengths, 4, 64, 0, dtype)
    exact = one_by_one(q.float(), k.float(), v.float(), lengths, scaling)
    with torch.inference_mode():
        got = packed_attention(q.to(cuda), k.to(cuda), v.to(cuda), lengths, scaling)
    assert got.dtype == dtype
    near = {torch.float32: 2e-3, torch.bfloat16: 3e-2, torch.float16: 5e-3}[dtype]
    torch.testing.assert_close(got.float().cpu(), exact, atol=near, rtol=near)


@pytest.mark.gpu
def test_cuda_uses_the_kernel_for_packed_sequences(cuda, monkeypatch):
    if torch.cuda.get_device_capability(cuda) < (8, 0):
        pytest.skip("older than Ampere")
    seen = []
    whole = attention._varlen

    def varlen(*args):
        seen.append(args[0].dtype)
        return whole(*args)

    monkeypatch.setattr(attention, "_varlen", varlen)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        q, k, v = (x.to(cuda) for x in drawn([30, 5], 2, 64, 0, dtype))
        packed_attention(q, k, v, [30, 5], 0.125)
    assert seen == [torch.bfloat16, torch.float16]


@pytest.mark.gpu
def test_cuda_gradients(cuda):
    lengths = [30, 5, 100]
    weight = torch.randn(sum(lengths), 2, 64, generator=torch.Generator().manual_seed(1))
    cpu = [x.detach().clone().requires_grad_() for x in drawn(lengths, 2, 64, 0)]
    (one_by_one(*cpu, lengths, 0.3) * weight).sum().backward()
    gpu = [x.detach().to(cuda, torch.bfloat16).requires_grad_() for x in cpu]
    with torch.inference_mode():  # bounds made here serve the backward pass too
        packed_attention(*gpu, lengths, 0.3)
    (packed_attention(*gpu, lengths, 0.3) * weight.to(cuda)).sum().backward()
    for mine, wanted in zip(gpu, cpu, strict=True):
        error = (mine.grad.float().cpu() - wanted.grad).norm() / wanted.grad.norm()
        assert error < 0.03
