"""The coders of the entropy benchmark, and what its rows say."""

import lzma
import zlib
from itertools import cycle, islice

import contestants
import entropy
import numpy as np
import pytest
import torch
import transformer_training
from code_coders import ArchiveCoder, FixedCoder, HuffmanCoder, PriorCoder
from code_sets import CodeSet
from contestants import Fitting
from entropy_worker import Coding, measured_coding
from float_network import FloatNetworkCoder, FloatNetworkPrior
from frame_transformer import FrameTransformer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformer_prior import TransformerCoder, TransformerPrior

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import AdaptivePrior, StaticPrior
from speechbrain_acom.entropy.priors.attention import AttentionShape
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.studies.results import read_rows
from speechbrain_acom.training.context_network import ContextNetwork

SIZES = (5, 1, 300)


def drawn(count, frames, seed=0, sizes=SIZES):
    generator = np.random.default_rng(seed)
    shape = (2, frames, len(sizes))
    return [generator.integers(0, sizes, shape).min(0) for _ in range(count)]


def code_set(utterances, sizes=SIZES, framing=ONE_TO_ONE):
    lengths = np.array([len(codes) for codes in utterances])
    names = [str(number) for number in range(len(utterances))]
    return CodeSet(
        "made",
        utterances,
        sizes,
        lengths / 25,
        lengths * framing.merge,
        framing,
        names,
        [""] * len(names),
    )


def baselines(sizes=SIZES):
    codes = drawn(3, 40, sizes=sizes)
    torch.manual_seed(0)
    models = [
        FrameTransformer(sizes, width=4, hidden=4, tied=tied)
        for tied in (True, False)
    ]
    network = ContextNetwork(
        StaticPrior.fit(codes, sizes),
        Context(recent_frames=2, pooled_groups=1),
        AttentionShape(heads=2, head_dim=2, key_frames=1, reach=9),
        embedding_dim=4,
        hidden_dim=6,
        hidden_layers=1,
        dropout=0.5,
        embedding_dropout=0.5,
    )
    for part in (*models, network):
        for weights in part.parameters():
            torch.nn.init.normal_(weights, std=0.3)
    return {
        "static": PriorCoder(StaticPrior.fit(codes, sizes)),
        "fixed": FixedCoder(sizes),
        "huffman": HuffmanCoder.fit(codes, sizes),
        "zlib": ArchiveCoder.fit("zlib", codes, sizes),
        "xz": ArchiveCoder.fit("xz", codes, sizes),
        "tied": TransformerCoder(TransformerPrior(models[0])),
        "untied": TransformerCoder(TransformerPrior(models[1])),
        "float": FloatNetworkCoder(FloatNetworkPrior(network.eval())),
    }


CODERS = baselines()


@pytest.mark.parametrize("name", CODERS)
@settings(deadline=None, max_examples=10)
@given(
    fractions=arrays(np.float64, (7, len(SIZES)), elements=st.floats(0, 0.999)),
    frames=st.integers(1, 7),
)
def test_every_coder_gives_back_the_codes(name, fractions, frames):
    codes = (fractions[:frames] * SIZES).astype(np.int64)
    coder = CODERS[name]
    payload = coder.encode(codes)
    assert np.array_equal(coder.decode(payload, frames), codes)
    bits = coder.bits(codes)
    if bits is not None:
        # A byte a codebook, where each of them ends with its own.
        assert 8 * len(payload) <= bits + 8 * len(SIZES)


@pytest.mark.parametrize("name", CODERS)
def test_a_coder_from_its_file_decodes(name, tmp_path):
    (codes,) = drawn(1, 30, seed=1)
    coder = CODERS[name]
    coder.save(tmp_path / "coder")
    loaded = type(coder).load(tmp_path / "coder")
    payload = coder.encode(codes)
    assert np.array_equal(loaded.decode(payload, 30), codes)
    assert loaded.encode(codes) == payload


def test_huffman_codes_have_the_lengths_of_the_tree():
    # 1 and 2 join to 3, 3 and 4 to 7, 7 and 8 to 15: depths 3, 3, 2, 1.
    coder = HuffmanCoder([np.array([8.0, 4.0, 2.0, 1.0])] * 2)
    codes = np.array([[0, 3], [0, 3], [1, 3], [3, 3]])
    assert coder.bits(codes) == (1 + 1 + 2 + 3) + 4 * 3
    # Seven bits are one byte, twelve are two.
    assert len(coder.encode(codes)) == 1 + 2


