"""A recipe that trains for few bits, and codes with what it chose by."""

import pytest
from recipe_runs import SOUND, TINY_CNN14, finished, is_finite, run

from speechbrain_acom.entropy.priors import load_prior, prior_digest
from speechbrain_acom.inference import load_fitter, refit_prior

FRAGMENTS = "../../../hparams"
PRIOR = SOUND / FRAGMENTS / "priors" / "rate_model.yaml"


@pytest.fixture(scope="module")
def chosen_by_bits(sounds, tmp_path_factory):
    return finished(
        run(
            SOUND,
            "mini_cnn14_rvq",
            tmp_path_factory.mktemp("rate") / "run",
            data_folder=sounds,
            pretrained_path="",
            number_of_epochs=2,
            train_folds="[2]",
            test_folds="[10]",
            quantizer=f"!include:{FRAGMENTS}/quantizers/rvq_rate.yaml "
            "{codebook_size: 16, codebook_dim: 4, hidden_dim: 8, "
            "assignment_weight: 0.1}",
            prior=f"!include:{FRAGMENTS}/priors/rate_model.yaml",
            rate_weight=0.1,
            rate_ramp_epochs=1,
            **TINY_CNN14,
        )
    )


def test_rate_model_codes_what_another_process_decodes(chosen_by_bits):
    row = chosen_by_bits.row
    assert is_finite(row)
    assert row["prior"] == "NeuralPrior"
    assert (row["rate_weight"], row["assignment_weight"]) == (0.1, 0.1)
    key = "accuracy_percent"
    assert row[key] == row[f"in_process_{key}"]
    assert row["cross_entropy_bps"] < row["payload_bps"] < row["message_bps"]
    # Less than 4 bits a frame: something was learned.
    assert row["cross_entropy_bps"] < row["nominal_bps"]


def test_export_gives_its_prior_again(chosen_by_bits, sounds, tmp_path):
    export = chosen_by_bits.folder / "export"
    paths = sorted(sounds.glob("audio/fold10/*.wav"))[:2]
    refit_prior(export, load_fitter(PRIOR), paths, tmp_path / "again")
    before, after = (
        prior_digest(load_prior(folder / "prior.ckpt"))
        for folder in (export, tmp_path / "again")
    )
    assert before == after
