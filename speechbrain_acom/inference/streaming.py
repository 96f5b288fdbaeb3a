"""Audio to bytes while it comes, and bytes to text while they come.

Both halves run chunk by chunk, as the model was trained to (see
:mod:`~speechbrain_acom.splits.chunks`): codes and text are those of the whole
recording, up to rounding. Only where frames are merged the last chunk may say
something else: a stream does not tell how many frames its last group has, and
the cloud half takes it for whole. Every chunk's bytes end with a flush, so that
the cloud half answers to a chunk without waiting for the next.
"""

import math
from pathlib import Path

import torch
from speechbrain.lobes.features import Fbank
from speechbrain.utils.filter_analysis import (
    FilterProperties,
    stack_filter_properties,
)
from torch import Tensor

from speechbrain_acom.audio import checked_signal, load_audio, pad_short
from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.entropy.priors import Prior
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder
from speechbrain_acom.errors import AudioError, ConfigurationError
from speechbrain_acom.features import UnclippedFbank
from speechbrain_acom.inference.interfaces import AcomInterface
from speechbrain_acom.inference.tasks import AcomASR, AcomEncoderDecoderASR
from speechbrain_acom.merges import CausalMerge
from speechbrain_acom.splits.streams import ChunkStream, FilterStream
from speechbrain_acom.vocabulary import tokens_to_text


class AcomStreamEncoder:
    """The device's side of one recording.

    Arguments
    ---------
    interface : AcomInterface
        Holds the device half of a model with chunks; it may serve many
        recordings at once.
    num_codebooks : int | None
        k, from 1 to K: send only the first k codebooks, where the quantizer
        is truncatable; the decoder needs the same. None: all K.

    Attributes
    ----------
    latency : float
        Algorithmic latency in seconds: how much later than the first frame of
        a chunk the last sample comes that its bytes depend on.

    Raises
    ------
    ConfigurationError
        If only the cloud half is loaded, the quantizer has no such k, or a
        part of the model has to see the recording as a whole; it says which.

    Example
    -------
    >>> device = AcomASR.from_hparams("folder", "device")  # doctest: +SKIP
    >>> cloud = AcomASR.from_hparams("folder", "cloud")  # doctest: +SKIP
    >>> encoder = AcomStreamEncoder(device)  # doctest: +SKIP
    >>> decoder = AcomStreamDecoder(cloud)  # doctest: +SKIP
    >>> for signal in microphone:  # doctest: +SKIP
    ...     print(decoder.push(encoder.push(signal)))
    >>> print(decoder.push(encoder.finish()) + decoder.finish())  # doctest: +SKIP
    """

    def __init__(
        self, interface: AcomInterface, num_codebooks: int | None = None
    ) -> None:
        interface.need_half("device")
        stream = interface.mods.split.device_stream()
        bottleneck = interface.bottleneck
        _check_groups(bottleneck, stream.chunk_frames)
        properties = stack_filter_properties(
            [_audio_filter(interface), stream.front_filter]
        )
        self._interface = interface
        self._front = stream.front
        self._frames = FilterStream(
            self._frames_of, properties, stream.chunk_frames
        )
        self._layers = ChunkStream(stream.layers, stream.chunk_frames)
        self._bottleneck = bottleneck.stream(num_codebooks)
        code_frames = stream.chunk_frames / bottleneck.framing.merge
        self._coder = StreamEncoder(
            _stream_prior(interface, num_codebooks),
            interface.model_hash,
            # What costs least with as many frames between two flushes.
            flush_bits=max(round(math.log2(code_frames)), 1),
        )
        self._samples, self._finished = 0, False
        waited = (stream.chunk_frames - 1) * properties.stride
        self.latency: float = (
            waited + self._frames.look_ahead
        ) / interface.hparams.sample_rate

    @torch.no_grad()
    def push(self, signal: Tensor) -> bytes:
        """Take the next samples.

        Arguments
        ---------
        signal : Tensor
            Mono, floating point, shape (time,), at the model's sample rate.

        Returns
        -------
        bytes
            Those of the chunks that are whole by now, maybe none.

        Raises
        ------
        AudioError
            If the signal is of another shape or type, empty, or holds NaN or
            infinite samples, or the recording has ended.
        """
        self._check_open()
        signal = checked_signal(signal).to(self._interface.device)
        self._samples += len(signal)
        frames = self._frames.push(signal.unsqueeze(0))
        cut = None if frames is None else self._layers.push(frames)
        return b"" if cut is None else self._sent(self._bottleneck.push(cut))

    @torch.no_grad()
    def finish(self) -> bytes:
        """End the recording.

        Less than 0.1 s of it is followed by silence, as in a message.

        Returns
        -------
        bytes
            Those of the last frames.

        Raises
        ------
        AudioError
            If no sample ever came, or the recording has ended.
        """
        self._check_open()
        if not self._samples:
            raise AudioError("stream: found no sample, expected some")
        self._finished = True
        rate = self._interface.hparams.sample_rate
        silence = pad_short(torch.zeros(self._samples), rate)[self._samples :]
        silence = silence.to(self._interface.device)
        frames = self._frames.finish(silence.unsqueeze(0))
        pieces = [self._layers.push(frames), self._layers.finish()]
        last = [piece for piece in pieces if piece is not None]
        if not last:
            last = [
                frames.new_empty((1, 0, self._interface.bottleneck.channels))
            ]
        return self._sent(self._bottleneck.finish(torch.cat(last, dim=1)))

    def _check_open(self) -> None:
        if self._finished:
            raise AudioError(
                "stream: found a recording that has ended, expected another "
                "AcomStreamEncoder for the next one"
            )

    def _frames_of(self, signals: Tensor) -> Tensor:
        """Samples (1, sample) to frames before the layers."""
        modules = self._interface.mods
        lengths = torch.ones(1, device=signals.device)
        features = modules.compute_features(signals)
        return self._front(modules.normalize(features, lengths))

    def _sent(self, codes: Tensor) -> bytes:
        """The bytes of some codes (1, code frame, k), and a flush."""
        if not codes.shape[1]:
            return b""
        pushed = self._coder.push(codes[0].cpu().numpy())
        return pushed + self._coder.flush()