def test_huffman_codes_what_training_never_saw():
    training = np.zeros((1000, 1), dtype=np.int64)
    coder = HuffmanCoder.fit([training], (256,))
    unseen = np.arange(256)[:, np.newaxis]
    payload = coder.encode(unseen)
    assert np.array_equal(coder.decode(payload, 256), unseen)
    assert coder.lengths[0][0] == 1
    assert coder.lengths[0][1:].min() >= 8


def test_fixed_codes_take_the_bits_of_their_codebooks():
    codes = np.array([[4, 0, 299], [1, 0, 256]])
    # 100 001, nothing, 100101011 100000000: 24 bits.
    assert (
        FixedCoder(SIZES).encode(codes).hex()
        == f"{0b100001100101011100000000:x}"
    )
    assert FixedCoder(SIZES, unit=8).encode(codes).hex() == "0401012b0100"


@pytest.mark.parametrize("method", ["zlib", "xz"])
def test_archives_take_the_layout_that_is_shorter_for_them(method):
    # Of 10 bits each, so that only whole bytes show that they repeat.
    pattern = np.random.default_rng(0).integers(0, 1024, 37)
    codes = np.array(list(islice(cycle(pattern), 2000)))[:, np.newaxis]
    coder = ArchiveCoder.fit(method, [codes], (1024,))
    assert coder.packing.unit == 8
    packed = coder.packing.encode(codes)
    expanded = {"zlib": zlib, "xz": lzma}[method].decompress(
        coder.encode(codes)
    )
    assert expanded == packed
    noise = np.random.default_rng(1).integers(0, 1024, (500, 1))
    assert ArchiveCoder.fit(method, [noise], (1024,)).packing.unit == 1


def test_another_process_decodes_the_bytes():
    codes = code_set(drawn(4, 20, seed=2), framing=Framing(merge=2))
    coding = measured_coding(CODERS["static"], codes, 0)
    payloads = [CODERS["static"].encode(each) for each in codes.utterances]
    assert coding.payload_bytes.tolist() == list(map(len, payloads))
    assert (coding.message_bytes > coding.payload_bytes).all()
    assert coding.bits.sum() == pytest.approx(
        sum(map(CODERS["static"].bits, codes.utterances))
    )
    assert coding.encode_seconds > 0 and coding.decode_seconds > 0


def test_codes_that_come_back_otherwise_are_no_result(monkeypatch):
    class Wrong(FixedCoder):
        """Has lost a codebook's highest bits by the time it is saved."""

        def save(self, path):
            FixedCoder((5, 1, 2)).save(path)

    Wrong.__name__ = "FixedCoder"
    with pytest.raises(DataError, match="other codes"):
        measured_coding(Wrong(SIZES), code_set(drawn(1, 20)), 0)


def test_rows_say_what_every_coder_costs(tmp_path):
    files = []
    for name, seed in (("train", 0), ("test", 1)):
        files.append(str(tmp_path / f"{name}.npz"))
        code_set(drawn(6, 30, seed)).save(files[-1])
    output = tmp_path / "entropy.json"
    command = ["--codes", f"made={','.join(files)}", "--output", str(output)]
    command += ["--seconds", "0", "--coders"]
    entropy.main([*command, "static", "fixed", "zlib"])
    rows = {row["coder"]: row for row in read_rows(output)}
    assert list(rows) == [
        "static",
        "static_at_once",
        "fixed",
        "zlib",
        "zlib_at_once",
    ]
    static, fixed = rows["static"], rows["fixed"]
    # 3 and 9 bits a frame, 25 frames a second; 30 frames are 360 bits.
    assert fixed["cross_entropy_bps"] == fixed["payload_bps"] == 300
    assert static["within_bound"] == fixed["within_bound"] == "yes"
    container = static["message_bps"] - static["payload_bps"]
    assert fixed["message_bps"] == pytest.approx(300 + container, rel=1e-4)
    ratio = fixed["payload_bps"] / static["payload_bps"]
    assert fixed["static_ratio"] == pytest.approx(ratio, rel=1e-4)
    assert fixed["static_ratio_low"] <= ratio <= fixed["static_ratio_high"]
    archive, stream = rows["zlib_at_once"], rows["static_at_once"]
    assert archive["messages"] == stream["messages"] == 1
    assert archive["message_bps"] is stream["message_bps"] is None
    # One long stream against one long stream, which has no bytes to fill up.
    assert stream["payload_bps"] < static["payload_bps"]
    ratio = archive["payload_bps"] / stream["payload_bps"]
    assert archive["static_ratio"] == pytest.approx(ratio, rel=1e-4)
    assert "static_ratio_low" not in archive
    assert "static_ratio" not in stream


