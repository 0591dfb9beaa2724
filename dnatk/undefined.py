"""Undefined numbers: nan in memory, null in JSON, which knows no NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def as_null(value: Any) -> Any:
    """A JSON value with None for every nan in it, at any depth.

    >>> as_null({"auroc": {"value": float("nan")}, "n": [1, 2.5]})
    {'auroc': {'value': None}, 'n': [1, 2.5]}
    """
    return _replaced(value, lambda x: None if isinstance(x, float) and math.isnan(x) else x)


def as_nan(value: Any) -> Any:
    """The numbers that :func:`as_null` was given: nan for every None, at any depth."""
    return _replaced(value, lambda x: math.nan if x is None else x)


def _replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(each, change) for each in value]
    return change(value)
