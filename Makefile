PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help demo test lint plugins clean

help:
	@echo "make demo     install, export the bundled RefineMask to ONNX, compare engines on real images (no GPU needed)"
	@echo "make test     install, lint, type-check and run the tests"
	@echo "make plugins  build the CUDA kernels and the TensorRT plugin library"

# One stamp per set of extras; a change of pyproject.toml installs again.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --editable '.[openvino]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --editable '.[openvino,rtx,train,dev]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(RUN) -m benchmarks.demo

test: $(VENV)/.dev lint
	$(RUN) -m pytest

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

plugins: $(VENV)/.demo
	$(RUN) -m trt_plugins.build

clean:
	rm -rf build dist out runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
