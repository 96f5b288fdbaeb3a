"""Every lobe by name, and what some of them cannot keep of the contract.

Every lobes_*.py beside this file has ``LOBES``: lobes by name, each called
with channels=6. It may have ``EXCEPTIONS``: for a lobe, names of tests of the
contract that it fails, each with the reason; they must fail indeed. It has
``ROUND_TRIPS``: for every lobe a small one, called without arguments, that
codes what it decodes as the codes that it came from.
"""

import importlib
from pathlib import Path

import pytest
import torch

CHANNELS = 6


def _collected(attribute):
    modules = (
        importlib.import_module(path.stem)
        for path in sorted(Path(__file__).parent.glob("lobes_*.py"))
    )
    return {
        name: value
        for module in modules
        for name, value in getattr(module, attribute, {}).items()
    }


LOBES = _collected("LOBES")
EXCEPTIONS = _collected("EXCEPTIONS")
ROUND_TRIPS = _collected("ROUND_TRIPS")


def every_quantizer(test):
    """Run a test for every lobe, given as ``name``."""
    cases = [
        pytest.param(name, marks=_exception(name, test.__name__))
        for name in LOBES
    ]
    return pytest.mark.parametrize("name", cases)(test)


def _exception(name, test):
    reason = EXCEPTIONS.get(name, {}).get(test)
    return [pytest.mark.xfail(reason=reason, strict=True)] if reason else []


def built(name, started=True):
    """The same lobe at every call, in evaluation mode."""
    torch.manual_seed(0)
    quantizer = LOBES[name](channels=CHANNELS)
    if started:
        quantizer.initialize(torch.randn(200, CHANNELS))
    return quantizer.eval()
