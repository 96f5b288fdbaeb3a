"""Audio coding for machines (ACoM) inside SpeechBrain.

A trained audio model is cut after one of its layers. The first layers run on
a device, a quantizer in the cut turns their output into codes, an entropy
coder turns the codes into bytes, and the remaining layers run in the cloud.

Importing this package loads neither torch nor SpeechBrain, so that
``speechbrain_acom.entropy`` can be used where neither is installed.
"""

from speechbrain_acom.version import __version__

__all__ = ["__version__"]
