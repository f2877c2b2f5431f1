# make demo    builds pyconv in a virtual environment of its own and trains on real pictures
# make test    builds it there and runs the tests
# make docs    builds it there and makes the site, build/docs/index.html
# make docs-pictures    runs the experiments and recipes in full, an hour or two, for the site's pictures

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test docs docs-pictures install clean

demo: $(VENV)/.installed
	$(BIN)/pyconv train --plot fashion_history.png

test: $(VENV)/.installed-test
	$(BIN)/pytest -n auto

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

docs-pictures: $(VENV)/.installed-pictures
	$(BIN)/python docs/make_pictures.py

install: $(VENV)/.installed

SOURCES := pyproject.toml CMakeLists.txt $(shell find csrc pyconv -name '*.py' -o -name '*.h' -o -name '*.cpp' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh')

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check '.[plot]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.created $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check '.[test]' -C cmake.define.PYCONV_EMULATION=ON
	touch $@ $(VENV)/.installed

# The pyconv that was built for the tests will do, too.
$(VENV)/.installed-docs: $(VENV)/.created $(SOURCES) docs/requirements.txt
	test -e $(VENV)/.installed-test || $(MAKE) install
	$(BIN)/pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	touch $@

$(VENV)/.installed-pictures: $(VENV)/.created $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check '.[plot,models]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build
