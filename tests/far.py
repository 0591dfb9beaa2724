"""A device that is not the CPU, made of it: what must lie together and does not is an error.

Tensors of the device ``far`` hold tensors of the CPU and give the same numbers. As on a GPU, an
operation that mixes them with others fails, but for copies, scalars and indices; ``waits`` counts
how often the host asked for a value, for which it would wait for a GPU.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
_MIXED = {aten.copy_.default, aten._to_copy.default, aten.index.Tensor}
_WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default}
_registered = False


def far_device() -> torch.device:
    """The device; there from the first call on."""
    global _registered
    if not _registered:
        _setup_privateuseone_for_python_backend("far")
        torch.far.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
        _registered = True
    return torch.device("far", 0)


class FarTensor(torch.Tensor):
    """Looks as if it lay on the device; ``near`` is what it holds."""

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> FarTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls, near.size(), near.stride(), near.storage_offset(),
            dtype=near.dtype, device=far_device(),
        )  # fmt: skip
        made.near = near
        return made

    def __repr__(self) -> str:
        return f"far {self.near!r}"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} of a far tensor outside Far()")


class _FromPython(TorchFunctionMode):
    """``torch.tensor(.., device=)``, which shows no other mode where it puts the values."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.tensor and (device := kwargs.pop("device", None)) is not None:
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class Far(TorchDispatchMode):
    """In it the device works."""

    def __init__(self) -> None:
        super().__init__()
        far_device()
        self.waits: Counter[str] = Counter()
        self._from_python = _FromPython()

    def __enter__(self) -> Far:
        self._from_python.__enter__()
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self._from_python.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        far = [each for each in given if isinstance(each, FarTensor)]
        asked = kwargs.get("device")
        if asked is not None and torch.device(asked).type == "far":
            kwargs["device"] = torch.device("cpu")
        if far and func not in _MIXED:
            stray = [each for each in given if not isinstance(each, FarTensor) and each.dim()]
            assert not stray, f"{func}: of {len(given)} tensors {len(stray)} lie on the CPU"
        if far and (func in _WAITS or (func in _MIXED and asked is not None and _near(asked))):
            self.waits[str(func)] += 1
        near_args, near_kwargs = tree_map_only(FarTensor, lambda each: each.near, (args, kwargs))
        result = func(*near_args, **near_kwargs)
        if asked is not None:
            goes_far = not _near(asked)
        else:
            goes_far = isinstance(args[0], FarTensor) if func is aten.copy_.default else bool(far)
        if not goes_far:
            return result
        # What is written to in place stays the tensor that it is.
        same = {id(each.near): each for each in far}
        return tree_map_only(
            torch.Tensor,
            lambda each: same[id(each)] if id(each) in same else FarTensor(each),
            result,
        )


def _near(device) -> bool:
    return torch.device(device).type == "cpu"
