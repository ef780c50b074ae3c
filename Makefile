# `make run` and `make test` set up everything themselves in .venv; both need only Python and make.
PYTHON ?= python3
RANKS ?= 4
# Processes that run tests: as many as there are cores, or a number.
WORKERS ?= auto
BIN := .venv/bin
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist worksteal
STDLIB = $$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('stdlib'))")

# The Pythons that a release is tried on, those of them that are there.
PYTHONS ?= python3.11 python3.12 python3.13

.PHONY: run test quick nightly processors lint benchmarks pictures docs dist check-dist release-check clean

run: .venv/run.stamp
	$(BIN)/mpiexec -n $(RANKS) $(BIN)/mergesketch dedup "$(STDLIB)" --include '*.py' \
	    --exclude site-packages --threshold 0.7 --clean cleaned --report report.html
	@echo
	@echo "The folder cleaned/ has the files without the duplicates. Open report.html to see what was removed."
	@echo "Now try your own folder or files (text, JSON, csv, Parquet, tar; .gz, .zst and so on of these):"
	@echo "    $(BIN)/mpiexec -n $(RANKS) $(BIN)/mergesketch dedup PATH... --clean OUT --report report.html"

test: .venv/test.stamp
	$(PYTEST)

# Without the tests that take longest, and those of GPU code; and with fewer random examples.
quick: .venv/test.stamp
	$(PYTEST) -q -m "not slow and not gpu" --hypothesis-profile=quick

# All tests on other examples than those of `make test`, and the comparison of processors.
nightly: processors
	@seed=$$(date +%s); set -x; $(PYTEST) --hypothesis-profile=nightly --hypothesis-seed=$$seed

# Whether results have the same bits on a plainer processor; compiles every kernel for it, which takes minutes.
processors: .venv/test.stamp
	PYTHONPATH=tests $(BIN)/python tests/helpers/same_bits.py

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.venv/types $(BIN)/mypy -m mergesketch -p mergesketch.lsh -p mergesketch.sketches \
	    -p mergesketch.distributed -p mergesketch.gpu

benchmarks: .venv/bench.stamp
	$(BIN)/python benchmarks/run_all.py
	$(BIN)/python benchmarks/tables.py

# Drawn from the committed results of the benchmarks, or computed on the spot.
pictures: .venv/test.stamp
	for script in docs/plots/*.py; do $(BIN)/python $$script || exit 1; done

# DOCS_URL is the address at which the site will lie, if it is known; previews on other sites need it.
docs: .venv/docs.stamp
	$(BIN)/python docs/developers/make_map.py
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

dist: .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check build
	rm -rf dist
	$(BIN)/python -m build --outdir dist . > /dev/null

# Version, date, contents of the wheel, description and its links; nothing but dist may be left by the build.
release-check: dist
	$(BIN)/pip install --quiet --disable-pip-version-check twine
	$(BIN)/python docs/developers/check_release.py dist
	$(BIN)/twine check --strict dist/*
	@test ! -e build && ! ls -d *.egg-info 2>/dev/null || { echo "the build has left files in the tree"; exit 1; }

# The tests from an installed wheel, in a new environment and away from the sources, for each Python.
check-dist: dist
	set -e; for python in $(PYTHONS); do \
	    $$python -c 1 2>/dev/null || { echo "no $$python here"; continue; }; \
	    room=$$(mktemp -d); trap 'rm -rf "$$room"' EXIT; \
	    $$python -m venv "$$room/venv"; \
	    "$$room/venv/bin/pip" install --quiet --disable-pip-version-check \
	        "$$(ls dist/*.whl)[mpi,arrow,zstd,sklearn,test]"; \
	    cp -r tests docs benchmarks examples README.md CHANGELOG.md CONTRIBUTING.md CITATION.cff pyproject.toml Makefile \
	        .github .pre-commit-config.yaml .editorconfig .clang-format "$$room"; \
	    (cd "$$room" && venv/bin/python --version && venv/bin/pytest -q -n $(WORKERS) --dist worksteal); \
	    rm -rf "$$room"; \
	done

clean:
	rm -rf .venv dist docs/_build docs/api/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/pip:
	$(PYTHON) -c "import sys; sys.exit('mergesketch needs Python 3.11 or newer') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv .venv

# Type checkers do not follow editable installs; a link under the package's name does.
.venv/%.stamp: pyproject.toml | .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	mkdir -p .venv/types && ln -sfn "$(CURDIR)" .venv/types/mergesketch
	touch $@

.venv/run.stamp: EXTRAS = mpi
.venv/test.stamp: EXTRAS = mpi,arrow,zstd,sklearn,test,docs
.venv/docs.stamp: EXTRAS = docs
.venv/bench.stamp: EXTRAS = mpi,arrow,sklearn,bench
