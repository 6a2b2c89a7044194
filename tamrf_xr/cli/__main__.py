"""`python -m tamrf_xr.cli`: the command where it is not installed."""

import sys

from tamrf_xr.cli import main

sys.exit(main())
