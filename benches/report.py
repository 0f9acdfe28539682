"""Put the tables of benches/results.json between their markers in README.md, docs/benchmarks.md and docs/tokenizers.md.

`python benches/report.py` renders the kept results anew; `run.py --update` also measures.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import counting
import distances
import evaluation
import families
import features
import headline
import micro
import padding
import pipeline
import references
import step_times

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benches" / "results.json"
DOCUMENTS = [REPOSITORY / "README.md", *(REPOSITORY / "docs" / name for name in ("benchmarks.md", "tokenizers.md"))]
BENCHES = {
    "counting": counting,
    "families": families,
    "pipeline": pipeline,
    "headline": headline,
    "micro": micro,
    "distances": distances,
    "features": features,
    "references": references,
    "padding": padding,
    "training": step_times,
    "evaluation": evaluation,
}


def markers(name: str) -> tuple[str, str]:
    return f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"


def names_in(text: str) -> list[str]:
    """The tables a document has places for; a marker without its partner is an error."""
    opened, closed = (re.findall(rf"<!-- {slash}bench:(\w+) -->", text) for slash in ("", "/"))
    if opened != closed or len(set(opened)) != len(opened):
        raise ValueError(f"markers don't pair up: {opened} opened, {closed} closed")
    return opened


def put(text: str, name: str, content: str) -> str:
    """The document with a table between its markers."""
    start, end = markers(name)
    before, rest = text.split(start)
    _, after = rest.split(end)
    return f"{before}{start}\n{content}\n{end}{after}"


def tables(results: dict[str, Any]) -> dict[str, str]:
    """What goes between the markers, by their names."""
    measured = {name: bench for name, bench in BENCHES.items() if name in results}
    rendered = {name: bench.render(results[name]) for name, bench in measured.items()}
    for name, bench in measured.items():
        if hasattr(bench, "render_short"):
            rendered[f"{name}_short"] = bench.render_short(results[name])
    return rendered | {"machine": machine_line(results["machine"])}


def machine_line(machine: dict[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}."


def fill(text: str, results: dict[str, Any]) -> str:
    """The document with every table that was measured; others stay as they are."""
    rendered = tables(results)
    for name in names_in(text):
        if name in rendered:
            text = put(text, name, rendered[name])
    return text


def load() -> dict[str, Any]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def update(results: dict[str, Any]) -> None:
    """Keep new results over old ones and fill the documents."""
    kept = load() | {name: value for name, value in results.items() if name != "quick"}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for path in DOCUMENTS:
        path.write_text(fill(path.read_text(encoding="utf-8"), kept), encoding="utf-8")


if __name__ == "__main__":
    update({})
