"""The demo's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyalign.buckets import BucketSummary, Report

__all__ = ["draw_lengths"]

_COLOURS = {"en": "#2a6fbb", "zh": "#c8452f"}
_BARS = 24


def draw_lengths(report: Report, path: str | Path) -> None:
    """Draw the length distribution of the largest buckets.

    Parameters
    ----------
    report : Report
        Of a bucketing run.
    path : str or PathLike
        The image to write; its suffix is the format.
    """
    from matplotlib.patches import Patch

    from polyalign.buckets._report import length_unit

    buckets = sorted(report.buckets[:_BARS], key=_by_parts_then_length, reverse=True)
    figure, axes = _figure(len(buckets))
    for place, bucket in enumerate(buckets):
        _draw_bucket(axes, place, bucket)
    _name_rows(axes, [bucket.bucket for bucket in buckets])
    axes.set_xscale("log")
    axes.set_xlim(left=0.8)
    axes.set_xlabel(f"length of the response ({length_unit(report)}, log scale)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"How long human answers are, bucket by bucket ({report.bucketed:,} rows)", loc="left", fontsize=11)
    languages = sorted({bucket.parts[0] for bucket in buckets})
    handles: list[Any] = [Patch(color=_COLOURS.get(language, "#666666"), label=language) for language in languages]
    handles += [
        Patch(color="#666666", alpha=0.35, label="10–90%"),
        Patch(color="#666666", label="25–75%, median in white"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    figure.savefig(Path(path), dpi=150)


def _by_parts_then_length(bucket: BucketSummary) -> tuple[tuple[str, ...], int]:
    return bucket.parts[:-1], bucket.length["q50"]


def _draw_bucket(axes: Any, place: int, bucket: BucketSummary) -> None:
    """Draw one bar: from the 10% to the 90% quantile, the middle half darker, the median in white."""
    colour = _COLOURS.get(bucket.parts[0], "#666666")
    at = {name: max(value, 0.5) for name, value in bucket.length.items()}
    axes.barh(
        place,
        at["q90"] * 1.04 - at["q10"] / 1.04,
        left=at["q10"] / 1.04,
        height=0.55,
        color=colour,
        alpha=0.35,
    )
    axes.barh(place, at["q75"] * 1.04 - at["q25"] / 1.04, left=at["q25"] / 1.04, height=0.55, color=colour)
    axes.plot([at["q50"]] * 2, [place - 0.275, place + 0.275], color="white", linewidth=2)
    axes.annotate(
        f"n={bucket.rows:,}",
        (at["q90"] * 1.08, place),
        va="center",
        fontsize=8,
        color="#555555",
        annotation_clip=False,
    )


def _figure(rows: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.6 + 0.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _name_rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, family="monospace", fontsize=9)
    axes.grid(axis="x", which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
