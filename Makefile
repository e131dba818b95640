# make demo   set up .venv, install, compare three starts on generated images, write demo/report.html
# make test   set up .venv, install the test extras; lint, types, layers, every test
# make check  the fast part of make test (under a minute, no network)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt

unexport PYTHONDONTWRITEBYTECODE  # each process of the tests would compile the package and them anew

.PHONY: demo test check lint clean
demo: $(VENV)/installed
	$(BIN)/python -m radstart.cli demo --out demo

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing radstart (torch is about 200 MB: one to five minutes)"
	$(PIP) -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing radstart with its test tools (torch is about 200 MB: one to five minutes)"
	$(PIP) -e '.[test]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) demo build
