# `make` without arguments lists the targets.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
PUSHES ?= 10000
MINUTES ?= 60

.PHONY: help setup up test test-fast check bench soak lock
help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(VENV)/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Polyforge needs Python 3.11 or newer, for example: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN)/pip install --quiet --requirement requirements.lock
	$(RUN)/pip install --quiet --no-deps --editable .
	@touch $@

setup: $(VENV)/ready  ## create .venv and install the pinned requirements

up: setup  ## start the whole forge: database, queue, API, worker, relay (data in ./var)
	@$(RUN)/polyforge up --data var

test: setup  ## run all tests, with real PostgreSQL, Valkey and git
	$(RUN)/pytest

test-fast: setup  ## run all tests but the slow ones: kills, load, random walks, whole sessions
	$(RUN)/pytest -m "not slow"

check: setup  ## run ruff, mypy, the import rules and the schema tests
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/pytest tests/test_schema.py -n 0

bench: setup  ## run the benchmarks
	$(RUN)/python -m benchmarks

soak: setup  ## kill, freeze and cut off every part of the forge at work; PUSHES, MINUTES and SEED bound it
	POINTS=all $(RUN)/pytest -n 2 tests/promises/test_points_of_refs.py tests/promises/test_points_of_commands.py \
		tests/events/test_log.py
	$(RUN)/python -m tests.promises.soak --pushes $(PUSHES) --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

lock: setup  ## write requirements.lock from the installed packages
	$(RUN)/pip freeze --exclude-editable | grep -v '^polyforge' > requirements.lock
