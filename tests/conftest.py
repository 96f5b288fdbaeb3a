"""What tests of several rooms share."""

import os
import sys

# A test never asks a hub; the hub's package looks when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import exported_models  # noqa: E402
import pytest  # noqa: E402
from speechbrain.utils.importutils import LazyModule  # noqa: E402

from speechbrain_acom.inference import (  # noqa: E402
    copy_half,
    load_interface,
)

# Hypothesis asks every loaded module for its file, which makes SpeechBrain's
# redirects import what they stand for; those of packages that are not
# installed fail. None is what Hypothesis takes for "has no file".
for _module in list(sys.modules.values()):
    if isinstance(_module, LazyModule):
        _module.__file__ = None


@pytest.fixture(scope="session")
def recogniser(tmp_path_factory):
    """A tiny untrained AcomASR, exported."""
    return exported_models.tiny_recogniser(tmp_path_factory.mktemp("asr"))


@pytest.fixture(scope="session")
def variable_recogniser(tmp_path_factory):
    """The same with runs of like frames merged."""
    folder = tmp_path_factory.mktemp("variable")
    return exported_models.tiny_recogniser(
        folder, merge_mode="similar", merge=3
    )


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """A tiny untrained AcomClassifier, exported."""
    return exported_models.tiny_classifier(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(
    scope="module", params=["recogniser", "variable_recogniser", "classifier"]
)
def halves(request, tmp_path_factory):
    """Interfaces of the two halves, each from a folder of its own files."""
    model = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("halves")
    return [
        load_interface(copy_half(model.folder, half, folder / half), half)
        for half in ("device", "cloud")
    ]


@pytest.fixture(params=["recogniser", "classifier"])
def model(request):
    """Both exported models, one after the other."""
    return request.getfixturevalue(request.param)
