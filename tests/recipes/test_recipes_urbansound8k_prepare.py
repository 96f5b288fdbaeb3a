import logging
from pathlib import Path

import pytest
from prepare_helpers import (
    RATE,
    RECIPES,
    ROOT,
    script,
    warnings_of,
    write_noise,
)

from speechbrain_acom import manifests
from speechbrain_acom.dataio import manifest_dataset
from speechbrain_acom.errors import ConfigurationError, DataError

SCRIPT = script(RECIPES / "UrbanSound8k" / "urbansound8k_prepare.py")
REAL_CLIPS = ROOT.parent / "shared" / "data" / "urbansound8k_mini"
CLASSES = ["air_conditioner", "car_horn", "children_playing"]


def test_script_lies_beside_the_recipe():
    link = RECIPES / "UrbanSound8k/SoundClassification/urbansound8k_prepare.py"
    assert link.resolve() == Path(SCRIPT.__file__).resolve()


class TestUrbanSound8K:
    FOLDS = {"train_folds": [1, 2], "valid_folds": [3], "test_folds": [4]}
    COLUMNS = "slice_file_name,fsID,start,end,salience,fold,classID,class"

    @pytest.fixture
    def corpus(self, tmp_path):
        """Three clips in each of the folds 1 to 4; metadata lists fold 5 too."""
        root = tmp_path / "UrbanSound8K"
        lines = [self.COLUMNS]
        for fold in range(1, 6):
            for label, name in enumerate(CLASSES):
                clip = f"{fold}00{label}-{label}-0-0.wav"
                if fold < 5:
                    path = root / "audio" / f"fold{fold}" / clip
                    write_noise(path, 0.1 * (label + 1), 22050, seed=fold)
                lines.append(
                    f"{clip},{fold}00{label},0.0,0.5,1,{fold},{label},{name}"
                )
        self.write_metadata(root, lines)
        return root

    def metadata(self, root):
        return root / "metadata" / "UrbanSound8K.csv"

    def write_metadata(self, root, lines):
        self.metadata(root).parent.mkdir(exist_ok=True)
        self.metadata(root).write_text("\n".join(lines) + "\n")

    def prepare(self, corpus, **changes):
        save = corpus.parent / "save"
        SCRIPT.prepare_urbansound8k(
            str(corpus), str(save), **{**self.FOLDS, **changes}
        )
        return save

    def open(self, save, name, corpus):
        return manifest_dataset(save / f"{name}.csv", corpus, RATE)

    def test_manifests_hold_their_folds(self, corpus, caplog):
        with caplog.at_level(logging.WARNING):
            save = self.prepare(corpus)
        folds = {
            path.stem: [
                row["fold"]
                for row in self.open(save, path.stem, corpus).data.values()
            ]
            for path in save.glob("*.csv")
        }
        assert folds == {
            "train": ["1"] * 3 + ["2"] * 3,
            "valid": ["3"] * 3,
            "test": ["4"] * 3,
        }
        header = (save / "train.csv").read_text().split("\n")[0]
        assert header == "ID,duration,wav,fold,fs_id,class_id,class_name"
        assert warnings_of(caplog) == []

    def test_rows_say_what_the_metadata_says(self, corpus):
        dataset = self.open(self.prepare(corpus), "test", corpus)
        dataset.set_output_keys(
            ["id", "duration", "fs_id", "class_id", "class_name", "sig"]
        )
        example = dataset[1]
        assert example["id"] == "4001-1-0-0"
        assert example["fs_id"] == "4001"
        assert (example["class_id"], example["class_name"]) == ("1", "car_horn")
        assert example["duration"] == pytest.approx(0.2)
        assert example["sig"].shape == (RATE // 5,)

    def test_faulty_clips_are_named_counted_and_left_out(self, corpus, caplog):
        folder = corpus / "audio" / "fold1"
        (folder / "1000-0-0-0.wav").unlink()
        (folder / "1001-1-0-0.wav").write_bytes(b"")
        write_noise(folder / "unlisted.wav")
        lines = self.metadata(corpus).read_text().split()
        self.write_metadata(corpus, [*lines, lines[3]])
        with caplog.at_level(logging.WARNING):
            save = self.prepare(corpus)
        assert len(self.open(save, "train", corpus)) == 4
        found = {
            "missing file": "1000-0-0-0.wav",
            "unreadable audio": "1001-1-0-0.wav: found an empty file",
            "file not in the metadata": "unlisted.wav",
            "clip listed twice": "1002-2-0-0.wav",
        }
        messages = warnings_of(caplog)
        assert len(messages) == len(found)
        for reason, name in found.items():
            [message] = [text for text in messages if reason in text]
            assert "skipped 1 item(s)" in message and name in message

    def test_only_the_first_of_many_faulty_clips_are_named(
        self, corpus, caplog
    ):
        count = manifests.NAMED + 7
        for index in range(count):
            write_noise(corpus / "audio" / "fold2" / f"extra{index:02d}.wav")
        with caplog.at_level(logging.WARNING):
            self.prepare(corpus)
        [message] = warnings_of(caplog)
        assert f"skipped {count} item(s)" in message
        assert message.endswith("extra09.wav and 7 more")

    @pytest.mark.parametrize(
        ("key", "folds"), [("valid_folds", [2]), ("test_folds", [5, 3])]
    )
    def test_overlapping_folds_are_refused(self, corpus, key, folds):
        with pytest.raises(
            ConfigurationError, match=f"^{key}: found {folds[-1]}"
        ):
            (corpus / "audio" / "fold5").mkdir()
            self.prepare(corpus, **{key: folds})

    @pytest.mark.parametrize("folds", [3, [], ["3"], "3"])
    def test_folds_have_to_be_a_list_of_numbers(self, corpus, folds):
        with pytest.raises(ConfigurationError, match="^test_folds: .*a list"):
            self.prepare(corpus, test_folds=folds)

    def test_missing_fold_is_named(self, corpus):
        with pytest.raises(DataError, match="fold5: found no such folder"):
            self.prepare(corpus, test_folds=[5])

    def test_fold_that_the_metadata_lacks_is_refused(self, corpus):
        write_noise(corpus / "audio" / "fold6" / "a.wav")
        with pytest.raises(DataError, match="test.csv: found nothing usable"):
            self.prepare(corpus, test_folds=[6])

    def test_missing_data_folder_is_named(self, tmp_path):
        with pytest.raises(DataError, match="absent: found no such folder"):
            self.prepare(tmp_path / "absent")

    def test_missing_metadata_is_named(self, corpus):
        self.metadata(corpus).unlink()
        with pytest.raises(DataError, match="UrbanSound8K.csv: found no such"):
            self.prepare(corpus)

    def test_missing_columns_are_named(self, corpus):
        self.write_metadata(corpus, ["slice_file_name,fold,class", "a.wav,1,x"])
        with pytest.raises(
            DataError, match="no column fsID, classID, expected"
        ):
            self.prepare(corpus)

    @pytest.mark.parametrize(
        ("row", "found"),
        [
            ("a.wav,1,0,1,1,one,0,dog", "line 2: found 'one' as fold"),
            ("a.wav,1,0,1,1,1,,dog", "line 2: found '' as classID"),
            (",1,0,1,1,1,0,dog", "line 2: found '' as slice_file_name"),
            ("a.wav,1", "line 2: found '' as fold"),
        ],
    )
    def test_damaged_metadata_row_is_named(self, corpus, row, found):
        self.write_metadata(corpus, [self.COLUMNS, row])
        with pytest.raises(DataError, match=found):
            self.prepare(corpus)

    def test_skip_prep_does_nothing(self, tmp_path):
        save = self.prepare(tmp_path / "absent", skip_prep=True)
        assert not save.exists()

    def test_real_metadata_is_understood(self, tmp_path):
        metadata = REAL_CLIPS / "UrbanSound8K_full.csv"
        if not metadata.is_file():
            pytest.skip("the shared UrbanSound8K metadata is not there")
        lines = metadata.read_text().splitlines()
        corpus = tmp_path / "UrbanSound8K"
        for fold in (1, 2, 3):
            of_fold = [
                line for line in lines if line.split(",")[5] == str(fold)
            ]
            name = of_fold[0].split(",")[0]
            write_noise(corpus / "audio" / f"fold{fold}" / name)
        self.write_metadata(corpus, lines)
        save = self.prepare(
            corpus, train_folds=[1], valid_folds=[2], test_folds=[3]
        )
        for name in ("train", "valid", "test"):
            assert len(self.open(save, name, corpus)) == 1
