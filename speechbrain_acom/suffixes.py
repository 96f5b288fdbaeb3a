"""What is taken for audio inside a folder; a file that is named may be any."""

AUDIO_SUFFIXES = (
    ".aif .aiff .au .caf .flac .mp3 .oga .ogg .opus .w64 .wav".split()
)
