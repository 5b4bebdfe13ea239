# The book from one command: make book. The tests from one command: make test.
#
# Everything runs in a virtual environment that is made on first use, from the pins in
# requirements.lock; or in conda's environment "dltlib", where that one is active.

PYTHON ?= python3
ifeq ($(CONDA_DEFAULT_ENV),dltlib)
BIN := $(CONDA_PREFIX)/bin
INSTALLED :=
else
BIN := .venv/bin
INSTALLED := .venv/.installed
endif

NOTEBOOKS = $(wildcard book/*.ipynb)
# Tests run in as many processes as there are cores, up to four; a module or a chapter stays in one.
DIVIDED = -n logical --maxprocesses 4
# The debugger's warning about frozen modules would end up in the notebooks.
export PYDEVD_DISABLE_FILE_VALIDATION = 1

.DEFAULT_GOAL := help
.PHONY: help install book stale test lint format unit nbval lab lock logo screenshot address binder pdf release clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: $(INSTALLED) ## make the environment

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer, please: make PYTHON=...")'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements.lock
	.venv/bin/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

book: $(INSTALLED) ## execute the chapters that changed and build _build/html/index.html
	$(BIN)/dltlib book

stale: $(INSTALLED) ## say which notebooks are behind their text, records or library
	$(BIN)/dltlib book --check

test: lint unit nbval ## run every check: style, unit and page tests, and the book against itself

lint: $(INSTALLED) ## look for mistakes, style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## let ruff format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

unit: $(INSTALLED) ## unit, property, parity and page tests
	$(BIN)/python -m pytest $(DIVIDED) --dist loadgroup tests

nbval: $(INSTALLED) ## execute every chapter anew and compare it with what it says
	$(if $(NOTEBOOKS),$(BIN)/python -m pytest $(DIVIDED) --dist loadfile --nbval --nbval-current-env -p no:cacheprovider $(NOTEBOOKS),@echo "no chapter yet")

lab: $(INSTALLED) ## open the chapters in JupyterLab (options of its own: make lab ARGS="--no-browser")
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.app_settings_dir=tools/lab --LabApp.default_url=/lab/tree/book/start.md $(ARGS)

lock: ## pin what pyproject.toml allows anew, in a throw-away environment
	$(PYTHON) tools/lock.py

logo: ## draw the logo anew
	$(PYTHON) tools/draw_logo.py

screenshot: $(INSTALLED) ## take the picture of the site in the README (needs Chromium)
	$(BIN)/python tools/screenshot.py

address: ## say where the public repository is: make address URL=https://github.com/NAME/REPOSITORY
	$(PYTHON) tools/address.py $(URL)

binder: ## install what Binder would, in a throw-away environment, and import what the chapters do
	$(PYTHON) tools/try_binder.py

pdf: $(INSTALLED) ## print the whole book as one PDF and link it from the site (needs Chromium)
	$(BIN)/python tools/make_pdf.py

release: $(INSTALLED) ## gather wheel, site and notes of a release: make release TAG=v0.1.0
	$(BIN)/python tools/release.py $(TAG)

clean: ## delete what was built; the environment, runs and data stay
	rm -rf _build build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
