"""Undefined numbers: nan in memory, null in JSON, which knows no NaN, left out of means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
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


def mean_and_sd(values: Iterable[float]) -> str:
    """Mean and sample standard deviation as text, of the values that are defined.

    >>> mean_and_sd([0.5, 0.7]), mean_and_sd([0.5, 0.7, float("nan")]), mean_and_sd([0.5])
    ('0.6000 ± 0.1414', '0.6000 ± 0.1414 (2 of 3)', '')
    """
    from statistics import mean, stdev  # takes a while, and most commands have no seeds

    every = list(values)
    defined = [value for value in every if math.isfinite(value)]
    if len(defined) < 2:
        return "" if len(every) < 2 else "undefined"
    some = f" ({len(defined)} of {len(every)})" if len(defined) < len(every) else ""
    return f"{mean(defined):.4f} ± {stdev(defined):.4f}{some}"
