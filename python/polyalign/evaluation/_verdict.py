"""An evaluation in words: the verdict, the alerts, and small tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyalign._text.words import counted, place
from polyalign.evaluation._texts import joined, said

if TYPE_CHECKING:
    from polyalign.evaluation._result import Alert, Difference, Measure, ModelResult, Number, Numbers

__all__ = ["ALPHA", "alert_line", "difference_lines", "lines", "markdown", "verdicts"]

ALPHA = 0.05
#: What stands in small tables, utility first; and every critic.
SHOWN = ("f1", "rouge_l", "em", "mmd", "bng", "hcr", "coverage", "precision", "distinct_2", "wrong_language", "empty")
_ALERTS, _BUCKETS, _ALSO, _FEW = 8, 12, 4, 3
#: By which metrics, the first first, it is said which of two models is more human.
DECIDING = ("mmd", "bng", "hcr")
#: By which, more useful.
USEFUL = ("f1",)


def shown(evaluation: Numbers) -> list[Measure]:
    """Return the metrics of small tables: those that some model has."""
    more = [measure.name for measure in evaluation.measures if measure.kind == "critic" or measure.main]
    names = [*SHOWN[:-2], *more, *SHOWN[-2:]]
    known = {measure.name: measure for measure in evaluation.measures}
    return [
        known[name]
        for name in names
        if name in known and any(_has(model.overall.get(name)) for model in evaluation.models)
    ]


def _has(number: Number | None) -> bool:
    return number is not None and number.value is not None


# ------------------------------------------------------------------------------------------------- verdicts


def verdicts(evaluation: Numbers) -> list[str]:
    """Say in a line a model how human it is, then which of them is better."""
    found = [_verdict(evaluation, model) for model in evaluation.models]
    return found + difference_lines(evaluation)


def _verdict(evaluation: Numbers, model: ModelResult) -> str:
    alerted, elsewhere = alerted_buckets(evaluation, model.name)
    enough = len(model.buckets)
    if not enough:
        return f"{model.name}: nothing can be said: {next(iter(model.not_enough.values()), 'no bucket has answers')}"
    where = counted(enough, "bucket")
    if not alerted:
        said = f"like humans in {'the one bucket' if enough == 1 else f'all {where}'}, as far as these answers can tell"
    elif len(alerted) == enough:
        said = f"not like humans, in {'the one bucket' if enough == 1 else f'any of {where}'}"
    else:
        said = f"not like humans in {len(alerted):,} of {where}"
    numbers = [f"{_name(evaluation, name)} {_said(evaluation, name, model.overall[name])}" for name in DECIDING
               if _has(model.overall.get(name))]  # fmt: skip
    useful = [f"F1 {_said(evaluation, 'f1', model.overall['f1'])}"] if _has(model.overall.get("f1")) else []
    told = ", ".join([*numbers, *useful])
    also = ""
    if elsewhere:
        also = f"; in {counted(len(elsewhere), 'bucket')} answers relate to what was asked otherwise than humans' do"
    few = f"; {counted(len(model.not_enough), 'bucket')} not judged" if model.not_enough else ""
    return f"{model.name}: {said} ({told}){also}{few}"


def alerted_buckets(evaluation: Numbers, model: str) -> tuple[set[str], set[str]]:
    """Return in which buckets answers are not like humans', and in which others only their relation to prompts is."""
    own = {alert.bucket for alert in evaluation.alerts
           if alert.model == model and evaluation.measure(alert.metric).alerts > 1}  # fmt: skip
    return own, {alert.bucket for alert in evaluation.alerts if alert.model == model} - own


def _name(evaluation: Numbers, metric: str) -> str:
    return evaluation.measure(metric).title


def _said(evaluation: Numbers, metric: str, number: Number) -> str:
    measure = evaluation.measure(metric)
    humans = f", humans {measure.say(number.floor)}" if number.floor is not None else ""
    spread = ""
    if number.low is not None and number.high is not None:
        spread = f" [{measure.say(number.low)}, {measure.say(number.high)}]"
    return f"{measure.say(number.value)}{spread}{humans}"


