"""Where models lie and how they are named, told without importing torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dnatk.directories import directories_with, user_directory
from dnatk.errors import ModelError, did_you_mean
from dnatk.model.checked import shown

SHIPPED = Path(__file__).parent / "weights"
DEFAULT_MODEL = "dnatk-small"
CONFIG_FILE = "config.json"  # transformers'
FACTS_FILE = "dnatk.json"  # what dnatk adds to it


def shipped_models() -> list[str]:
    """Names of the models in this installation."""
    return [path.name for path in directories_with(CONFIG_FILE, SHIPPED)]


def user_models(environ: Mapping[str, str] = os.environ) -> Path:
    """$XDG_DATA_HOME/dnatk/models, else ~/.local/share/dnatk/models."""
    return user_directory("data", environ) / "dnatk" / "models"


def known_models() -> dict[str, Path]:
    """name -> directory of every model that can be named.

    A shipped model goes before a user's of the same name: tasks that ship stand on it.
    """
    found = {name: SHIPPED / name for name in shipped_models()}
    for path in directories_with(CONFIG_FILE, user_models()):
        if not path.name.startswith("."):  # one that is being written
            found.setdefault(path.name, path)
    return found


def model_directory(model: str | Path) -> Path:
    """Where ``model`` would lie: a shipped name, a directory, or a name among the user's own."""
    name = str(model)
    if name in shipped_models():
        return SHIPPED / name
    if os.path.isfile(os.path.join(name, CONFIG_FILE)):
        return Path(model)
    return known_models().get(name, Path(model))


def existing_model(model: str | Path) -> Path:
    """The directory of ``model``.

    Raises:
        ModelError: there is none; the names there are.
    """
    directory = model_directory(model)
    if not os.path.isdir(directory):  # of a name that cannot be one, pathlib raises
        known = known_models()
        listed = f"give a directory, or one of those installed: {', '.join(sorted(known))}"
        raise ModelError(
            f"no model {shown(str(model))}", hint=did_you_mean(str(model), known) or listed
        )
    return directory


def last_kmer(directory: Path) -> int:
    """Length of the last token of vocab.txt where that is a k-mer, else 0."""
    try:
        last = (directory / "vocab.txt").read_text("utf-8").split()[-1]
    except (OSError, ValueError, IndexError):
        return 0
    return len(last) if set(last) <= set("ACGT") else 0
