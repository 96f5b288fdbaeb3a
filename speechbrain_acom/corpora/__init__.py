"""Corpora that the package makes by itself: synthetic, never real.

They let every recipe run end to end without a download, in the folder
layouts of LibriSpeech and UrbanSound8K, so that the recipes prepare them as
they prepare the real data sets.
"""

from speechbrain_acom.corpora.folder import MadeCorpus
from speechbrain_acom.corpora.sounds import make_sound_corpus
from speechbrain_acom.corpora.speech import make_speech_corpus

__all__ = ["MadeCorpus", "make_sound_corpus", "make_speech_corpus"]
