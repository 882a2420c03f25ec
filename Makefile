PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help demo test test-slow lint docs plugins quantize-env clean

help:
	@echo "make demo     install, export the bundled RefineMask to ONNX, compare engines on real images (no GPU needed)"
	@echo "make test     install, lint, type-check and run the tests"
	@echo "make test-slow  the tests that take minutes each, which make test leaves out"
	@echo "make docs     build the site of the documentation into site/, and stop at whatever a page gets wrong"
	@echo "make plugins  build the CUDA kernels and the TensorRT plugin library"
	@echo "make quantize-env  make the environment of python -m export.quantize (nvidia-modelopt on top of .venv)"

# There is one stamp for each set of extras; a change of pyproject.toml installs again.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --editable '.[openvino]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --editable '.[openvino,rtx,lean,train,dev]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(RUN) -m benchmarks.demo

# Two processes, a file to each in turn; plain pytest runs the same tests in one.
test: $(VENV)/.dev lint
	$(RUN) -m pytest --numprocesses 2 --dist loadfile

# What takes minutes: whole R50 exports and engines, calibration, every pair of precisions and shapes.
test-slow: $(VENV)/.dev
	$(RUN) -m pytest -m slow

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/.docs: $(VENV)/.dev
	$(VENV)/bin/pip install --quiet --editable '.[docs]'
	touch $@

# Stops at a broken link or anchor, a page that is in no menu, an option without a help text. (mkdocs counts no warnings
# with --quiet.)
docs: $(VENV)/.docs
	$(RUN) -m scripts.command_reference --check
	$(RUN) -m pytest --quiet tests/docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --clean

plugins: $(VENV)/.demo
	$(RUN) -m trt_plugins.build

# nvidia-modelopt pins older versions of onnx and ONNX Runtime; the rest comes from the main environment.
quantize-env: $(VENV)/.demo
	$(RUN) -m venv $(VENV)-quantize
	$(VENV)-quantize/bin/python -c 'import pathlib, sys, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "main.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})")' \
		"$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(VENV)-quantize/bin/pip install --quiet 'nvidia-modelopt[onnx]>=0.47,<0.48'

clean:
	rm -rf build dist site out runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
