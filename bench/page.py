"""docs/performance.md's figures and plots from the results of a run.

    python bench/page.py bench/results.json docs/performance.md

replaces what stands between the page's two marks by tables of the figures, and draws plots beside it (needs
matplotlib).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

PLOTS = {
    "connections": ("Rate by connections", "connections", "M packets/s", 1e-6),
    "rules": ("Rate of new connections by rules", "rules", "M packets/s", 1e-6),
    "batch": ("Rate by packets a call", "packets a call", "M packets/s", 1e-6),
    "threads": ("Rate by threads", "threads", "M packets/s", 1.0),
    "memory": ("Memory by connections", "connections", "bytes a connection", 1.0),
    "peers": ("Beside others", "", "M packets/s", 1e-6),
}
"""By the figures' `plot`: title, axes, and what a value is multiplied with."""

LESS_IS_BETTER = {"ms", "s", "bytes a connection"}

Figure = dict[str, Any]


def shown(figure: Figure, value: float) -> str:
    """A value in its figure's unit."""
    if figure["unit"] == "packets/s":
        return f"{value / 1e6:.2f} M/s" if value >= 1e5 else f"{value / 1e3:.2f} k/s"
    return f"{value:.4g} {figure['unit']}"


def aim(figure: Figure) -> str:
    """What is aimed at, and whether it is reached; empty where nothing is."""
    goal = figure["goal"]
    if goal is None:
        return ""
    less = figure["unit"] in LESS_IS_BETTER
    reached = figure["value"] <= goal if less else figure["value"] >= goal
    return f"{'≤' if less else '≥'} {shown(figure, goal)}: {'reached' if reached else 'not reached'}"


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """A line for each figure."""
    yield "| workload | figure | ratio to line reads | goal |"
    yield "|---|---|---|---|"
    for figure in figures:
        ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.3f}"
        yield f"| {figure['name']} | {shown(figure, figure['value'])} | {ratio} | {aim(figure)} |"


def draw(kind: str, figures: list[Figure], path: Path) -> None:
    """One plot as an SVG file, the same for the same figures."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fastfw"
    from matplotlib import pyplot

    title, across, up, factor = PLOTS[kind]
    picture, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
    if kind == "peers":
        figures = sorted(figures, key=lambda figure: figure["value"])
        bars = axes.barh([figure["series"] for figure in figures], [figure["value"] * factor for figure in figures])
        axes.bar_label(bars, fmt="%.3g", padding=3)
        axes.set_xscale("log")
        axes.set_xlabel(up)
    else:
        for series in dict.fromkeys(figure["series"] for figure in figures):
            points = sorted((f["x"], f["value"] * factor) for f in figures if f["series"] == series)
            axes.plot(*zip(*points, strict=True), marker="o", label=series)
        if kind != "threads":
            axes.set_xscale("log")
        else:
            axes.set_xticks(sorted({figure["x"] for figure in figures}))
        axes.set_ylim(bottom=0)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.legend()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    picture.savefig(path, metadata={"Date": None})
    pyplot.close(picture)


def main() -> int:
    """Rewrite the page."""
    results, page = Path(sys.argv[1]), Path(sys.argv[2])
    found = json.loads(results.read_text())
    text = page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{page}: the lines {BEGIN} and {END} expected, once each")
    machine = found["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}. Written by `bench/page.py` "
        "from one run of `make bench`.",
        "",
        *table(found["figures"]),
        "",
    ]
    folder = page.parent / "plots"
    folder.mkdir(exist_ok=True)
    for kind, (title, *_) in PLOTS.items():
        figures = [figure for figure in found["figures"] if figure["plot"] == kind]
        if figures:
            draw(kind, figures, folder / f"{kind}.svg")
            lines += [f"![{title}](plots/{kind}.svg)", ""]
    before, rest = text.split(BEGIN)
    page.write_text("\n".join([before + BEGIN, "", *lines]) + END + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
