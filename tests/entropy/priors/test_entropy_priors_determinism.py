"""The same codes give the same bytes whatever the machine computes with.

A payload goes from process to process, each with other settings of the
libraries that multiply matrices. Each loads the priors, decodes what the one
before it coded, saves the priors again and codes what it decoded. An encoder
has the tables of many frames in one product, a decoder those of one frame, so
that both are held against each other under all settings.
"""

import os
import subprocess
import sys
from pathlib import Path

import every_prior
import numpy as np
import pytest
from hyperpyyaml import load_hyperpyyaml

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.coder import encode
from speechbrain_acom.entropy.priors import (
    TOTAL_FREQUENCY,
    Prior,
    save_prior,
)
from speechbrain_acom.entropy.priors.attention import (
    AttentionShape,
    CodebookAttention,
)
from speechbrain_acom.entropy.priors.attentive import AttentiveNeuralPrior
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
)
from speechbrain_acom.entropy.priors.fixed_point import (
    ACTIVATION_BITS,
    FixedLayer,
    fixed_layer,
    fraction_bits,
    rounded,
)

FRAGMENT = Path(__file__).parents[3] / "hparams" / "priors" / "neural.yaml"
FRAMES = 60
SHIPPED = "neural_as_shipped"
SHIPPED_SIZES = (256, 1024)

# OpenBLAS, which numpy's own packages have, takes its kernels by the name of a
# processor; MKL, which others have, by MKL_CBWR. What numba compiles for any
# processor of its kind has neither wide vectors nor fused sums.
SETTINGS = {
    "1_thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    "2_threads": {
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "OPENBLAS_CORETYPE": "Prescott",
        "MKL_NUM_THREADS": "2",
        "MKL_CBWR": "COMPATIBLE",
        "NUMBA_CPU_NAME": "generic",
    },
    "4_threads": {
        "OMP_NUM_THREADS": "4",
        "OPENBLAS_NUM_THREADS": "4",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_NUM_THREADS": "4",
        "MKL_CBWR": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 AVX512F X86_V3 X86_V4",
        "PYTHONHASHSEED": "7",
    },
    "1_thread_again": {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "8"},
}

# Hands everything on from one folder to the next; prints a hash of what the
# weights of the network give in floats.
PROCESS = """
import hashlib, sys
from pathlib import Path
import numpy as np
from speechbrain_acom.entropy.coder import decode, encode
from speechbrain_acom.entropy.priors import load_prior, save_prior
here, there = map(Path, sys.argv[1:3])
frames, name = int(sys.argv[3]), sys.argv[4]
for path in sorted(here.glob("*.prior")):
    prior = load_prior(path)
    payload = path.with_suffix(".payload").read_bytes()
    codes = decode(payload, frames, prior)
    np.save(there / f"{path.stem}.npy", codes)
    save_prior(prior, there / path.name)
    (there / f"{path.stem}.payload").write_bytes(encode(codes, prior))
weights = load_prior(here / f"{name}.prior").networks[0].input.weights.T / 3
inputs = np.random.default_rng(0).integers(1, 99, (frames, len(weights))) / 7
products = [inputs @ weights, *(row[np.newaxis] @ weights for row in inputs)]
print(hashlib.sha256(np.concatenate(products).tobytes()).hexdigest())
assert "torch" not in sys.modules
"""


