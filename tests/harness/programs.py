"""How tests run other programs."""

from __future__ import annotations

QUICK_GO = {"GOGC": "400"}
"""For Go programs that live for a tenth of a second: a heap may grow fivefold before it is swept (https://go.dev/doc/gc-guide#GOGC), which
spares promtool and helm a tenth to a third of their CPU time.
"""
