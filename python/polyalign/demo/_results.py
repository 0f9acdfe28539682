"""What the demo's training came to, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyalign._text.words import shortened
from polyalign.demo._measure import MEASURES, Measure, Stage, difference
from polyalign.evaluation._verdict import verdicts

if TYPE_CHECKING:
    from polyalign.demo._training import Trained

__all__ = ["print_results"]

_SHOWN = 6
_LONGEST = 240
_SHARES = ("percentile", "beyond", "held_out_percentile", "held_out_beyond")


def print_results(trained: Trained) -> None:
    """Print some prompts with a person's answer and the model's before and after, then the table."""
    from polyalign._text import tables

    console = tables.console()
    before, after, people = trained.stages[0], trained.stages[-2], trained.stages[-1]
    console.print("\nSome held-out prompts, the first in the order of a hash:")
    console.print(_examples(trained, [people, before, after]))
    console.print("How far answers to all of them are from people's, with 95% intervals:")
    console.print(_table(trained.stages))
    print(
        f"Percentile: further out than this share of people, who are at 50%; beyond: of answers further out than 95%.\n"
        f"Trained against, by {after.name}: {trained.trained_against} together. Never: {trained.held_out}.\n"
        "As a set: energy distance of all answers from other people's in that space; one answer to everything is far.\n"
        "Read each row beside people's, the floor: nobody can be nearer to people than people are.\n"
        f"{_change(after, before)}\n{_change(after, trained.stages[-3])}\n"
        f"Evidence of how these {len(after.answers)} answers of one model moved, by judges that saw none of them, with "
        "one seed and one corpus of chats,\nafter minutes of training. None that they are true or of use, nor for "
        "another model or another corpus.\n\nBucket by bucket, as polyalign evaluate tells it:"
    )
    for line in verdicts(trained.evaluation):
        console.print(line, highlight=False, markup=False)


def _examples(trained: Trained, stages: list[Stage]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.HORIZONTALS, header_style="bold", show_lines=True)
    for name in ("prompt", stages[0].name, f"{stages[1].name}, before", f"after {stages[2].name}"):
        table.add_column(name, ratio=1, overflow="fold")
    for place, row in enumerate(trained.rows[:_SHOWN]):
        cells = [row["prompt"][-1]["content"], *(stage.answers[place] for stage in stages)]
        table.add_row(*(Text(shortened(" ".join(cell.split()), _LONGEST)) for cell in cells))
    return table


def _table(stages: list[Stage]) -> Any:
    from polyalign._text import tables

    columns = {"": [stage.name for stage in stages]}
    for what, title in MEASURES.items():
        name = f"{title} " if title in columns else title  # the same words of two critics
        columns[name] = [_cell(what, stage.measures[what]) for stage in stages]
    return tables.columns_table(columns)


def _cell(what: str, measure: Measure) -> str:
    if what in _SHARES:
        value, low, high = (f"{100 * number:.0f}" for number in (measure.value, measure.low, measure.high))
        return f"{value}% ({low}–{high})"
    places = 0 if what == "characters" else 3
    value, low, high = (f"{number:.{places}f}" for number in (measure.value, measure.low, measure.high))
    return f"{value} ({low}–{high})" if float(low) >= 0 else f"{value} ({low} to {high})"


def _change(after: Stage, before: Stage) -> str:
    """Say what changed by what nothing was trained against, and whether chance alone would do it."""
    told = []
    for what, name in (("held_out_percentile", "by the held-out critic"), ("apart", "as a set")):
        change = difference(after, before, what)
        unit, factor, places = ("%", 100, 0) if what in _SHARES else ("", 1, 3)
        value, low, high = (f"{factor * number:+.{places}f}" for number in (change.value, change.low, change.high))
        side = "nearer to people" if change.high < 0 else "further from people" if change.low > 0 else "not told apart"
        told.append(f"{name} {value}{unit} ({low} to {high}): {side}")
    return f"{after.name} against {before.name}, {'; '.join(told)}."
