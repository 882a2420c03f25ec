PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
LOCK := requirements/dev.lock.txt
# With UV=1 uv makes the environment; Python then needs neither venv nor pip. It gets pip, for calls without UV=1.
ifdef UV
CREATE := uv venv --quiet --seed --python $(PYTHON)
INSTALL := uv pip install --quiet --python $(RUN)
else
CREATE := $(PYTHON) -m venv
INSTALL := $(RUN) -m pip install --quiet
endif

.PHONY: help demo triton-env test test-slow fuzz test-wheel test-newest test-oldest test-python lint docs plugins wheel lock clean

help:
	@echo "make demo     install, export the bundled RefineMask to ONNX, compare engines on real images (no GPU needed)"
	@echo "make test     install, lint, type-check and run the tests"
	@echo "make test-slow  the tests that take minutes each, which make test leaves out"
	@echo "make triton-env  the environment of the tests that start a Triton server, which skip without it (Linux, x86-64)"
	@echo "make docs     build the site of the documentation into site/, and stop at whatever a page gets wrong"
	@echo "make plugins  build the CUDA kernels and the TensorRT plugin library"
	@echo "make wheel    build the two distributions into dist/"
	@echo "make fuzz     read damaged files of every kind, FUZZ=100 times as many as make test does; counts in out/fuzz.json"
	@echo "make test-wheel  install them from there and from the package index into fresh environments, and run them"
	@echo "make test-newest  make an environment with the newest PyTorch and the newest of all else, and run the tests there"
	@echo "make test-oldest PYTHON=python3.10  the same with the lowest versions that the project allows"
	@echo "make test-python PYTHON=python3.12  run an exported file, and the tests of that, with another Python and no PyTorch"
	@echo "make lock     complete $(LOCK); first delete it for the newest versions"
	@echo "UV=1          with any of them: install with uv instead of pip"

# There is one stamp for each set of extras; a change of what they ask for installs again.
$(RUN):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, found " + sys.version)'
	$(CREATE) $(VENV)

$(VENV)/.demo: pyproject.toml benchmarks/pyproject.toml $(LOCK) | $(RUN)
	$(INSTALL) --constraint $(LOCK) --editable '.[all-cpu]' --editable benchmarks
	touch $@

$(VENV)/.dev: pyproject.toml benchmarks/pyproject.toml $(LOCK) | $(RUN)
	$(INSTALL) --constraint $(LOCK) --editable '.[all-cpu,rtx,lean,ray,triton,dev]' --editable benchmarks
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(RUN) -m benchmarks.demo

# Two processes, a file to each in turn; plain pytest runs the same tests in one.
test: $(VENV)/.dev lint
	$(RUN) -m pytest --numprocesses 2 --dist loadfile

# A Triton server with its Python backend, which runs on a CPU: the package is a client's, and only the server in it is
# used, so its dependencies stay away. This server's Python backend is wrong with NumPy 2.
TRITON := .venv-triton
TRITON_SERVER := nvidia-pytriton==0.7.0
triton-env: $(TRITON)/.done
$(TRITON)/.done: pyproject.toml
	rm -rf $(TRITON)
	$(CREATE) $(TRITON)
	$(subst $(RUN),$(TRITON)/bin/python,$(INSTALL)) --no-deps $(TRITON_SERVER)
	$(subst $(RUN),$(TRITON)/bin/python,$(INSTALL)) --editable '.[cpu,openvino]' 'numpy<2'
	touch $@

# What takes minutes: whole R50 exports and engines, calibration, every pair of precisions and shapes.
test-slow: $(VENV)/.dev
	$(RUN) -m pytest -m slow

# The tests marked slow, too. An input that ends in anything but a value or one line fails the run.
FUZZ := 100
fuzz: $(VENV)/.dev
	FUZZ=$(FUZZ) FUZZ_REPORT=out/fuzz.json $(RUN) -m pytest --numprocesses 2 --dist loadfile -m '' tests/fuzz

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/.docs: $(VENV)/.dev
	$(INSTALL) --constraint $(LOCK) --editable '.[docs]'
	touch $@

# Stops at a broken link or anchor, a page that is in no menu, an option without a help text. (mkdocs counts no warnings
# with --quiet.)
docs: $(VENV)/.docs
	$(RUN) -m scripts.command_reference --check
	$(RUN) -m pytest --quiet tests/docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --clean

plugins: $(VENV)/.demo
	$(RUN) -m trt_plugins.build

wheel: $(VENV)/.dev
	rm -rf dist
	$(RUN) -m hatchling build --target wheel --directory $(CURDIR)/dist
	cd benchmarks && $(CURDIR)/$(RUN) -m hatchling build --target wheel --directory $(CURDIR)/dist

test-wheel: wheel
	scripts/test_wheel.sh $(PYTHON) dist

# The versions for every supported Python. Those that are in the file stay.
lock: | $(RUN)
	$(INSTALL) uv
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate \
		--no-emit-package refinemask --no-emit-package refinemask-benchmarks --no-emit-package pip \
		requirements/dev.in --output-file $(LOCK)

# Before a release: no lock file holds anything back here. docs/installation.md says what came of it.
NEWEST := .venv-newest
test-newest:
	rm -rf $(NEWEST)
	$(CREATE) $(NEWEST)
	$(subst $(RUN),$(NEWEST)/bin/python,$(INSTALL)) --editable '.[all-cpu,rtx,lean,ray,triton,dev]' --editable benchmarks
	$(NEWEST)/bin/python -m pytest --numprocesses 2 --dist loadfile

# Before a release: the lowest versions that pyproject.toml allows, which uv knows how to choose.
OLDEST := .venv-oldest
test-oldest: | $(RUN)
	rm -rf $(OLDEST)
	$(INSTALL) uv
	$(RUN) -m uv venv --quiet --python $(PYTHON) $(OLDEST)
	$(RUN) -m uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct \
		--editable '.[all-cpu,rtx,lean,ray,triton,dev]' --editable benchmarks
	$(OLDEST)/bin/python -m scripts.lower_bounds
	$(OLDEST)/bin/python -m pytest --numprocesses 2 --dist loadfile

# Before a release, with each Python: the main environment exports the file, and says what PyTorch finds with it.
CORE := .venv-$(notdir $(PYTHON))
NUCLEI := demo/weights/refinemask-nuclei.safetensors
test-python: $(VENV)/.dev
	rm -rf $(CORE)
	$(CREATE) $(CORE)
	$(subst $(RUN),$(CORE)/bin/python,$(INSTALL)) --editable '.[cpu,draw]' filelock hypothesis onnx 'pytest>=8.2'
	mkdir -p $(CORE)/exported/pictures
	cp demo/nuclei/images/000[1-3].png $(CORE)/exported/pictures
	$(RUN) -m export.to_onnx $(NUCLEI) --output $(CORE)/exported/model.onnx
	$(RUN) -m refinemask.predict $(CORE)/exported/pictures --model $(NUCLEI) --output $(CORE)/exported/pytorch
	EXPORTED=$(CORE)/exported $(CORE)/bin/python -m pytest @tests/without_torch.txt

clean:
	rm -rf build dist site out runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
