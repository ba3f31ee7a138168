# `make` alone lists what can be made.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

.PHONY: help setup up test test-fast check bench lock
help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(VENV)/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Polyforge takes Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN)/pip install --quiet --requirement requirements.lock
	$(RUN)/pip install --quiet --no-deps --editable .
	@touch $@

setup: $(VENV)/ready  ## make .venv and install everything pinned

up: setup  ## start the whole forge: database, queue, API, worker, relay (data in ./var)
	@$(RUN)/polyforge up --data var

test: setup  ## run every test against real Postgres, Valkey and git
	$(RUN)/pytest

test-fast: setup  ## run what a change needs: every test but kills, load, walks and whole sessions
	$(RUN)/pytest -m "not slow"

check: setup  ## ruff, mypy --strict, import rules; code, schema and docs/events.md agree
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/pytest tests/test_schema.py -n 0

bench: setup  ## measure, beside the floor on the same machine
	$(RUN)/python -m benchmarks

lock: setup  ## write requirements.lock from what is installed
	$(RUN)/pip freeze --exclude-editable | grep -v '^polyforge' > requirements.lock
