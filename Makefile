# One command for each thing; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check format serve clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[torch,dev]'
	@touch $(STAMP)

install: $(STAMP)  ## Make the virtual environment and install everything (about 3 minutes, 6 GB: PyTorch)

demo: $(STAMP)  ## Process the sample footage end to end and write a ticket
	$(BIN)/etle demo

test: $(STAMP)  ## Run the fast tests; TESTS='tests/cases -x' for some of them
	$(BIN)/python -m pytest -q $(TESTS)

test-all: $(STAMP)  ## Run every test, the slow and the marked ones too
	$(BIN)/python -m pytest -q -m ''

check: $(STAMP)  ## Formatter, linter and type checker, as CI runs them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: $(STAMP)  ## Start the review pages on http://127.0.0.1:8000
	$(BIN)/etle serve

clean:  ## Remove the virtual environment and caches (never data)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
