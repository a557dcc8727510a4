# Everything happens in .venv/, made from constraints.txt: nothing but Python 3.10+ and make is needed.
PYTHON ?= python3
HOURS ?= 2
SCHEDULES ?= 100
VARIATIONS ?= commit
VENV := .venv
BIN := $(VENV)/bin
LOCK := --quiet --upgrade --constraint constraints.txt --universal --python-version 3.10 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links

SCHEDULERS := airflow dagster prefect

.PHONY: demo test soak bench lint format docs lock licences marts dist ducklake schedulers spark clean

# uv where there is one, since it takes seconds; pip, which comes with Python, otherwise or if uv fails
UV := $(shell command -v uv 2>/dev/null)
install = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python $(1) ||) \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(1)
# the build is done with the tested versions, too
build := UV_BUILD_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed; say which one with: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing what the demo needs into $(VENV)/ with $(if $(UV),uv,pip), once. With pip it takes a minute or so."
	@export UV_CONSTRAINT=constraints.txt PIP_CONSTRAINT=constraints.txt $(build); \
		$(call install,--editable '.[demo]')
	@touch $@

$(VENV)/.ready: pyproject.toml constraints.txt requirements.lock | $(VENV)/.made
	@echo "Installing what the tests need into $(VENV)/ with $(if $(UV),uv,pip), once; each file is checked against its hash."
	@$(call install,--require-hashes --requirement requirements.lock)
	@$(build); $(call install,--no-deps --no-build-isolation --editable .)
	@touch $(VENV)/.demo $@

demo: $(VENV)/.demo  ## see it work: a sandbox full of conversations, loaded into demo.duckdb
	$(BIN)/tiledesk-dlt demo

test: $(VENV)/.ready lint  ## everything that guards the promise
	@# the simulation takes what the tests leave of the processors
	@log=$$(mktemp); nice -n 19 $(BIN)/python tests/soak.py --schedules $(SCHEDULES) >$$log 2>&1 & soak=$$!; \
	trap 'kill -INT $$soak; rm -f $$log; exit 1' INT TERM; \
	$(BIN)/pytest -n auto --dist loadgroup --variations $(VARIATIONS); failed=$$?; \
	wait $$soak || failed=1; cat $$log; rm -f $$log; exit $$failed

soak: $(VENV)/.ready  ## the simulation for hours: make soak HOURS=8
	$(BIN)/python tests/soak.py --hours $(HOURS)

bench: $(VENV)/.ready  ## what a load costs beside its alternatives: make bench BENCH="--full"
	$(BIN)/python -m bench $(BENCH)

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@# needs Python 3.11
	@test ! -x $(BIN)/lint-imports || $(BIN)/lint-imports --no-logo --no-cache

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.ready  ## write the data dictionary, the command reference, the charts and the notebooks anew
	$(BIN)/python -m tiledesk_pipeline.docs
	$(BIN)/python tests/capabilities.py
	$(BIN)/python -m tiledesk_pipeline.report.charts
	$(BIN)/python -m tiledesk_pipeline.picture
	$(BIN)/python -m tiledesk_pipeline.notebooks

lock: $(VENV)/.ready  ## write requirements.lock and the versions for schedulers and Spark anew, after a change of constraints.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --output-file requirements.lock $(LOCK)
	@for each in $(SCHEDULERS) spark; do \
		$(BIN)/uv pip compile pyproject.toml $$(test $$each = spark || echo --extra $$each) deploy/$$each/requirements.in \
			--output-file deploy/$$each/constraints.txt $(filter-out --generate-hashes,$(LOCK)) || exit; \
	done

licences: $(VENV)/.ready  ## list the licences of all locked packages anew, after a change of requirements.lock
	$(BIN)/python -m tiledesk_pipeline.release.licences

marts: $(VENV)/.ready .venv-dbt/.ready  ## compile the SQL of the marts that the package carries
	$(BIN)/python -m tiledesk_pipeline.marts.package .venv-dbt/bin/dbt

.venv-dbt/.ready: constraints-dbt.txt
	$(PYTHON) -m venv .venv-dbt
	.venv-dbt/bin/pip install --quiet --disable-pip-version-check --requirement constraints-dbt.txt
	@touch $@

dist: $(VENV)/.ready  ## build wheel, sdist and bill of materials into dist/; a commit always gives the same bytes
	rm -rf dist
	env -u SOURCE_DATE_EPOCH $(BIN)/python -m hatchling build
	$(BIN)/python -m tiledesk_pipeline.release.sbom "dist/tiledesk_dlt-$$($(BIN)/python -m hatchling version).cdx.json"

ducklake: .venv-ducklake/.ready  ## an environment for the tests of DuckLake, with DuckDB's extensions

.venv-ducklake/.ready: requirements.lock constraints-ducklake.txt | $(VENV)/.ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --requirement constraints-ducklake.txt
	$(build) $(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps --editable .
	@touch $@

schedulers: $(SCHEDULERS:%=.venv-schedulers/%/.ready)  ## environments for the tests of deploy/airflow, dagster and prefect

.venv-schedulers/%/.ready: deploy/%/constraints.txt | $(VENV)/.ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --requirement $<
	$(build) $(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps --editable .
	@touch $@

spark: .venv-spark/.ready  ## environment for deploy/spark and its tests; Java 17 or newer comes from the system

.venv-spark/.ready: deploy/spark/constraints.txt | $(VENV)/.ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --requirement $<
	$(build) $(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps --editable .
	@touch $@

clean:
	rm -rf dist $(VENV) .venv-bench .venv-dbt .venv-ducklake .venv-schedulers .venv-spark demo.duckdb .pytest_cache .mypy_cache .ruff_cache .hypothesis
