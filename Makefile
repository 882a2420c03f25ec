PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help demo test test-slow lint plugins quantize-env test-newest test-python clean

help:
	@echo "make demo     install, export the bundled RefineMask to ONNX, compare engines on real images (no GPU needed)"
	@echo "make test     install, lint, type-check and run the tests"
	@echo "make test-slow  the tests that take minutes each, which make test leaves out"
	@echo "make plugins  build the CUDA kernels and the TensorRT plugin library"
	@echo "make quantize-env  make the environment of python -m export.quantize (nvidia-modelopt on top of .venv)"
	@echo "make test-newest  make an environment with the newest PyTorch and the newest of all else, and run the tests there"
	@echo "make test-python PYTHON=python3.12  run an exported file, and the tests of that, with another Python and no PyTorch"

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

plugins: $(VENV)/.demo
	$(RUN) -m trt_plugins.build

# nvidia-modelopt pins older versions of onnx and ONNX Runtime; the rest comes from the main environment.
quantize-env: $(VENV)/.demo
	$(RUN) -m venv $(VENV)-quantize
	$(VENV)-quantize/bin/python -c 'import pathlib, sys, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "main.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})")' \
		"$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(VENV)-quantize/bin/pip install --quiet 'nvidia-modelopt[onnx]>=0.47,<0.48'

# Before a release. No lock file holds anything back here; docs/installation.md says what came of it.
NEWEST := .venv-newest
test-newest:
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --upgrade --upgrade-strategy eager 'torch<3' 'torchvision<1' \
		--editable '.[all-cpu,rtx,lean,dev]' --editable benchmarks
	$(NEWEST)/bin/python -m pytest

# Before a release, with each Python. The main environment exports the file, and says what PyTorch finds with it.
CORE := .venv-$(notdir $(PYTHON))
NUCLEI := demo/weights/refinemask-nuclei.safetensors
test-python: $(VENV)/.dev
	rm -rf $(CORE)
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/pip install --quiet --editable '.[cpu,draw]' filelock hypothesis onnx 'pytest>=8.2'
	mkdir -p $(CORE)/exported/pictures
	cp demo/nuclei/images/000[1-3].png $(CORE)/exported/pictures
	$(RUN) -m export.to_onnx $(NUCLEI) --output $(CORE)/exported/model.onnx
	$(RUN) -m refinemask.predict $(CORE)/exported/pictures --model $(NUCLEI) --output $(CORE)/exported/pytorch
	EXPORTED=$(CORE)/exported $(CORE)/bin/python -m pytest @tests/without_torch.txt

clean:
	rm -rf build dist out runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
