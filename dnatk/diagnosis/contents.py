"""Whether the model and the tasks that ship are there, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dnatk.diagnosis.finding import FAILURE, NOTE, OK, Asked, Finding
from dnatk.model.checksums import read_sums, wrong_files
from dnatk.model.places import SHIPPED, known_models, user_models
from dnatk.tasks.places import BUNDLED, known_tasks, user_tasks

CURE = "pip install --force-reinstall --no-deps dnatk"


def models(_: Asked) -> Iterator[Finding]:
    """The models that ship, and how many are the user's own."""
    yield from _as_recorded("contents.models", "shipped model", SHIPPED)
    yield from _own("model", known_models(), user_models(), "dnatk models verify")


def tasks(_: Asked) -> Iterator[Finding]:
    """The tasks that ship, and how many are the user's own."""
    yield from _as_recorded("contents.tasks", "bundled task", BUNDLED)
    yield from _own("task", known_tasks(), user_tasks(), "dnatk tasks")


def _own(what: str, known: Mapping[str, Path], home: Path, cure: str) -> Iterator[Finding]:
    own = [name for name, path in known.items() if path.parent == home]
    if own:
        text = f"{len(own)} {what}(s) of your own: {', '.join(own)}"
        yield Finding(f"contents.own_{what}s", NOTE, text, cure, {"names": own})


def _as_recorded(check: str, what: str, root: Path) -> Iterator[Finding]:
    recorded = read_sums(root)
    if not recorded:
        text = f"{what}s: their checksums are missing in {root}"
        yield Finding(check, FAILURE, text, CURE)
        return
    wrong = wrong_files(root)
    for line in wrong:
        yield Finding(check, FAILURE, f"{what}: {line}", CURE, {"wrong": line})
    names = sorted({name.partition("/")[0] for name in recorded})
    if not wrong:
        text = f"{len(names)} {what}{'s' * (len(names) != 1)} as recorded: {', '.join(names)}"
        yield Finding(check, OK, text, facts={"names": names, "sha256": recorded})
