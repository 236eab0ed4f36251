# Each target makes what it needs in .venv. Needed before: Python 3.11 or later, make, and nothing else.
#   make demo     the whole road on MNIST, to a table and a report
#   make test     all tests
#   make check    ruff, mypy and the quick tests
#   make bench    speed against a floor measured in the same run, to benchmarks/latest.json
#   make results  the tables in docs/results.md, from docs/results/RECIPE/seed-*.json

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every install goes through constraints.txt: the versions that the tests ran with.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e
PACKAGE := $(VENV)/.installed
TOOLS := $(VENV)/.installed-dev
# As many at once as there are cores, each file in one process: what its tests share is made once.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test check lint bench results

demo: $(PACKAGE)
	$(BIN)/limbeck run mnist

test: $(TOOLS)
	$(PYTEST)

check: lint
	$(PYTEST) -m "not slow"

lint: $(TOOLS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(PACKAGE)
	$(BIN)/python benchmarks/run.py

# A table goes between the lines `<!-- table RECIPE -->` and `<!-- /table -->`; the text around it stays.
results: $(PACKAGE)
	@set -e; for folder in docs/results/*/; do \
		[ -d "$$folder" ] || { echo "docs/results has no folder yet: nothing to print"; exit 0; }; \
		recipe=$$(basename "$$folder"); \
		grep -qx "<!-- table $$recipe -->" docs/results.md || { \
			echo "docs/results.md: no line <!-- table $$recipe -->: add it, and <!-- /table --> below it" >&2; exit 1; }; \
		$(BIN)/limbeck compare --markdown "$$folder"seed-*.json > $(VENV)/table.md; \
		awk -v begins="<!-- table $$recipe -->" -v table=$(VENV)/table.md ' \
			$$0 == "<!-- /table -->" { inside = 0 } \
			!inside { print } \
			$$0 == begins { inside = 1; print ""; while ((getline line < table) > 0) print line; print "" } \
			END { exit inside }' docs/results.md > $(VENV)/results.md || { \
			echo "docs/results.md: no line <!-- /table --> below <!-- table $$recipe -->: add it" >&2; exit 1; }; \
		cat $(VENV)/table.md; echo; \
		cp $(VENV)/results.md docs/results.md; \
	done

$(PACKAGE): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) .
	@touch $@

# The tools come on top of the package, so one install serves both stamps.
$(TOOLS): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[dev]"
	@touch $(PACKAGE) $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "limbeck needs Python 3.11 or later, but $(PYTHON) --version says: $$($(PYTHON) --version 2>&1);" \
			"name another one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@# Debian without python3-venv leaves half an environment behind.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
