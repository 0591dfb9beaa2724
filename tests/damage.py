"""How model and task files are damaged for tests, and what may come of it: a line, and no more."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import random_bases, write_fasta
from fuzz_inputs import limit
from safetensors.numpy import load_file, save_file

import dnatk
from dnatk.errors import DnatkError
from dnatk.inference.embed import EmbedOptions
from dnatk.inference.predict import PredictOptions

CPU = {"device": "cpu", "precision": "fp32"}
NAN, HUGE = float("nan"), 10**9


@contextmanager
def spare_memory(more: int) -> Iterator[None]:
    """Let the process grow by ``more`` bytes at most."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def sequences(path: Path) -> Path:
    """A FASTA of three sequences, 6 windows for a model of 512 positions."""
    return write_fasta(path, {f"s{i}": random_bases(70 + 700 * i, i) for i in range(3)})


def refusal(directory: Path, *, model: str | Path = "", task: Path | None = None) -> DnatkError:
    """What embed (or predict with a task) says; no file may be left, nor time or memory taken."""
    fasta, output = sequences(directory / "seq.fa"), directory / "result"
    embed = partial(dnatk.embed, model=model, options=EmbedOptions(**CPU))
    predict = partial(dnatk.predict, task=task, options=PredictOptions(**CPU))
    command = embed if task is None else predict
    with limit(20), spare_memory(1 << 30), pytest.raises(DnatkError) as caught:
        command(fasta, output)
    assert "\n" not in str(caught.value)
    assert len(caught.value.message) < 1000
    assert not [path for path in directory.iterdir() if "result" in path.name]
    return caught.value


def edit(path: Path, **changes) -> None:
    """Set keys of a JSON file; one that is set to ... is taken out."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def header_length(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little")


WEIGHTS = {
    "empty": lambda data, n: b"",
    "length cut": lambda data, n: data[:5],
    "length only": lambda data, n: data[:8],
    "length zero": lambda data, n: bytes(8) + data[8:],
    "length huge": lambda data, n: b"\xff" * 8 + data[8:],
    "length beyond the file": lambda data, n: (len(data) * 2).to_bytes(8, "little") + data[8:],
    "length off by one": lambda data, n: (n - 1).to_bytes(8, "little") + data[8:],
    "header cut": lambda data, n: data[: 8 + n // 2],
    "header no json": lambda data, n: data[:8] + b"\0" * n + data[8 + n :],
    "header bit": lambda data, n: data[: 8 + n // 3] + b"\xff" + data[9 + n // 3 :],
    "header other dtype": lambda data, n: data.replace(b'"F32"', b'"F16"', 1),
    "header unknown dtype": lambda data, n: data.replace(b'"F32"', b'"X32"', 1),
    "header shape": lambda data, n: data.replace(b'"shape":[', b'"shape":[9', 1)[: len(data)],
    "data missing": lambda data, n: data[: 8 + n],
    "data cut": lambda data, n: data[:-1],
    "data longer": lambda data, n: data + b"\0",
    "zeros": lambda data, n: bytes(len(data)),
    "a pickle": lambda data, n: b"\x80\x04\x95" + bytes(100),
    "text": lambda data, n: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
}


def change_tensor(path: Path, end: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if name.endswith(end))
    tensors[name] = change(tensors[name])
    save_file(tensors, path)


BROKEN_JSON = {
    "empty": b"",
    "cut": b'{"model_type": "bert", ',
    "a list": b"[1, 2]",
    "null": b"null",
    "binary": bytes(range(256)),
    "utf-16": '{"k": 3}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"k": 3}',
    "nested": b"[" * 200_000,
    "huge number": b'{"format_version": ' + b"9" * 5000 + b"}",
}
