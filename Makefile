# make demo: the whole path on generated data.   make test: the tests.   Both set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
EXPORTS := .venv-exports
AUDIT := .venv-audit
TRACKING := .venv-tracking
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-long test-scale test-exports test-tracking torture benchmark slurm sshd lint audit docs tutorial dist clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       the whole path on generated data: uxnet auto, with NNI's page, and a prediction"
	@echo "make test       run the tests (PYTEST_ARGS='-m \"not slow\"' for the fast ones alone)"
	@echo "make test-exports  what other tools read, tested with nnU-Net, MONAI bundles, onnxruntime and DICOM libraries"
	@echo "make test-long     tests of half a minute or more: whole runs that are killed, whole tables, the wheel"
	@echo "make test-scale    several machines: SLURM, ssh (Debian: apt install slurm-wlm munge openssh-server), skipped where missing"
	@echo "make test-tracking  curves in experiment trackers, tested with an MLflow server and with wandb"
	@echo "make torture    many kinds of faults: malformed inputs, kills, full disks, flipped bits (TORTURE_ARGS='--share 0.1')"
	@echo "make benchmark  speed and memory beside NNI's own search and MONAI's networks (BENCHMARK_ARGS='--quick')"
	@echo "make lint       ruff and mypy"
	@echo "make audit      known advisories of the versions in constraints.txt; needs the internet"
	@echo "make dist       build the wheel and the sdist in dist/"
	@echo "make docs       the documentation as a site: open site/index.html"
	@echo "make tutorial   run docs/tutorial.ipynb (with its outputs it goes to build/tutorial)"
	@echo "make clean      delete .venv, the demo's folder and caches"
	@echo "PYTHON=python3.12 make ...   chooses the Python (3.10 to 3.13) that .venv is made from"

setup: $(READY)

$(READY): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); this needs Python 3.10 to 3.13: PYTHON=python3.12 make ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: $(PYTHON) cannot make virtual environments; install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(READY)
	$(BIN)/uxnet demo demo

# They start NNI, which waits three seconds for its server, or measure times: nothing runs beside them.
ALONE := $(addprefix tests/test_,end_to_end.py web_ui.py door_in_browser.py uxnet_eval_launch.py uxnet_eval_latency.py)
PYTEST := $(BIN)/python -m pytest -q --durations=10 -m "not scale and not long"
# What pytest ends with if PYTEST_ARGS choose no test of one part.
NONE_CHOSEN := 5

# Two processes share the other files.
test: $(READY) chromium
	$(PYTEST) -n 2 --dist loadfile $(addprefix --ignore=,$(ALONE)) $(PYTEST_ARGS) || [ $$? = $(NONE_CHOSEN) ]
	$(PYTEST) $(ALONE) $(PYTEST_ARGS) || [ $$? = $(NONE_CHOSEN) ]

# Whole runs that are killed, and whole tables. The longest single tests come first: as the last ones, they would
# keep one process busy while the other waits.
LONGEST := $(addprefix tests/test_,torture.py uxnet_eval_auto_full_disk.py uxnet_eval_auto_nni.py)
test-long: $(READY)
	$(BIN)/python -m pytest -q --durations=10 -m long -n 2 --dist loadfile --no-loadscope-reorder \
		$(LONGEST) $(filter-out $(LONGEST),$(sort $(wildcard tests/test_*.py))) $(PYTEST_ARGS)

test-scale: $(VENV)/.ready-scale slurm sshd
	$(BIN)/python -m pytest -q --durations=10 -m scale $(PYTEST_ARGS)

$(VENV)/.ready-scale: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[slurm]'
	@touch $@

# The other tools come into an environment of their own on top of .venv, which stays as it is.
test-exports: $(EXPORTS)/.ready
	$(EXPORTS)/bin/python -m pytest -q --durations=5 -m exports -n 2 --dist loadfile $(PYTEST_ARGS)

