"""What a linear probe reads from the hidden states of each layer.

Shapes: N examples (tokens, or labelled sequences), S = layers + 1 states (the embeddings first),
D hidden.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnatk.analysis.sample import Sample
from dnatk.analysis.subject import Subject, batches, find_subject
from dnatk.errors import InputError
from dnatk.kmers import encode
from dnatk.kmers.vocab import FIRST_KMER
from dnatk.labelled.dataset import LabelledSet
from dnatk.progress import NullProgress, Progress

OFFSETS = (1, 4, 8)
TEST_SHARE = 1 / 3
# Inverse strength of regularisation, for features of unit variance: one for all layers. Labelled
# examples are fewer than tokens.
BASE_STRENGTH, LABEL_STRENGTH = 0.1, 0.01
# Elements of the scores of one layer's attention in a batch: 64 MB.
_MOST = 1 << 24


def base_probe(
    model: str | Path | Subject,
    sample: Sample,
    *,
    offsets: Sequence[int] = OFFSETS,
    train: int = 4000,
    test: int = 2000,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict:
    """Accuracy with which a token's hidden state tells the base ``offset`` beyond the token.

    Offset 1 is the first base that the token does not cover. Test tokens are of other windows
    than those that train, and share no base with them.

    Returns:
        ``accuracy``: offset (as text) -> a number for each layer, 0 the embeddings; ``majority``:
        offset -> accuracy of the base most frequent in training; ``train`` and ``test``, how many
        tokens.

    Raises:
        InputError: too few windows, or windows too short.
    """
    subject, progress = find_subject(model, device), progress or NullProgress()
    rng = np.random.default_rng(seed)
    parts = [
        _draw_tokens(subject, sample, rows, max(offsets), most, rng)
        for rows, most in zip(sample.split(TEST_SHARE, seed), (train, test), strict=True)
    ]
    if not all(map(len, parts)):
        raise InputError(
            "the windows are too few or too short for a probe of bases",
            hint="two windows or more that share no base, and a longer --window",
        )
    place_N2 = np.concatenate(parts)
    sequences = [subject.encode(window) for window in sample.windows]
    states_NSD = _token_states(subject, sequences, place_N2)
    trains = np.arange(len(place_N2)) < len(parts[0])
    codes = [encode(window, 1) - FIRST_KMER for window in sample.windows]
    ends = [subject.spans(ids)[1] for ids in sequences]
    progress.start("probes", len(offsets) * states_NSD.shape[1], "fits")
    accuracy, majority = {}, {}
    for offset in offsets:
        base_N = np.array([codes[w][ends[w][t] + offset - 1] for w, t in place_N2.tolist()])
        predicted = probed(states_NSD, base_N, trains, BASE_STRENGTH, progress)
        accuracy[str(offset)] = [float((each == base_N[~trains]).mean()) for each in predicted]
        most = np.bincount(base_N[trains]).argmax()
        majority[str(offset)] = float((base_N[~trains] == most).mean())
    progress.finish()
    return {
        "offsets": list(offsets),
        "accuracy": accuracy,
        "majority": majority,
        "train": int(trains.sum()),
        "test": int((~trains).sum()),
    }


def label_probe(
    model: str | Path | Subject,
    train: LabelledSet,
    test: LabelledSet,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict:
    """Accuracy and MCC with which mean-pooled hidden states of each layer tell classes.

    Returns:
        ``accuracy`` and ``mcc``: a number for each layer, 0 the embeddings; ``majority``, the
        accuracy of the class most frequent in training; ``train`` and ``test``, how many;
        ``left_out``, sequences without a token.

    Raises:
        InputError: labels that are no classes, or one class.
    """
    from sklearn.metrics import matthews_corrcoef

    if train.space.kind not in ("binary", "multiclass"):
        raise InputError(
            f"the labels are {train.space.kind}", path=train.path, hint="a probe needs classes"
        )
    subject, progress = find_subject(model, device), progress or NullProgress()
    sequences = [subject.encode(bases) for data in (train, test) for bases in data.sequences]
    target_N = np.concatenate([train.targets, test.targets])
    usable_N = np.array([subject.tokens.valid(ids[subject.inner]).any() for ids in sequences])
    trains = (np.arange(len(target_N)) < len(train))[usable_N]
    target_N = target_N[usable_N]
    for name, data, part in (("train", train, trains), ("test", test, ~trains)):
        if len(set(target_N[part].tolist())) < 2:
            raise InputError(f"to {name} on there is one class at most", path=data.path)
    kept = [sequences[row] for row in np.flatnonzero(usable_N).tolist()]
    states_NSD = _pooled_states(subject, kept, progress)
    progress.start("probes of labels", states_NSD.shape[1], "fits")
    predicted = probed(states_NSD, target_N, trains, LABEL_STRENGTH, progress)
    progress.finish()
    truth_N = target_N[~trains]
    most = np.bincount(target_N[trains]).argmax()
    return {
        "accuracy": [float((each == truth_N).mean()) for each in predicted],
        "mcc": [float(matthews_corrcoef(truth_N, each)) for each in predicted],
        "majority": float((truth_N == most).mean()),
        "train": int(trains.sum()),
        "test": len(truth_N),
        "left_out": int((~usable_N).sum()),
    }


def probed(
    states_NSD: np.ndarray,
    target_N: np.ndarray,
    trains: np.ndarray,
    strength: float = BASE_STRENGTH,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """What logistic regression on each layer's training rows predicts for its other rows.

    Features are standardised on the training rows (``trains``, (N,) bool).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    predicted = []
    for state in range(states_NSD.shape[1]):
        x_ND = states_NSD[:, state]
        if len(set(target_N[trains].tolist())) < 2:
            predicted.append(np.full((~trains).sum(), target_N[trains][0]))
        else:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
            # Products this small wait longer for a second thread than it saves, on a busy machine
            # many times longer.
            with threadpool_limits(1), warnings.catch_warnings():
                # The last digits of the weights do not matter.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x_ND[trains], target_N[trains])
            predicted.append(model.predict(x_ND[~trains]))
        if progress is not None:
            progress.advance(1)
    return predicted