def shipped_network() -> AttentiveNeuralPrior:
    """A network of the fragment's size, with random weights."""
    sizes = load_hyperpyyaml(f"prior: !include:{FRAGMENT}\n")["prior"].keywords
    random = np.random.default_rng(0)
    context = Context(sizes["recent_frames"], sizes["pooled_groups"])
    width, hidden = sizes["embedding_dim"], sizes["hidden_dim"]
    tables = [
        random.normal(size=(entries + 1, width)) / 3
        for entries in SHIPPED_SIZES
    ]
    bits = min(map(fraction_bits, tables))

    def layer(outputs: int, inputs: int, input_bits: int) -> FixedLayer:
        weights = random.normal(size=(outputs, inputs)) / np.sqrt(inputs)
        bias = random.normal(size=outputs)
        return fixed_layer(weights, bias, input_bits, ACTIVATION_BITS)

    shape = AttentionShape(
        sizes["attention_heads"],
        sizes["head_dim"],
        sizes["key_frames"],
        sizes["attention_frames"],
    )
    attentions = [
        CodebookAttention(
            shape,
            layer(
                2 * shape.width, width * (shape.key_frames + (book > 0)), bits
            ),
            layer(shape.width, width, bits),
        )
        for book in range(len(SHIPPED_SIZES))
    ]
    networks = [
        CodebookNetwork(
            layer(
                hidden,
                width * (len(context.spans) + (book > 0)) + shape.width,
                bits,
            ),
            tuple(
                layer(hidden, hidden, ACTIVATION_BITS)
                for _ in range(sizes["hidden_layers"])
            ),
            layer(width, hidden, ACTIVATION_BITS),
            random.integers(-2000, 1, entries).astype(float),
        )
        for book, entries in enumerate(SHIPPED_SIZES)
    ]
    embeddings = [rounded(table, bits) for table in tables]
    return AttentiveNeuralPrior(attentions, context, bits, embeddings, networks)


def random_codes() -> np.ndarray:
    return np.random.default_rng(1).integers(0, SHIPPED_SIZES, (FRAMES, 2))


def coded(folder: Path, name: str, prior: Prior, codes: np.ndarray) -> None:
    save_prior(prior, folder / f"{name}.prior")
    (folder / f"{name}.payload").write_bytes(encode(codes, prior))
    np.save(folder / f"{name}.npy", codes)


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    """Folders of this process and of those after it; hashes of floats."""
    folders = [tmp_path_factory.mktemp("coded")]
    for kind in every_prior.FITS:
        codes = every_prior.chained_codes(99, FRAMES)
        coded(folders[0], kind, every_prior.fitted(kind), codes)
    coded(folders[0], SHIPPED, shipped_network(), random_codes())
    hashes = []
    for name, changes in SETTINGS.items():
        folders.append(tmp_path_factory.mktemp(name))
        arguments = [*map(str, folders[-2:]), str(FRAMES), SHIPPED]
        finished = subprocess.run(
            [sys.executable, "-c", PROCESS, *arguments],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                **changes,
            },
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, f"{name}: {finished.stderr}"
        hashes.append(finished.stdout.strip())
    return folders, hashes


@pytest.mark.parametrize("kind", [*every_prior.FITS, SHIPPED])
def test_every_process_gives_the_same_bytes_and_codes(relay, kind):
    first, *others = relay[0]
    assert len(others) == len(SETTINGS)
    for ending in ("payload", "npy", "prior"):
        expected = (first / f"{kind}.{ending}").read_bytes()
        for folder in others:
            found = (folder / f"{kind}.{ending}").read_bytes()
            assert found == expected, (folder.name, ending)


def test_the_network_as_shipped_has_an_opinion_on_every_frame():
    # Tables that hardly differ would be the same under any arithmetic.
    prior = shipped_network()
    assert prior.embeddings[0].shape == (257, 32)
    assert len(prior.networks[0].input.bias) == 192
    for tables in every_prior.plane_by_plane(prior, random_codes()):
        shares = np.stack(tables) / TOTAL_FREQUENCY
        bits = -(shares * np.log2(shares)).sum(axis=1)
        assert 2 < bits.mean() < np.log2(shares.shape[1]) - 1
        assert np.abs(np.diff(shares, axis=0)).sum(axis=1).min() > 0.01


def test_settings_change_floats(relay):
    _, hashes = relay
    if len(set(hashes)) == 1:
        pytest.skip("a product of floats has the same bits under all settings")
    assert len(hashes) == len(SETTINGS)
