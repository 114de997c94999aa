# make demo   the main job on the embedded workspace      make test   everything that is checked by running
# make lint   format, rules, types, imports, pip check     make bench  the claims of speed, as ratios
# make crash  killed at every boundary of every call      make soak   10,000 random workspaces for each property
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: soak crash demo demo-http demo-gateway test test-quick lint format fuzz bench clean accept-update docs

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[emulator]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,conformance]'
	touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	BIN=$(BIN) sh examples/demo.sh local

demo-http: $(VENV)/.installed
	BIN=$(BIN) sh examples/demo.sh databricks

demo-gateway: $(VENV)/.installed-dev
	BIN=$(BIN) sh examples/demo_gateway.sh

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

test-quick: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup \
		-m 'not conformance and not realserver and not package and not faults and not canaries'

# The property tests again, with 10,000 random cases each: half an hour and more.
soak: $(VENV)/.installed-dev
	PROPERTY_CASES=$${PROPERTY_CASES:-10000} $(BIN)/python -m pytest -n $(JOBS) tests/unit/engine \
		-k 'properties or stateful or rolling_back_any or garbled or prune_deletes or costs_nothing or was_exported'

crash: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) -m crash

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pip check

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Random inputs for loader, planner, files and answers, for so many SECONDS; what breaks something is kept.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),3600)

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

accept-update: $(VENV)/.installed-dev
	ACCEPT_UPDATE=1 $(BIN)/python -m pytest tests/acceptance

docs: $(VENV)/.installed-dev
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.faults
	$(BIN)/python -m docs.tutorial

clean:
	rm -rf $(VENV) .reconciler build dist
