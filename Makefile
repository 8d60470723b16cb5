# What a person does with this project. Each target makes what it needs; `make clean` removes all of it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo/chat

.PHONY: demo demo-stop test check cover docs bench chaos clean

demo: $(VENV)/.demo                ## install, make the chat example, start it, show status and address
	@test -d $(DEMO) || $(BIN)/zephctl new -q chat $(DEMO)
	@$(BIN)/zephctl status --folder $(DEMO) -q >/dev/null 2>&1 || $(BIN)/zephserver-start --daemon --folder $(DEMO)
	@$(BIN)/zephctl status --folder $(DEMO)
	@echo "Open http://127.0.0.1:$$($(BIN)/zephctl status --folder $(DEMO) -o plain | awk '$$1 == "port" {print $$2}')/ in two windows; 'make demo-stop' ends it."

demo-stop:                         ## stop the chat example
	@$(BIN)/zephctl stop --folder $(DEMO)

test: $(VENV)/.dev                 ## run all tests
	$(BIN)/python -X dev -m pytest

check: $(VENV)/.dev                ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

cover: $(VENV)/.dev                ## the tests, with what they did not reach
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

docs: $(VENV)/.dev                 ## print the reference pages from the code
	$(BIN)/python docs/generate.py

bench: $(VENV)/.bench              ## measure, side by side with peers
	$(BIN)/python benchmarks/core.py
	$(BIN)/python benchmarks/cli.py

chaos: $(VENV)/.dev                ## the rows of the reliability plan, with full counts
	ZEPH_CHAOS=full $(BIN)/python -m pytest -m chaos --timeout 3600

clean:
	rm -rf $(VENV) demo .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	@touch $@
