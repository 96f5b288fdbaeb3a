"""One row of results of many runs of the same settings."""

from collections.abc import Sequence

import numpy as np

from speechbrain_acom.metrics.bootstrap import ratio_interval
from speechbrain_acom.studies.results import Row
from speechbrain_acom.studies.utterances import Utterances

# Figures of a run that are the same in all runs of a point.
SAME = (
    *("split_layer", "merge", "num_codebooks", "codebook_size", "epochs"),
    *("prior", "rate_weight", "device_gmac_per_s", "total_gmac_per_s"),
    "algorithmic_latency_s",
)
# Figures that are means over the runs: controls, and what has no utterances.
AVERAGED = (
    *("nominal_bps", "cross_entropy_bps", "payload_bps"),
    *("random_codes_wer_percent", "constant_codes_wer_percent"),
    *("random_codes_cer_percent", "constant_codes_cer_percent"),
)


def pooled_row(
    point: str, runs: Sequence[Row], parts: Sequence[Utterances]
) -> Row:
    """One row of many runs of a point.

    Arguments
    ---------
    point : str
        Its name.
    runs : Sequence[Row]
        Rows of the runs.
    parts : Sequence[Utterances]
        What was counted in each, in the same order.

    Returns
    -------
    Row
        Percentages are of the sums over all runs; an utterance of several
        seeds is drawn together. ``least`` and ``most`` are of single runs.
    """
    row: Row = {"point": point, "runs": len(runs)}
    row["speakers"] = len({run["test_speaker"] for run in runs})
    row["seeds"] = len({run["seed"] for run in runs})
    row |= {key: runs[0][key] for key in SAME if key in runs[0]}
    groups = [group for part in parts for group in part.groups]
    for metric in parts[0].counted:
        counts = np.concatenate([part.counted[metric].counts for part in parts])
        units_ = np.concatenate([part.counted[metric].units for part in parts])
        interval = ratio_interval(100.0 * counts, units_, groups)
        row[metric] = interval.value
        row[f"{metric}_low"], row[f"{metric}_high"] = (
            interval.low,
            interval.high,
        )
        single = [part.counted[metric].percent for part in parts]
        row[f"least_{metric}"], row[f"most_{metric}"] = min(single), max(single)
    for key in AVERAGED:
        if all(key in run for run in runs):
            row[key] = float(np.mean([run[key] for run in runs]))
    if parts[0].message_bytes is not None:
        sent = sum(sum(part.message_bytes) for part in parts)
        row["message_bps"] = 8 * sent / sum(run["audio_s"] for run in runs)
    return row
