# `make demo` and `make test` need Python 3.11 or newer and nothing else: each makes its own
# virtual environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: demo test check format bench bench-full bench-recovery bench-limit bench-limiters bench-lists bench-realtime torture soak clean

# Kills of `make torture`, and what replays its choices: make torture N=1000 SEED=7
N ?= 1000

# Minutes of `make soak`: make soak MINUTES=30 SEED=7
MINUTES ?= 30

demo: $(STAMP)
	$(BIN)/python benchmarks/demo.py

test: $(STAMP)
	$(BIN)/pytest -n auto --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The five parts in a short form, two to three minutes; in full half an hour to an hour.
bench: $(BENCH_STAMP)
	$(BIN)/python benchmarks/bench.py

bench-full: $(BENCH_STAMP)
	$(BIN)/python benchmarks/bench.py --full

bench-recovery: $(STAMP)
	$(BIN)/python benchmarks/recovery.py

bench-limit: $(STAMP)
	$(BIN)/python benchmarks/bench_limit.py

bench-limiters: $(STAMP)
	$(BIN)/python benchmarks/limiters.py

bench-lists: $(STAMP)
	$(BIN)/python benchmarks/lists.py

bench-realtime: $(STAMP)
	$(BIN)/python benchmarks/bench_realtime.py

torture: $(STAMP)
	$(BIN)/python tests/torture.py $(N) $(if $(SEED),--seed $(SEED))

soak: $(STAMP)
	$(BIN)/python tests/soak.py $(MINUTES) $(if $(SEED),--seed $(SEED))

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phonon-bulk needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	touch $@

clean:
	rm -rf $(VENV) demo benchmarks/work build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
