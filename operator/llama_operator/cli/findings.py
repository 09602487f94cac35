"""What `kubectl llama doctor` says: one finding for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["ok", "note", "warning", "error"]
"""ok: as it should be. note: could not be looked at, or is worth knowing. warning: something will not work as well as it might, or only
later. error: something does not work."""
RANK: Mapping[Severity, int] = {"ok": 0, "note": 1, "warning": 2, "error": 3}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence, and what to do about it."""

    check: str
    """What was looked at, in a word."""
    severity: Severity
    message: str
    remedy: str = ""
    """A whole sentence; empty where nothing is to be done."""

    def to_json(self) -> dict[str, Any]:
        """As `-o json` shows it."""
        return {"check": self.check, "severity": self.severity, "message": self.message, "remedy": self.remedy or None}


@dataclass(frozen=True)
class Unread:
    """Something that could not be read, and why."""

    why: str


def worst(findings: Iterable[Finding]) -> Severity:
    """The worst of all; ok of none."""
    return max((finding.severity for finding in findings), key=RANK.__getitem__, default="ok")


def ok(check: str, message: str) -> Finding:
    """As it should be."""
    return Finding(check=check, severity="ok", message=message)


def unread(check: str, what: str, fact: Unread) -> Finding:
    """Not looked at: that is no fault of the cluster's, but nobody should take it for health."""
    return Finding(check=check, severity="note", message=f"{what} could not be read: {fact.why}", remedy="Ask somebody who may read it.")
