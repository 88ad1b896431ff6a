# The README's two commands, on a bare machine with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv takes a quarter of pip's time, or less. It does not read pip's settings:
# where they alone know the way to an index, pip does it.
install = $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt $(1) \
  || $(BIN)/pip install -q -c constraints.txt $(1)

.PHONY: train test lint docs notebooks release-check clean

train: $(VENV)/train.stamp
	$(BIN)/python -m experiments.main \
	  --config=experiments/configs/digits.py:compare --workdir=runs/digits

# Compiling tiny programs keeps one core busy: two workers, each a file at a time,
# in the order of their names: those of few tests would come last, the longest.
# The TPU compiler is beside the environment and not in it, where JAX would look
# for a TPU with it.
test: $(VENV)/test.stamp lint
	$(BIN)/python -m pytest -n 2 --dist=loadfile --no-loadscope-reorder
	JAX_PLATFORMS=cpu PYTHONPATH=$(VENV)/tpu $(BIN)/python -m pytest -n 2 \
	  tests/experiments/forecast_test.py

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers=2

# Any warning is an error. Opened from the disk it has no search: browsers let
# scripts of such pages read no other file.
docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "build/site/index.html opens from the disk; with its search, after"
	@echo "$(BIN)/python -m http.server -d build/site, at http://localhost:8000"

# The notebooks with their outputs, which the site then shows: a minute or so
# each, once; make notebooks docs.
notebooks: $(patsubst %,build/%,$(wildcard colabs/*.ipynb))

build/colabs/%.ipynb: colabs/%.ipynb | $(VENV)/test.stamp
	mkdir -p $(@D)
	$(BIN)/jupyter-execute --output=../$@ $<

# What a release is made of, as a stranger gets it: both archives in build/release,
# what is said about them, and the library's tests and types against the wheel, in
# an environment that has nothing else of ours. RELEASE_TESTS picks some of them.
RELEASE := build/release
# Those of the checkout itself, its links and archives, need jaxmix/ beside them.
RELEASE_TESTS := $(filter-out tests/docs_test.py tests/install_test.py, \
  $(wildcard tests/*_test.py)) tests/audit tests/models tests/theory
release-check: $(VENV)/release.stamp
	rm -rf $(RELEASE)
	$(BIN)/python -m build --outdir $(RELEASE)
	$(BIN)/twine check --strict $(RELEASE)/*.whl $(RELEASE)/*.tar.gz
	$(PYTHON) -m venv $(RELEASE)/venv
	$(RELEASE)/venv/bin/pip install -q -c constraints.txt \
	  "$$(echo $(RELEASE)/*.whl)[train,test]" pyright[nodejs]
	mkdir $(RELEASE)/checkout
	git ls-files | grep -v '^jaxmix/' | tar -c -T - | tar -x -C $(RELEASE)/checkout
	cd $(RELEASE)/checkout && ../venv/bin/mypy --strict --config-file= \
	  tests/consumer.py
	cd $(RELEASE)/checkout && ../venv/bin/pyright \
	  --pythonpath=../venv/bin/python tests/consumer.py
	cd $(RELEASE)/checkout && ../venv/bin/python -m pytest $(RELEASE_TESTS)

$(VENV)/python.stamp:
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/pip install -q -c constraints.txt uv
	touch $@

$(VENV)/train.stamp: $(VENV)/python.stamp setup.py constraints.txt
	$(call install,-e '.[train]')
	touch $@

$(VENV)/docs.stamp: $(VENV)/python.stamp setup.py constraints.txt
	$(call install,-e '.[docs]')
	touch $@

$(VENV)/release.stamp: $(VENV)/python.stamp
	$(BIN)/pip install -q build twine
	touch $@

# A name for them: commas would part the call's arguments.
$(VENV)/test.stamp: TEST := -e '.[train,tfds,test,launch,docs]'
$(VENV)/test.stamp: $(VENV)/python.stamp setup.py constraints.txt
	$(call install,$(TEST))
	-$(call install,--no-deps --upgrade --target=$(VENV)/tpu libtpu)
	touch $@ $(VENV)/train.stamp $(VENV)/docs.stamp

clean:
	rm -rf $(VENV) runs *.egg-info
