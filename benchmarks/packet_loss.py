"""How well the cloud half answers when packets get lost or bits flip.

``python benchmarks/packet_loss.py --runs digits=FOLDER ...`` takes exported
models of any task and writes a row a setting to ``results/packet_loss.json``,
where rows of other models stay.
See ``benchmarks/README.md``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bit_errors import bit_error_rows
from code_sets import CodeSet
from lossy_models import Listener, Model, load_model, pooled
from packets import Packets, rates, received, sent_packets
from run_codes import (
    named_path,
    names_of_test_sets,
    names_of_validation_sets,
    run_codes,
)
from tqdm import tqdm

from speechbrain_acom.studies.results import Row, update_results

LOSSES_PERCENT = (0, 1, 2, 5, 10, 20)
# Frames of codes in a packet: every frame alone, and less than half a second.
PACKET_FRAMES = (1, 10)
SEEDS = (0, 1, 2)


def lost_packets(
    counts: Sequence[int], packet_frames: int, percent: float, seed: int
) -> list[np.ndarray]:
    """Which packets of each utterance get lost.

    Arguments
    ---------
    counts : Sequence[int]
        Packets of each utterance.
    packet_frames : int
        Frames of codes in a packet; others have other losses.
    percent : float
        Probability that a packet gets lost, each for itself.
    seed : int
        Of the draws: all concealments meet the same losses.

    Returns
    -------
    list[np.ndarray]
        Of each utterance bool, shape (packet,).
    """
    generator = np.random.default_rng([seed, packet_frames])
    # What is lost at a smaller percentage is lost at a larger one, too.
    return [generator.random(count) < percent / 100 for count in counts]


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

    Raises
    ------
    DataError
        If other codes came back, where nothing was lost.
    """
    packets = Packets(model.session, packet_frames)
    sent = sent_packets(packets, test)
    read = received(packets, sent)
    columns = rates(packets, test, sent, read)
    listener, frames = Listener(model, test), test.num_frames.tolist()
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
            counts = list(map(len, sent))
            drawn = lost_packets(counts, packet_frames, percent, seed)
            arrived = [
                packets.assembled(
                    (
                        one
                        for one, gone in zip(each, lost, strict=True)
                        if not gone
                    ),
                    length,
                )
                for each, lost, length in zip(read, drawn, frames, strict=True)
            ]
            scores.append(listener.score(arrived, name))
            missing = np.concatenate([lost for _, lost in arrived])
            shares.append(100 * float(missing.mean()))
        rows.append(
            {
                "impairment": "packets",
                "packet_frames": packet_frames,
                "loss_percent": percent,
                "lost_frames_percent": float(np.mean(shares)),
                "concealment": name,
                "seeds": len(scores),
                **columns,
                **pooled(scores),
            }
        )
    return rows


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
    seed = options.seeds[0]
    for name, run in options.runs:
        root = dict(options.data_folders).get(name)
        valid_sets = names_of_validation_sets(run)
        splits = ["train", *valid_sets, *names_of_test_sets(run)]
        train, *rest = run_codes(run, splits, options.limit, root)
        valid, tests = rest[: len(valid_sets)], rest[len(valid_sets) :]
        rows = []
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
                "recordings": f"{name}: {test.name} {test.hours:.2f} h",
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
            found += bit_error_rows(
                model, test, options.packet_frames, options.seeds
            )
            rows += [start | row for row in found]
        # After each model: the next one may take hours.
        update_results(options.output, rows, ["data_set"], seed)


if __name__ == "__main__":
    main()
