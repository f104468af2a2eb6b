# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3.12),python3)
VENV := .venv
BIN := $(VENV)/bin
# On a small machine torch with several threads collapses beside another busy process.
check test: export OMP_NUM_THREADS ?= 1
# Processes that share the tests; one for each core of a small machine.
LANES ?= 2

.PHONY: help install demo check test test-needs lint clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

install: $(VENV)/.installed ## the virtual environment with everything but NPU support

demo: $(VENV)/.installed ## a small real chat model, served: page on :7860, API on :8000
	$(BIN)/danlu up --demo

lint: $(VENV)/.installed ## format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

test-needs: $(VENV)/.installed
	PYTHON=$(PYTHON) scripts/test-needs

check: lint ## lint and the fast tests, under two minutes
	$(BIN)/pytest -q -n $(LANES) -m "not slow"

test: $(VENV)/.installed ## the whole suite
	$(MAKE) --no-print-directory --jobs 2 --output-sync=recurse lint test-needs
	$(BIN)/pytest -q -n $(LANES)

clean: ## remove what was built, keep nothing
	rm -rf $(VENV) .venv-fschat .venv-npusim .cache .mypy_cache .ruff_cache .pytest_cache
