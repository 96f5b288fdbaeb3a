"""The neural prior: exact integers, what it sees, its file."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_layers import random_layer

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
)
from speechbrain_acom.entropy.priors.fixed_point import (
    LARGEST_ACTIVATION,
    FixedLayer,
    fixed_layer,
    powers_of_two,
    rounded,
)
from speechbrain_acom.entropy.priors.integers import scaled
from speechbrain_acom.entropy.priors.neural import NeuralPrior
from speechbrain_acom.entropy.priors.span_sums import BLOCK_FRAMES
from speechbrain_acom.errors import ConfigurationError

few = settings(deadline=None, max_examples=20)
CONTEXT = Context(recent_frames=2, pooled_groups=2)


def random_prior(cardinalities=(5, 7), width=3, hidden=4) -> NeuralPrior:
    random = np.random.default_rng(0)
    spans = len(CONTEXT.spans)
    return NeuralPrior(
        CONTEXT,
        11,
        [
            random.integers(-5000, 5001, (entries + 1, width)).astype(float)
            for entries in cardinalities
        ],
        [
            CodebookNetwork(
                random_layer(random, hidden, width * (spans + (codebook > 0))),
                (random_layer(random, hidden, hidden),),
                random_layer(random, width, hidden),
                random.integers(-9000, 1, entries).astype(float),
            )
            for codebook, entries in enumerate(cardinalities)
        ],
    )


def affine(layer: FixedLayer, values: list[int]) -> list[int]:
    """The layer in Python's integers."""
    return [
        (
            sum(int(w) * value for w, value in zip(row, values, strict=True))
            + (1 << layer.shift >> 1)
            >> layer.shift
        )
        + int(bias)
        for row, bias in zip(layer.weights, layer.bias, strict=True)
    ]


def table_in_integers(prior, codebook, codes, frame) -> list[int]:
    """The table of one code in Python's integers, one sum at a time."""

    def summed(places, books):
        total = [0] * prior.embeddings[0].shape[1]
        for place in places:
            for book in range(books):
                entry = -1 if place < 0 else int(codes[place, book])
                row = prior.embeddings[book][entry]
                total = [t + int(r) for t, r in zip(total, row, strict=True)]
        return total

    values = []
    for near, far in prior.context.spans:
        places = [frame - lag for lag in range(near, far + 1)]
        values += summed(places, codebook + 1)
    if codebook:
        values += summed([frame], codebook)
    network = prior.networks[codebook]

    def limited(values):
        return [min(max(v, 0), LARGEST_ACTIVATION) for v in values]

    state = limited(affine(network.input, values))
    for layer in network.hidden:
        steps = [max(v, 0) for v in affine(layer, state)]
        state = limited([s + v for s, v in zip(state, steps, strict=True)])
    projected = affine(network.projection, state)
    shift = prior.embedding_bits + 12 - 10
    output = FixedLayer(prior.embeddings[codebook][:-1], shift, network.bias)
    logarithms = np.array(affine(output, projected), dtype=float)
    return scaled(powers_of_two(logarithms)).tolist()


@few
@given(
    codes=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 6)),
        min_size=1,
        max_size=14,
    ).map(np.array)
)
def test_tables_are_those_of_python_integers(codes):
    prior = random_prior()
    predictor = prior.predictor()
    for codebook in range(2):
        tables = predictor.observe(codebook, codes[:, codebook])
        last = len(codes) - 1
        assert tables[last].tolist() == table_in_integers(
            prior, codebook, codes, last
        )


def test_tables_depend_on_the_whole_window_and_on_nothing_before():
    prior = random_prior()
    codes = np.random.default_rng(1).integers(0, 5, (20, 1))

    def table(changed):
        other = codes.copy()
        other[changed] = (other[changed] + 1) % 5
        return prior.first(1).predictor().observe(0, other[:, 0])[-1].tolist()

    unchanged = table(slice(0, 0))
    assert CONTEXT.window == 8
    for lag in range(1, 9):
        assert table(19 - lag) != unchanged, lag
    assert table(19 - 9) == unchanged
    assert table(19) == unchanged


@few
@given(seed=st.integers(0, 2**32 - 1), most=st.integers(1, 40))
def test_forgetting_what_is_past_changes_no_table(seed, most):
    prior, frames = random_prior(), 300
    random = np.random.default_rng(seed)
    codes = random.integers(0, prior.cardinalities, (frames, 2))
    whole = prior.predictor()
    expected = [whole.observe(book, codes[:, book]) for book in range(2)]
    predictor, done = prior.predictor(), [0, 0]
    while done[1] < frames:
        # The first codebook goes ahead by some frames, the second follows.
        ahead = min(done[0] + int(random.integers(most + 1)), frames)
        for book, stop in enumerate(
            (ahead, random.integers(done[1], ahead + 1))
        ):
            rows = slice(done[book], int(stop))
            part = codes[rows, book]
            if random.random() < 0.5:
                found = predictor.observe(book, part)
            else:
                found = []
                for entry in part.tolist():
                    found.append(predictor.frequencies(book))
                    predictor.update(book, entry)
            assert np.array_equal([*found], [*expected[book][rows]])
            done[book] = rows.stop
        kept = max(map(len, predictor._codes))
        assert kept < BLOCK_FRAMES + done[0] - done[1]


