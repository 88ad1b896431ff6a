# The README's two commands, on a bare machine with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test lint docs notebooks clean

train: $(VENV)/train.stamp
	$(BIN)/python -m experiments.main \
	  --config=experiments/configs/digits.py:compare --workdir=runs/digits

# Compiling tiny programs keeps one core busy: two workers, each a file at a time.
# The TPU compiler is beside the environment and not in it, where JAX would look
# for a TPU with it.
test: $(VENV)/test.stamp lint
	$(BIN)/python -m pytest -n 2 --dist=loadfile
	JAX_PLATFORMS=cpu PYTHONPATH=$(VENV)/tpu $(BIN)/python -m pytest \
	  tests/experiments/forecast_test.py

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# build/site/index.html opens from the disk; any warning is an error.
docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The notebooks with their outputs, which the site then shows: a minute or so
# each, once; make notebooks docs.
notebooks: $(patsubst %,build/%,$(wildcard colabs/*.ipynb))

build/colabs/%.ipynb: colabs/%.ipynb | $(VENV)/test.stamp
	mkdir -p $(@D)
	$(BIN)/jupyter-execute --output=../$@ $<

$(VENV)/python.stamp:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/train.stamp: $(VENV)/python.stamp setup.py constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/docs.stamp: $(VENV)/python.stamp setup.py constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	touch $@

$(VENV)/test.stamp: $(VENV)/python.stamp setup.py constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[train,tfds,test,launch,docs]'
	-$(BIN)/pip install -q -c constraints.txt --no-deps --upgrade \
	  --target=$(VENV)/tpu libtpu
	touch $@ $(VENV)/train.stamp $(VENV)/docs.stamp

clean:
	rm -rf $(VENV) runs *.egg-info