def _draw_tokens(
    subject: Subject, sample: Sample, rows: Sequence[int], beyond: int, most: int, rng
) -> np.ndarray:
    """(N, 2) window and token (counted without specials) of up to ``most`` tokens of ``rows``."""
    places = [np.empty((0, 2), dtype=np.int64)]
    for row in rows:
        _, end_Q = subject.spans(subject.encode(sample.windows[row]))
        token_Q = np.flatnonzero(end_Q + beyond <= len(sample.windows[row]))
        places.append(np.stack([np.full(len(token_Q), row), token_Q], axis=1))
    place_N2 = np.concatenate(places)
    if len(place_N2) > most:
        place_N2 = place_N2[np.sort(rng.choice(len(place_N2), most, replace=False))]
    return place_N2


def _token_states(
    subject: Subject, sequences: list[np.ndarray], place_N2: np.ndarray
) -> np.ndarray:
    """(N, S, D) hidden states of the tokens at ``place_N2``."""
    result = np.empty((len(place_N2), subject.layers + 1, subject.hidden), dtype=np.float32)
    for rows in batches(sequences, lambda tokens: subject.heads * tokens**2, _MOST, same=True):
        states = subject.forward([sequences[row] for row in rows]).hidden_states
        for place, row in enumerate(rows):
            wanted = np.flatnonzero(place_N2[:, 0] == row)
            at = place_N2[wanted, 1] + subject.inner.start
            for number, state_BTD in enumerate(states):
                result[wanted, number] = state_BTD[place, at].float().cpu().numpy()
    return result


def _pooled_states(subject: Subject, sequences: list[np.ndarray], progress: Progress) -> np.ndarray:
    """(N, S, D) mean over the valid tokens of each sequence, specials left out."""
    import torch

    result = np.empty((len(sequences), subject.layers + 1, subject.hidden), dtype=np.float32)
    progress.start("labelled sequences", len(sequences), "sequences")
    for rows in batches(sequences, lambda tokens: subject.heads * tokens**2, _MOST // 4):
        states = subject.forward([sequences[row] for row in rows]).hidden_states
        weight_BT = torch.zeros(states[0].shape[:2], device=subject.device)
        for place, row in enumerate(rows):
            valid = subject.tokens.valid(sequences[row][subject.inner])
            at = torch.from_numpy(np.flatnonzero(valid) + subject.inner.start)
            weight_BT[place, at.to(subject.device)] = 1 / max(valid.sum(), 1)
        for number, state_BTD in enumerate(states):
            pooled_BD = torch.einsum("bt,btd->bd", weight_BT, state_BTD.float())
            result[rows, number] = pooled_BD.cpu().numpy()
        progress.advance(len(rows))
    progress.finish()
    return result
