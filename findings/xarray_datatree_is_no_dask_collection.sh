#!/usr/bin/env bash
# An xarray DataTree (2026.4.0) of dask arrays has .compute(), .persist() and .chunks, as a Dataset has, yet it is no dask collection. So dask and
# distributed let it pass without a word: dask.compute(tree) gives back a tree whose arrays are still lazy, futures_of(tree.persist()) is empty while three
# chunks are on their way, and so wait(tree) waits for nothing and progress(tree) shows nothing. Each group as a Dataset does what is expected.
# Who waits for a tree waits for its datasets.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xarray==2026.4.0 dask==2026.8.0 distributed==2026.8.0 numpy==2.3.5 2>/dev/null
cd "$folder"
cat > try.py <<'PYTHON'
import logging
import sys

import dask
import distributed
import numpy as np
import xarray as xr

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    lazy = xr.Dataset({"a": ("x", np.arange(6.0))}).chunk(x=2)
    tree = xr.DataTree.from_dict({"/group": lazy})
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None):
        whole = tree.persist()
        futures = [len(distributed.futures_of(one)) for one in (whole, whole["group"].to_dataset())]
        computed = [
            dask.compute(one)[0] for one in (tree, tree["group"].to_dataset())
        ]
    still_lazy = [dask.is_dask_collection(one) for one in (computed[0]["group"]["a"].data, computed[1]["a"].data)]
    collection = [dask.is_dask_collection(one) for one in (tree, lazy)]
    print("xarray", xr.__version__, "dask", dask.__version__)
    print("a dask collection: tree, dataset", collection)
    print("futures of what is persisted: tree, dataset", futures)
    print("still lazy after dask.compute: tree, dataset", still_lazy)
    sys.exit(0 if (collection, futures, still_lazy) == ([False, True], [0, 3], [True, False]) else 1)
PYTHON
"$folder/venv/bin/python" -W ignore try.py
