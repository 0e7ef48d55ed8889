# make demo    the shipped model tells a story on the RTL, in simulation, compared with the golden model
# make test    everything: linter, types, tests
# make quick   the same without what takes long
# make lint    linter and types alone
# make mutations  every seeded bug, of which `make test` shows one for each unit, and the other machines
# Python 3.11 or later, g++, make and perl are enough: all else is installed into .venv at its pinned version.

PYTHON ?= python3
JOBS ?= 2
# of all benches; `make test LPU_SEED=` draws and prints a fresh one for each
export LPU_SEED ?= 1
BIN := .venv/bin
# one thread for each worker: several would wait for each other, at the cost of more than the tests themselves
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 LPU_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup \
	--durations 25 --durations-min 5
TYPED := hdl sim tools

.PHONY: demo test quick mutations lint clean
.DELETE_ON_ERROR:

demo: .venv/run.done
	$(BIN)/lpu run --prompt "Once upon a time" --tokens 32 --check

test: lint
	$(PYTEST) -m "not exhaustive"

quick: lint
	$(PYTEST) -m "not slow and not exhaustive"

mutations: lint
	$(PYTEST) -m exhaustive

lint: .venv/test.done $(TYPED:%=build/mypy/lpu/%)
	$(BIN)/ruff check
	$(BIN)/mypy $(TYPED:%=-p lpu.%)

clean:
	rm -rf build

.venv/bin/pip:
	scripts/venv.sh .venv $(PYTHON)

.venv/run.done: requirements.txt pyproject.toml | .venv/bin/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv/test.done: requirements-test.txt .venv/run.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	touch $@

# mypy reads the tree under the name that it is installed by
build/mypy/lpu/%:
	mkdir -p $(@D)
	ln -sfn ../../../$* $@
