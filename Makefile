# Everything happens in .venv/, made from constraints.txt: nothing but Python 3.10+ and make is needed.
PYTHON ?= python3
HOURS ?= 2
SCHEDULES ?= 400
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test soak bench lint format docs clean

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed; say which one with: make PYTHON=/path/to/python3 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/.ready  ## see it work: a sandbox full of conversations, loaded into demo.duckdb
	$(BIN)/tiledesk-dlt demo

test: $(VENV)/.ready lint  ## everything that guards the promise
	$(BIN)/pytest -n auto --dist loadgroup
	$(BIN)/python tests/soak.py --schedules $(SCHEDULES)

soak: $(VENV)/.ready  ## the simulation for hours: make soak HOURS=8
	$(BIN)/python tests/soak.py --hours $(HOURS)

bench: $(VENV)/.ready  ## what a load costs beside its alternatives: make bench BENCH="--full"
	$(BIN)/python -m bench $(BENCH)

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.ready  ## write the data dictionary and the command reference anew
	$(BIN)/python -m tiledesk_pipeline.docs

clean:
	rm -rf $(VENV) .venv-bench demo.duckdb .pytest_cache .mypy_cache .ruff_cache .hypothesis