def difference_lines(evaluation: Numbers) -> list[str]:
    """Say of every two models which is more human and which more useful, over all buckets."""
    found = []
    pairs = dict.fromkeys((each.one, each.two) for each in evaluation.differences)
    for pair in pairs:
        of = [each for each in evaluation.differences if (each.one, each.two) == pair and each.bucket is None]
        human = first_of(of, DECIDING)
        useful = first_of(of, USEFUL)
        said = [_compared(evaluation, each, word) for each, word in ((human, "more human"), (useful, "more useful"))
                if each is not None]  # fmt: skip
        if said:
            found.append("; ".join(said))
    return found


def first_of(of: Sequence[Difference], names: Sequence[str]) -> Difference | None:
    """Return the difference by the first of these metrics that there is."""
    return next((each for name in names for each in of if each.metric == name), None)


def _compared(evaluation: Numbers, each: Difference, word: str) -> str:
    measure = evaluation.measure(each.metric)
    p = "" if each.p is None else f", corrected p {_p(each.p)}"
    if each.better is None:
        told = f"{measure.title} of {each.two} {each.difference:+.3f}{p}"
        return f"neither {each.one} nor {each.two} is {word} ({told})"
    # The better model's against the other's.
    other, sign = (each.one, 1) if each.better == each.two else (each.two, -1)
    return f"{each.better} is {word} than {other} ({measure.title} {sign * each.difference:+.3f}{p})"


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".", 1)


# --------------------------------------------------------------------------------------------------- alerts


def alert_line(evaluation: Numbers, alert: Alert) -> str:
    """Say where a model is off, by how much, against what noise."""
    measure = evaluation.measure(alert.metric)
    noise = "" if not alert.noise else f" ± {measure.say(alert.noise)}"
    more = f" and {len(alert.also) - _ALSO:,} more" if len(alert.also) > _ALSO else ""
    named = ", ".join(_name(evaluation, name) for name in alert.also[:_ALSO])
    also = f"; also {named}{more}" if alert.also else ""
    who = f"{alert.model}, " if len(evaluation.models) > 1 else ""
    return (
        f"{who}{alert.bucket}: {measure.title} {measure.say(alert.value)}, humans {measure.say(alert.floor)}{noise} "
        f"(p {_p(alert.p)}){also}"
    )


# --------------------------------------------------------------------------------------------------- tables


def model_columns(evaluation: Numbers) -> dict[str, list[str]]:
    """Return a table with a row a model, and one for humans: macro means, and of how many prompts."""
    measures = shown(evaluation)
    columns = {"model": [model.name for model in evaluation.models], "prompts": [
        f"{model.counts['prompts']:,}" for model in evaluation.models
    ]}  # fmt: skip
    for measure in measures:
        columns[measure.title] = [measure.say(_value(model.overall.get(measure.name))) for model in evaluation.models]
    columns["model"].append("humans")
    columns["prompts"].append("")
    for measure in measures:
        floors = [model.overall[measure.name].floor for model in evaluation.models if measure.name in model.overall]
        known = [floor for floor in floors if floor is not None]
        columns[measure.title].append(measure.say(sum(known) / len(known) if known else None))
    return columns


def _value(number: Number | None) -> float | None:
    return None if number is None else number.value


def bucket_columns(evaluation: Numbers, model: ModelResult, limit: int) -> dict[str, list[str]]:
    """Return a table with a row a bucket of a model, those with alerts first, then by number of prompts."""
    rank = {alert.bucket: at for at, alert in enumerate(a for a in evaluation.alerts if a.model == model.name)}
    rows = sorted(model.buckets, key=lambda bucket: (rank.get(bucket, len(rank)), -model.prompts[bucket], bucket))
    columns = {"bucket": rows[:limit], "prompts": [f"{model.prompts[bucket]:,}" for bucket in rows[:limit]]}
    for measure in shown(evaluation):
        columns[measure.title] = [
            measure.say(_value(model.buckets[bucket].get(measure.name))) for bucket in rows[:limit]
        ]
    return columns


