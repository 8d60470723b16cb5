# What a person does with this project. Each target makes what it needs; `make clean` removes all of it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo/chat
SECONDS ?= 60
# Processes of `make test`: many tests wait, so one more than processors. N=1 runs all tests in one process.
N ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
# Python keeps what it compiled: the tests start our programs a thousand times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-stop test test-again check cover docs bench bench-websocket bench-cluster bench-django chaos chaos-cluster fuzz clean

demo: $(VENV)/.demo                ## install, make the chat example, start it, show status and address
	@test -d $(DEMO) || $(BIN)/zephctl new -q chat $(DEMO)
	@$(BIN)/zephctl status --folder $(DEMO) -q || $(BIN)/zephserver-start --daemon --folder $(DEMO)
	@$(BIN)/zephctl status --folder $(DEMO)
	@echo "Open http://127.0.0.1:$$($(BIN)/zephctl status --folder $(DEMO) -o plain | awk '$$1 == "port" {print $$2}')/ in two windows; 'make demo-stop' ends it."

demo-stop:                         ## stop the chat example
	@$(BIN)/zephctl stop --folder $(DEMO)

test: $(VENV)/.dev                 ## run all tests: most of them N at a time, then those that measure, alone
ifeq ($(N),1)
	$(BIN)/python -X dev -m pytest
else
	@failed=0; \
	$(BIN)/python -X dev -m pytest -m 'not alone' --dist worksteal --tx '$(N)*popen//python=$(BIN)/python -X dev' || failed=1; \
	$(BIN)/python -X dev -m pytest -m alone || failed=1; \
	exit $$failed
endif

test-again: $(VENV)/.dev           ## the tests that failed last, one at a time
	$(BIN)/python -X dev -m pytest --last-failed --last-failed-no-failures none

check: $(VENV)/.dev                ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

cover: $(VENV)/.dev                ## the tests, with what they did not reach
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

docs: $(VENV)/.dev                 ## print the reference pages from the code
	$(BIN)/python docs/generate.py
	$(BIN)/python -m docs.man
	$(BIN)/python -m docs.completions
	@if command -v node >/dev/null; then node js/build.mjs; else echo "no node: the JavaScript client was not built anew" >&2; fi

bench: $(VENV)/.bench              ## measure, side by side with peers
	$(BIN)/python benchmarks/core.py
	$(BIN)/python benchmarks/cli.py
	$(BIN)/python benchmarks/reload.py
	$(BIN)/python benchmarks/workers.py
	$(MAKE) bench-websocket
	$(MAKE) bench-django
	$(MAKE) bench-cluster

bench-websocket: $(VENV)/.bench    ## the WebSocket server alone; node's ws is measured when npm can fetch it
	-@npm install --silent --no-audit --no-fund --prefix .bench ws 2>/dev/null || echo "no npm: node's ws is left out" >&2
	$(BIN)/python benchmarks/websocket.py $(BENCH)

bench-django: $(VENV)/.bench       ## Django's users beside Django Channels with Redis, which has to be installed
	$(BIN)/python benchmarks/django.py $(BENCH)

bench-cluster: $(VENV)/.bench      ## links and three servers, beside others; BENCH=--quick takes a minute
	$(BIN)/python benchmarks/cluster.py $(BENCH)

chaos: $(VENV)/.dev                ## the rows of the reliability plan, with full counts
	ZEPH_CHAOS=full $(BIN)/python -m pytest -m chaos --timeout 3600

chaos-cluster: $(VENV)/.dev        ## the rows about clusters alone; with root, for they make network namespaces
	ZEPH_CHAOS=full $(BIN)/python -m pytest tests/chaos/test_cluster_members.py tests/chaos/test_cluster_port.py --timeout 3600

fuzz: $(VENV)/.fuzz                ## every parser, SECONDS each, two at a time
	$(BIN)/python -m tests.fuzz all --seconds $(SECONDS)

clean:
	rm -rf $(VENV) .bench .cache demo .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

# atheris guides the fuzzer by coverage; where it has no wheel, the engine of tests/fuzz does without.
$(VENV)/.fuzz: $(VENV)/.dev
	-$(BIN)/python -m pip install --quiet --only-binary :all: 'atheris>=3,<4'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	@touch $@
