# `make demo` and `make test` do all their own set-up: a virtual environment in .venv from the hash-pinned locks.
.DEFAULT_GOAL := help
SHELL := /bin/sh
CORES ?= 2

# The first Python >= 3.12 found: PATH, then pyenv, then conda. Override with `make PYTHON=/path/to/python demo`.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.14 python3 python \
      $$(ls -d "$$HOME"/.pyenv/versions/3.1[23]*/bin/python 2>/dev/null | sort -rV) \
      "$$CONDA_PREFIX"/bin/python "$$HOME"/*conda3/bin/python "$$HOME"/miniforge3/bin/python; do \
    "$$p" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 15))' 2>/dev/null && { echo "$$p"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
# Some build machines forbid writing bytecode; without it every command would compile scanpy anew.
PIP := env -u PYTHONDONTWRITEBYTECODE PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet

.PHONY: help demo test lint docs mutants wheel lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1  /p' $(MAKEFILE_LIST)

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "aida_tools needs Python >= 3.12 and found none on PATH, in pyenv or in conda." \
	  "Install one (https://www.python.org, or 'conda create -n py312 python=3.12') or name it: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) (about a minute, once) ..."
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV) || { echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu, apt install python3-venv." >&2; exit 1; }
	@touch $@

$(VENV)/.core: requirements.lock pyproject.toml | $(VENV)/.made
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.core
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.core ## Run the whole workflow on the embedded synthetic cohort and print where the report is
	@$(BIN)/snakemake --cores $(CORES) --quiet all
	@echo "Open results/sample/report/report.html"

test: $(VENV)/.dev ## Run lint, type checks and tests
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -n $(CORES)

lint: $(VENV)/.dev ## Check style, types and the workflow
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

docs: $(VENV)/.dev ## Build the documentation into docs/_build/html, warnings as errors
	@$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

mutants: $(VENV)/.dev ## Change one token of the statistical rooms at a time and see whether the tests notice (hours)
	@$(BIN)/python benchmarks/mutation/mutants.py

# In an environment of its own, where pip chooses the dependencies by pyproject.toml alone, as it does for users.
wheel: $(VENV)/.dev ## Build the wheel into dist and try it in a fresh environment
	@rm -rf dist $(VENV)/wheel
	@$(BIN)/python -m build --wheel --no-isolation
	@$(BIN)/python -m venv $(VENV)/wheel
	@$(VENV)/wheel/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	@$(VENV)/wheel/bin/aida-tools sample --donors-per-batch 2 --cells-per-donor 20 --out $(VENV)/wheel/sample

lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --extra build pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove results (the environment stays)
	rm -rf results .snakemake
