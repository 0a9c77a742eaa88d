# Two commands do all the set-up: `make study` runs the main job, `make test` the tests.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: study app test test-fast test-all fuzz audit check lint format docs bench-tables clean

study: .venv/.study
	$(BIN)/tombola study

# The pages in a browser on this machine.
app: .venv/.app
	$(BIN)/tombola app

# Three tiers. In the order of the files: those with the fewest tests, which are the slowest, must not come last.
# Bytecode is kept, whatever the environment says: the tests start many processes that import the same.
PYTEST := env -u PYTHONDONTWRITEBYTECODE HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n auto --dist loadscope \
	--no-loadscope-reorder

# All that guards behaviour, families sampled by structure: eight minutes on two cores at most.
test: .venv/.develop
	$(PYTEST) -m "not exhaustive"

# Without whole studies and processes of their own: two minutes at most.
test-fast: .venv/.develop
	$(PYTEST) -m "not slow and not exhaustive"

# With real weights end to end, kills, lm-evaluation-harness, and every family with every attention and padding.
test-all: .venv/.language
	$(PYTEST) --hypothesis-profile exhaustive

# A million inputs to every reader of files, guided by coverage; what reaches new code stays in tests/fuzz/corpus.
fuzz: .venv/.develop
	HF_HUB_OFFLINE=1 nice -n 19 $(BIN)/python tests/fuzz/run.py --keep

# Known vulnerabilities of what is installed, by PyPI, which must be reachable: a package that it does not know is an
# error. Builds of PyTorch (+cpu) count as the version that they are of.
audit: .venv/.develop
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip list --format freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' > .venv/audit.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r .venv/audit.txt

# What CI runs.
check:
	.ci/run

lint: .venv/.develop
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.develop
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The site of docs/ in site/; warnings are errors. The variable stands for a notice of Material that repeats itself.
docs: .venv/.develop
	NO_MKDOCS_2_WARNING=1 HF_HUB_OFFLINE=1 $(BIN)/mkdocs build

# Half an hour on two cores that do nothing else: every table of times of the documentation, which are then made anew.
bench-tables: .venv/.develop
	benchmarks/all.sh

clean:
	rm -rf .venv

# Stamps, so that an install happens once and again when the requirements change.
.venv/.study: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.app: .venv/.study
	$(BIN)/python -m pip install --quiet --editable '.[app]'
	touch $@

.venv/.develop: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch .venv/.study .venv/.app $@

.venv/.language: .venv/.develop
	$(BIN)/python -m pip install --quiet --editable '.[dev,language]'
	touch $@
