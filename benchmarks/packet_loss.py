"""How well the cloud half answers when packets get lost or bits flip.

``python benchmarks/packet_loss.py --runs digits=FOLDER ...`` takes exported
models of any task and writes a row a setting to ``results/packet_loss.json``.
See ``benchmarks/README.md``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from code_sets import CodeSet
from lossy_models import Model, load_model
from run_codes import (
    named_path,
    names_of_test_sets,
    names_of_validation_sets,
    run_codes,
)
from tqdm import tqdm

from speechbrain_acom.entropy.bitstream import write_message
from speechbrain_acom.entropy.coder import decode, encode
from speechbrain_acom.errors import AcomError, DataError
from speechbrain_acom.inference import AcomASR, AcomClassifier, Label
from speechbrain_acom.inference.concealment import concealed_answer
from speechbrain_acom.studies.results import Row, write_results

LOSSES_PERCENT = (0, 1, 2, 5, 10, 20)
BIT_ERRORS = (1e-4, 1e-3, 1e-2)
# Frames of codes in a packet: every frame alone, and less than half a second.
PACKET_FRAMES = (1, 10)
SEEDS = (0, 1, 2)


def through_packets(
    model: Model, test: CodeSet, packet_frames: int
) -> tuple[list[np.ndarray], float]:
    """Code every packet on its own and decode it again.

    Arguments
    ---------
    model : Model
        Whose prior counts; it starts anew with each packet.
    test : CodeSet
        The utterances.
    packet_frames : int
        Frames of codes in a packet; fewer in the last one.

    Returns
    -------
    tuple[list[np.ndarray], float]
        Codes of each utterance that came back, and bit/s of the payloads.

    Raises
    ------
    DataError
        If other codes came back.
    """
    prior, size, received = model.cloud.prior, 0, []
    for codes in test.utterances:
        parts = []
        for start in range(0, len(codes), packet_frames):
            part = codes[start : start + packet_frames]
            payload = encode(part, prior)
            size += len(payload)
            parts.append(decode(payload, len(part), prior))
        received.append(np.concatenate(parts))
        if not np.array_equal(received[-1], codes):
            raise DataError(
                "packets: found other codes after decoding, expected those "
                "that were encoded"
            )
    return received, 8 * size / float(test.seconds.sum())


def lost_frames(
    test: CodeSet, packet_frames: int, percent: float, seed: int
) -> list[np.ndarray]:
    """Which frames of codes of each utterance get lost, packet by packet.

    Arguments
    ---------
    test : CodeSet
        The utterances.
    packet_frames : int
        Frames of codes in a packet.
    percent : float
        Probability that a packet gets lost, each for itself.
    seed : int
        Of the draws: all concealments meet the same losses.

    Returns
    -------
    list[np.ndarray]
        Of each utterance bool, shape (code frame,).
    """
    generator = np.random.default_rng([seed, packet_frames])
    lost = []
    for codes in test.utterances:
        packets = -(-len(codes) // packet_frames)
        # What is lost at a smaller percentage is lost at a larger one, too.
        drawn = generator.random(packets) < percent / 100
        lost.append(np.repeat(drawn, packet_frames)[: len(codes)])
    return lost


def loss_rows(
    model: Model, test: CodeSet, packet_frames: int, seeds: Sequence[int]
) -> list[Row]:
    """Rows of all losses and concealments for packets of one size.

    Arguments
    ---------
    model : Model
        The model.
    test : CodeSet
        The utterances.
    packet_frames : int
        Frames of codes in a packet.
    seeds : Sequence[int]
        A trial each.

    Returns
    -------
    list[Row]
        One a setting.
    """
    received, payload_bps = through_packets(model, test, packet_frames)
    settings = [
        (percent, name)
        for percent in LOSSES_PERCENT
        for name in (model.concealments if percent else ["none"])
    ]
    rows = []
    for percent, name in tqdm(settings, desc="packets", disable=None):
        scores, shares = [], []
        # Without a loss there is nothing to draw.
        for seed in seeds if percent else seeds[:1]:
            lost = lost_frames(test, packet_frames, percent, seed)
            answers = [
                _text(
                    concealed_answer(
                        model.cloud,
                        torch.from_numpy(codes),
                        torch.from_numpy(missing),
                        int(frames),
                        model.concealments[name],
                    )
                )
                for codes, missing, frames in zip(
                    received, lost, test.num_frames, strict=True
                )
            ]
            scores.append(model.score(test.targets, answers))
            shares.append(100 * float(np.concatenate(lost).mean()))
        rows.append(
            {
                "impairment": "packets",
                "packet_frames": packet_frames,
                "loss_percent": percent,
                "lost_frames_percent": float(np.mean(shares)),
                "concealment": name,
                "seeds": len(scores),
                "payload_bps": payload_bps,
                **_pooled(scores),
            }
        )
    return rows


def bit_error_rows(
    model: Model, test: CodeSet, seeds: Sequence[int]
) -> list[Row]:
    """Rows of messages with random bits flipped.

    Arguments
    ---------
    model : Model
        The model.
    test : CodeSet
        The utterances; a message each.
    seeds : Sequence[int]
        A trial each.

    Returns
    -------
    list[Row]
        One a probability. A refused message has an empty answer.
        "damaged_percent" of the messages had a bit flipped, "refused_percent"
        were refused.
    """
    cloud = model.cloud
    messages = [
        write_message(
            codes,
            int(frames),
            cloud.prior,
            cloud.model_hash,
            cloud.bottleneck.framing,
        )
        for codes, frames in zip(test.utterances, test.num_frames, strict=True)
    ]
    whole = [answer_of(cloud, message) for message in messages]
    message_bps = 8 * sum(map(len, messages)) / float(test.seconds.sum())
    rows = []
    for probability in tqdm(BIT_ERRORS, desc="bit errors", disable=None):
        scores, damaged, refused = [], 0, 0
        for seed in seeds:
            generator = np.random.default_rng(seed)
            answers = []
            for message, answer in zip(messages, whole, strict=True):
                arrived = flipped(message, probability, generator)
                if arrived != message:
                    answer = answer_of(cloud, arrived)
                    damaged += 1
                    refused += answer is None
                answers.append(answer or "")
            scores.append(model.score(test.targets, answers))
        trials = len(seeds) * len(messages)
        rows.append(
            {
                "impairment": "bit_errors",
                "bit_error_probability": probability,
                "damaged_percent": 100 * damaged / trials,
                "refused_percent": 100 * refused / trials,
                "concealment": "none",
                "seeds": len(seeds),
                "message_bps": message_bps,
                **_pooled(scores),
            }
        )
    return rows


def flipped(
    message: bytes, probability: float, generator: np.random.Generator
) -> bytes:
    """A message with each bit flipped with some probability.

    Arguments
    ---------
    message : bytes
        What was sent.
    probability : float
        Of a flip, from 0 to 1.
    generator : np.random.Generator
        Draws the flips.

    Returns
    -------
    bytes
        What arrives, as long.
    """
    flips = np.packbits(generator.random(8 * len(message)) < probability)
    return (np.frombuffer(message, np.uint8) ^ flips).tobytes()


def answer_of(cloud: AcomASR | AcomClassifier, message: bytes) -> str | None:
    """The answer to a message; None if it is refused."""
    try:
        return _text(cloud.decode(message))
    except AcomError:
        return None


def _text(answer: str | Label) -> str:
    return answer.name if isinstance(answer, Label) else answer


def _pooled(scores: Sequence[dict[str, float]]) -> Row:
    """Mean, least and most of each figure over the seeds."""
    row: Row = {}
    for key in scores[0]:
        values = [score[key] for score in scores]
        row[key] = float(np.mean(values))
        row[f"least_{key}"], row[f"most_{key}"] = min(values), max(values)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Try every model and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--runs", nargs="+", type=named_path, required=True)
    add("--data_folders", nargs="+", type=named_path, default=[])
    add("--packet_frames", nargs="+", type=int, default=PACKET_FRAMES)
    add("--seeds", nargs="+", type=int, default=SEEDS)
    add("--mask_steps", type=int, default=300, help="of the learned vector")
    add("--limit", type=int, help="utterances of each split, at most")
    add("--output", type=Path, default="results/packet_loss.json")
    options = parser.parse_args(arguments)
    rows, described, seed = [], [], options.seeds[0]
    for name, run in options.runs:
        root = dict(options.data_folders).get(name)
        valid_sets = names_of_validation_sets(run)
        splits = ["train", *valid_sets, *names_of_test_sets(run)]
        train, *rest = run_codes(run, splits, options.limit, root)
        valid, tests = rest[: len(valid_sets)], rest[len(valid_sets) :]
        prefix = options.output.with_name(f"{options.output.stem}_{name}")
        model = load_model(
            Path(run), train, valid, prefix, options.mask_steps, seed
        )
        for test in tests:
            start: Row = {
                "data_set": name,
                "split": test.name,
                "messages": len(test.utterances),
                "hours": test.hours,
                "learned_vector_seed": seed,
                "learned_vector_steps": model.learned.steps,
                "learned_vector_valid_loss": model.learned.valid_loss,
                "mean_vector_valid_loss": model.learned.start_valid_loss,
            }
            found = [
                row
                for frames in options.packet_frames
                for row in loss_rows(model, test, frames, options.seeds)
            ]
            found += bit_error_rows(model, test, options.seeds)
            rows += [start | row for row in found]
            described.append(f"{name}: {test.name} {test.hours:.2f} h")
        # After each model: the next one may take hours.
        write_results(options.output, rows, "; ".join(described), seed)


if __name__ == "__main__":
    main()
