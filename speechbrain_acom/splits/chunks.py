"""Which chunks frames stand in: no frame sees a later chunk than its own.

Dynamic chunks, as SpeechBrain has them: every training step draws their size,
or none, so that one model serves with any (Zhang et al., "Unified Streaming
and Non-streaming Two-pass End-to-end Model for Speech Recognition", 2020).
"""

from speechbrain.core import Stage
from speechbrain.utils.dynamic_chunk_training import (
    DynChunkTrainConfig,
    DynChunkTrainConfigRandomSampler,
)

from speechbrain_acom.errors import ConfigurationError


class ChunkChoice:
    """The chunks that hold now; the layers of both halves look here.

    Arguments
    ---------
    sampler : DynChunkTrainConfigRandomSampler | None
        Draws chunks in training; its ``test_config`` holds otherwise. None:
        every frame sees all others.

    Raises
    ------
    ConfigurationError
        If this is no such sampler, validation would see other chunks than the
        test, or a chunk has no frame.

    Example
    -------
    >>> ChunkChoice(None).now(training=True)
    """

    def __init__(
        self, sampler: DynChunkTrainConfigRandomSampler | None
    ) -> None:
        self._sampler = sampler
        self._drawn: DynChunkTrainConfig | None = None
        if sampler is None:
            return
        if not isinstance(sampler, DynChunkTrainConfigRandomSampler):
            raise ConfigurationError(
                "chunks", sampler, "null or hparams/streaming/chunks.yaml"
            )
        if sampler.valid_config != sampler.test_config:
            raise ConfigurationError(
                "chunks.valid_config",
                sampler.valid_config,
                f"what test_config is, {sampler.test_config}",
            )
        sizes = [sampler.chunk_size_min]
        if sampler.test_config is not None:
            sizes.append(sampler.test_config.chunk_size)
        if min(sizes) < 1:
            raise ConfigurationError(
                "chunks", f"a chunk of {min(sizes)} frames", "at least 1"
            )

    def draw(self) -> None:
        """Choose the chunks of the next training step."""
        if self._sampler is not None:
            self._drawn = self._sampler(Stage.TRAIN)

    def now(self, training: bool) -> DynChunkTrainConfig | None:
        """What was drawn last, or what holds outside training."""
        if training or self._sampler is None:
            return self._drawn
        return self._sampler.test_config

    def streamed(self) -> DynChunkTrainConfig:
        """The chunks of a stream.

        Returns
        -------
        DynChunkTrainConfig
            Those that hold outside training; its past is limited.

        Raises
        ------
        ConfigurationError
            If there are none, or a frame sees all that was before it.
        """
        chunks = self.now(training=False)
        if chunks is None or chunks.is_infinite_left_context():
            raise ConfigurationError(
                "chunks.test_config",
                chunks,
                "a chunk_size and a left_context_size for a stream",
            )
        return chunks
