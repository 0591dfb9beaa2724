"""Several processes at one run: torchrun starts them, each makes its share of the parts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

from dnatk.errors import InputError, OutputError, first_line


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that torchrun started; alone without it."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def from_environment(cls) -> Ranks:
        """By RANK, WORLD_SIZE and LOCAL_RANK."""
        found = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
        if not found[0] or not found[1]:
            return cls()
        try:
            rank, world, local = (int(text or 0) for text in found)
        except ValueError:
            rank, world, local = -1, 0, -1
        if not 0 <= rank < world or local < 0:
            # With parts for processes that are not there, some would be made by nobody.
            raise InputError(
                f"RANK, WORLD_SIZE, LOCAL_RANK are no place of a process: {found}",
                hint="torchrun sets them; unset them for a run of one process",
            )
        return cls(rank, world, local)

    def device(self, asked: str) -> str:
        """``asked``, or this process's own GPU where any would do."""
        if self.world == 1 or asked not in ("auto", "cuda"):
            return asked
        import torch

        return f"cuda:{self.local}" if torch.cuda.is_available() else asked

    def wait(self) -> None:
        """Until all processes are here.

        Raises:
            InputError: they cannot find each other.
            OutputError: one of them is gone.
        """
        if self.world == 1:
            return
        import torch.distributed as dist

        if not dist.is_initialized():
            try:
                # The slowest may take days longer than the first; torchrun ends us if one fails.
                dist.init_process_group("gloo", timeout=timedelta(days=30))
            except (RuntimeError, ValueError) as error:
                raise InputError(
                    f"the {self.world} processes do not find each other: {first_line(error)}",
                    hint="start them by torchrun, or unset RANK and WORLD_SIZE",
                ) from error
        try:
            dist.barrier()
        except RuntimeError as error:
            raise OutputError(
                "another process of this run has ended too early",
                hint="see what it says; --resume goes on",
            ) from error

    def leave(self) -> None:
        """The others are not waited for any more."""
        if self.world > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()
