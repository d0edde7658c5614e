# make run    environment, embedded study, report
# make test   environment, all tests
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
CONFIG ?= config/config.yaml
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
# Every GPU of this machine, or those that CUDA_VISIBLE_DEVICES names: each job takes what is free.
GPUS ?= $(shell if [ -n "$${CUDA_VISIBLE_DEVICES:-}" ]; then tr , '\n' <<< "$$CUDA_VISIBLE_DEVICES"; \
  else nvidia-smi -L 2>/dev/null || true; fi | grep -c .)
SNAKEMAKE = $(VENV)/bin/snakemake --cores $(CORES) --resources gpu=$(GPUS) --rerun-incomplete \
  --quiet host reason --configfile $(CONFIG)
# Snakemake reads --configfile before any line of ours: what it stumbles over is told first.
READABLE = $(VENV)/bin/python -m frugalvit.config.reading $(CONFIG)
STUDY = $(shell sed -n 's/^study: *\([a-z0-9_]*\).*/\1/p' $(CONFIG))

.PHONY: run study estimate report figures keep environment test test-kernels test-slow test-slurm chaos fuzz sweep-weights lint bench flowers-subset digits-base config-docs readme lock clean

run: study

study: $(VENV)/.run
	@$(READABLE)
	@new=1; [ ! -d results/$(STUDY)/runs ] || new=; start=$$(date +%s); \
	echo "$(SNAKEMAKE) --show-failed-logs"; $(SNAKEMAKE) --show-failed-logs; \
	if [ -n "$$new" ] && [ -f results/$(STUDY)/estimate.json ]; then \
	  $(VENV)/bin/frugalvit estimate $(CONFIG) --took $$(($$(date +%s) - start)); fi
	@$(MAKE) --no-print-directory report CONFIG=$(CONFIG)

# How long CONFIG will take here, rule by rule, before anything is trained.
estimate: $(VENV)/.run
	@$(READABLE)
	@$(VENV)/bin/frugalvit estimate $(CONFIG) --cores $(CORES)

report: $(VENV)/.run
	@$(READABLE)
	$(SNAKEMAKE) --report results/$(STUDY)/report.html
	@echo; $(VENV)/bin/python -m frugalvit.evaluation.answer_words results/$(STUDY)/answer.csv
	@echo; echo "Answer: $(CURDIR)/results/$(STUDY)/answer.html"
	@echo "Report: $(CURDIR)/results/$(STUDY)/report.html"

# REFERENCE=digits draws from results/reference/digits, and trains nothing.
figures: $(VENV)/.run
ifdef REFERENCE
	$(VENV)/bin/frugalvit redraw $(REFERENCE)
else
	@$(READABLE)
	$(SNAKEMAKE) -- figures
endif

# The finished study's tables and cards, into results/reference, for the repository.
keep: $(VENV)/.run
	$(VENV)/bin/frugalvit keep $(CONFIG)

# --- environments: everything pinned by hash ---
environment: $(VENV)/.run

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "Frugal ViT needs Python 3.11.4 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# pip says either nothing or four lines a package: of those, how far it is.
INSTALL = $(VENV)/bin/pip install --disable-pip-version-check --progress-bar off --require-hashes -r $< \
  | { n=0; of=$$(grep -c '==.* \\$$' $<); \
  while read -r word _; do case $$word in \
    Collecting|Processing) n=$$((n + 1)); [ $$((n % 10)) != 0 ] || echo "  fetched $$n of $$of packages at most";; \
    Installing) echo "  installing them: about a minute";; \
  esac; done; }

$(VENV)/.run: envs/run.lock pyproject.toml | $(VENV)/bin/python
	@echo "environment in $(VENV), from $<: about 2 minutes on a fast network"
	@$(INSTALL)
	$(VENV)/bin/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: envs/dev.lock $(VENV)/.run
	@echo "environment in $(VENV), from $<"
	@$(INSTALL)
	@touch $@

# Tests that want the development data take its folder from FRUGALVIT_MIRROR.
# SLURM's wait most of the time, hence one process more than cores.
test: $(VENV)/.dev lint
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -m "not slow" -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder

# What computes, as other machines do: other numbers of threads, and other processors' kernels.
KERNELS = OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 OMP_NUM_THREADS=4 \
  ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2
test-kernels: $(VENV)/.dev
	for kernels in $(KERNELS); do \
	  echo; echo "$$kernels"; \
	  env $$kernels $(VENV)/bin/pytest -q -m "not slow and not workflow" \
	    $$(grep -lE '^(import|from) torch\b' tests/test_*.py); \
	done

test-slow: $(VENV)/.dev
	$(VENV)/bin/pytest -m slow

# Starts a SLURM of one node, which needs root and Debian's packages munge, slurmctld, slurmd and
# slurm-client; for the test with an accounting database also slurmdbd, mariadb-server-core and
# mariadb-client-core. What is missing is told, and its tests skip.
test-slurm: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/slurm --durations=0 --durations-min=1

# Kill the embedded study at N random moments, let it go on, and compare with an unbroken run.
N ?= 30
chaos: $(VENV)/.dev
	$(VENV)/bin/python -m tests.chaos --kills $(N)

# Property tests with fresh random inputs, 20 times as many as `make test` tries. A failure prints the
# line that repeats it; K=config picks the tests with that word in their name or file.
K ?= properties
fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/test_*_properties.py -k "$(K)" \
	  --hypothesis-profile=fuzz -n $(CORES) --durations=0

# Every ViT that timm knows, one block deep with random weights: read right, refused or (none) wrong.
sweep-weights: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.sweep_weights

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile workflow/rules
	$(VENV)/bin/snakemake --lint

bench: $(VENV)/.dev
	$(VENV)/bin/python -m tests.benchmarks

# Needs FRUGALVIT_MIRROR with flowers102_256px.tar and the ViT-S/14 weights file.
flowers-subset:
	@$(MAKE) --no-print-directory study CONFIG=tests/studies/flowers_subset.yaml

# Remake the shipped base by the workflow's own rule (5 minutes on one core).
PRETRAINING = results/digits/base/pretraining
digits-base: $(VENV)/.run
	$(VENV)/bin/snakemake --cores 1 --resources gpu=0 --forcerun pretrain_base \
	  --config 'base={pretrain: {ready_made: null}}' -- $(PRETRAINING)/weights.safetensors
	cp $(addprefix $(PRETRAINING)/,weights.safetensors card.json history.csv) config/bases/digits/

config-docs: $(VENV)/.run
	$(VENV)/bin/python -m frugalvit.config.docs config/README.md

# After a change of pyproject.toml or envs/constraints.txt.
lock: $(VENV)/.run
	$(VENV)/bin/pip install -q uv
	for set in run:--extra=workflow 'dev:--extra=workflow --extra=dev'; do \
	  $(VENV)/bin/uv pip compile -q pyproject.toml $${set#*:} -c envs/constraints.txt \
	    --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links -o envs/$${set%%:*}.lock; \
	done

# README's picture and table of results, from what `make keep` kept of the embedded study.
readme: $(VENV)/.run
	$(VENV)/bin/python -m frugalvit.figures.readme results/reference/digits \
	  README.md docs/pictures/digits.svg

clean:
	rm -rf $(filter-out results/README.md results/reference,$(wildcard results/*)) logs .snakemake
