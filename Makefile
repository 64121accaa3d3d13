# make demo   the four experiments on real images, and a report (2 to 4 minutes)
# make test   style, types and all tests (8 to 16 minutes; PyTorch is installed for it)
# make bench  tinytl beside PyTorch, in one run (15 minutes; up to 24 on a slow machine)
# make gpu-check  on a machine with a GPU: right, and how fast (below 8 minutes)
#
# Each sets itself up in .venv. Where pip would take PyTorch with CUDA (gigabytes), say
#   make test PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
STEPS := .venv/steps
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # a test process a core
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS)

.PHONY: demo test bench gpu-check clean

demo: .venv/demo
	$(BIN)/tinytl demo --out demo

test:
	@$(MAKE) --no-print-directory --jobs=2 .venv/test .venv/cuda/ready
	@rm -f $(STEPS)
	$(call step,style,$(BIN)/ruff check . && $(BIN)/ruff format --check .)
	$(call step,types,$(BIN)/mypy)
	$(call step,tests,$(ONE_THREAD) $(BIN)/python -m pytest -n auto --cov --cov-report=)
	$(call step,compiled kernels as Python,NUMBA_DISABLE_JIT=1 $(ONE_THREAD) \
		TINYTL_NUM_THREADS=2 $(BIN)/python -m pytest -n auto \
		--cov --cov-append --cov-report= tests/test_kernels.py \
		tests/test_convolution_forms.py tests/test_cpu_kernels.py \
		tests/test_depthwise.py tests/test_matmul_kernels.py)
	$(call step,CUDA kernels in the simulator,NUMBA_ENABLE_CUDASIM=1 $(ONE_THREAD) \
		$(BIN)/python -m pytest -n auto --cov --cov-append --cov-report= tests/cuda)
	$(call step,CUDA kernels for real devices,PYTHONPATH=kernels:. \
		.venv/cuda/bin/python -m reference.gpu.compile_check)
	$(BIN)/coverage report --fail-under=95
	@echo "longest steps:"; sort -rn $(STEPS)

bench: .venv/test
	$(BIN)/python -m reference.bench

gpu-check: .venv/bin/python
	@$(BIN)/python -m reference.gpu.gpu_check --machine
	$(PIP) -e ".[test,cuda]"
	$(ONE_THREAD) $(BIN)/python -m reference.gpu.gpu_check

# step(name, command): run it, and note the seconds that it took
define step
@echo "== $(1)"; start=$$(date +%s); $(2) || exit 1; \
	echo "$$(($$(date +%s) - start)) s  $(1)" >> $(STEPS)
endef

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tinytl needs Python 3.11 or newer; say make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || \
		{ echo "no venv: install your system's package python3-venv"; exit 1; }

.venv/demo: .venv/bin/python pyproject.toml
	$(PIP) ".[demo]"
	@touch $@

.venv/test: .venv/bin/python pyproject.toml
	$(PIP) -e ".[test]"
	@touch $@

# A compiler for GPUs, apart from all else: 920 MB on disk.
.venv/cuda/ready: .venv/bin/python reference/gpu/requirements.txt
	$(PYTHON) -m venv .venv/cuda
	.venv/cuda/bin/python -m pip install -q --disable-pip-version-check \
		-r reference/gpu/requirements.txt
	@touch $@

clean:
	rm -rf .venv demo build dist .coverage .mypy_cache .pytest_cache .ruff_cache
