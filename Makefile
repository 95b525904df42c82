# make demo: train the default VAE on the embedded digits.   make test: install and run the tests.
# make test-all: the slow ones too, at most half an hour more.
# make parity: compare every experiment with PyTorch.
# All create .venv with $(PYTHON); PYTHON=/path/to/python3.12 uses another one. PYTEST="-k noise"
# adds options to pytest.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := .venv/bin

.PHONY: demo test test-slow test-all parity lint clean

demo: .venv/installed
	$(BIN)/jaxvae train experiments/digits_vae.py
	@echo "Look at the figures and summary.json of the newest folder runs/digits_vae*" >&2

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

test-slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow $(PYTEST)

test-all: test test-slow

parity: .venv/installed-test
	$(BIN)/python -m torch_parity

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A .venv of another Python version is made anew.
.venv/python-$(VERSION):
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=/path/to/python")'
	rm -rf .venv
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/python-$(VERSION) pyproject.toml
	@echo "installing into .venv (about a minute)" >&2
	$(BIN)/pip install --quiet --editable .
	touch $@

# PyTorch may be missing for a newer Python: then, and only then, the parity tests skip and say so.
.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	$(BIN)/pip install --quiet --editable '.[parity]' || [ $(VERSION) != 3.11 ]
	touch $@

clean:
	rm -rf .venv
