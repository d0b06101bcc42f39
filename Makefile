# One word per job. `make demo` and `make test` are all a newcomer needs; both set up first.
VENV   ?= .venv
PYTHON ?= python3
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.PHONY: setup demo test lint format bench bench-models clean

setup: $(STAMP)  ## make the environment (first call) or do nothing

# PIP_FIND_LINKS, where set, also serves uv: a folder of wheels then supplies the CPU build of torch.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "moirai-flows needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about 2 GB, a minute or so) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}" $(BIN)/uv pip install -q --python $(BIN)/python -e ".[dev]" -c constraints.txt
	@touch $(STAMP)

demo: setup  ## the whole pipeline on real data: results, warehouse and report under .demo/
	@$(BIN)/python -m flows.demo

test: setup  ## the whole suite, in two processes that share the files of tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --jaxtyping-packages=moirai,beartype.beartype

lint: setup  ## style, types and import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup  ## rewrite to the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup  ## the tables behind the figures in README and docs (DATA=path to the data sets)
	@$(BIN)/python -m benchmarks $(DATA)

bench-models: setup  ## forecasts of all families beside the reference (PEER=interpreter that has it; docs/benchmarks.md)
	@$(BIN)/python -m benchmarks.models $(PEER)

clean:  ## remove the demo's results and caches (the environment stays)
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache
