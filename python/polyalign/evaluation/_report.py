"""The report: one HTML file that needs nothing else, no network and no other file."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign._text import pages
from polyalign.evaluation._texts import FORMULAS, SOURCES, in_chinese
from polyalign.evaluation._verdict import told
from polyalign.reference._page import chinese_names, encode, script, stylesheet

if TYPE_CHECKING:
    from polyalign.evaluation._result import Measure, Number, Numbers

__all__ = ["render"]

_FIELDS = ("value", "low", "high", "floor", "p")
#: Differences in single buckets that a page has room for.
_DIFFERENCES = 300


def render(evaluation: Numbers, title: str | None = None) -> str:
    """Draw an evaluation as one self-contained HTML page.

    Parameters
    ----------
    evaluation : Numbers
    title : str, optional
        The heading. Default: the models' names.

    Returns
    -------
    str
        It refers to nothing outside itself.
    """
    histograms = evaluation.details.get("histograms") or {"features": [], "sides": [[]]}
    buckets = [bucket for side in histograms["sides"] for bucket in side]
    axes, packed = encode(histograms["features"], buckets, ())
    features = [{**feature, "axis": asdict(axis)} for feature, axis in zip(histograms["features"], axes, strict=True)]
    title = title or " · ".join(model.name for model in evaluation.models)
    about = {
        "title": title,
        "features": features,
        "all_features": histograms.get("all_features", len(features)),
        "buckets": [{"bucket": bucket["bucket"], "rows": bucket["rows"]} for bucket in buckets],
        "min_count": evaluation.settings["min_count"],
        "zh": chinese_names(),
    }
    parts = {
        "title": pages.escaped(title),
        "style": stylesheet() + _file("_report.css"),
        "script": script(_file("_report.js")),
        "about": pages.embedded(about),
        "numbers": base64.b64encode(packed).decode(),
        "evaluation": _packed(_numbers(evaluation)),
    }
    return pages.filled(_file("_report.html"), parts)


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _packed(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode()


def _numbers(evaluation: Numbers) -> dict[str, Any]:
    """Return all that the page says, numbers as lists of value, low, high, floor and p."""
    told_of = [difference for difference in evaluation.differences if difference.bucket is None]
    told_of += [each for each in evaluation.differences if each.bucket is not None and each.better][:_DIFFERENCES]
    return {
        "measures": [_measure(measure) for measure in evaluation.measures],
        "alerts": [_short(asdict(alert)) for alert in evaluation.alerts],
        "differences": [_short(asdict(difference)) for difference in told_of],
        "models": [
            {
                "name": model.name,
                "overall": _lists(model.overall),
                "weighted": _lists(model.weighted),
                "buckets": {bucket: _lists(numbers) for bucket, numbers in model.buckets.items()},
                "axes": {
                    axis: {part: _lists(numbers) for part, numbers in parts.items()}
                    for axis, parts in model.axes.items()
                },
                "prompts": dict(model.prompts),
                "not_enough": {bucket: _both(reason) for bucket, reason in model.not_enough.items()},
                "counts": dict(model.counts),
                "per_prompt": {str(many): count for many, count in model.per_prompt.items()},
                "settings": _flat(model.settings or {}),
                "judged": {metric: dict(buckets) for metric, buckets in model.judged.items()},
                "needed": dict(model.needed),
            }
            for model in evaluation.models
        ],
        "told": [_both(line) for line in told(evaluation)],
        "humans": dict(evaluation.humans),
        "axes": list(evaluation.axes),
        "settings": {name: _both(value) for name, value in _flat(evaluation.settings).items()},
        **{name: evaluation.details.get(name) for name in ("phrases", "answers", "maps", "tasks")},
    }


def _both(text: str) -> list[str]:
    """Return a text in English and in Chinese."""
    return [str(text), in_chinese(text)]


def _measure(measure: Measure) -> dict[str, Any]:
    formula, source = (
        [str(text), table.get(key) or in_chinese(text)]
        for text, table, key in (
            (measure.formula, FORMULAS, measure.name),
            (measure.source, SOURCES, measure.source),
        )
    )
    return {**asdict(measure), "formula": formula, "source": source}


def _lists(numbers: Mapping[str, Number]) -> dict[str, Any]:
    found = {}
    for name, number in numbers.items():
        values = number.to_dict()
        if values["value"] is not None:
            found[name] = [_digits(values[each]) for each in _FIELDS]
    return found


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _short(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _digits(value) if isinstance(value, float) else value for name, value in values.items()}


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return settings within settings as one list of names and texts."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        elif value is not None:
            found[before + name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found
