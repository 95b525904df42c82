# make demo: train the default VAE on the embedded digits.   make test: install and run the tests.
# make test-ci: of the slow tests, one of each kind.   make test-all: every test, half an hour more.
# make test-numeric: what rests on arithmetic, under other orders of summation; an hour.
# make parity: compare every experiment with PyTorch.
# make results: train what docs/results.json, from which the texts' numbers come, has no entry of.
# make site: the documentation as a site in build/site, its notebooks carried out.
# make gpu: all that is to be known on a machine with an accelerator, in 9 minutes, with the JAX and
# the PyTorch of $(PYTHON); GPU="--phases speed" adds options.   make gpu-pack: what it lacks.
# All but make gpu create .venv with $(PYTHON); PYTHON=/path/to/python3.12 uses another one.
# PYTEST="-k noise" adds options to pytest.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := .venv/bin

# Most of the quick tests' time is LLVM's: they compile without most optimisations. The others do not.
QUICKLY := JAX_DISABLE_MOST_OPTIMIZATIONS=1

.PHONY: demo test test-ci test-slow test-all test-numeric parity results site gpu gpu-pack lint clean

demo: .venv/installed
	$(BIN)/jaxvae train --train.report
	@echo "Open report.html of the newest folder runs/digits_vae* in a browser" >&2

test: .venv/installed-test
	$(QUICKLY) $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

test-ci: .venv/installed-test
	$(QUICKLY) $(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and ci" $(PYTEST)

test-slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow $(PYTEST)

test-all: test test-slow

test-numeric: .venv/installed-test
	$(BIN)/python tests/orders.py

parity: .venv/installed-test
	$(BIN)/python -m torch_parity --jobs 2

results: .venv/installed
	$(BIN)/python docs/results.py $(RESULTS)

site: .venv/installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "look at it: $(BIN)/python -m http.server -d build/site" >&2

gpu:
	$(PYTHON) -m gpu $(GPU)

gpu-pack: .venv/installed
	$(BIN)/python -m gpu.pack

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

.venv/installed: .venv/python-$(VERSION) pyproject.toml setup.py
	@echo "installing into .venv (about a minute)" >&2
	$(BIN)/pip install --quiet --editable .
	touch $@

# PyTorch may be missing for a newer Python: then, and only then, the parity tests skip and say so.
.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	$(BIN)/pip install --quiet --editable '.[parity]' || [ $(VERSION) != 3.11 ]
	$(BIN)/pip install --quiet --no-deps jax2onnx  # which asks for an older Orbax
	touch $@

clean:
	rm -rf .venv