$(EXPORTS)/.ready: $(READY)
	$(BIN)/python -m venv $(EXPORTS)
	$(EXPORTS)/bin/python -c "import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'base.pth') \
		.write_text(f'import site; site.addsitedir({sys.argv[1]!r})')" \
		"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(EXPORTS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		'uxnet-search[nnunet,bundle,onnx,dicom,rl]'
	@# nnU-Net's default trainer needs no torchvision, and one that is built for another PyTorch breaks what looks for it.
	@$(EXPORTS)/bin/python -c 'import torchvision' 2>/dev/null || \
		$(EXPORTS)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@

# Experiment trackers want many packages; they come into an environment of their own on top of .venv.
test-tracking: $(TRACKING)/.ready
	$(TRACKING)/bin/python -m pytest -q --durations=5 tests/test_uxnet_eval_tracking.py $(PYTEST_ARGS)

$(TRACKING)/.ready: $(READY)
	$(BIN)/python -m venv $(TRACKING)
	$(TRACKING)/bin/python -c "import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'base.pth') \
		.write_text(f'import site; site.addsitedir({sys.argv[1]!r})')" \
		"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(TRACKING)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		'uxnet-search[mlflow,wandb]'
	@touch $@

torture: $(READY)
	cd tests && OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python -m torture $(TORTURE_ARGS)

benchmark: $(READY)
	$(BIN)/python -m benchmarks $(BENCHMARK_ARGS)

# For the browser tests, which are skipped where there is none. Debian's package, if it can be installed without a password.
chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get install -qq -y --no-install-recommends chromium || { apt-get update -qq && \
		  apt-get install -qq -y --no-install-recommends chromium; }; } >/dev/null 2>&1 && exit 0; fi; \
	echo "no Chromium found or installed: the browser tests will be skipped (Debian: apt install chromium)"

# The daemons themselves; the tests start them on the loopback interface alone.
slurm:
	@PATH="$$PATH:/usr/sbin"; command -v slurmctld >/dev/null && command -v munged >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get install -qq -y --no-install-recommends slurm-wlm munge || { apt-get update -qq && \
		  apt-get install -qq -y --no-install-recommends slurm-wlm munge; }; } >/dev/null 2>&1 && exit 0; fi; \
	echo "no SLURM found or installed: its tests will be skipped (Debian: apt install slurm-wlm munge)"

# The program alone: the tests start it on the loopback interface. Debian's package would start one for the network.
sshd:
	@PATH="$$PATH:/usr/sbin"; command -v sshd >/dev/null && command -v ssh >/dev/null && \
		[ -n "$$(find /usr/lib -name libnss_wrapper.so)" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		packages="openssh-server openssh-client libnss-wrapper"; \
		refuse() { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d; }; \
		[ -e /usr/sbin/policy-rc.d ] || { refuse; made=1; }; \
		{ apt-get install -qq -y --no-install-recommends $$packages || { apt-get update -qq && \
		  apt-get install -qq -y --no-install-recommends $$packages; }; } >/dev/null 2>&1; \
		[ -z "$$made" ] || rm -f /usr/sbin/policy-rc.d; fi; \
	command -v sshd >/dev/null || \
		echo "no sshd found or installed: its tests will be skipped (Debian: apt install openssh-server)"; \
	[ -n "$$(find /usr/lib -name libnss_wrapper.so)" ] || \
		echo "no nss_wrapper: the machines of the ssh tests have one user, this one (Debian: apt install libnss-wrapper)"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy search_space strategies uxnet_eval

# It fails too if a package cannot be asked about.
audit: $(AUDIT)/.ready
	$(AUDIT)/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

$(AUDIT)/.ready:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@touch $@

# With the setuptools of .venv, as constraints.txt pins it. The wheel is built from the sdist.
dist: $(READY)
	$(BIN)/python -m build --no-isolation

DOCS_READY := $(VENV)/.ready-docs

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "open site/index.html"

# In a second step, because nbconvert joins the pieces of an output before it runs the cells.
tutorial: $(DOCS_READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m nbconvert --to notebook --execute \
		--ClearMetadataPreprocessor.enabled=True --output-dir build/tutorial docs/tutorial.ipynb
	$(BIN)/python -m nbconvert --to notebook --CoalesceStreamsPreprocessor.enabled=True --inplace build/tutorial/tutorial.ipynb

clean:
	rm -rf $(VENV) $(EXPORTS) $(TRACKING) $(AUDIT) demo site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
