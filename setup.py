"""Packaging of speechbrain_acom: audio coding for machines in SpeechBrain."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = {}
exec((HERE / "speechbrain_acom" / "version.py").read_text(), VERSION)

# torch and torchaudio need the same CUDA minor version, and the newest
# torchaudio (2.11) was built for the CUDA of torch 2.11 to 2.14: with a newer
# torch "import torchaudio" fails (pytorch/audio#4226 lifts this).
CORE = [
    "torch>=2.7.1,<2.15",
    "torchaudio>=2.7.1",
    "speechbrain>=1.1",
    "hyperpyyaml>=1.2.2",
    "sentencepiece>=0.2",
    "constriction>=0.4,<0.6",
    "matplotlib>=3.7",
    "numpy>=1.24",
    "numba>=0.59",
    "scipy>=1.10",
    "soundfile>=0.12.1",
    "tqdm>=4.60",
]
# GPL libraries and voices: only the machine-made speech corpus needs them.
CORPUS = ["espeakng-loader>=0.2.4,<0.3"]
# Other people's quantizers, to compare with: only their adapters need them.
VECTOR_QUANTIZE = ["vector-quantize-pytorch>=1.28,<2"]
# SpeechBrain's wrapper needs it for a second encoder such as HuBERT.
SELF_SUPERVISED = ["transformers>=4.30,<6"]
TEST = ["pytest>=7.4", "hypothesis>=6.80", "ruff>=0.17,<0.18"]

setup(
    name="speechbrain_acom",
    version=VERSION["__version__"],
    description="Audio coding for machines: cut a SpeechBrain model, quantize "
    "the features in the cut, send bytes instead of audio.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["speechbrain_acom", "speechbrain_acom.*"]),
    package_data={"speechbrain_acom": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=CORE,
    extras_require={
        "corpus": CORPUS,
        "vector-quantize": VECTOR_QUANTIZE,
        "ssl": SELF_SUPERVISED,
        "test": TEST + CORPUS + VECTOR_QUANTIZE + SELF_SUPERVISED,
        "all": TEST + CORPUS + VECTOR_QUANTIZE + SELF_SUPERVISED,
    },
    entry_points={"console_scripts": ["acom=speechbrain_acom.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
