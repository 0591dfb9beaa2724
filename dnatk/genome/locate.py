"""Which genome is meant: named on the command line, in the environment, in the settings, or by a
name under which genomepy installed it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dnatk.directories import user_directory
from dnatk.errors import InputError, NoGenomeError

VARIABLE = "DNATK_GENOME"


def find_genome(
    given: str | Path | None, environ: Mapping[str, str], settings: Mapping[str, str]
) -> Path:
    """The FASTA file of the genome: the first that is named, in this order.

    Args:
        given: by --genome.
        environ: DNATK_GENOME, and where genomepy's configuration is.
        settings: :func:`dnatk.settings.read_settings`.

    Raises:
        NoGenomeError: none is named.
        InputError: what is named is no file, and genomepy has no genome of that name.
    """
    ways = (
        (given, ""),
        (environ.get(VARIABLE), VARIABLE),
        (settings.get("genome"), "`dnatk config show`"),
    )
    for name, way in ways:
        if name:
            return resolve_genome(str(name), environ, way)
    raise NoGenomeError(_ways(installed_genomes(environ)))


def resolve_genome(name: str, environ: Mapping[str, str], way: str = "") -> Path:
    """The file of that path, else the genome that genomepy installed under that name.

    ``way`` tells in an error where the name was read.
    """
    path = Path(os.path.expanduser(name))
    if path.exists() and not path.is_dir():
        return path
    installed = installed_genomes(environ)
    if name in installed:
        return installed[name]
    hints = [f"named by {way}"] if way else []
    if installed:
        hints.append(f"genomepy has {_some(installed)}")
    what = "is a directory" if path.is_dir() else "no such file"
    raise InputError(
        f"{what}, and no genome that genomepy installed", path=name, hint="; ".join(hints) or None
    )


def installed_genomes(environ: Mapping[str, str]) -> dict[str, Path]:
    """name -> FASTA file of what genomepy installed: NAME/NAME.fa or NAME/NAME.fa.gz."""
    found = {}
    try:
        directories = sorted(_genomepy_directory(environ).iterdir())
    except OSError:
        return {}
    for directory in directories:
        for suffix in (".fa", ".fa.gz"):
            path = directory / f"{directory.name}{suffix}"
            if directory.name not in found and path.is_file():
                found[directory.name] = path
    return found


def _genomepy_directory(environ: Mapping[str, str]) -> Path:
    """Where genomepy keeps genomes: the one line of its YAML file that says so, or its default."""
    path = user_directory("config", environ) / "genomepy" / "genomepy.yaml"
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        text = ""
    # genome_dir is what old versions wrote.
    line = re.search(r"^genomes?_dir:[ \t]*(.*?)[ \t]*(?:[ \t]#.*)?$", text, re.MULTILINE)
    value = line[1].strip("'\"") if line else ""
    value = value if value not in ("", "null", "~") else "~/.local/share/genomes"
    return Path(os.path.expanduser(os.path.expandvars(value)))


def _ways(installed: Mapping[str, Path]) -> str:
    known = f" (there is {_some(installed)})" if installed else ""
    return (
        "regions need a genome; name it in one of these ways:\n"
        "  --genome FILE                  for this run\n"
        f"  export {VARIABLE}=FILE       for this shell\n"
        "  dnatk config set genome FILE   for good\n"
        f"FILE is a FASTA, or the name of a genome that genomepy installed{known}"
    )


def _some(names: Mapping[str, Path]) -> str:
    return ", ".join(list(names)[:5]) + (", ..." if len(names) > 5 else "")
