# The two set-up commands are `make demo` and `make test`. Each makes .venv and
# installs what it needs; both share it until the set-up or a kernel changes.

PYTHON ?= python3
VENV ?= .venv
# Tests run in this many processes at most; each has four fake devices.
JOBS ?= 4
# What `make demo` turns; empty: scikit-image's photo of an astronaut.
PHOTO ?=
RUN ?= runs/quick

BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
NATIVE := $(wildcard $(foreach end,cc cu cuh h, \
  chibijax/ops/native/*.$(end) chibijax/ops/*/native/*.$(end)))

.PHONY: demo test test-corners lint format clean

$(INSTALLED): setup.py pyproject.toml $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	  "chibijax needs Python >= 3.11, and $(PYTHON) is " \
	  + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	@echo "Installing into $(VENV) (about 1 GB, a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

# Ctrl-C saves; the same command goes on from there, and skips what is done.
demo: $(INSTALLED)
	$(BIN)/python -m chibijax.main --config=configs/cyclegan.py:quick \
	  --workdir=$(RUN)
	$(if $(PHOTO),,$(BIN)/chibijax sample-photo $(RUN)/demo/astronaut.png)
	$(BIN)/chibijax stylize --align --overwrite --workdir=$(RUN) \
	  '$(or $(PHOTO),$(RUN)/demo/astronaut.png)' $(RUN)/demo/chibi.png
	@echo "The photo's chibi: $(RUN)/demo/chibi.png"
	@echo "Held-out portraits: $$(ls -t $(RUN)/samples/*.png | head -n 1)"

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n auto --maxprocesses $(JOBS) --dist loadfile \
	  $(ARGS)

# Colab's pins, Python 3.11 and Python 3.12, as far as this machine has them.
test-corners:
	JOBS=$(JOBS) tests/corners.sh

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Leaves runs/ alone.
clean:
	rm -rf $(VENV) .venv-corners build dist *.egg-info .pytest_cache .ruff_cache
	find chibijax tests configs -name __pycache__ -prune -exec rm -rf {} +
