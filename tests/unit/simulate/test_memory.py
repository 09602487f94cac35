"""A trace of any length fits: what a request more takes is measured, and ten million of them stay under a GiB.

The command runs in a process of its own, whose highest resident set the kernel tells (VmHWM, https://man7.org/linux/man-pages/man5/proc_pid_status.5.html).
That of getrusage would count the parent's, too. bench/simulate_memory.py replays all ten million.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.harness.depth import DEEP

from llama_operator.simulate.figures import SORTED

MOST_BYTES = 1 << 30
PROMISED = 10_000_000
FEW, MANY = 10_000, SORTED + 1
"""Of more than SORTED requests percentiles are found without a copy of all, as of ten million."""
STATUS = Path("/proc/self/status")
COMMAND = """
import re, sys
from pathlib import Path
from llama_operator.cli.main import main
status = main(sys.argv[1:])
sys.stderr.write(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text()).group(1))
sys.exit(status)
"""


def peak(folder: Path, rows: int) -> int:
    """Bytes that were resident at most while so many requests were replayed: 100 a second, which two replicas serve at once."""
    path = folder / f"{rows}.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("arrival_seconds,input_tokens,output_tokens\n")
        file.writelines(f"{row / 100:.2f},{20 + row * 7 % 41},{2 + row * 11 % 9}\n" for row in range(rows))
    argv = ("simulate", "--trace", str(path), "--load-seconds", "100", "--policy", "static:2", "-o", "json")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", COMMAND, *argv], capture_output=True, text=True, timeout=240, check=True, env=environment)
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["requests"], run["unserved"]) == (rows, 0)
    return int(done.stderr) << 10


@pytest.mark.skipif(not DEEP, reason="takes a core for a quarter of a minute: LLAMA_DEEP=1 runs it")
@pytest.mark.skipif(not STATUS.is_file(), reason="this system does not tell what a process had resident at most")
def test_ten_million_requests_stay_under_a_gibibyte(tmp_path: Path) -> None:
    few, many = peak(tmp_path, FEW), peak(tmp_path, MANY)
    each = (many - few) / (MANY - FEW)
    assert few + PROMISED * each < MOST_BYTES, f"{few >> 20} MiB, and {each:.0f} bytes for each request"
    assert many < 2 * few
