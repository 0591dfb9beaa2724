"""The options that a run was made with, from where they are kept: beside or in its results."""

from __future__ import annotations

import os
from pathlib import Path

from dnatk.errors import InputError
from dnatk.settings import CONFIG_FILE

_HDF5 = b"\x89HDF\r\n\x1a\n"


def recorded(path: str | Path) -> tuple[str, Path]:
    """The TOML text of a run's options, and the file that it stands in.

    Args:
        path: a TOML file, a run's directory, or an HDF5 file of embed or predict.

    Raises:
        InputError: there is no such file, or it keeps no options.
    """
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        if not (path / CONFIG_FILE).is_file():
            raise InputError(f"has no {CONFIG_FILE}", path=path)
        path /= CONFIG_FILE
    try:
        with open(path, "rb") as file:
            head = file.read(len(_HDF5))
            if head != _HDF5:
                return (head + file.read()).decode(), path
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except UnicodeDecodeError:
        raise InputError("is not a text file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    return _of_h5(path), path


def _of_h5(path: Path) -> str:
    from dnatk.output.layout import damage_told, open_rows

    with open_rows(path) as file, damage_told(path):
        config = file.attrs.get("config")
    if not isinstance(config, str):
        raise InputError("keeps no options", path=path, hint="files of dnatk 0.4 and later do")
    return config
