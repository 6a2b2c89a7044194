# Two commands on a machine with Python 3.11+, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quick coverage check notebooks docs install-check bench fuzz slurm clean

# Installed once, and again when what it needs changes. Constraints pin every version; PyTorch
# comes first so that a CPU build where there is one is taken before anything else asks for torch.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(VENV)/installed
	mkdir -p demo
	$(BIN)/tamrf-xr simulate demo/scene.zarr --size 210 --year 2022 --seed 1 --overwrite
	$(BIN)/tamrf-xr fuse demo/scene.zarr demo/fused.zarr \
	    --dates 2022-01-15/2022-12-31/30D --overwrite
	$(BIN)/tamrf-xr quicklook demo/scene.zarr demo/fused.zarr demo/quicklook.png --overwrite
	$(BIN)/tamrf-xr info demo/fused.zarr

# In as many processes as there are cores on the smallest machine that runs it; each test is whole by itself.
JOBS ?= 2
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(JOBS) --dist worksteal

# What catches most in under a minute on two cores: the schema, the door, dates, tiles, seams, the network, metrics.
QUICK := cube tiles dates days holdout psf metrics lazy store prepare
quick: $(VENV)/installed
	$(BIN)/pytest -q -m "not slow and not real" --hypothesis-profile=quick --durations=3 \
	    $(QUICK:%=tests/test_%.py) tests/model/test_network.py tests/methods/test_linear.py \
	    tests/harmonize/test_units.py tests/harmonize/test_names.py tests/harmonize/test_masks.py \
	    tests/evaluation/test_split.py tests/evaluation/test_score.py tests/evaluation/test_summary.py \
	    tests/training/test_losses.py tests/training/test_config.py

coverage: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(JOBS) --dist worksteal --cov=tamrf_xr --cov-report=term-missing:skip-covered

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Top to bottom, into notebooks/executed/, which the site shows; an error in a cell is an error.
notebooks: $(VENV)/installed
	$(BIN)/python -m docsite.execute

# The documentation site, into site/; warnings and broken links are errors.
docs: $(VENV)/installed
	$(BIN)/python -m docsite

# The ways to install, in environments of their own, with every Python that is here: half an hour, gigabytes.
# TORCH: what pip is told first, such as "torch --index-url https://download.pytorch.org/whl/cpu".
TORCH ?= torch
install-check: $(VENV)/installed
	$(BIN)/python -m studies.install --torch "$(TORCH)"

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.inference

# Some 1000 bad values at every door (a part of it is in `make test`), then bits flipped and kills at random moments: some 25 minutes.
fuzz: $(VENV)/installed
	$(BIN)/python -m tests.fuzz.options
	$(BIN)/python -m tests.fuzz.damage 300
	$(BIN)/python -m tests.fuzz.kills 300
	$(BIN)/python -m tests.fuzz.store_kills 60

clean:
	rm -rf $(VENV) demo build site notebooks/executed .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# A real SLURM of one node, from Debian's packages, as root; where it cannot be had, that is told.
slurm: $(VENV)/installed
	@folder=$$(mktemp -d); bash tests/slurm/start.sh $$folder; code=$$?; \
	[ $$code = 77 ] && exit 0; [ $$code = 0 ] || exit $$code; \
	SLURM_CONF=$$folder/slurm.conf $(BIN)/pytest -q tests/slurm; code=$$?; \
	bash tests/slurm/start.sh $$folder stop; exit $$code
