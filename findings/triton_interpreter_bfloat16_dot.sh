#!/usr/bin/env bash
# Triton 3.7.1, TRITON_INTERPRET=1: tl.dot of bfloat16 multiplies the bits of the numbers, taken for 16-bit integers, and says nothing. Loading,
# storing and converting bfloat16 are right, so a kernel passes all its float32 tests and is wrong by ten orders of magnitude in bfloat16.
# Widened to float32 before the product it is right.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 2>/dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check triton==3.7.1 numpy==2.3.5 2>/dev/null
cat > "$folder/kernel.py" <<'PYTHON'
import sys, torch, triton, triton.language as tl

@triton.jit
def square(x, y, wide: tl.constexpr):
    i = tl.arange(0, 16)
    at = i[:, None] * 16 + i[None, :]
    a = tl.load(x + at)
    tl.store(y + at, tl.dot(a.to(tl.float32), a.to(tl.float32)) if wide else tl.dot(a, a))

x = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
exact, off = x.float() @ x.float(), {}
for wide in (False, True):
    y = torch.empty(16, 16)
    square[(1,)](x, y, wide)
    off[wide] = float((y - exact).abs().max())
print("triton", triton.__version__, "largest difference from the product: as bfloat16", off[False], "as float32", off[True])
sys.exit(0 if off[False] > 1e6 and off[True] < 1e-4 else 1)
PYTHON
TRITON_INTERPRET=1 "$folder/venv/bin/python" -W ignore "$folder/kernel.py"
