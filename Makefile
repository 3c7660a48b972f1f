# relay: `make start` runs it, `make test` proves it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: start test compile-tests test-fast coverage lint format stats bench bench-full docs screenshot release clean

start: $(VENV)/.installed
	$(BIN)/relay start

test: compile-tests lint
	$(BIN)/python -m pytest -n auto

# In the background, while mypy keeps one processor busy: else each worker of pytest would compile all of them.
compile-tests: $(VENV)/.tested
	@$(BIN)/python -m pytest --collect-only >/dev/null 2>&1 &

# Neither a browser nor a whole relay or another program, nothing slow, and fewer examples of each property.
test-fast: $(VENV)/.tested
	RELAY_EXAMPLES=25 $(BIN)/python -m pytest -n auto -m "not browser and not program and not slow"

coverage: $(VENV)/.tested
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto
	$(BIN)/coverage combine --quiet
	$(BIN)/python tests/conformance/coverage_by_package.py

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini tests
	$(BIN)/lint-imports
	$(BIN)/deno fmt --check
	$(BIN)/deno lint
	$(BIN)/djlint --check --lint ui

# Templates, CSS and JavaScript as `lint` wants them; djlint exits with 1 when it changed a file.
format: $(VENV)/.tested
	-$(BIN)/djlint --reformat --quiet ui
	$(BIN)/deno fmt

stats: $(VENV)/bin/python
	$(BIN)/python tests/conformance/stats.py
	$(BIN)/python tests/conformance/replay_walk.py

bench: $(VENV)/.tested
	$(BIN)/python bench/run.py

bench-full: bench
	for part in verify admission retention million; do $(BIN)/python bench/$$part.py || exit 1; done

# The documentation as a site, into site/; `mkdocs serve` shows it while you write.
docs: $(VENV)/.tested
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# The pictures of README and docs.
screenshot: $(VENV)/.tested
	$(BIN)/python -m pip install --quiet --group pictures
	$(BIN)/python docs/screenshot.py

# Version, changelog, wheel, sdist and a fresh install; the artefacts are in dist/.
release: $(VENV)/.tested
	$(BIN)/python -m pip install --quiet --group release
	$(BIN)/python .ci/release.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist site .coverage .coverage.*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@$(BIN)/python -m compileall -q relay
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group test
	@touch $@
