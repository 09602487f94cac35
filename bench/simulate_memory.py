"""How much memory a trace of ten million requests takes, gzipped and plain: the command in a process of its own, its highest resident set.

deploy/bin/uv run --frozen python -m bench.simulate_memory [ROWS]

The trace is 100 requests a second, which some 24 replicas serve; about ten minutes of a core.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_BYTES = 1 << 30
ROWS = 10_000_000


def main() -> None:
    """Print what it took."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    source = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv.gz"
        with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
            file.write("arrival_seconds,input_tokens,output_tokens\n")
            for index in range(rows):
                file.write(f"{index / 100:.2f},{source.randint(50, 200)},{source.randint(5, 60)}\n")
        print(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB gzipped")
        argv = ["simulate", "--trace", str(path), "--load-seconds", "100", "--policy", "hpa", "-o", "json"]
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "llama_operator.cli", *argv], capture_output=True, text=True, check=True, env=os.environ
        )
        took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    (run,) = json.loads(done.stdout)["runs"]
    told = f"{run['requests']:,} requests, {run['unserved']:,} unserved, {run['meanReplicas']:.1f} replicas on average"
    print(f"{took:.0f} s; {told}; at most {peak / (1 << 20):.0f} MiB resident, the target is {TARGET_BYTES >> 20}")


if __name__ == "__main__":
    main()
