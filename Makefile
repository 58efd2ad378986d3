# Two commands on a fresh machine: `make demo` and `make test`. Everything happens in $(VENV).
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
FUZZ ?= 20000
PYTHONS ?= python3.10 python3.11 python3.12 python3.13
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check
RUN = $(VENV)/bin/python -m

.DEFAULT_GOAL := help
.PHONY: help demo test test-core test-all test-oldest fuzz faults coverage bench lint format types clean

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

test-all: ## the core tests on Python 3.10 to 3.13, each in a .venv-3.X (PYTHONS="/path/to/python3.10 ...")
	@failed=; missing=; for python in $(PYTHONS); do \
		if version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then \
			echo "== Python $$version"; \
			$(MAKE) --no-print-directory PYTHON=$$python VENV=.venv-$$version test-core || failed="$$failed $$version"; \
		else missing="$$missing $$python"; fi; \
	done; \
	if [ -n "$$missing" ]; then echo "not run, no such interpreter:$$missing (name them in PYTHONS=)"; fi; \
	if [ -n "$$failed" ]; then echo "failed on Python$$failed"; fi; \
	[ -z "$$missing$$failed" ]

test-oldest: ## the core tests with the oldest versions that pyproject.toml allows
	PIP_CONSTRAINT=$(CURDIR)/tests/constraints-oldest.txt $(MAKE) --no-print-directory VENV=.venv-oldest test-core

fuzz: $(VENV)/.core ## generated sources, FUZZ of them a test with fresh seeds (default 20000: hours)
	OPENSORA_REWRITER_FUZZ=$(FUZZ) $(RUN) pytest -n auto -rP --hypothesis-show-statistics -m hypothesis tests

faults: $(VENV)/.core ## the fault matrix: full disks, kills at every step, two runs at once, odd files, hostile configs
	$(RUN) pytest -v --no-header -rPs tests/write tests/decide/test_hostile.py tests/verify/test_children.py

coverage: $(VENV)/.load ## lines and branches of rewriter/ that no test reaches
	$(RUN) pytest -n auto --cov --cov-report=term-missing:skip-covered

.venv-peers/.done: $(VENV)/bin/python
	@echo "== installing ast-grep into .venv-peers"
	$(VENV)/bin/python -m venv .venv-peers
	.venv-peers/bin/python -m pip --disable-pip-version-check install --quiet ast-grep-cli
	@touch $@

bench: $(VENV)/.core .venv-peers/.done ## measure speed beside other tools, about five minutes (TREE=a checkout)
	$(VENV)/bin/python tests/benchmarks/bench.py --peers .venv-peers/bin $(if $(TREE),--tree $(TREE))

lint: $(VENV)/.core ## ruff
	$(RUN) ruff check .
	$(RUN) ruff format --check .

format: $(VENV)/.core ## ruff, mending
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

types: $(VENV)/.core ## mypy --strict
	$(RUN) mypy

clean: ## remove what the other targets made
	rm -rf $(VENV) .venv-3.* .venv-oldest .venv-peers .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
