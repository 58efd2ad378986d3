# Two commands on a fresh machine: `make demo` and `make test`. Everything happens in $(VENV).
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check
RUN = $(VENV)/bin/python -m

.DEFAULT_GOAL := help
.PHONY: help demo test test-core lint format types clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@echo "== creating $(VENV) with $(PYTHON)"
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml
	@echo "== installing opensora-rewriter with what its core tests need"
	$(PIP) install --quiet --editable '.[resolve,cache,dev]'
	@touch $@

$(VENV)/.load: $(VENV)/.core
	@echo "== installing torch, transformers and diffusers"
	$(PIP) install --quiet '$(TORCH)'
	$(PIP) install --quiet --editable '.[load,dev]'
	@touch $@

demo: $(VENV)/.core ## rewrite copies of the bundled checkouts and show what happens
	$(VENV)/bin/python tests/demo.py

test: $(VENV)/.load ## every test
	$(RUN) pytest -n auto

test-core: $(VENV)/.core ## every test that needs no torch
	$(RUN) pytest -n auto -m 'not torch'

lint: $(VENV)/.core ## ruff
	$(RUN) ruff check .
	$(RUN) ruff format --check .

format: $(VENV)/.core ## ruff, mending
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

types: $(VENV)/.core ## mypy --strict
	$(RUN) mypy

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
