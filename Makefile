# make run       set up what is missing and start the service; HOST=, PORT= and PYTHON= may be given
# make test      set up what the tests need (as root also Chromium and PostgreSQL), then lint and run them all
# make test-long run what takes long: kills, reloads under load, races (under an hour)
# make test-spark  the batch on Apache Spark against that on one machine (minutes; needs Java 17; pyspark is 450 MB)
# make install   only set up; afterwards .venv/bin/coding-assist is the command
# make compile   only `coding-assist compile` (run, test and install do it too; the core where a C compiler is found)
# make lint      ruff and mypy
# make scorecard write docs/SCORECARD.md: accuracy on the labelled texts
# make profiles  compile fhir_profiles/fsh into fhir_profiles/*.json; it needs npm
# make bench     write docs/BENCHMARKS.md: cost, load, growth, batch beside bare Flask and peers (minutes; needs wrk); SOAK=
# make wheel     sdist and wheel into dist/
# make sbom      dist/sbom.json: what the service is made of, as CycloneDX
# make lock      rebuild the lock files from pyproject.toml; LOCK_FLAGS=--upgrade takes newer releases
# make clean     remove what these commands made; the data under var/ stays

HOST = 127.0.0.1
PORT = 8080
VENV = .venv
SPARK_VENV = .venv-spark
BENCH_VENV = .venv-bench
# what `python -m tests.benchmarks.soak` printed, to have it on the page of `make bench`
SOAK =
LOCK_FLAGS =

# The first one that is new enough and can make a virtual environment (Debian packs ensurepip apart, in python3-venv).
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# --only-binary: building from source would fetch build tools that no lock file pins.
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
PIP_INSTALL_LOCKED = $(PIP_INSTALL) --require-hashes --only-binary=:all:
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --custom-compile-command "make lock" $(LOCK_FLAGS)

.DELETE_ON_ERROR:
.PHONY: help run test test-tools test-long test-spark install compile lint scorecard profiles bench wheel sbom lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

run: $(VENV)/.compiled
	@exec $(VENV)/bin/coding-assist serve --host $(HOST) --port $(PORT)

test: test-tools lint $(VENV)/.compiled
	$(VENV)/bin/python -m pytest

# Chromium, PostgreSQL and the like: installed where that is allowed; without one, the tests that need it are skipped.
test-tools:
	@scripts/install_for_tests.sh

test-long: $(VENV)/.installed-dev $(VENV)/.compiled
	$(VENV)/bin/python -m pytest -m long

test-spark: $(SPARK_VENV)/.installed
	$(SPARK_VENV)/bin/python -m pytest -m "long or not long" tests/test_spark.py

install: $(VENV)/.compiled

compile: $(VENV)/.installed
	$(VENV)/bin/coding-assist compile
	@touch $(VENV)/.compiled

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy

scorecard: $(VENV)/.installed-dev
	$(VENV)/bin/python -m tests.scorecard

profiles: $(VENV)/.installed
	$(VENV)/bin/python scripts/build_profiles.py .sushi

bench: $(VENV)/.installed-dev $(VENV)/.compiled $(BENCH_VENV)/.installed
	$(VENV)/bin/python -m tests.benchmarks $(BENCH_VENV)/bin/python $(if $(SOAK),--soak $(SOAK))

wheel: $(VENV)/.installed-dev
	$(VENV)/bin/python -m build --no-isolation --outdir dist

sbom: $(VENV)/.installed-dev
	@mkdir -p dist
	$(VENV)/bin/cyclonedx-py requirements requirements.lock --output-reproducible --output-file dist/sbom.json

# The later ones are held to what the earlier ones chose: the first three are installed into one environment.
lock: $(VENV)/.installed-dev
	$(COMPILE) --output-file requirements.lock pyproject.toml
	$(COMPILE) --output-file requirements-build.lock --group build --constraints requirements.lock
	$(COMPILE) --output-file requirements-dev.lock --group dev --constraints requirements.lock --constraints requirements-build.lock
	$(COMPILE) --output-file requirements-bench.lock --group bench
	$(COMPILE) --output-file requirements-spark.lock --extra spark --group dev --constraints requirements.lock \
		--constraints requirements-build.lock --constraints requirements-dev.lock pyproject.toml

clean:
	rm -rf service/coding/compiled .venv .venv-spark .venv-bench .sushi dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find service tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps below are touched last, so that an interrupted step is done again and a finished one is not.

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv is on the PATH. Install one (Debian, Ubuntu:" \
		"apt install python3 python3-venv), or name it: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3"; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; $(PYTHON) is " \
		+ sys.version.split()[0] + ". Name another: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made requirements.lock requirements-build.lock pyproject.toml
	$(PIP_INSTALL_LOCKED) -r requirements.lock -r requirements-build.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# Without a compiler the service runs all the same; the sentence says what is missing.
$(VENV)/.compiled: $(VENV)/.installed $(wildcard service/coding/*.py)
	@echo "Compiling the core (one to two minutes)"
	@$(VENV)/bin/coding-assist compile || echo "Going on without: it takes about 1.5 times as long." >&2
	@touch $@

# pyspark is published as source alone; what is built of it is Python and the Java that it brings.
$(SPARK_VENV)/.installed: $(VENV)/.made requirements-build.lock requirements-spark.lock pyproject.toml
	$(VENV)/bin/python -m venv $(SPARK_VENV)
	$(SPARK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
		--no-binary=pyspark -r requirements-build.lock -r requirements-spark.lock
	$(SPARK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(BENCH_VENV)/.installed: $(VENV)/.made requirements-bench.lock
	$(VENV)/bin/python -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
		-r requirements-bench.lock
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(PIP_INSTALL_LOCKED) -r requirements-dev.lock
	@touch $@