def test_adaptive_priors_stand_on_all_others_and_the_peer_is_as_large(
    tmp_path, monkeypatch
):
    priors = "!name:speechbrain_acom.entropy.priors"
    for name, text in {
        "static": f"{priors}.StaticPrior.fit",
        "adaptive": f"{priors}.AdaptivePrior.fit\nrate: 0.5\n",
        "neural": (
            "!name:speechbrain_acom.training.neural_prior.fit_neural_prior\n"
            "hidden_dim: 16\nepochs: 1\n"
        ),
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(contestants, "FRAGMENTS", tmp_path)
    names = contestants.known_coders()
    assert names[:4] == ["static", "neural", "shipped", "adaptive"]
    assert names[-2:] == ["neural_float", "transformer"]
    fitting = Fitting(code_set(drawn(8, 30)), seed=0)
    chosen = (*names[:4], *names[-2:])
    found = {one.name: one for name in chosen for one in fitting.fit(name)}
    assert list(found) == [
        "static",
        "static_at_once",
        "neural",
        "adaptive_static",
        "adaptive_static_at_once",
        "adaptive_neural",
        "adaptive_neural_at_once",
        "neural_float",
        "transformer",
    ]
    neural, peer = found["neural"].columns, found["transformer"].columns
    assert peer["parameters"] == pytest.approx(neural["parameters"], rel=0.02)
    for columns in (neural, peer):
        assert columns["epochs_at_most"] == columns["epochs"] == 1
        assert columns["stopped_by_epoch_limit"] == "yes"
    assert found["neural_float"].columns["parameters"] == neural["parameters"]
    (codes,) = drawn(1, 20, seed=1)
    coder = found["adaptive_neural"].coder
    assert np.array_equal(coder.decode(coder.encode(codes), 20), codes)
    # The same network, before it was rounded.
    bits = [
        found[name].coder.bits(codes) for name in ("neural", "neural_float")
    ]
    assert bits[0] == pytest.approx(bits[1], rel=0.01) and bits[0] != bits[1]


def test_the_prior_of_the_model_is_coded_with_where_there_is_one():
    prior = StaticPrior.fit(drawn(3, 40), SIZES)
    fitting = Fitting(code_set(drawn(8, 30)), seed=0, shipped=prior)
    [found] = fitting.fit("shipped")
    assert found.coder.prior is prior
    assert found.columns == {"prior": "StaticPrior"}
    found = [one.name for one in fitting.fit("adaptive")]
    assert found == ["adaptive_shipped", "adaptive_shipped_at_once"]
    # What adapts already is no base.
    adaptive = AdaptivePrior(prior, strength=8)
    fitting = Fitting(code_set(drawn(8, 30)), seed=0, shipped=adaptive)
    assert len(list(fitting.fit("shipped"))) == 1
    assert not list(fitting.fit("adaptive"))
    # It cannot be fitted on codes alone.
    assert "rate_model" not in contestants.known_coders()


def test_the_float_network_needs_the_prior_that_it_is_of():
    fitting = Fitting(code_set(drawn(8, 30)), seed=0)
    with pytest.raises(ConfigurationError, match="neural as well"):
        list(fitting.fit("neural_float"))


def test_training_that_ends_before_its_limit_says_so(monkeypatch, tmp_path):
    fitting = Fitting(code_set(drawn(8, 30)), seed=0)
    fitting._epochs, fitting._parameters = 30, 2000
    monkeypatch.setattr(transformer_training, "LEARNING_RATE", 0.0)
    (peer,) = fitting.fit("transformer")
    # Nothing is learned: five epochs of patience.
    assert peer.columns["epochs"] == 5
    assert peer.columns["stopped_by_epoch_limit"] == "no"
    assert peer.columns["tied_weights"] in ("yes", "no")


def test_the_bound_allows_half_a_percent_and_a_byte_a_message():
    def within(payload):
        sizes = np.array([payload, payload])
        coding = Coding(sizes, None, np.array([800.0, 800.0]), 0, 1.0, 1.0)
        return entropy.bound(coding)["within_bound"]

    assert within(101) == "yes"
    assert within(102) == "no"


def test_a_coder_that_there_is_not_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="gzip"):
        entropy.main(["--coders", "static", "gzip"])
    with pytest.raises(ConfigurationError, match="static"):
        entropy.main(["--coders", "fixed"])


def test_epochs_of_networks_can_be_limited():
    fitting = Fitting(code_set(drawn(8, 30)), seed=0, epochs=1)
    for name in ("neural", "transformer"):
        (one,) = fitting.fit(name)
        assert one.columns["epochs_at_most"] == one.columns["epochs"] == 1
