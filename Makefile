# `make help` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PAPER ?= explicit_gradient
TABLE ?= 2
FIGURE ?=
ARGS ?=
DEMO := outputs/demo
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test test-slow mutation lint docs bench bench-gpu report gallery reproduce clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

# The stamp is newer than what it was made from: a second call costs nothing.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (torch alone is some gigabytes: minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: .venv/.installed  ## make the environment, .venv

demo: setup  ## the main job on built-in data: 6 methods x 2 data sets x 4 folds, and its tables
	@$(BIN)/python scripts/train.py -m paths.outputs=$(DEMO) dataset=breast_cancer,digits_8 ratio=ir_20 \
		method=cross_entropy,random_oversampling,smote,focal,ldam,explicit_gradient
	@$(BIN)/python scripts/report.py --outputs $(DEMO) --write

# A worker takes neighbours in the list, so that what the tests of one file share is made once.
test: setup  ## the tests (quick ones)
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: setup  ## the slow tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

mutation: setup  ## does a changed operator, bound or sign fail a test? FUNCTIONS="metrics: data.ratio" asks for some (slow)
	@$(BIN)/python -m tests.mutation $(FUNCTIONS)

lint: setup  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: setup  ## write docs/options.md and docs/methods.md from the code, and all of docs/ as a site, site/index.html
	@$(BIN)/python -m imbalance_bench.settings.reference > docs/options.md.new && mv docs/options.md.new docs/options.md
	@$(BIN)/python -m imbalance_bench.support > docs/methods.md.new && mv docs/methods.md.new docs/methods.md
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict && echo site/index.html

bench: setup  ## speed beside the loops that people write
	@$(BIN)/python scripts/bench.py

bench-gpu: setup  ## the same on a GPU, in at most 8 minutes; its numbers go to outputs/bench_gpu.json
	@mkdir -p outputs && $(BIN)/python scripts/bench_gpu.py --out outputs/bench_gpu.json

report: setup  ## every table and figure of PAPER from the records there are
	@$(BIN)/python scripts/report.py --paper $(PAPER) --all

gallery: setup  ## the pictures of docs/reports.md by the commands that stand there, from the records of make demo
	@mkdir -p docs/figures
	@sed -n 's/^    python \(scripts.report.py .*--figure .*\)/\1/p' docs/reports.md | while read words; do \
		$(BIN)/python $$words | grep png$$ | while read file; do \
			name=$$(basename "$$file"); cp "$$file" "docs/figures/$${name%%[,._]*}.png"; done; done

# A number or a preset's name: TABLE=2, FIGURE=convergence. ARGS are overrides, as train.py takes them; the report's words
# for those of folders are others.
KIND := $(if $(FIGURE),figure,table)
ASKED := $(or $(FIGURE),$(TABLE))
PRESET := $(if $(wildcard conf/paper/$(PAPER)/$(KIND)$(ASKED).yaml),$(KIND)$(ASKED),$(ASKED))
NARROWED = $(patsubst paths.outputs=%,--outputs=%,$(patsubst paths.data=%,--data=%,$(ARGS)))

reproduce: setup  ## run TABLE= (or FIGURE=) of PAPER= (what is done is skipped) and print it; ARGS="dataset=oil ..." narrows it
	@failed=; \
	$(BIN)/python scripts/train.py -m +paper=$(PAPER)/$(PRESET) $(ARGS) || failed="$$failed train.py"; \
	$(BIN)/python scripts/report.py --paper $(PAPER) --$(KIND) $(PRESET) $(NARROWED) || failed="$$failed report.py"; \
	if [ -n "$$failed" ]; then \
		$(BIN)/python scripts/status.py --failed +paper=$(PAPER)/$(PRESET) $(filter-out --data=%,$(NARROWED)) >&2; \
		echo "failed:$$failed; what is above was made of the cells that are done" >&2; exit 1; \
	fi

clean:  ## remove the environment (runs and tables stay)
	rm -rf .venv
