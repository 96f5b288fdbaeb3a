# Everything that a fresh clone needs. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo lobes rate_training digits digits_grid entropy prior_speed packet_loss session_endings complexity test lint unit results clean

help:  ## list the targets
	@grep -hE '^[a-z_]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install: $(INSTALLED)  ## make a virtual environment and install the package

$(INSTALLED): setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[all]"
	touch $@

demo: install  ## train, quantize, code and decode on a machine-made corpus
	$(BIN)/python -m speechbrain_acom.studies.demo --folder demo

lobes: install  ## train every quantizer on every task (hours); REAL=folder adds real data
	$(BIN)/python -m speechbrain_acom.studies.lobes --data made --data_folder demo
	$(if $(REAL),$(BIN)/python -m speechbrain_acom.studies.lobes --data real --data_folder $(REAL))

RATE := hparams/studies/rate_training.yaml
RATE_STUDY := --settings $(RATE) --folder studies/rate_training --results results/rate_training.json

rate_training: install  ## train for few bits (hours) on the recordings in REAL=folder
	@test -n "$(REAL)" || { echo "REAL: found nothing, expected the folder of the recordings: make rate_training REAL=folder" >&2; exit 2; }
	$(BIN)/python -m speechbrain_acom.studies.lobes $(RATE_STUDY) --data digits --data_folder $(REAL)
	$(BIN)/python -m speechbrain_acom.studies.lobes $(RATE_STUDY) --data librispeech_mini --data_folder $(REAL)
	$(BIN)/python -m speechbrain_acom.studies.lobes $(RATE_STUDY) --data urbansound8k --data_folder $(REAL)
	$(BIN)/python -m speechbrain_acom.studies.paired results/rate_training.json --folder studies/rate_training --references rvq rate_0

ROTATION := $(BIN)/python -m speechbrain_acom.studies.rotation

digits: install  ## leave each speaker of the digits out once (a day) on the recordings in REAL=folder
	@test -n "$(REAL)" || { echo "REAL: found nothing, expected the folder of the recordings: make digits REAL=folder" >&2; exit 2; }
	$(ROTATION) --data_folder $(REAL)

digits_grid: install  ## the same for every cut and size of the codebooks (a day)
	@test -n "$(REAL)" || { echo "REAL: found nothing, expected the folder of the recordings: make digits_grid REAL=folder" >&2; exit 2; }
	$(ROTATION) --data_folder $(REAL) --settings hparams/studies/digits_grid.yaml --results results/digits_grid.json

# Of the models that rate_training and demo leave: the paper's method, others of
# its kind, and one that was trained for few bits. The coders learn from the training codes, rates are of test codes.
RUNS := studies/rate_training
DIGITS := $(RUNS)/digits/conformer
SPEECH := $(RUNS)/librispeech_mini/conformer_librispeech
SOUNDS := $(RUNS)/urbansound8k

entropy: install  ## compare priors with other coders (hours), after rate_training and demo
	$(BIN)/python benchmarks/entropy.py --runs \
		made_speech=demo/mini_rvq made_sounds=demo/mini_ecapa_rvq \
		digits_1x256=$(DIGITS)/rvq digits_1x1024=$(DIGITS)/rvq_1024 digits_2x1024=$(DIGITS)/rvq_2x1024 \
		digits_rated=$(DIGITS)/rate_1
	$(BIN)/python benchmarks/entropy.py --epochs 20 --runs \
		urbansound8k_ecapa=$(SOUNDS)/ecapa/rvq urbansound8k_cnn14=$(SOUNDS)/cnn14/rvq
	$(BIN)/python benchmarks/entropy.py --epochs 10 --runs \
		librispeech_mini_1x256=$(SPEECH)/rvq_ema librispeech_mini_1x1024=$(SPEECH)/rvq_1024 librispeech_mini_2x1024=$(SPEECH)/rvq_2x1024

prior_speed: install  ## how fast priors code (minutes), with nothing beside it
	$(BIN)/python benchmarks/prior_speed.py

packet_loss: install  ## lose packets of the digits (minutes), after rate_training
	$(BIN)/python benchmarks/packet_loss.py --runs digits=$(DIGITS)/rvq digits_rated=$(DIGITS)/rate_1

session_endings: install  ## compare ways to end messages (minutes), after rate_training
	$(BIN)/python benchmarks/session_endings.py --runs digits=$(DIGITS)/rvq digits_rated=$(DIGITS)/rate_1

complexity: install  ## count what models take on either side of the cut (minutes)
	$(BIN)/python benchmarks/complexity.py

test: lint unit  ## set up from nothing, then lint, doctests and all tests

lint: install  ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

unit: install  ## doctests, unit tests, recipe tests, a small end-to-end run
	$(BIN)/python -m pytest

results: install  ## make tables and pictures from results/*.json again
	$(BIN)/python -m speechbrain_acom.studies.picture results/demo.json results/demo.png
	$(BIN)/python -m speechbrain_acom.studies.rate_picture results/rate_training.json results/rate_training.png
	$(BIN)/python -m speechbrain_acom.studies.loss_picture results/packet_loss.json results/packet_loss.png
	$(BIN)/python -m speechbrain_acom.studies.tables README.md benchmarks/README.md $(wildcard recipes/*/*/README.md recipes/*/*/*/README.md docs/*.md)

clean:  ## remove the demonstration's corpora, models and messages
	rm -rf demo
