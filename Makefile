# Everything that a fresh clone needs. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo lobes rate_training test lint unit results clean

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

test: lint unit  ## set up from nothing, then lint, doctests and all tests

lint: install  ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

unit: install  ## doctests, unit tests, recipe tests, a small end-to-end run
	$(BIN)/python -m pytest

results: install  ## make tables and pictures from results/*.json again
	$(BIN)/python -m speechbrain_acom.studies.picture results/demo.json results/demo.png
	$(BIN)/python -m speechbrain_acom.studies.tables README.md benchmarks/README.md $(wildcard recipes/*/*/README.md recipes/*/*/*/README.md docs/*.md)

clean:  ## remove the demonstration's corpora, models and messages
	rm -rf demo
