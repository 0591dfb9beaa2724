"""Models from the Hugging Face hub into the user's own: weights and tokenizers, never code."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from errno import ENOSPC
from pathlib import Path

from dnatk.errors import InputError, ModelError, first_line
from dnatk.model.card import INDEX_FILE, MODEL_FILES, PULLED_FILE, ModelCard
from dnatk.model.checked import read_json, shown
from dnatk.model.checksums import write_sums
from dnatk.model.copying import check_model, copy_files
from dnatk.model.places import CONFIG_FILE, shipped_models, user_models
from dnatk.output.files import check_directory, directory_written_whole

_REPO = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def hub_switched_off(environ: Mapping[str, str] = os.environ) -> str:
    """The variable that keeps huggingface_hub from the network, "" where none does."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    on = ("1", "on", "yes", "true")
    return next((name for name in names if environ.get(name, "").lower() in on), "")


def pull_model(
    repo: str, *, revision: str = "", name: str = "", force: bool = False, progress: bool = False
) -> ModelCard:
    """Download a model and keep it as ``name``, whole or not at all.

    Only safetensors, configuration and tokenizer files are fetched; the commit that the hub gave
    and the sha256 of each file are recorded beside them.

    Args:
        repo: "owner/name" on the hub.
        revision: a branch, tag or commit; "": the hub's default branch.
        name: what ``--model`` shall call it; "": as in ``repo``.
        force: replace the user's model of that name.
        progress: let huggingface_hub draw its bars.

    Raises:
        InputError: no such name can be. ModelError: the hub is not reached or has no such model,
            or dnatk cannot run it. OutputError: it is there already, or cannot be written.
    """
    if not _REPO.fullmatch(repo):
        raise InputError(f"no repository {shown(repo)}", hint="owner/name, as the hub writes it")
    name = name or repo.rpartition("/")[2]
    if not _NAME.fullmatch(name) or name in shipped_models():
        why = "a model that ships is called so" if name in shipped_models() else "letters, - and _"
        raise InputError(f"{shown(name)} cannot be its name ({why})", hint="give another --name")
    target = check_directory(user_models() / name, marker=CONFIG_FILE, force=force)
    snapshot = _snapshot(repo, revision, target, progress)
    if not any((snapshot / each).is_file() for each in ("model.safetensors", INDEX_FILE)):
        raise ModelError(
            "has no model.safetensors, and pickles are not read from a hub",
            path=repo,
            hint="the hub offers converted weights as a pull request: try --revision refs/pr/1",
        )
    with directory_written_whole(target, replace=force) as staging:
        copy_files(snapshot, staging, MODEL_FILES)
        source = {"repo": repo, "revision": snapshot.name}
        (staging / PULLED_FILE).write_text(json.dumps(source, indent=2) + "\n")
        write_sums(staging)
        if wrong := check_model(staging) or _card_faults(staging):
            said = wrong[0].replace(f"{staging}{os.sep}", "").replace(str(staging), repo)
            code = "auto_map" in read_json(staging / CONFIG_FILE)
            hint = "it may need the code that comes with it, which is not fetched" if code else None
            raise ModelError(said, hint=hint)
    return ModelCard.read(target)


def _card_faults(directory: Path) -> list[str]:
    """What keeps a model from being listed, where it runs all the same."""
    try:
        ModelCard.read(directory)
    except ModelError as error:
        return [str(error)]
    return []


def _snapshot(repo: str, revision: str, target: Path, progress: bool) -> Path:
    """The hub's files in its own cache; the directory is named by their commit."""
    import huggingface_hub
    from huggingface_hub import errors
    from huggingface_hub.utils import disable_progress_bars

    if not progress:
        disable_progress_bars()
    try:
        found = huggingface_hub.snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=list(MODEL_FILES),
            ignore_patterns=["*/*"],
        )
    except errors.GatedRepoError:
        hint = "accept its terms on the hub, then `hf auth login`"
        raise ModelError("its owner asks who you are", path=repo, hint=hint) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"has no revision {shown(revision)}", path=repo) from None
    except errors.RepositoryNotFoundError:
        raise ModelError("is not on the hub (or is private)", path=repo) from None
    except Exception as error:  # whatever a network that is not there leads to
        if isinstance(error, OSError) and (error.filename or error.errno == ENOSPC):
            raise  # the disk's fault
        why = f"{hub_switched_off()} is set" if hub_switched_off() else first_line(error)[:200]
        raise ModelError(
            f"cannot be fetched from the hub: {why}",
            path=repo,
            hint=f"where there is a network `hf download {repo} --local-dir {target.name}`, then "
            f"copy that directory to {target}",
        ) from None
    return Path(found)
