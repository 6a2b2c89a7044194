#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: whose number torch.set_num_threads sets depends on whether torch.get_num_threads was called before. Documented: "sets the number of
# threads used for intraop parallelism on CPU". Seen, with OpenMP: a Python thread that sets 1 as its first call loses it at its first operation if any other
# thread has set another number meanwhile, and its 1 becomes that of the main thread if that one, too, has only ever set. Where each thread calls
# get_num_threads() once before, numbers belong to the thread that set them, and neither happens. So a pool whose initializer sets one thread each can compute
# with all cores each. tamrf_xr/model/threads.py reads the number before it sets one; tests/model/test_winograd.py holds that.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 2>/dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 2>/dev/null
cat > "$folder/try.py" <<'PYTHON'
import subprocess, sys, threading

import torch


def seen(read_first):
    """Main sets 4, a thread sets 1, main sets 4: what do main and the thread compute with?"""
    found, it_set, we_set = {}, threading.Event(), threading.Event()
    if read_first:
        torch.get_num_threads()
    torch.set_num_threads(4)

    def work():
        if read_first:
            torch.get_num_threads()
        torch.set_num_threads(1)
        it_set.set()
        we_set.wait()
        torch.ones(1 << 20).add_(1)
        found["thread that set 1"] = torch.get_num_threads()

    thread = threading.Thread(target=work)
    thread.start()
    it_set.wait()
    found["main that set 4"] = torch.get_num_threads()
    torch.set_num_threads(4)
    we_set.set()
    thread.join()
    return found


if len(sys.argv) > 1:
    print(seen(sys.argv[1] == "read"))
    sys.exit()
answers = [eval(subprocess.check_output([sys.executable, "-W", "ignore", __file__, how], text=True)) for how in ("set", "read")]
print("torch", torch.__version__, "only set:", answers[0], "read before:", answers[1])
wrong, right = {"main that set 4": 1, "thread that set 1": 4}, {"main that set 4": 4, "thread that set 1": 1}
sys.exit(0 if answers == [wrong, right] else 1)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/try.py"
