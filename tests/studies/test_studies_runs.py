"""Recipes are run, and what goes wrong in them is told."""

import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.runs import run_recipe


def test_recipe_that_prints_nothing_is_named(tmp_path):
    (tmp_path / "train.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(DataError, match=r"run\.log: .*status 3.*nothing was"):
        run_recipe(tmp_path, "a.yaml", tmp_path / "run", {})