def test_a_finer_codebook_depends_on_the_same_frame():
    prior = random_prior()
    tables = set()
    for entry in range(5):
        predictor = prior.predictor()
        predictor.update(0, entry)
        tables.add(tuple(predictor.frequencies(1).tolist()))
    assert len(tables) == 5


@pytest.mark.parametrize(
    ("recent", "groups"), [(0, 1), (1, -1), (5000, 0), (1, 13), (1, 10**9)]
)
def test_context_out_of_range_is_refused(recent, groups):
    with pytest.raises(ConfigurationError, match="recent_frames"):
        Context(recent, groups)


@few
@given(steps=st.lists(st.integers(0, 30000), min_size=1, max_size=50))
def test_powers_of_two_are_right_to_one_part(steps):
    logarithms = -np.array([0, *steps], dtype=float)
    exact = 2.0 ** (22 + logarithms / 1024)
    assert np.abs(powers_of_two(logarithms) - exact).max() <= 1


def test_powers_of_any_logarithm_are_defined():
    far = powers_of_two(np.array([[2.0**50, -(2.0**50)], [-7.0, -7.0]]))
    assert far.tolist() == [[1 << 22, 0], [1 << 22, 1 << 22]]


def test_layer_rounds_halves_up_and_keeps_large_sums_exact():
    layer = FixedLayer(np.array([[1.0]]), 1, np.array([0.0]))
    values = np.array([[3.0], [-3.0], [2.0**51 - 1]])
    assert layer(values)[:, 0].tolist() == [2.0, -1.0, 2.0**50]


def test_rounding_is_within_half_a_unit_and_saturates():
    random = np.random.default_rng(2)
    weights, bias = random.normal(size=(6, 9)), random.normal(size=6)
    layer = fixed_layer(weights, bias, input_bits=12, output_bits=12)
    inputs = random.integers(-5000, 5001, (40, 9))
    exact = inputs @ weights.T + bias * 2**12
    # Half a unit of the weights of each input, of the bias and of the result.
    unit = 2.0**-layer.shift
    bound = np.abs(inputs).sum(axis=1, keepdims=True) * unit / 2 + 1
    assert (np.abs(layer(inputs.astype(float)) - exact) <= bound).all()
    assert rounded(np.array([1e9, -1e9]), 3).tolist() == [32767, -32767]


def test_sums_that_could_be_inexact_are_refused():
    prior = random_prior()
    (network,) = prior.networks[:1]
    huge = FixedLayer(
        np.full((3, 4), 2.0**31), network.projection.shift, np.zeros(3)
    )
    unsafe = CodebookNetwork(network.input, network.hidden, huge, network.bias)
    with pytest.raises(ConfigurationError, match="make the network smaller"):
        NeuralPrior(CONTEXT, 11, prior.embeddings[:1], [unsafe])


def test_layers_that_do_not_fit_are_refused():
    prior = random_prior()
    with pytest.raises(ConfigurationError, match="weights of shape"):
        NeuralPrior(Context(3, 2), 11, prior.embeddings[:1], prior.networks[:1])
    with pytest.raises(ConfigurationError, match="weights of shape"):
        NeuralPrior(CONTEXT, 11, prior.embeddings[1:], prior.networks[:1])


def test_content_is_documented_byte_by_byte():
    prior = random_prior(cardinalities=(2,), width=1, hidden=1)
    content = prior.content()
    sizes = "00000001 00000002 00000002 00000002 00000001 00000001 00000001"
    assert content[:28] == bytes.fromhex(sizes)
    assert content[28] == 11
    numbers = np.frombuffer(content, ">i2", 3, 29)
    assert numbers.tolist() == prior.embeddings[0][:, 0].tolist()
    # Three layers of a shift, weights (4, 1 and 1) and a bias; two outputs.
    assert len(content) == 29 + 6 + 3 * 5 + 2 * 6 + 8
    assert prior.parameters == 3 + (4 + 1) + 2 * (1 + 1) + 2
    again = NeuralPrior.from_content(content)
    assert again.content() == content


@pytest.mark.parametrize("extra", [b"\0", b""])
def test_content_of_another_length_is_refused(extra):
    content = random_prior().content()
    wrong = content + extra if extra else content[:-1]
    with pytest.raises(ValueError):
        NeuralPrior.from_content(wrong)


@pytest.mark.parametrize("place", range(8))
def test_forged_sizes_allocate_nothing(place):
    content = bytearray(random_prior().content())
    content[4 * place : 4 * place + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError):
        NeuralPrior.from_content(bytes(content))


def test_it_codes_without_torch():
    program = (
        "import sys\n"
        "from speechbrain_acom.entropy.priors.neural import NeuralPrior\n"
        "content = bytes.fromhex(sys.argv[1])\n"
        "table = NeuralPrior.from_content(content).predictor().frequencies(0)\n"
        "assert 'torch' not in sys.modules\n"
        "print(table.tolist())\n"
    )
    prior = random_prior()
    finished = subprocess.run(
        [sys.executable, "-c", program, prior.content().hex()],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(
        prior.predictor().frequencies(0).tolist()
    )