def stream_file(
    interface: AcomInterface,
    path: str | Path,
    num_codebooks: int | None = None,
) -> bytes:
    """Code an audio file as a device does that hears it.

    Arguments
    ---------
    interface : AcomInterface
        Holds the device half of a model with chunks.
    path : str | Path
        Audio of any sample rate and number of channels.
    num_codebooks : int | None
        As for :class:`AcomStreamEncoder`.

    Returns
    -------
    bytes
        The whole stream.

    Raises
    ------
    AudioError
        If the file is missing, empty, damaged or not audio.
    ConfigurationError
        As :class:`AcomStreamEncoder`.
    """
    encoder = AcomStreamEncoder(interface, num_codebooks)
    rate = interface.hparams.sample_rate
    pieces = load_audio(path, rate).split(rate)
    return b"".join([*map(encoder.push, pieces), encoder.finish()])


class AcomStreamDecoder:
    """The cloud's side of one recording.

    Arguments
    ---------
    interface : AcomASR
        Holds the cloud half of a model with chunks; it may serve many
        recordings at once.
    num_codebooks : int | None
        What the encoder was given.
    max_frames : int | None
        Frames of codes that one push may give at most; None: as for
        :class:`~speechbrain_acom.entropy.streaming.StreamDecoder`.

    Raises
    ------
    ConfigurationError
        If only the device half is loaded, the quantizer has no such k, a part
        of the model has to see the recording as a whole, or its answer is
        searched for with an attention decoder, which has to.
    """

    def __init__(
        self,
        interface: AcomASR,
        num_codebooks: int | None = None,
        max_frames: int | None = None,
    ) -> None:
        interface.need_half("cloud")
        searches = isinstance(interface, AcomEncoderDecoderASR)
        if searches or not isinstance(interface, AcomASR):
            raise ConfigurationError(
                "interface", type(interface).__name__, "AcomASR for a stream"
            )
        stream = interface.mods.split.cloud_stream()
        self._interface = interface
        self._layers = ChunkStream(stream.layers, stream.chunk_frames)
        self._coder = StreamDecoder(
            _stream_prior(interface, num_codebooks),
            interface.model_hash,
            max_frames,
        )
        self._last = interface.hparams.blank_index
        self._tokens: list[int] = []

    @torch.no_grad()
    def push(self, received: bytes) -> str:
        """Take the next bytes.

        Arguments
        ---------
        received : bytes
            However many.

        Returns
        -------
        str
            The greedy transcript of all chunks that are whole by now, from
            the first one on.

        Raises
        ------
        BitstreamError
            If the bytes are no stream, or one of another model, or no encoder
            writes them, or they give too many frames; from then on at every
            push.
        """
        found = self._coder.push(received)
        if len(found):
            codes = torch.from_numpy(found).to(self._interface.device)
            bottleneck = self._interface.bottleneck
            frames = len(codes) * bottleneck.framing.merge
            values = bottleneck.decode(codes.unsqueeze(0), frames)
            self._heard(self._layers.push(values))
        return self._text()

    @torch.no_grad()
    def finish(self) -> str:
        """End the recording: the transcript of all that came."""
        self._heard(self._layers.finish())
        return self._text()

    def _heard(self, output: Tensor | None) -> None:
        """Take note of what the head gave, (1, frame, token)."""
        if output is None:
            return
        blank = self._interface.hparams.blank_index
        for token in output[0].argmax(dim=-1).tolist():
            if token not in (blank, self._last):
                self._tokens.append(token)
            self._last = token

    def _text(self) -> str:
        return tokens_to_text(self._interface.hparams.tokenizer, self._tokens)


def _stream_prior(interface: AcomInterface, num_codebooks: int | None) -> Prior:
    """The prior of the columns that are sent."""
    bottleneck = interface.bottleneck
    books = bottleneck.quantizer.checked_num_codebooks(num_codebooks)
    return interface.prior.first(bottleneck.framing.run_columns + books)


def _check_groups(bottleneck: Bottleneck, chunk_frames: int) -> None:
    """Raise if a group of merged frames would wait for the next chunk."""
    factor = bottleneck.merge.factor
    waits = not isinstance(bottleneck.merge, CausalMerge)
    if waits and chunk_frames % factor:
        raise ConfigurationError(
            "merge",
            factor,
            f"a divisor of the {chunk_frames} frames of a chunk, or "
            "merge_mode: causal, for a stream",
        )


def _audio_filter(interface: AcomInterface) -> FilterProperties:
    """Which samples a frame of normalised features depends on."""
    compute = interface.mods.compute_features
    measured = getattr(compute, "get_filter_properties", None)
    # SpeechBrain's own filter banks depend on the loudest frame.
    clipped = isinstance(compute, Fbank) and not isinstance(
        compute, UnclippedFbank
    )
    wider = isinstance(compute, Fbank) and (compute.deltas or compute.context)
    if measured is None or clipped or wider:
        raise ConfigurationError(
            "compute_features",
            type(compute).__name__,
            "speechbrain_acom.features.UnclippedFbank, without deltas and "
            "context, for a stream",
        )
    norm_type = getattr(interface.mods.normalize, "norm_type", "global")
    if norm_type != "global":
        raise ConfigurationError(
            "normalize.norm_type", norm_type, "global for a stream"
        )
    return measured()
