"""Every speaker left out once: who trains, and what is pooled."""

import json
from pathlib import Path

import numpy as np
import pytest

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.metrics.scores import Counted
from speechbrain_acom.studies.pooled import pooled_row
from speechbrain_acom.studies.rotation import (
    CONTINUOUS,
    main,
    read_rotation,
)
from speechbrain_acom.studies.speakers import link_speakers, units
from speechbrain_acom.studies.utterances import Utterances

SHIPPED = Path(__file__).parents[2] / "hparams" / "studies" / "digits.yaml"
SPEAKERS = ["1", "2", "3", "4"]


def test_every_speaker_is_tested_once_a_seed_and_never_trained_on():
    found = units(SPEAKERS, [0, 1])
    assert [unit.test for unit in found] == SPEAKERS * 2
    for unit in found:
        assert unit.test != unit.dev
        assert {unit.test, unit.dev, *unit.train} == set(SPEAKERS)
        assert len(unit.train) == 2
    assert len({unit.name for unit in found}) == 8


@pytest.mark.parametrize("speakers", [["1", "2"], ["1", "2", "2"]])
def test_too_few_speakers_are_named(speakers):
    with pytest.raises(ConfigurationError, match="^speakers: found"):
        units(speakers, [0])


@pytest.fixture
def corpus(tmp_path):
    for split, speaker in (("train", "1"), ("train", "2"), ("dev", "3")):
        chapter = tmp_path / "data" / "Corpus" / split / speaker / "7"
        chapter.mkdir(parents=True)
        (chapter / f"{speaker}-7-0.flac").write_text(speaker)
    return tmp_path / "data" / "Corpus"


def test_speakers_become_splits_of_links(corpus, tmp_path):
    assert link_speakers(corpus, tmp_path / "linked") == ["1", "2", "3"]
    assert link_speakers(corpus, tmp_path / "linked") == ["1", "2", "3"]
    files = (tmp_path / "linked" / "3").glob("*/*/*.flac")
    assert [path.read_text() for path in files] == ["3"]


def test_a_speaker_in_two_splits_is_named(corpus, tmp_path):
    (corpus / "dev" / "1").mkdir()
    with pytest.raises(DataError, match="found 4 speakers, 3 of"):
        link_speakers(corpus, tmp_path / "linked")


def utterances(errors, sizes=None, prefix="u"):
    names = [f"{prefix}{number}" for number in range(len(errors))]
    counted = Counted(np.array(errors, float), np.full(len(errors), 4.0))
    return Utterances(names, names, {"wer_percent": counted}, sizes)


def run_row(speaker, seed, **more):
    return {
        "point": "p",
        "test_speaker": speaker,
        "seed": seed,
        "split_layer": 2,
        "audio_s": 2.0,
        **more,
    }


def test_errors_and_bytes_are_added_up_before_they_are_divided():
    runs = [
        run_row("1", 0, payload_bps=10.0),
        run_row("2", 0, payload_bps=20.0),
    ]
    parts = [utterances([1, 0], [3, 4]), utterances([4], [5], "v")]
    row = pooled_row("p", runs, parts)
    assert row["wer_percent"] == pytest.approx(100 * 5 / 12)
    assert row["least_wer_percent"] == 12.5
    assert row["most_wer_percent"] == 100.0
    assert row["message_bps"] == 8 * 12 / 4.0
    assert row["payload_bps"] == 15.0
    assert (row["runs"], row["speakers"], row["seeds"]) == (2, 2, 1)
    assert row["split_layer"] == 2
    assert (
        row["wer_percent_low"] <= row["wer_percent"] <= row["wer_percent_high"]
    )


def test_an_utterance_of_several_seeds_is_one_piece_of_evidence():
    errors = [4, 0] * 10
    once = pooled_row("p", [run_row("1", 0)], [utterances(errors)])
    thrice = pooled_row(
        "p",
        [run_row("1", seed) for seed in range(3)],
        [utterances(errors)] * 3,
    )
    for end in ("low", "high"):
        key = f"wer_percent_{end}"
        assert thrice[key] == pytest.approx(once[key], abs=3.0)
    assert "message_bps" not in once


SETTINGS = """
command: make nothing
seeds: [5, 6]
task:
    name: conformer
    recipe: ASR
    continuous: mini
    coded: mini_rvq
    metrics: [wer_percent]
    corpus: Corpus
points:
    one: {num_codebooks: 1}
    two: {num_codebooks: 2}
"""


