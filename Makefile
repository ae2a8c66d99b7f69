# make demo    real text from this machine through the whole graph, then a summary
# make test    the whole test suite; prints its twenty slowest tests
# make test-crash  every fault, many trials each (half an hour); the table goes to build/faults.md
# make test-cluster  the tests that need Ray, which is installed for them beside .venv
# make test-explore  the property tests alone, on new random examples and many more of them
# make audit   known vulnerabilities of the pinned packages
# make dev     the Dagster UI on the demo's data
# make lint    ruff and pyright
# make bench   every benchmark in its quick form; without --quick each prints the figures of the docs
# make clean   remove the environment, caches and the demo's data
#
# Needs Python 3.11, 3.12 or 3.13, make and a C compiler. The environment is made once, in .venv, and again when
# pyproject.toml or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
DATA_ROOT ?= gem-demo
PYTEST_ARGS ?=
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# A name on PATH is not enough: pyenv leaves launchers for versions that are not selected. So each is run.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-crash test-cluster test-explore lint audit bench clean

help:
	@sed -n 's/^# make /  make /p' Makefile

demo: $(VENV)/.installed
	$(BIN)/gem demo --data-root $(DATA_ROOT)

dev: $(VENV)/.installed
	$(BIN)/gem dev --data-root $(DATA_ROOT)

# Bytecode is written even where the environment forbids it: dozens of tests start a process that imports the package.
# Files with slow tests come first (tests/conftest.py), which the other order of xdist would undo.
test: $(VENV)/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder --durations=20 \
		$(PYTEST_ARGS)

test-crash: $(VENV)/.installed-dev
	@mkdir -p build
	GEM_CRASH=full GEM_STATEFUL_EXAMPLES=200 GEM_FAULT_TABLE=$(CURDIR)/build/faults.md \
		$(BIN)/python -m pytest -p no:xdist -o timeout=3600 tests/crash tests/stateful $(PYTEST_ARGS)

# an environment on top of .venv, so that no pin moves; without Ray these tests fail here, elsewhere they are skipped
test-cluster: $(VENV)/.installed-dev
	@test -e build/cluster/.ray || { $(BIN)/python -m venv build/cluster && \
		echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
		> "$$(build/cluster/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/under.pth" && \
		build/cluster/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt ray && \
		touch build/cluster/.ray; }
	GEM_CLUSTER=1 build/cluster/bin/python -m pytest -m cluster $(PYTEST_ARGS)

test-explore: $(VENV)/.installed-dev
	GEM_HYPOTHESIS=explore $(BIN)/python -m pytest -n $(CORES) --dist loadfile -o timeout=3600 -m hypothesis $(PYTEST_ARGS)

# an environment of its own, so that no pin moves
audit: $(BIN)/python
	@test -x build/audit/bin/pip-audit || { $(BIN)/python -m venv build/audit && \
		build/audit/bin/pip install --quiet --disable-pip-version-check pip-audit; }
	@$(BIN)/python .ci/audit.py build/audit/bin/pip-audit constraints.txt

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(VENV)/.installed-dev
	@for file in $$(grep -l __main__ benchmarks/*.py); do \
		name=benchmarks.$$(basename $$file .py); echo "== $$name"; $(BIN)/python -m $$name --quick || exit 1; done

clean:
	rm -rf $(VENV) gem-demo build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "gem-assets needs Python 3.11, 3.12 or 3.13 with the venv module; none was found on PATH." >&2; \
		echo "Install one (Debian or Ubuntu: apt-get install python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing gem-assets (two minutes or so; torch is the largest part)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[cpu,openlineage]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing gem-assets with its test tools (two minutes or so; torch is the largest part)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[cpu,dev,openlineage,sentence-transformers]"
	@touch $(VENV)/.installed $@
