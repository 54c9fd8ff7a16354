"""The table: each figure with its target, and the floor measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Row:
    """`floor`: what the same machine does at its best in this run; the ratio is what to compare."""

    figure: str
    measured: str
    target: str
    met: bool
    floor: str = ""
    ratio: float | None = None


def percentile(values: list[float], percent: int) -> float:
    if len(values) < 2:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def middle(values: list[float]) -> float:
    return float(median(values))


def table(rows: list[Row]) -> str:
    lines = [
        "| figure | measured | target | floor in this run | ratio | met |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        cells = [row.figure, row.measured, row.target, row.floor, ratio, "yes" if row.met else "NO"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
