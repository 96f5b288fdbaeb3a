"""Cloud halves of a recipe's models, what helps them over a loss, answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from code_sets import CodeSet
from torch import Tensor

from speechbrain_acom.entropy.session import Session
from speechbrain_acom.hparams import load_key
from speechbrain_acom.inference import (
    AcomASR,
    AcomClassifier,
    Label,
    load_interface,
)
from speechbrain_acom.inference.concealment import (
    Concealment,
    RepeatConcealment,
    VectorConcealment,
    concealed_answer,
    mean_vector,
)
from speechbrain_acom.metrics.scores import class_accuracy, word_errors
from speechbrain_acom.studies.results import Row
from speechbrain_acom.training.ctc import ctc_cost
from speechbrain_acom.training.mask_vector import (
    CodedExample,
    MaskVector,
    TaskLoss,
    learn_mask_vector,
)

Score = Callable[[Sequence[str], Sequence[str]], dict[str, float]]


@dataclass(frozen=True)
class Model:
    """The cloud half of a model, and what helps it over a loss.

    Arguments
    ---------
    cloud : AcomASR | AcomClassifier
        The cloud half.
    concealments : Mapping[str, Concealment]
        What may stand in the place of lost frames, by name.
    learned : MaskVector
        The learned one of them, and how it was chosen.
    score : Callable
        Called with right and given answers; gives columns of a row.
    usual_frames : int
        Median of the frames at the cut of training utterances.
    """

    cloud: AcomASR | AcomClassifier
    concealments: Mapping[str, Concealment]
    learned: MaskVector
    score: Score
    usual_frames: int

    @property
    def session(self) -> Session:
        """What both sides agree on; messages end with their bytes."""
        cloud = self.cloud
        return Session(cloud.prior, cloud.model_hash, cloud.bottleneck.framing)


class Listener:
    """Answers to utterances of a test set, each of them given once.

    Arguments
    ---------
    model : Model
        The model.
    test : CodeSet
        The utterances.
    """

    def __init__(self, model: Model, test: CodeSet) -> None:
        self._model, self._test = model, test
        self._known: dict[tuple, str] = {}

    def score(
        self, arrived: Sequence[tuple[np.ndarray, np.ndarray]], name: str
    ) -> dict[str, float]:
        """Columns of a row.

        Arguments
        ---------
        arrived : Sequence[tuple[np.ndarray, np.ndarray]]
            Of each utterance codes, int64, shape (code frame, K), and what of
            these is lost, bool, shape (code frame,).
        name : str
            Which concealment stands in the place of lost frames.
        """
        answers = [
            self._answer(index, codes, lost, name)
            for index, (codes, lost) in enumerate(arrived)
        ]
        return self._model.score(self._test.targets, answers)

    def _answer(
        self, index: int, codes: np.ndarray, lost: np.ndarray, name: str
    ) -> str:
        # Without a loss there is nothing to conceal.
        name = name if lost.any() else ""
        key = (index, codes.tobytes(), lost.tobytes(), name)
        if key not in self._known:
            model = self._model
            answer = concealed_answer(
                model.cloud,
                torch.from_numpy(codes),
                torch.from_numpy(lost),
                int(self._test.num_frames[index]),
                model.concealments[name or "none"],
            )
            self._known[key] = answer_text(answer)
        return self._known[key]


def answer_text(answer: str | Label) -> str:
    """What is compared with the right answer: a text, or a class's name."""
    return answer.name if isinstance(answer, Label) else answer


def pooled(scores: Sequence[dict[str, float]]) -> Row:
    """Mean, least and most of each figure over the seeds."""
    row: Row = {}
    for key in scores[0]:
        values = [score[key] for score in scores]
        row[key] = float(np.mean(values))
        row[f"least_{key}"], row[f"most_{key}"] = min(values), max(values)
    return row


def load_model(
    run: Path,
    train: CodeSet,
    valid: Sequence[CodeSet],
    prefix: Path,
    steps: int,
    seed: int,
) -> Model:
    """Load the cloud half, take the mean vector and learn a better one.

    Arguments
    ---------
    run : Path
        A recipe's output folder.
    train : CodeSet
        Codes of its training data.
    valid : Sequence[CodeSet]
        Codes of its validation data.
    prefix : Path
        Where vectors of shape (channel,) are written:
        ``<prefix>_mean_vector.npy``, ``<prefix>_learned_vector_seed_<n>.npy``.
    steps : int
        Of learning; 0: the learned vector is the mean.
    seed : int
        Of learning.

    Returns
    -------
    Model
        Ready for trials.
    """
    cloud = load_interface(run / "export", "cloud")
    examples = coded_examples(cloud, train)
    mean = mean_vector(
        cloud.bottleneck, ((each.codes, each.num_frames) for each in examples)
    )
    learned = learn_mask_vector(
        cloud.mods.split,
        examples,
        [each for codes in valid for each in coded_examples(cloud, codes)],
        task_loss(run, cloud),
        mean,
        steps,
        seed=seed,
    )
    prefix.parent.mkdir(parents=True, exist_ok=True)
    np.save(f"{prefix}_mean_vector.npy", mean.numpy())
    vector_file = f"{prefix}_learned_vector_seed_{seed}.npy"
    np.save(vector_file, learned.vector.numpy())
    return Model(
        cloud,
        {
            "none": VectorConcealment(torch.zeros_like(mean)),
            "repeat": RepeatConcealment(),
            "mean_vector": VectorConcealment(mean),
            "learned_vector": VectorConcealment(learned.vector),
        },
        learned,
        word_errors if isinstance(cloud, AcomASR) else class_accuracy,
        int(np.median(train.num_frames)),
    )


def coded_examples(
    cloud: AcomASR | AcomClassifier, codes: CodeSet
) -> list[CodedExample]:
    """Codes of a data set with the right answers as the model numbers them."""
    triples = zip(
        codes.utterances, codes.num_frames.tolist(), codes.targets, strict=True
    )
    return [
        CodedExample(
            torch.from_numpy(utterance).long(), frames, _tokens(cloud, target)
        )
        for utterance, frames, target in triples
    ]


def task_loss(run: Path, cloud: AcomASR | AcomClassifier) -> TaskLoss:
    """The loss that the model was trained with, without the quantizer's.

    Arguments
    ---------
    run : Path
        The recipe's output folder.
    cloud : AcomASR | AcomClassifier
        The cloud half that it exported.

    Returns
    -------
    TaskLoss
        As the brain of the task has it.
    """
    if isinstance(cloud, AcomASR):
        return partial(ctc_cost, blank_index=cloud.hparams.blank_index)
    compute_cost = load_key(run / "hyperparams.yaml", "compute_cost")

    def cost(output: Tensor, lengths: Tensor, labels: Tensor, _: Tensor):
        return compute_cost(output.float(), labels)

    return cost


def _tokens(cloud: AcomASR | AcomClassifier, target: str) -> Tensor:
    if isinstance(cloud, AcomASR):
        return torch.tensor(
            cloud.hparams.tokenizer.encode_as_ids(target), dtype=torch.int64
        )
    return torch.tensor([cloud.hparams.label_encoder.lab2ind[target]])
