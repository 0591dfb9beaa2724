"""Where a table comes from, in lines that stand above it: what a reader needs to make it again.

No times and no machine's names: same input, same bytes. Paths are shown as they were given.
"""

from __future__ import annotations

from pathlib import Path

from dnatk import __version__


def provenance(
    *,
    command: str,
    task: str,
    task_sha256: str,
    trunk_sha256: str,
    source: str | Path,
    genome: str | Path | None = None,
) -> list[str]:
    """The ``##dnatk key=value`` lines of a prediction.

    Args:
        command: the command line.
        task: its name or directory, as given.
        task_sha256, trunk_sha256: digests of the task and of the model that it stands on.
        source: the regions or sequences, as given ("-": standard input).
        genome: where regions were read from; None for sequences.
    """
    facts = {
        "version": __version__,
        "command": command,
        "task": task,
        "task_sha256": task_sha256,
        "trunk_sha256": trunk_sha256,
        "genome": genome,
        "input": "<stdin>" if str(source) == "-" else source,
    }
    # A name with a line end must not begin a line of its own.
    return [
        f"##dnatk {key}={printable(' '.join(str(value).splitlines()))}"
        for key, value in facts.items()
        if value is not None
    ]


def printable(text: str) -> str:
    """Text that UTF-8 can say: a file's name may hold bytes that are none, shown as \\udcff."""
    return text.encode("utf-8", "backslashreplace").decode()
