"""What a check found, and what the checks are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

OK, NOTE, WARNING, FAILURE = LEVELS = ("ok", "note", "warning", "failure")


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        check: its name, "topic.what"; stable, docs/doctor.md lists them.
        level: ok; note: good to know; warning: works, but badly or not everything; failure.
        text: what is so, for people.
        cure: what to do about it, in one line.
        facts: the same for programs.
    """

    check: str
    level: str
    text: str
    cure: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """The part of ``check`` that groups findings."""
        return self.check.partition(".")[0]


@dataclass(frozen=True)
class Asked:
    """What a diagnosis is to look at.

    Attributes:
        device, precision, threads: as the commands' options; None: all cores.
        self_test: whether to run the shipped model.
        variables: the DNATK_* variables that are known.
        genome: what predict would read regions from, and where that is said; else None.
        settings_fault: what is wrong with the user's settings, "" where nothing is.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    self_test: bool = True
    variables: frozenset[str] = frozenset()
    genome: tuple[str, str] | None = None
    settings_fault: str = ""


def worst(findings: Iterable[Finding]) -> str:
    """The worst level of all."""
    return max((each.level for each in findings), key=LEVELS.index, default=OK)


def gigabytes(size: float) -> str:
    """``12.3 GB``."""
    return f"{size / 1e9:.1f} GB"
