"""Model directories written whole or not at all, and whether one is as it was written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from dnatk.errors import ModelError, OutputError
from dnatk.model.card import MODEL_FILES, PICKLES, ModelCard
from dnatk.model.checksums import read_sums, write_sums, wrong_files
from dnatk.model.places import CONFIG_FILE, existing_model
from dnatk.output.files import check_directory, directory_written_whole


def export_model(model: str | Path, directory: str | Path, *, force: bool = False) -> Path:
    """Copy a model to ``directory``, byte by byte, with SHA256SUMS beside it.

    Raises:
        ModelError: no such model, or its files are not those that were recorded.
        OutputError: the directory exists, or cannot be written.
    """
    card = ModelCard.read(model)
    if Path(directory).resolve() == card.directory.resolve():
        raise OutputError("is the model itself", path=directory)
    inputs = (card.directory,)
    target = check_directory(directory, marker=CONFIG_FILE, force=force, inputs=inputs)
    if wrong := changed_files(card.directory):
        raise ModelError(wrong[0], hint="a damaged model is not worth copying")
    with directory_written_whole(target, replace=force) as staging:
        copy_files(card.directory, staging, (*MODEL_FILES, *PICKLES))
        write_sums(staging)
    return target


def copy_files(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    """Copy the files of ``source`` itself, not below it, that match one of ``patterns``."""
    for path in sorted({path for pattern in patterns for path in source.glob(pattern)}):
        if path.is_file():
            shutil.copyfile(path, target / path.name)


def changed_files(directory: Path) -> list[str]:
    """What differs from the record in the directory, or in the one above it, a line each."""
    if read_sums(directory) is not None:
        return wrong_files(directory)
    return wrong_files(directory.parent, f"{directory.name}/")


def has_record(directory: Path) -> bool:
    """Whether there is a record that :func:`changed_files` compares with."""
    if read_sums(directory) is not None:
        return True
    recorded = read_sums(directory.parent) or {}
    return any(name.startswith(f"{directory.name}/") for name in recorded)


def check_model(model: str | Path) -> list[str]:
    """What is wrong with a model, a line each: files that have changed, then whether it loads."""
    directory = existing_model(model)
    wrong = changed_files(directory)
    return wrong or list(_load(directory))


def _load(directory: Path) -> Iterator[str]:
    from dnatk.model.loading import read_model, read_weights
    from dnatk.model.models import find_model

    try:
        if find_model(directory).k:  # models of other makes are loaded to be found
            read_weights(read_model(directory))
    except ModelError as error:
        yield str(error)
