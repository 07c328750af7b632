# `make demo` and `make test` work on a fresh clone with Python 3.11 and make: they create .venv themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test extended check install docs bench clean

demo: $(INSTALLED)  ## install, then check a real training script that has a real bug
	@echo "torchstone check examples/summarizer_normal_init.py --steps 60   (the run, then one run for each remedy)"
	@$(BIN)/torchstone check examples/summarizer_normal_init.py --steps 60 || test $$? -eq 1

test: $(INSTALLED)  ## install, then every check and test
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

extended: $(INSTALLED)  ## the same, with every style of script that findings are held against
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check --extended

check: test

install: $(INSTALLED)

docs: $(INSTALLED)  ## write docs/laws and docs/findings from the docstrings
	@$(BIN)/python scripts/write_docs.py

bench: $(INSTALLED)  ## every benchmark: ratios of interleaved runs
	@for file in $(filter-out benchmarks/timing.py,$(wildcard benchmarks/*.py)); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# Every install goes through constraints.txt: a bare `torch` may pull gigabytes of CUDA.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch is large: a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(INSTALLED)

clean:  ## remove what make made
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
