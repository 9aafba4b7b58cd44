# Everything runs in .venv, made by uv; a second run of any target does no set-up.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
.DEFAULT_GOAL := help
# Where this is set, each of hundreds of processes that tests start compiles Chroma anew: a second of its two.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help install security demo demo-s3 test check lint types layers closing-versions lock invoke e2e soak browser site dev streams random recipes bench

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

install: $(READY) ## Set up the environment (.venv)

demo: $(READY) ## The main job on real input, with an embedded store (STORE=s3://... for another)
	$(BIN)/python -m examples.demo

demo-s3: $(READY) ## The same with the store in S3, on a server started for it
	$(BIN)/python -m examples.demo_s3

dev: $(READY) ## The whole pipeline here, with real streams (MAPPING=mapping.yaml DIMENSION=3 SOURCE=stream)
	@$(BIN)/python -m dev $(if $(MAPPING),--mapping $(MAPPING)) $(if $(DIMENSION),--dimension $(DIMENSION)) $(if $(SOURCE),--source $(SOURCE))

EVENT ?= events/ok-sqs-run.json
invoke: $(READY) ## Run the function on one event here: EVENT=events/ok-sqs-run.json
	@$(BIN)/python -m scripts.invoke $(EVENT)

test: $(READY) ## Run the tests
	scripts/in_memory.sh $(BIN)/pytest -q -n auto

e2e: $(READY) ## Real streams, and the image in containers, invoked by SAM; says what this machine cannot do
	scripts/e2e.sh

streams: $(READY) ## The tests on real streams: WRITES=10000 to the table, two workers
	$(BIN)/pytest -q -n 0 -m e2e tests/e2e

soak: $(READY) ## Run the long profiles: more schedules, kills, swaps; SEED=n replays one
	$(BIN)/pytest -q -m soak --hypothesis-profile soak $(if $(SEED),--hypothesis-seed=$(SEED))

random: $(READY) ## The tests in random orders, one run after the other: RUNS=20 TESTS=tests/planning; SEED=n runs one again
	scripts/random_runs.sh

recipes: $(READY) ## Run the recipes for readers with LangChain, LlamaIndex and FastAPI, in their own environment
	scripts/recipes.sh

browser: $(READY) ## Look at the HTML report in a real headless browser (Chromium)
	$(BIN)/pytest -q -m browser tests/browser

site: $(READY) ## Build the documents as a site, in site/
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[site]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

SIZE ?= full
LANCEDB := lancedb==0.40.0
bench: $(READY) ## Measure everything again and write docs/benchmarks.md (SIZE=small: a short run, into .work/bench)
	@test -x .work/lancedb/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .work/lancedb
	@$(BIN)/uv pip install --quiet --python .work/lancedb/bin/python $(LANCEDB) numpy pyarrow
	ROUNDS=none scripts/closing_versions.sh
	$(BIN)/python -m benchmarks --size $(SIZE) $(if $(filter full,$(SIZE)),,--into .work/bench)
	$(if $(filter full,$(SIZE)),$(BIN)/python -m benchmarks.scale)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cfn-lint --template template.yaml bulk.yaml

security: $(READY) ## Check the templates by checkov's rules, in an environment of its own
	scripts/checkov.sh

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

closing-versions: $(READY) ## The closing suite and readers on older releases of chromadb, and files between releases
	ROUNDS=few scripts/closing_versions.sh 1.3.3 1.5.1

check: lint types layers site test demo closing-versions recipes ## What CI runs, but for the browser and the containers

lock: ## Pin the newest versions that fit into constraints.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --all-extras pyproject.toml -o constraints.txt --upgrade
	@echo 'uv==$(shell $(BIN)/uv --version | cut -d" " -f2)' >> constraints.txt
