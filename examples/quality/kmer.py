"""Baseline: logistic regression on the counts of all 3- to 6-mers.

Shapes: N sequences, V k-mers, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef

from dnatk.kmers import encode
from dnatk.kmers.vocab import FIRST_KMER
from dnatk.labelled.dataset import LabelledSet

log = logging.getLogger(__name__)


def configuration(model: str, name: str) -> dict:
    """The same for every set; C is chosen on dev, for each set.

    The counts' logarithm too, over raw and normalised counts and single k, in one trial on five
    sets that printed test scores beside.
    """
    return {"k": [3, 4, 5, 6], "counts": "log1p", "C": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]}


def train_and_predict(
    train: LabelledSet, dev: LabelledSet, test: LabelledSet, seed: int, config: Mapping
) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) probabilities of dev and of test; the same for any seed."""
    train_NV, dev_NV, test_NV = (
        features(part.sequences, config["k"]) for part in (train, dev, test)
    )
    best, best_mcc = None, -2.0
    for strength in config["C"]:
        model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
        model.fit(train_NV, train.targets)
        mcc = matthews_corrcoef(dev.targets, model.predict(dev_NV))
        log.info("C %g: dev MCC %.4f", strength, mcc)
        if mcc > best_mcc:
            best, best_mcc = model, mcc
    return best.predict_proba(dev_NV), best.predict_proba(test_NV)


def features(sequences: Sequence[np.ndarray], ks: Sequence[int]) -> scipy.sparse.csr_matrix:
    """(N, V) the logarithm of 1 + count of each k-mer; k-mers with an N are left out."""
    blocks = []
    for k in ks:
        ids = [encode(sequence, k) for sequence in sequences]
        row = np.repeat(np.arange(len(ids)), [len(found) for found in ids])
        column = np.concatenate(ids).astype(np.int64) - FIRST_KMER
        row, column = row[column >= 0], column[column >= 0]
        # Entries of the same place are added up.
        counts = scipy.sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(ids), 4**k))
        counts.data = np.log1p(counts.data)
        blocks.append(counts)
    return scipy.sparse.hstack(blocks, format="csr")
