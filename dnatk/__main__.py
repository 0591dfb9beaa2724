"""``python -m dnatk``: the same as the ``dnatk`` command (torchrun needs a module)."""

from dnatk.cli import script

if __name__ == "__main__":
    script()
