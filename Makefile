# Images from Less. `make help` lists the targets.
# Everything runs in .venv, made from the pip section of environment.yml with Python 3.11.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help env book test lint clean

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && command -v $$p && break; done)
BIN := .venv/bin
# The folder that the environment was made in: its scripts and its library are those of that folder.
MADE_IN := $(shell sed -nE 's|^ *(export )?VIRTUAL_ENV=.?(/.*)/\.venv.?$$|\2|p' $(BIN)/activate 2>/dev/null | head -1)
WORKERS ?= 2
export PYTHONWARNINGS ?= ignore::DeprecationWarning
export JUPYTER_PLATFORM_DIRS := 1

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14

env: .venv/.stamp  ## the environment: .venv with every version of environment.yml

# The pip section is the whole list, so nothing is resolved: same versions everywhere.
# PyPI's torch wheel for Linux wants CUDA libraries that are not in the list; where it cannot be
# imported for lack of them, pip fetches what it asks for (several GB).
# A copied or moved checkout makes an environment of its own, however fresh the stamp looks.
ifneq ($(MADE_IN),)
ifneq ($(MADE_IN),$(CURDIR))
.PHONY: .venv/.stamp
endif
endif
.venv/.stamp: environment.yml pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 is needed and was not found;" \
		"install it, or name it: make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test ! -L .venv || rm .venv
	@test -x $(BIN)/pip -a "$(MADE_IN)" = "$(CURDIR)" || "$(PYTHON)" -m venv --clear .venv
	@sed -n 's/^      - //p' environment.yml > .venv/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		-r .venv/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	@$(BIN)/python -c 'import torch' 2>/dev/null || \
		$(BIN)/python -m pip install $$(grep '^torch==' .venv/requirements.txt)
	@touch $@

book: env  ## execute the chapters that are stale, build _build/html
	$(BIN)/python -m recon execute --stale
	$(BIN)/python -m recon sync
	$(BIN)/jupyter-book build book/ -W -n --keep-going
	@echo "open _build/html/index.html"

lint: env  ## check style and layout of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: env lint  ## staleness, build without a warning, unit tests, every chapter re-executed
	$(BIN)/python -m recon stale
	$(BIN)/jupyter-book build book/ -W -n --keep-going --all
	@# Chapters start from nothing: no simulated data, no trained network of an earlier run. Two
	@# processes of one thread each are faster than one of two: much of the work is not in threads.
	@# Unit tests first: where RECON_TEST_UNTIL is set, chapters not begun by then are skipped aloud.
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	RECON_CACHE="$$fresh/cache" RECON_RUNS="$$fresh/runs" OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --nbval-lax \
		--nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
		--nbval-cell-timeout 1500 -p no:cacheprovider tests book/

clean:  ## remove what was built (not the environment, not your runs)
	rm -rf _build .pytest_cache .ruff_cache
	find book lib tests -name __pycache__ -type d -prune -exec rm -rf {} +
