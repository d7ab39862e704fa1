# `make help` lists everything. `make demo` and `make test` need only Python 3.11 or newer, git and make.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN = .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check faults bench lock clean

help: ## list what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.venv/made: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Kedge needs Python 3.11 or newer; none was found (set PYTHON=...)"; exit 1; }
	@echo "making .venv with $(PYTHON): about a minute"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --use-pep517 --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: .venv/made ## play a year of real flights through the loop, then show the UI on http://127.0.0.1:8400
	@$(BIN)/kedge demo $(ARGS)

test: .venv/made ## run the tests (ARGS="tests/unit -k gate" for some)
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

check: .venv/made ## lint, format, types, floors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

faults: .venv/made ## kill, starve and tear at every step
	@$(BIN)/python -m pytest tests/faults $(ARGS)

bench: .venv/made ## measure (each file of bench/ also runs by itself)
	@for b in bench/*.py; do $(BIN)/python $$b || exit 1; done

lock: ## write requirements.lock anew from pyproject.toml (needs uv)
	@uv pip compile pyproject.toml --extra demo --extra dev --extra postgresql --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -q -o requirements.lock $(ARGS)

clean: ## remove .venv and the demo's store
	@rm -rf .venv examples/*/.kedge
