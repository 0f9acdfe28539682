"""Tasks of lm-eval before and after training: what alignment costs."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign._io import json_text
from polyalign._io.models import is_adapter

__all__ = ["KEYS", "RESULTS", "check", "markdown", "run", "table", "tax_lines"]

#: What the section ``lm_eval`` holds, and of which type.
KEYS: Mapping[str, tuple[type, ...]] = {
    "tasks": (list,),
    "include_path": (str,),
    "limit": (int, float),
    "num_fewshot": (int,),
    "batch_size": (int, str),
    "apply_chat_template": (bool,),
}
RESULTS = "results.json"
_LOG = "lm_eval.log"
_KEPT = ("results", "higher_is_better", "n-samples", "versions")
#: Of a difference of two means, so many standard errors are no chance.
_BEYOND = 1.959963984540054


def check(file: str, settings: Mapping[str, Any]) -> None:
    """Refuse what can't be run.

    Raises
    ------
    ModuleNotFoundError
        lm-eval is not installed.
    ValueError
        No tasks are named, or their folder is not there.
    """
    if not settings:
        return
    if not settings.get("tasks"):
        raise ValueError(f"{file}: lm_eval names no tasks: give tasks, as [arc_easy, hellaswag]")
    if importlib.util.find_spec("lm_eval") is None:
        raise ModuleNotFoundError(
            f"{file}: lm_eval needs the package lm-eval: pip install lm-eval, or leave lm_eval out", name="lm_eval"
        )
    own = settings.get("include_path")
    if own is not None and not Path(own).is_dir():
        raise ValueError(f"{file}: lm_eval.include_path: {own}: no such folder")


def run(folder: Path, name: str, base: str, settings: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, Any]:
    """Run the tasks with a model, in a process of its own; what came out is in the folder's ``results.json``.

    Parameters
    ----------
    folder : Path
    name, base : str
        The model, and the one that it is an adapter of.
    settings, engine : mapping
        The sections ``lm_eval`` and ``engine``.

    Returns
    -------
    dict
        ``scores``: by task and metric, value, standard error (``None``: it has none) and whether higher is better.

    Raises
    ------
    ValueError
        lm-eval failed: its last line, and where the rest is.
    """
    raw = folder / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    weights = f"pretrained={base},peft={name}" if is_adapter(name) else f"pretrained={name}"
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--output_path", str(raw)]
    command += ["--model_args", f"{weights},dtype={engine.get('dtype', 'auto')}"]
    command += ["--tasks", ",".join(map(str, settings["tasks"]))]
    command += ["--device", str(engine["device"])] if "device" in engine else []
    for key in ("include_path", "limit", "num_fewshot", "batch_size"):
        command += [f"--{key}", str(settings[key])] if key in settings else []
    command += ["--apply_chat_template"] if settings.get("apply_chat_template") else []
    with (folder / _LOG).open("w", encoding="utf-8") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    found = sorted(raw.rglob("results_*.json"))
    if code or not found:
        lines = (folder / _LOG).read_text("utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
        raise ValueError(f"lm_eval of {name}: exit code {code}: {lines[-1]}; all of it: {folder / _LOG}")
    told = json.loads(found[-1].read_text("utf-8"))
    kept = {part: told.get(part) or {} for part in _KEPT}
    (folder / RESULTS).write_text(json_text.indented(kept) + "\n", "utf-8", newline="\n")
    shutil.rmtree(raw)
    return {"scores": _scores(kept)}


def _scores(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return, by task and metric, value, standard error and whether higher is better."""
    found: dict[str, dict[str, Any]] = {}
    for task, numbers in sorted(told["results"].items()):
        for key, value in numbers.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr") or not _is_number(value):
                continue
            error = numbers.get(f"{metric}_stderr,{kind}")
            name = metric if kind == "none" else key
            higher = (told["higher_is_better"].get(task) or {}).get(metric)
            found.setdefault(task, {})[name] = [value, error if _is_number(error) else None, higher is not False]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def table(base: str, scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Put what models came to beside the base model.

    Returns
    -------
    dict
        ``base``, its name; ``models``, all of them; ``rows``, one a task and metric: ``task``, ``metric``, ``higher``
        (whether that is better), and ``values``, a list a model: value, standard error, difference to the base, and
        whether that is more than chance (two standard errors of the difference of unpaired means: rather too careful,
        as the questions are the same); ``None`` of what a model does not have.
    """
    rows = []
    for task, metrics in scores[base].items():
        for metric, (start, error, higher) in metrics.items():
            values: list[Any] = []
            for model, of in scores.items():
                own = of.get(task, {}).get(metric)
                if own is None:
                    values.append(None)
                    continue
                apart = None if model == base else own[0] - start
                noise = None if error is None or own[1] is None else _BEYOND * math.hypot(error, own[1])
                beyond = None if apart is None or noise is None else abs(apart) > noise
                values.append([own[0], own[1], apart, beyond])
            rows.append({"task": task, "metric": metric, "higher": higher, "values": values})
    return {"base": base, "models": list(scores), "rows": rows}


def tax_lines(told: Mapping[str, Any]) -> list[str]:
    """Say, a line a model, on which tasks it is worse or better than the base model beyond chance."""
    found = []
    for at, model in enumerate(told["models"]):
        if model == told["base"]:
            continue
        sides: dict[bool, list[str]] = {True: [], False: []}
        for row in told["rows"]:
            own = row["values"][at]
            if own is not None and own[3]:
                sides[(own[2] > 0) == row["higher"]].append(f"{row['task']} {row['metric']} {own[2]:+.3f}")
        parts = [f"{word} in {', '.join(sides[side])}" for side, word in ((False, "worse"), (True, "better"))
                 if sides[side]]  # fmt: skip
        said = "; ".join(parts) or f"in none of {len(told['rows']):,} scores told from {told['base']}"
        found.append(f"{model}, tasks: {said}")
    return found


def markdown(told: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    head = ["task", "metric", *told["models"]]
    lines = [_row(head), _row(["---"] * len(head))]
    for row in told["rows"]:
        metric = row["metric"] if row["higher"] else f"{row['metric']} (lower is better)"
        lines.append(_row([row["task"], metric, *map(_cell, row["values"])]))
    return "\n".join(["", "### Alignment tax", "", *lines, ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(value: Sequence[Any] | None) -> str:
    if value is None:
        return "–"
    number, error, apart, beyond = value
    said = f"{number:.3f}" if error is None else f"{number:.3f} ± {error:.3f}"
    return said if apart is None else f"{said} ({apart:+.3f}{'*' if beyond else ''})"