@pytest.fixture
def trained(monkeypatch):
    """What is trained, by a study that only writes results."""
    seen = []

    def rows(study, task, lobe):
        seen.append((study.data, study.settings.seed, lobe, dict(task.keys)))
        assert not study.timed
        place = study.folder / study.data / task.name
        [test] = task.keys["test_splits"]
        utterances([1, 0]).save(place / CONTINUOUS / "utterances" / test)
        coded = place / lobe / "coded" / test
        utterances([2, 1], [3, 4]).save(coded / "utterances")
        results = place / CONTINUOUS / "results.json"
        about = dict.fromkeys(("commit", "date", "hardware"), "x")
        rows = [{"wer_percent": 12.5}]
        results.write_text(json.dumps({"rows": rows, "data": "x", **about}))
        return [{"lobe": lobe, "audio_s": 2.0, "recordings": "x", **about}]

    monkeypatch.setattr(
        "speechbrain_acom.studies.rotation.LobeStudy.rows", rows
    )
    return seen


@pytest.fixture
def command(corpus, tmp_path):
    settings = tmp_path / "study.yaml"
    settings.write_text(SETTINGS)
    return [
        f"--settings={settings}",
        f"--data_folder={corpus.parent}",
        f"--folder={tmp_path / 'runs'}",
        f"--results={tmp_path / 'study.json'}",
    ]


def test_all_units_and_points_are_run_once(trained, command, tmp_path):
    assert main(command) == 0
    assert len(trained) == 2 * 3 * 2
    name, seed, lobe, keys = trained[0]
    assert (name, seed, lobe) == ("1_5", 5, "one")
    assert keys["train_splits"] == ["3"]
    assert (keys["dev_splits"], keys["test_splits"]) == (["2"], ["1"])
    rows = json.loads((tmp_path / "study.json").read_text())["rows"]
    assert [row["point"] for row in rows] == [CONTINUOUS, "one", "two"]
    assert [row["runs"] for row in rows] == [6, 6, 6]
    assert rows[1]["wer_percent"] == 37.5
    assert rows[1]["message_bps"] == 28.0
    assert main(command) == 0
    assert len(trained) == 12


def test_some_of_them_can_be_run_and_others_added(trained, command, tmp_path):
    some = ["--points", "two", "--speakers", "3", "--seeds", "6"]
    assert main([*command, *some]) == 0
    assert [(name, lobe) for name, _, lobe, _ in trained] == [("3_6", "two")]
    # Trainings are gone, as on another machine; what was counted is not.
    assert main([*command, "--points", "two", "--seeds", "6"]) == 0
    assert len(trained) == 3
    rows = json.loads((tmp_path / "study.json").read_text())["rows"]
    assert [(row["point"], row["runs"]) for row in rows] == [
        (CONTINUOUS, 3),
        ("two", 3),
    ]


def test_pooled_rows_are_written_again_from_what_was_kept(
    trained, command, tmp_path
):
    assert main(command) == 0
    before = json.loads((tmp_path / "study.json").read_text())["rows"]
    (tmp_path / "study.json").unlink()
    assert main(command) == 0
    assert len(trained) == 12
    assert json.loads((tmp_path / "study.json").read_text())["rows"] == before


@pytest.mark.parametrize(
    "option", [["--points", "three"], ["--speakers", "9"], ["--seeds", "7"]]
)
def test_what_is_not_there_is_named(trained, command, option, capsys):
    assert main([*command, *option]) == 1
    assert f"{option[0]}: found" in capsys.readouterr().err
    assert not trained


def test_links_of_another_corpus_are_named(corpus, tmp_path):
    link_speakers(corpus, tmp_path / "linked")
    moved = corpus.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="found a link to"):
        link_speakers(moved, tmp_path / "linked")


def test_settings_without_a_key_are_named(tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_text(SETTINGS.replace("seeds: [5, 6]\n", ""))
    with pytest.raises(ConfigurationError, match="seeds"):
        read_rotation(path)
    assert main([f"--settings={path}", "--data_folder=x"]) == 1
    assert "seeds" in capsys.readouterr().err


def test_the_shipped_studies_can_be_read():
    settings, seeds = read_rotation(SHIPPED)
    assert len(seeds) == 3 and len(settings.lobes) >= 4
    grid, seeds = read_rotation(SHIPPED.with_stem("digits_grid"))
    assert len(seeds) == 1 and len(grid.lobes) == 3 * 3 * 2
