"""Files of models and tasks, read and checked by tables: what is wrong with one is one line.

They are edited by hand, cut short by full disks and made by other programs. Whatever they claim
is checked before anything is computed or allocated by it.
"""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, NamedTuple

from dnatk.errors import ModelError, first_line

if TYPE_CHECKING:
    import torch

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


class Rule(NamedTuple):
    """What a value may be: in words, and as a test."""

    wanted: str
    holds: Callable[[Any], bool]


def whole(low: int, high: int = 1 << 24) -> Rule:
    """A whole number of ``low`` to ``high``; true and 1.0 are none."""
    return Rule(
        f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high
    )


def one_of(*choices: object) -> Rule:
    """One of ``choices``."""
    return Rule(" or ".join(map(str, choices)), lambda v: v in choices)


def list_of(rule: Rule) -> Rule:
    """A list, each item as ``rule`` has it."""
    return Rule(
        f"a list, each {rule.wanted}", lambda v: isinstance(v, list) and all(map(rule.holds, v))
    )


def _is_text(value: object) -> bool:
    # JSON can write halves of letters (surrogates), which no file or terminal takes.
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # NaN is not


TEXT = Rule("text", _is_text)
LINE = Rule("one line of text", lambda v: _is_text(v) and v.isprintable())
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
OBJECT = Rule("an object", lambda v: isinstance(v, dict))
NUMBER = Rule("a number", _is_number)
POSITIVE = Rule("a number above 0", lambda v: _is_number(v) and v > 0)


def shown(value: object) -> str:
    """``value`` on one line, cut where it is long."""
    return _SHORT.repr(value)


def check(content: Mapping, rules: Mapping[str, Rule], path: Path, within: str = "") -> None:
    """Raise :class:`ModelError` for the first key of ``rules`` whose value breaks its rule.

    A key that is absent breaks none. ``within`` is put before the keys' names ("trunk.").
    """
    for key, rule in rules.items():
        if key in content and not rule.holds(content[key]):
            raise ModelError(
                f"{within}{key} is {shown(content[key])}; it must be {rule.wanted}", path=path
            )


def check_version(content: Mapping, newest: int, path: Path) -> None:
    """Raise :class:`ModelError` for a file whose format is newer than this dnatk."""
    check(content, {"format_version": whole(0)}, path)
    if content.get("format_version", 0) > newest:
        raise ModelError("was written by a newer dnatk", path=path, hint="update dnatk")


def read_json(path: Path, what: str = "JSON object") -> dict:
    """The JSON object in a file, which errors call ``what``.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"has no {path.name}", path=path.parent) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read: {first_line(error)}", path=path) from None
    if not isinstance(content, dict):
        raise ModelError(f"is no {what}", path=path)
    return content


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a safetensors file, or of a pickle of nothing else, on the CPU.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        # Some hold more than weights: how far training was, or names of another make.
        return {str(name): each for name, each in content.items() if torch.is_tensor(each)}
    except FileNotFoundError:
        raise ModelError(f"has no {path.name}", path=path.parent) from None
    except UnpicklingError:
        # torch's own advice is to load it unsafely.
        raise ModelError(
            "holds more than tensors, or is damaged: dnatk runs no code of a pickle",
            path=path,
            hint="save the weights as safetensors",
        ) from None
    except Exception as error:  # whatever safetensors and pickle make of damaged bytes
        raise ModelError(
            f"cannot be read: {first_line(error)}", path=path, hint="is the file cut short?"
        ) from None


def check_tensors(
    tensors: Mapping[str, torch.Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
    source: str,
    closed: str = "",
) -> None:
    """Raise :class:`ModelError` unless the tensors are there, floating point and of these shapes.

    Args:
        path: their file.
        source: the file that ``shapes`` comes from.
        closed: names that begin so must all be in ``shapes``: what nobody reads is missed.
    """
    fault = next(_faults(tensors, shapes, closed), None)
    if fault:
        raise ModelError(f"does not fit what {source} says: {fault}", path=path)


def _faults(tensors: Mapping, shapes: Mapping, closed: str) -> Iterator[str]:
    for name, shape in shapes.items():
        if name not in tensors:
            yield f"it has no tensor '{name}'"
        elif (found := tuple(tensors[name].shape)) != shape:
            yield f"'{name}' is {found}, not {shape}"
        elif not tensors[name].is_floating_point():
            yield f"'{name}' is {tensors[name].dtype}, not floating point"
    for name in sorted(tensors):
        if name.startswith(closed) and name not in shapes:
            yield f"its tensor '{name}' is left over"
