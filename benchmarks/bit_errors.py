"""How well the cloud half answers when bits flip on the way.

They flip in whole messages, or in packets. A reader refuses what its checksum
finds damaged; without one, it refuses only what no encoder writes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from code_sets import CodeSet
from lossy_models import Listener, Model, answer_text, pooled
from message_worker import FILE, Job, check_read, read_elsewhere
from packets import Packets, rates, received, sent_packets
from tqdm import tqdm

from speechbrain_acom.entropy.bitstream import (
    Message,
    MessageOptions,
    write_message,
)
from speechbrain_acom.errors import AcomError
from speechbrain_acom.inference import AcomASR, AcomClassifier
from speechbrain_acom.inference.concealment import concealed_answer
from speechbrain_acom.studies.results import Row

BIT_ERRORS = (1e-4, 1e-3, 1e-2)


def bit_error_rows(
    model: Model,
    test: CodeSet,
    packet_frames: Sequence[int],
    seeds: Sequence[int],
) -> list[Row]:
    """Rows of whole messages, then of packets, with random bits flipped.

    Arguments
    ---------
    model : Model
        The model.
    test : CodeSet
        The utterances.
    packet_frames : Sequence[int]
        Frames of codes in a packet.
    seeds : Sequence[int]
        A trial each.

    Returns
    -------
    list[Row]
        One a setting. "damaged_percent" of the messages or packets had a bit
        flipped, "refused_percent" were refused.
    """
    rows = []
    for checksum in (True, False):
        rows += message_rows(model, test, checksum, seeds)
        for frames in packet_frames:
            packets = Packets(model.session, frames, checksum)
            rows += packet_rows(model, test, packets, seeds)
    return rows


def message_rows(
    model: Model, test: CodeSet, checksum: bool, seeds: Sequence[int]
) -> list[Row]:
    """Rows of whole messages, as files hold them.

    Arguments
    ---------
    model : Model
        The model.
    test : CodeSet
        The utterances; a message each.
    checksum : bool
        Whether messages have one.
    seeds : Sequence[int]
        A trial each.

    Returns
    -------
    list[Row]
        One a probability and concealment of refused messages. Without one
        their answer is empty; with a vector it is that to this vector all
        along, for as many frames as training utterances usually have.

    Raises
    ------
    DataError
        If other codes came back of messages without damage.
    """
    session, lengths = model.session, test.num_frames.tolist()
    sent = [
        write_message(
            codes,
            length,
            session.prior,
            session.model_hash,
            session.framing,
            MessageOptions(checksum),
        )
        for codes, length in zip(test.utterances, lengths, strict=True)
    ]
    trials = {
        (probability, seed): damaged(sent, probability, seed)
        for probability in BIT_ERRORS
        for seed in seeds
    }
    distinct = list(dict.fromkeys([*sent, *sum(trials.values(), [])]))
    (read,) = read_elsewhere([Job(session, distinct, FILE)])
    reads = dict(zip(distinct, read, strict=True))
    check_read([reads[message] for message in sent], test.utterances, lengths)
    answers = {
        message: answer_of(model.cloud, read)
        for message, read in tqdm(reads.items(), "messages", disable=None)
    }
    instead_of_refused = answers_to_nothing(model)
    size = sum(map(len, sent))
    rows = []
    for probability in BIT_ERRORS:
        arrived = [trials[probability, seed] for seed in seeds]
        refused = [
            answers[message] is None for each in arrived for message in each
        ]
        columns: Row = {
            "impairment": "bit_errors",
            "packet_frames": None,
            "checksum": "yes" if checksum else "no",
            "bit_error_probability": probability,
            "damaged_percent": changed_percent(sent, arrived),
            "refused_percent": 100 * float(np.mean(refused)),
        }
        for name, instead in instead_of_refused.items():
            given = [[answers[message] for message in each] for each in arrived]
            scores = [
                model.score(
                    test.targets,
                    [instead if text is None else text for text in each],
                )
                for each in given
            ]
            rows.append(
                {
                    **columns,
                    "concealment": name,
                    "seeds": len(seeds),
                    "message_bps": 8 * size / float(test.seconds.sum()),
                    **pooled(scores),
                }
            )
    return rows


def packet_rows(
    model: Model, test: CodeSet, packets: Packets, seeds: Sequence[int]
) -> list[Row]:
    """Rows of packets; those that are refused are lost.

    Arguments
    ---------
    model : Model
        The model.
    test : CodeSet
        The utterances.
    packets : Packets
        What the sides agreed on.
    seeds : Sequence[int]
        A trial each.

    Returns
    -------
    list[Row]
        One a probability and concealment.

    Raises
    ------
    DataError
        If other codes came back of packets without damage.
    """
    sent = sent_packets(packets, test)
    trials = {
        (probability, seed): damaged_packets(sent, probability, seed)
        for probability in BIT_ERRORS
        for seed in seeds
    }
    # One process for all of them.
    read = received(packets, [*sent, *sum(trials.values(), [])])
    count, lengths = len(sent), test.num_frames.tolist()
    whole, *others = (
        read[start : start + count] for start in range(0, len(read), count)
    )
    assembled = {
        trial: [
            packets.assembled(*each)
            for each in zip(found, lengths, strict=True)
        ]
        for trial, found in zip(trials, others, strict=True)
    }
    columns = rates(packets, test, sent, whole)
    listener = Listener(model, test)
    settings = [
        (each, name) for each in BIT_ERRORS for name in model.concealments
    ]
    rows = []
    for probability, name in tqdm(settings, desc="bit errors", disable=None):
        arrived = [assembled[probability, seed] for seed in seeds]
        flat = [sum(trials[probability, seed], []) for seed in seeds]
        # A packet is refused with all of its frames.
        refused = [
            lost[:: packets.frames] for each in arrived for _, lost in each
        ]
        rows.append(
            {
                "impairment": "bit_errors",
                "packet_frames": packets.frames,
                "checksum": "yes" if packets.checksum else "no",
                "bit_error_probability": probability,
                "damaged_percent": changed_percent(sum(sent, []), flat),
                "refused_percent": 100 * float(np.concatenate(refused).mean()),
                "concealment": name,
                "seeds": len(seeds),
                **columns,
                **pooled([listener.score(each, name) for each in arrived]),
            }
        )
    return rows


def damaged(
    messages: Sequence[bytes], probability: float, seed: int
) -> list[bytes]:
    """Messages with each bit flipped with some probability."""
    generator = np.random.default_rng(seed)
    return [flipped(each, probability, generator) for each in messages]


def damaged_packets(
    utterances: Sequence[Sequence[bytes]], probability: float, seed: int
) -> list[list[bytes]]:
    """The same of the packets of utterances."""
    generator = np.random.default_rng(seed)
    return [
        [flipped(packet, probability, generator) for packet in each]
        for each in utterances
    ]


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


def changed_percent(
    sent: Sequence[bytes], trials: Sequence[Sequence[bytes]]
) -> float:
    """Share of what was sent that arrived otherwise, over all trials."""
    changed = [
        before != after
        for arrived in trials
        for before, after in zip(sent, arrived, strict=True)
    ]
    return 100 * float(np.mean(changed))


def answer_of(
    cloud: AcomASR | AcomClassifier, read: Message | None
) -> str | None:
    """The answer to what a message held; None if it is refused."""
    if read is None:
        return None
    try:
        return answer_text(cloud.answer(cloud.output(read)))
    except AcomError:
        return None


def answers_to_nothing(model: Model) -> Mapping[str, str]:
    """What may stand in the place of the answer to a refused message.

    Arguments
    ---------
    model : Model
        The model.

    Returns
    -------
    Mapping[str, str]
        By concealment. Nothing at all has an empty answer; there is nothing
        to repeat.
    """
    bottleneck = model.cloud.bottleneck
    frames = bottleneck.framing.most_code_frames(model.usual_frames)
    codes = torch.zeros(
        frames, len(bottleneck.cardinalities), dtype=torch.int64
    )
    lost = torch.ones(frames, dtype=torch.bool)
    answers = {
        name: concealed_answer(
            model.cloud, codes, lost, model.usual_frames, concealment
        )
        for name, concealment in model.concealments.items()
        if name.endswith("vector")
    }
    return {"none": ""} | {
        name: answer_text(answer) for name, answer in answers.items()
    }