def lines(evaluation: Numbers, width: int) -> list[Any]:
    """Return what is printed: the verdict, the alerts, the tables, and what was left out."""
    from rich.text import Text

    found: list[Any] = [Text(line, style="bold") for line in verdicts(evaluation)]
    if evaluation.alerts:
        found.append(Text("alerts", style="bold"))
        found += [Text(f"  {alert_line(evaluation, alert)}") for alert in evaluation.alerts[:_ALERTS]]
        if len(evaluation.alerts) > _ALERTS:
            found.append(Text(f"  … {len(evaluation.alerts) - _ALERTS:,} more"))
    if any(model.buckets for model in evaluation.models):
        found += _tables(evaluation, width)
    found += [Text(line) for line in told(evaluation)]
    return found


def _tables(evaluation: Numbers, width: int) -> list[Any]:
    """Return a table of the models; of one, another of its buckets."""
    found = [_table(model_columns(evaluation), width, "model")]
    if len(evaluation.models) == 1:
        model = evaluation.models[0]
        table = _table(bucket_columns(evaluation, model, _BUCKETS), width, "bucket")
        hidden = len(model.buckets) - _BUCKETS
        if hidden > 0:
            more = f"and {hidden:,} more; --html and --json have all"
            table.caption = f"{more}; {table.caption}" if table.caption else more
        found.append(table)
    return found


def _table(columns: dict[str, list[str]], width: int, first: str) -> Any:
    from polyalign._text import tables

    names = [name for name in columns if name not in (first, "prompts")]
    # Utility and what decides stay longest.
    tables.fit(columns, [(name,) for name in reversed(names)], width)
    table = tables.columns_table(columns, (first,))
    hidden = [name for name in names if name not in columns]
    if hidden:
        table.caption = f"no room for {', '.join(hidden)}"
    return table


def told(evaluation: Numbers) -> list[str]:
    """Say what was left out, and what a reader should know, a line each."""
    found: list[str] = [said("line", what=said("warning"), said=line) for line in evaluation.warnings]
    for model in evaluation.models:
        several = len(evaluation.models) > 1
        who = said("line", what=model.name, said="") if several else ""
        if model.not_enough:
            few = sorted(model.not_enough, key=lambda bucket: (-model.prompts[bucket], bucket))
            named: list[str] = [said("line", what=name, said=model.not_enough[name]) for name in few[:_FEW]]
            if len(few) > _FEW:
                named.append(said("more", n=len(few) - _FEW))
            found.append(said("line", what=said("not_judged"), said=_of(model.name, joined(named), several)))
        found += [said("line", what=said("warning"), said=_of(model.name, line, several)) for line in model.notices]
        for skip in model.skipped:
            where = place(skip) if "file" in skip else "–"
            told = {"n": skip["count"], "kind": skip["kind"], "place": where, "reason": skip["reason"]}
            found.append(said("left_out", who=who, **told))
    return found


def _of(model: str, line: str, several: bool) -> str:
    """Return a line, with whose it is where there are several models."""
    return said("line", what=model, said=line) if several else line


def markdown(evaluation: Numbers) -> str:
    """Return the verdict, the alerts and the tables as Markdown."""
    found = [*(f"**{_plain(line)}**\n" for line in verdicts(evaluation))]
    if evaluation.alerts:
        found.append("Alerts:\n")
        found += [f"- {_plain(alert_line(evaluation, alert))}" for alert in evaluation.alerts]
        found.append("")
    found.append(_grid(model_columns(evaluation)))
    for model in evaluation.models:
        found += [f"\n### {_plain(model.name)}\n", _grid(bucket_columns(evaluation, model, len(evaluation.humans)))]
    found += ["", *(f"- {_plain(line)}" for line in told(evaluation))]
    return "\n".join(found).rstrip() + "\n"


def _grid(columns: dict[str, list[str]]) -> str:
    names = list(columns)
    rows = ["| " + " | ".join(map(_cell, names)) + " |", "|" + " --- |" * len(names)]
    rows += ["| " + " | ".join(map(_cell, row)) + " |" for row in zip(*columns.values(), strict=True)]
    return "\n".join(rows)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Escape what Markdown or HTML would take for its own."""
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_").replace("`", "\\`")
