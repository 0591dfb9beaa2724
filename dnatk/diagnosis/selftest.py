"""The shipped model and a bundled task against numbers that were kept, and how fast they are.

reference.json is made by examples/make_reference.py on a CPU in fp32; it names the weights that it
was made with.

Shapes: N sequences, D hidden.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dnatk.diagnosis.compute import torch_or_none
from dnatk.diagnosis.contents import CURE
from dnatk.diagnosis.finding import FAILURE, NOTE, OK, Asked, Finding
from dnatk.errors import DnatkError, first_line

if TYPE_CHECKING:
    import numpy as np

REFERENCE = Path(__file__).with_name("reference.json")
_MOST, _SECONDS = 8192, 1.0  # sequences of a round of the speed test, and time for all rounds


class Tolerance(NamedTuple):
    """How far results may be from fp32 on the machine that made the reference.

    Attributes:
        vector: |difference| / |reference| of a sequence's embedding.
        probability: of a task's probability.
    """

    vector: float
    probability: float


# fp32 sums in another order differ by some 1e-6, probabilities are rounded to 4 decimals. bf16
# rounds to 8 bits, fp16 to 11: off by 1.6e-3 and 2.1e-3 was seen of bf16, and these allow three
# and five times that. One attention head of 24 set to zero gives 1.1e-2, two weights of like shape
# exchanged 0.2, another sequence 0.1 to 0.2.
TOLERANCES = {
    "float32": Tolerance(1e-4, 1e-3),
    "float16": Tolerance(1e-3, 2e-3),
    "bfloat16": Tolerance(5e-3, 1e-2),
}


def selftest(asked: Asked) -> Iterator[Finding]:
    """Embed and predict a few sequences, compare, and measure."""
    if not asked.self_test:
        yield Finding("selftest.run", NOTE, "not run, as asked for")
        return
    if torch_or_none() is None:
        yield Finding("selftest.run", NOTE, "not run: torch cannot be imported")
        return
    try:
        reference = json.loads(REFERENCE.read_text("utf-8"))
        yield from _compared(asked, reference)
    except (DnatkError, OSError, ImportError, RuntimeError) as error:
        # RuntimeError: what torch makes of a GPU that does not work.
        text = f"fails: {first_line(error)}"
        yield Finding("selftest.run", FAILURE, text, f"dnatk models verify, or {CURE}")


def _compared(asked: Asked, reference: dict[str, Any]) -> Iterator[Finding]:
    import numpy as np

    from dnatk.model.placement import prepare_cpu

    prepare_cpu(asked.threads)
    began = time.perf_counter()
    model = Embedder(asked.device, asked.precision)
    got_ND = model.embed(reference["sequences"])
    seconds = time.perf_counter() - began
    vector, probability = TOLERANCES[model.precision]
    want_ND = np.array(reference["vectors"])
    off = float((np.linalg.norm(got_ND - want_ND, axis=1) / np.linalg.norm(want_ND, axis=1)).max())
    yield _verdict("embedding", f"loaded and run in {seconds:.2f} s", off, vector, model)

    found = predicted(reference, str(model.device), asked.precision)
    off = float(np.abs(np.array(found) - reference["probabilities"]).max())
    yield _verdict("task", reference["task"], off, probability, model)

    rate = _rate(model, reference["sequences"][-1])
    text = f"speed: {_amount(rate)} bases a second embedded on {model.device} in {model.precision}"
    yield Finding("selftest.speed", OK, text, facts={"bases_per_second": round(rate)})


def _verdict(what: str, note: str, off: float, limit: float, model: Embedder) -> Finding:
    device, precision = str(model.device), model.precision
    number = off if math.isfinite(off) else math.nan  # JSON knows neither
    facts = {"difference": number, "tolerance": limit, "precision": precision, "device": device}
    well = off <= limit  # a NaN is not
    text = f"{what} ({note}): off the stored numbers by {off:.1g}, "
    text += f"{'within' if well else 'beyond'} the {limit:g} of {precision}"
    cure = "" if well else "see whether --device cpu or --precision fp32 passes, and report it"
    return Finding(f"selftest.{what}", OK if well else FAILURE, text, cure, facts)


class Embedder:
    """The shipped model, loaded.

    Attributes:
        device, precision: what became of those asked for.
    """

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        from dnatk.inference.engine import Engine
        from dnatk.inference.pooled import Pooled
        from dnatk.model.models import find_model
        from dnatk.model.places import DEFAULT_MODEL

        found = find_model(DEFAULT_MODEL)
        encoder = found.load(device=device, precision=precision)
        self.device, self.precision = encoder.device, str(encoder.dtype).removeprefix("torch.")
        self._tokens = found.tokens
        self._pooled = Pooled(found.tokens, "mean", found.hidden)
        self._engine = Engine(encoder, found.tokens, self._pooled)

    def embed(self, sequences: Sequence[str]) -> np.ndarray:
        """(N, D) mean embeddings, each sequence in one window."""
        import numpy as np

        from dnatk.genome.regions import Region
        from dnatk.inference.batches import Row
        from dnatk.inference.sequences import row_tiles

        windows = [np.frombuffer(each.encode(), dtype=np.uint8) for each in sequences]
        tiles = (
            tile
            for i, bases in enumerate(windows)
            for tile in row_tiles(Row(Region(str(i), 0, len(bases))), [(0, bases)], self._tokens)
        )
        done = self._engine.run(tiles)
        return np.stack([self._pooled.vector(row) for rows in done for row in rows])


def predicted(reference: dict[str, Any], device: str, precision: str) -> list[float]:
    """Of each sequence of the task the probability of its last class."""
    from dnatk.inference.in_memory import predict_sequences

    rows = predict_sequences(
        reference["task_sequences"], task=reference["task"], device=device, precision=precision
    )
    return [float(each) for each in rows.iloc[:, -1]]


def _rate(model: Embedder, sequence: str) -> float:
    """Bases a second: the best of rounds with more and more copies of a sequence."""
    best, n, spent = 0.0, 1, 0.0
    while n <= _MOST and spent < _SECONDS:
        began = time.perf_counter()
        model.embed([sequence] * n)
        seconds = time.perf_counter() - began
        best, spent = max(best, n * len(sequence) / seconds), spent + seconds
        n *= 2
    return best


def _amount(rate: float) -> str:
    return f"{rate / 1e6:.1f} million" if rate >= 1e6 else f"{round(rate, -2):,.0f}"
