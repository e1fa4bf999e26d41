# `make demo` and `make test` need Python 3.11 or newer, git and make; everything else they make or install themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= demo-home
SPEED ?= 7200
STAMP := $(VENV)/.installed

.PHONY: demo test lint unit campaign fuzz docs clean browser servers native native-down stack freshness

demo: $(STAMP)
	@test -f $(HOME_DIR)/planwatch.yaml || $(BIN)/planwatch --home $(HOME_DIR) init --example demo
	@exec $(BIN)/planwatch --home $(HOME_DIR) run --speed $(SPEED)

test: $(STAMP) browser servers lint
	$(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadfile

unit: $(STAMP)
	$(BIN)/pytest -q tests/unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

campaign: $(STAMP) fuzz
	$(BIN)/python -m tests.property.campaign
	$(BIN)/python -m tests.simulation.hook_load
	$(BIN)/python -m tests.simulation.hook_load --kafka

# A million broken inputs through every parser and the webhook server; a finding is a target and a seed.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.campaign

docs: $(STAMP)
	$(BIN)/python -m planwatch.documents docs

$(STAMP): pyproject.toml requirements.lock deploy/environment.sh
	@PYTHON=$(PYTHON) VENV=$(VENV) sh deploy/environment.sh
	@touch $(STAMP)

browser:
	@sh deploy/browser.sh

# Real Kafka and real InfluxDB for the tests, built once into ~/.cache/planwatch.
servers: $(STAMP)
	@$(BIN)/python -m planwatch.native build

clean:
	rm -rf $(VENV) $(HOME_DIR) $(STACK_HOME)

# The real stack without Docker: servers, then every role. Ctrl-C ends the roles, `make native-down` the servers.
STACK_HOME ?= stack-home

native: $(STAMP)
	@test -f $(STACK_HOME)/planwatch.yaml || $(BIN)/planwatch --home $(STACK_HOME) init --example stack
	@$(BIN)/planwatch --home $(STACK_HOME) native up

native-down: $(STAMP)
	@$(BIN)/planwatch --home $(STACK_HOME) native down

stack: $(STAMP)
	@exec $(BIN)/planwatch --home $(STACK_HOME) stack

freshness: $(STAMP)
	$(BIN)/python -m tests.simulation.freshness
