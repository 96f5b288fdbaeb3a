import json
import logging
from pathlib import Path

import pytest
from prepare_helpers import RATE, RECIPES, script, warnings_of, write_noise

from speechbrain_acom.dataio import manifest_dataset
from speechbrain_acom.errors import ConfigurationError, DataError

SCRIPT = script(RECIPES / "LibriSpeech" / "librispeech_prepare.py")


def test_script_lies_beside_the_recipe():
    link = RECIPES / "LibriSpeech/ASR/CTC/librispeech_prepare.py"
    assert link.resolve() == Path(SCRIPT.__file__).resolve()


class TestLibriSpeech:
    SPLITS = {
        "train_splits": ["train-a", "train-b"],
        "dev_splits": ["dev-clean"],
        "test_splits": ["test-clean", "test-other"],
    }

    @pytest.fixture
    def corpus(self, tmp_path):
        """Two speakers a split, one chapter each, two utterances each."""
        root = tmp_path / "LibriSpeech"
        number = 100
        for splits in self.SPLITS.values():
            for split in splits:
                for _ in range(2):
                    self.write_chapter(root / split / str(number) / "7", number)
                    number += 1
        return root

    def write_chapter(self, folder, speaker):
        names = [f"{speaker}-7-{index:04d}" for index in range(2)]
        for name in names:
            write_noise(folder / f"{name}.flac", seed=speaker)
        lines = [f"{name} ONE TWO {speaker}\n" for name in names]
        (folder / f"{speaker}-7.trans.txt").write_text("".join(lines))

    def prepare(self, corpus, **changes):
        save = corpus.parent / "save"
        SCRIPT.prepare_librispeech(
            str(corpus), str(save), **{**self.SPLITS, **changes}
        )
        return save

    def open(self, save, name, corpus):
        return manifest_dataset(save / f"{name}.csv", corpus, RATE)

    def test_manifests_hold_every_utterance(self, corpus):
        save = self.prepare(corpus)
        sizes = {
            path.stem: len(self.open(save, path.stem, corpus))
            for path in save.glob("*.csv")
        }
        assert sizes == {
            "train": 8,
            "dev-clean": 4,
            "test-clean": 4,
            "test-other": 4,
        }
        header = (save / "train.csv").read_text().split("\n")[0]
        assert header == "ID,duration,wav,spk_id,wrd"

    def test_rows_say_what_the_corpus_says(self, corpus):
        dataset = self.open(self.prepare(corpus), "train", corpus)
        dataset.set_output_keys(
            ["id", "duration", "spk_id", "wrd", "wav", "sig"]
        )
        example = dataset[2]
        assert example["id"] == "101-7-0000"
        assert example["spk_id"] == "101"
        assert example["wrd"] == "ONE TWO 101"
        assert example["duration"] == pytest.approx(0.1)
        assert example["wav"] == f"{corpus}/train-a/101/7/101-7-0000.flac"
        assert example["sig"].shape == (RATE // 10,)

    def test_manifest_is_the_same_every_time(self, corpus):
        first = (self.prepare(corpus) / "train.csv").read_bytes()
        (corpus.parent / "save" / "train.csv").unlink()
        assert (self.prepare(corpus) / "train.csv").read_bytes() == first

    def test_any_subset_of_splits_will_do(self, corpus):
        save = self.prepare(
            corpus, train_splits=[], dev_splits=[], test_splits=["test-other"]
        )
        assert [path.name for path in save.glob("*.csv")] == ["test-other.csv"]

    def test_faulty_utterances_are_named_counted_and_left_out(
        self, corpus, caplog
    ):
        chapter = corpus / "train-a" / "100" / "7"
        (chapter / "100-7-0000.flac").write_text("no audio")
        write_noise(chapter / "100-7-0001.flac", seconds=0)
        write_noise(chapter / "100-7-0002.flac")
        with open(chapter / "100-7.trans.txt", "a") as handle:
            handle.write("100-7-0003 WORDS WITHOUT AUDIO\n\n100-7-0002\n")
        write_noise(corpus / "train-b" / "100" / "7" / "101-7-0000.flac")
        (corpus / "train-b" / "100" / "7" / "100-7.trans.txt").write_text(
            "101-7-0000 THE SAME ID AGAIN\n"
        )
        with caplog.at_level(logging.WARNING):
            save = self.prepare(corpus)
        assert len(self.open(save, "train", corpus)) == 6
        found = {
            "unreadable audio": [
                "100-7-0000.flac: found no readable",
                "100-7-0001.flac: found an empty file",
            ],
            "audio without transcript": ["100-7-0002.flac"],
            "transcript without audio": ["100-7-0003.flac"],
            "repeated ID": ["101-7-0000.flac"],
        }
        messages = warnings_of(caplog)
        assert len(messages) == len(found)
        for reason, names in found.items():
            [message] = [text for text in messages if reason in text]
            assert f"skipped {len(names)} item(s)" in message
            assert all(name in message for name in names)
        skipped = json.loads((save / SCRIPT.RECORD_FILE).read_text())
        assert {
            reason: len(names) for reason, names in skipped["skipped"].items()
        } == {reason: len(names) for reason, names in found.items()}

    def test_transcripts_that_are_not_text_are_named(self, corpus, caplog):
        path = corpus / "train-a" / "100" / "7" / "100-7.trans.txt"
        path.write_bytes(b"\xff\xfe\x00damaged")
        with caplog.at_level(logging.WARNING):
            save = self.prepare(corpus)
        assert len(self.open(save, "train", corpus)) == 6
        assert any(
            "unreadable transcripts" in text and str(path) in text
            for text in warnings_of(caplog)
        )

    def test_finished_work_is_not_repeated(self, corpus):
        save = self.prepare(corpus)
        (save / "train.csv").write_text("untouched")
        self.prepare(corpus)
        assert (save / "train.csv").read_text() == "untouched"

    @pytest.mark.parametrize(
        "change", ["new file", "lost manifest", "other splits", "no record"]
    )
    def test_work_is_repeated_when_something_changed(self, corpus, change):
        save = self.prepare(corpus)
        (save / "train.csv").write_text("old")
        splits = {}
        if change == "new file":
            self.write_chapter(corpus / "train-a" / "999" / "7", 999)
        elif change == "lost manifest":
            (save / "test-other.csv").unlink()
        elif change == "other splits":
            splits = {"train_splits": ["train-a"]}
        else:
            (save / SCRIPT.RECORD_FILE).write_text("{")
        self.prepare(corpus, **splits)
        sizes = {"new file": 10, "other splits": 4}
        assert len(self.open(save, "train", corpus)) == sizes.get(change, 8)

    def test_a_repaired_file_is_taken_in_on_the_next_run(self, corpus):
        path = corpus / "train-a" / "100" / "7" / "100-7-0000.flac"
        path.write_text("no audio")
        assert len(self.open(self.prepare(corpus), "train", corpus)) == 7
        write_noise(path)
        assert len(self.open(self.prepare(corpus), "train", corpus)) == 8

    def test_skip_prep_does_nothing(self, tmp_path):
        save = self.prepare(tmp_path / "absent", skip_prep=True)
        assert not save.exists()

    def test_missing_data_folder_is_named(self, tmp_path):
        with pytest.raises(DataError, match="absent: found no such folder"):
            self.prepare(tmp_path / "absent")

    def test_missing_split_is_named(self, corpus):
        with pytest.raises(DataError, match="dev-other: found no such folder"):
            self.prepare(corpus, dev_splits=["dev-other"])

    def test_split_without_audio_is_named(self, corpus):
        (corpus / "dev-other").mkdir()
        with pytest.raises(DataError, match="dev-other: found no audio"):
            self.prepare(corpus, dev_splits=["dev-other"])

    def test_split_without_anything_usable_is_refused(self, corpus):
        for path in (corpus / "dev-clean").glob("*/*/*.flac"):
            path.write_text("no audio")
        with pytest.raises(DataError, match="dev-clean.csv: found nothing"):
            self.prepare(corpus)

    def test_split_given_twice_is_refused(self, corpus):
        with pytest.raises(
            ConfigurationError, match="^test_splits: .*'train-a'"
        ):
            self.prepare(corpus, test_splits=["train-a"])

    def test_splits_have_to_be_a_list(self, corpus):
        with pytest.raises(ConfigurationError, match="^dev_splits: .*a list"):
            self.prepare(corpus, dev_splits="dev-clean")

    def test_every_official_split_is_known_by_its_folder(self, tmp_path):
        """The real layout, with the files that lie beside the splits."""
        root = tmp_path / "LibriSpeech"
        official = {
            "train_splits": [
                "train-clean-100",
                "train-clean-360",
                "train-other-500",
            ],
            "dev_splits": ["dev-clean", "dev-other"],
            "test_splits": ["test-clean", "test-other"],
        }
        number = 19
        for splits in official.values():
            for split in splits:
                folder = root / split / str(number) / "198"
                self.write_chapter(folder, number)
                number += 1
        for name in ("BOOKS.TXT", "SPEAKERS.TXT", "README.TXT"):
            (root / name).write_text("; nothing to read")
        save = self.prepare(root, **official)
        sizes = {
            path.stem: len(self.open(save, path.stem, root))
            for path in save.glob("*.csv")
        }
        others = [*official["dev_splits"], *official["test_splits"]]
        assert sizes == {"train": 6, **dict.fromkeys(others, 2)}
        train = self.open(save, "train", root)
        speakers = {row["spk_id"] for row in train.data.values()}
        assert speakers == {"19", "20", "21"}

    def test_a_file_in_place_of_a_split_is_named(self, corpus):
        (corpus / "dev-other").write_text("no folder")
        with pytest.raises(DataError, match="dev-other: found no such folder"):
            self.prepare(corpus, dev_splits=["dev-other"])

    def test_another_sample_rate_is_no_fault(self, corpus):
        path = corpus / "train-a" / "100" / "7" / "100-7-0000.flac"
        write_noise(path, seconds=0.5, rate=8000)
        dataset = self.open(self.prepare(corpus), "train", corpus)
        dataset.set_output_keys(["duration", "sig"])
        assert dataset[0]["duration"] == pytest.approx(0.5)
        assert dataset[0]["sig"].shape == (RATE // 2,)

    def test_a_full_disk_leaves_no_half_of_a_manifest(
        self, corpus, monkeypatch
    ):
        save = self.prepare(corpus)
        before = {path.name: path.read_bytes() for path in save.iterdir()}
        self.write_chapter(corpus / "train-a" / "999" / "7", 999)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("csv.DictWriter.writerows", full)
        with pytest.raises(OSError, match="No space left"):
            self.prepare(corpus)
        after = {
            path.name: path.read_bytes()
            for path in save.iterdir()
            if path.suffix != ".unfinished"
        }
        assert after == before
        monkeypatch.undo()
        assert len(self.open(self.prepare(corpus), "train", corpus)) == 10
