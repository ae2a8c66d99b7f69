"""The student: text to cluster, distilled from the teacher.

One numba pass from UTF-8 bytes to scores, so that a whole crawl can be labelled on CPUs; see ``kernel.py`` for the
pass and ``training.py`` for the fit. A student is a directory with ``student.safetensors`` and ``student.json``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from scipy.special import softmax

from gem_assets.corpus.text.features import TOKENISER_DIGEST, Texts, as_large_strings
from gem_assets.student.config import CODE_VERSION, StudentConfig
from gem_assets.student.kernel import Scorer, WeightTable, decide
from gem_assets.student.training import best_temperature, read_bags, rules_of, share_matching_bias, train

_WEIGHTS_FILE: Final = "student.safetensors"
_DESCRIPTION_FILE: Final = "student.json"


@dataclass(frozen=True)
class StudentPrediction:
    """Labels of n documents, in their order.

    Attributes
    ----------
    cluster : int16 array, shape (n,)
        The likeliest cluster.
    confidence : float32 array, shape (n,)
        Its calibrated probability of being the teacher's label.
    margin : float32 array, shape (n,)
        That probability minus the runner-up's.
    n_features : int32 array, shape (n,)
        Tokens read; 0 means the label is the prior's alone.
    """

    cluster: NDArray[np.int16]
    confidence: NDArray[np.float32]
    margin: NDArray[np.float32]
    n_features: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.cluster)


class StudentLabeller:
    """A linear softmax over hashed words.

    Attributes
    ----------
    config : StudentConfig
        What it was fitted with.
    table_ : WeightTable
        A row of K weights for each of 2^hash_bits buckets. Calibrated: scores are log-odds as they come.
    bias_ : float32 array, shape (K,)
        Calibrated and matched to the teacher's shares.
    temperature_ : float
        What the trained scores were divided by.
    """

    def __init__(
        self, config: StudentConfig, table: WeightTable, bias: NDArray[np.float32], temperature: float
    ) -> None:
        self.config = config
        self.table_ = table
        self.bias_ = bias
        self.temperature_ = temperature
        self._scorer = Scorer(table, bias, rules_of(config), config.term_frequency == "log")

    @property
    def n_clusters(self) -> int:
        """K."""
        return self.table_.n_clusters

    @classmethod
    def fit(
        cls,
        texts: Texts,
        labels: NDArray[Any],
        responsibilities: csr_array | None = None,
        config: StudentConfig | None = None,
        *,
        n_clusters: int | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Distil the teacher's labels.

        Parameters
        ----------
        texts : Array, ChunkedArray or sequence of str
            n documents; a random sample serves better than the teacher's exemplars.
        labels : int array, shape (n,)
            The teacher's cluster of each document, 0..K-1.
        responsibilities : sparse array, shape (n, K), or None
            The teacher's responsibilities; trained on at ``config.soft_temperature`` when given.
        config : StudentConfig or None
            Settings.
        n_clusters : int or None
            K; by default the columns of ``responsibilities``, else the largest label + 1.
        progress : callable or None
            Receives one line per step.

        Raises
        ------
        ValueError
            If lengths differ, a label is out of range or there are too few documents to calibrate on.
        """
        settings = config or StudentConfig()
        chunked = as_large_strings(texts)
        hard = np.asarray(labels).astype(np.int64)
        if n_clusters is None:
            n_clusters = int(hard.max(initial=0)) + 1 if responsibilities is None else _shape(responsibilities)[1]
        _check(len(chunked), hard, responsibilities, n_clusters)
        rng = np.random.default_rng(settings.seed)
        order = rng.permutation(len(hard))
        held = max(1, round(settings.calibration_share * len(hard)))
        calibration, training = np.sort(order[:held]), np.sort(order[held:])

        bags = read_bags(chunked, settings)
        targets = _targets(hard, responsibilities, n_clusters, settings.soft_temperature)
        model = train(bags.take(training), targets[training], settings, progress)
        weights = np.zeros((1 << settings.hash_bits, n_clusters), np.float32)
        weights[model.rows] = model.weights

        unseen = chunked.take(calibration)
        rules, log_counts = rules_of(settings), settings.term_frequency == "log"
        scores = _scores(Scorer(WeightTable.of(weights, 32), model.bias, rules, log_counts), unseen)
        temperature = best_temperature(scores, hard[calibration])
        weights /= np.float32(temperature)
        bias = (model.bias / np.float32(temperature)).astype(np.float32)
        table = WeightTable.of(weights, settings.weight_bits)
        if settings.match_shares:
            scores = _scores(Scorer(table, bias, rules, log_counts), unseen)
            counted = np.bincount(hard[calibration], minlength=n_clusters).astype(np.float64)
            shares = (counted + 0.5) / (held + 0.5 * n_clusters)
            bias = (bias + share_matching_bias(scores, shares)).astype(np.float32)
        return cls(settings, table, bias, temperature)

    def predict(self, texts: Texts, threads: int = 1) -> StudentPrediction:
        """Label documents; the result does not depend on ``threads`` or on how the array is chunked."""
        n = len(texts)
        cluster, confidence = np.empty(n, np.int16), np.empty(n, np.float32)
        margin, n_features = np.empty(n, np.float32), np.empty(n, np.int32)
        lo = 0
        for scores, counts in self._scorer.blocks(texts, threads):
            hi = lo + len(scores)
            decide(scores, cluster[lo:hi], confidence[lo:hi], margin[lo:hi])
            n_features[lo:hi] = counts
            lo = hi
        return StudentPrediction(cluster, confidence, margin, n_features)

    def predict_proba(self, texts: Texts, threads: int = 1) -> NDArray[np.float32]:
        """Calibrated probabilities, shape (n, K)."""
        blocks = [softmax(scores, axis=1) for scores, _ in self._scorer.blocks(texts, threads)]
        return np.concatenate([np.zeros((0, self.n_clusters), np.float32), *blocks])

    def runner_up(self, texts: Texts, threads: int = 1) -> NDArray[np.int16]:
        """Second likeliest cluster of each document, shape (n,); the only one where K is 1."""
        if self.n_clusters == 1:
            return np.zeros(len(texts), np.int16)
        # a stable sort of the negated scores: the lower id wins a tie, as in predict()
        blocks = [np.argsort(-s, axis=1, kind="stable")[:, 1] for s, _ in self._scorer.blocks(texts, threads)]
        return np.concatenate([np.zeros(0, np.int16), *(block.astype(np.int16) for block in blocks)])

    def save(self, directory: Path) -> None:
        """Write ``student.safetensors`` and ``student.json`` into the directory."""
        save_file({"weights": self.table_.unpadded(), "bias": self.bias_}, directory / _WEIGHTS_FILE)
        description = {
            "code_version": CODE_VERSION,
            "tokeniser": TOKENISER_DIGEST,
            "temperature": self.temperature_,
            "weight_unit": self.table_.unit,
            "n_clusters": self.n_clusters,
            "config": self.config.model_dump(mode="json"),
        }
        (directory / _DESCRIPTION_FILE).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            If the directory holds no student.
        ValueError
            If it was fitted with another tokeniser than this library's.
        """
        path = Path(directory) / _DESCRIPTION_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no student here; it is written by StudentLabeller.save()")
        description = json.loads(path.read_text())
        if description["tokeniser"] != TOKENISER_DIGEST:
            raise ValueError(
                f"{path}: fitted with tokeniser {description['tokeniser']}, this library has {TOKENISER_DIGEST}; "
                "fit the student again, or open it with the version that wrote it"
            )
        arrays = load_file(Path(directory) / _WEIGHTS_FILE)
        return cls(
            StudentConfig.model_validate(description["config"]),
            WeightTable.of_values(arrays["weights"], float(description["weight_unit"])),
            arrays["bias"],
            float(description["temperature"]),
        )


def _check(n: int, labels: NDArray[np.int64], responsibilities: csr_array | None, n_clusters: int) -> None:
    if labels.shape != (n,):
        raise ValueError(f"{n} texts and labels of shape {labels.shape}, expected ({n},)")
    if n < 2:
        raise ValueError(f"{n} documents cannot be split for training and calibration")
    if labels.min() < 0 or labels.max() >= n_clusters:
        raise ValueError(f"labels span {labels.min()}..{labels.max()}, expected 0..{n_clusters - 1}")
    if n_clusters > np.iinfo(np.int16).max:
        raise ValueError(f"{n_clusters} clusters, at most {np.iinfo(np.int16).max} fit the label column")
    if responsibilities is not None and _shape(responsibilities) != (n, n_clusters):
        raise ValueError(f"responsibilities have shape {_shape(responsibilities)}, expected ({n}, {n_clusters})")


def _shape(matrix: Any) -> tuple[int, int]:
    return matrix.shape[0], matrix.shape[1]


def _targets(
    labels: NDArray[np.int64], responsibilities: csr_array | None, n_clusters: int, temperature: float
) -> NDArray[np.float32]:
    """Rows that sum to one: responsibilities^(1/T), or the label where none are given."""
    hard = np.zeros((len(labels), n_clusters), np.float32)
    hard[np.arange(len(labels)), labels] = 1
    if responsibilities is None or temperature == 0:
        return hard
    soft = np.asarray(responsibilities.todense(), np.float64) ** (1 / temperature)
    total = soft.sum(axis=1, keepdims=True)
    return np.where(total > 0, soft / np.where(total > 0, total, 1), hard).astype(np.float32)


def _scores(scorer: Scorer, texts: Texts) -> NDArray[np.float32]:
    return np.concatenate([scores for scores, _ in scorer.blocks(texts)])
