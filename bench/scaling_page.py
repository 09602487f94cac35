"""What the runs of bench.scaling come to: a page of tables, and a picture of cost against attainment.

A run is better than another where it attains more for fewer replica-seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Run:
    """One policy in one cell."""

    policy: str
    attainment: float
    replicas: float
    seconds: float
    changes: int

    @property
    def family(self) -> str:
        """Its name without numbers."""
        return self.policy.replace(":", " ").split()[0]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One trace, so many copies, one load time. `ours` begins with the one that has a time to first token as its objective."""

    trace: str
    copies: int
    load: float
    known: Run
    ours: Sequence[Run]
    peers: Sequence[Run]
    fixed: Sequence[Run]

    @property
    def mine(self) -> Run:
        return self.ours[0]


GOOD_CLAIRVOYANT = 0.99


def chosen(runs: Sequence[Run]) -> Run:
    good = [each for each in runs if each.attainment >= GOOD_CLAIRVOYANT]
    return min(good, key=lambda each: each.seconds) if good else max(runs, key=lambda each: each.attainment)


def better(mine: Run, others: Iterable[Run]) -> list[Run]:
    return [each for each in others if each.attainment > mine.attainment and each.seconds < mine.seconds]


def row(found: Cell) -> str:
    known, mine = found.known, found.mine
    by = better(mine, [*found.peers, *found.fixed])
    told = ", ".join(f"{each.policy} ({each.attainment:.4f}, {each.replicas:.2f})" for each in by)
    share = f"{mine.attainment / known.attainment:.3f}, {mine.seconds / known.seconds:.3f}"
    where = f"{found.trace} | {found.copies} | {found.load:g} | {known.attainment:.4f}, {known.replicas:.2f}"
    return f"| {where} | {mine.attainment:.4f}, {mine.replicas:.2f} | {share} | {told or 'none'} |"


def text(cells: Sequence[Cell]) -> str:
    return "\n".join(map(row, cells))


def picture(cells: Sequence[Cell]) -> str:
    raise NotImplementedError
