"""Which tokens a model must guess: RandomMask and its baselines."""

from dnatk.masking.schedule import Phase, Schedule, parse_phases
from dnatk.masking.strategies import Masker, hidden_bases

__all__ = ["Masker", "Phase", "Schedule", "hidden_bases", "parse_phases"]
