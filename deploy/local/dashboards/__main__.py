"""Writes the dashboards, tries their queries on a Prometheus, and draws them.

    python -m dashboards write [--check]                        their JSON into the chart
    python -m dashboards try  --namespace N --deployment D      every query of every panel: how many series it has; 1 where one is empty
    python -m dashboards draw --namespace N --deployment D      docs/images/dashboard-NAME.png, and the table of `try`

--prometheus URL asks that one; without it the local cluster's is asked, through its API server. `try` and `draw` show the last --minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from dashboards.tried import Choice, Get, over_http, report, through_api, try_all
from llama_operator.telemetry.dashboards.boards import BOARDS

ROOT = Path(__file__).resolve().parents[3]
IMAGES = ROOT / "docs" / "images"


def main() -> int:
    """Runs one command; 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("write", "try", "draw"))
    parser.add_argument("--check", action="store_true", help="write nothing: say what is not current")
    parser.add_argument("--prometheus", metavar="URL")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--deployment")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--images", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    if arguments.command == "write":
        return _write(only_check=arguments.check)
    if not arguments.deployment:
        parser.error("--deployment is needed: whose series are asked for")
    now = time.time()
    choice = Choice(namespace=arguments.namespace, deployment=arguments.deployment, start=now - 60 * arguments.minutes, end=now)
    tried = try_all(_get(arguments.prometheus), BOARDS, choice)
    print(report(tried))
    if arguments.command == "draw":
        from dashboards.draw import draw_all  # needs matplotlib

        for path in draw_all(BOARDS, tried, choice, arguments.images):
            print(f"{path}: {path.stat().st_size // 1024} kB")
    return 1 if any(each.wrong for each in tried) else 0


def _write(*, only_check: bool) -> int:
    from dashboards.grafana import stale, write  # needs the SDK

    changed = stale(ROOT) if only_check else write(ROOT)
    for path in changed:
        print(f"{path.relative_to(ROOT)} {'is not current: run make gen' if only_check else 'written'}")
    return 1 if only_check and changed else 0


def _get(url: str | None) -> Get:
    if url:
        return over_http(url)
    from localcluster.cluster import Cluster  # needs the local cluster's settings

    return through_api(Cluster().api)


if __name__ == "__main__":
    sys.exit(main())
