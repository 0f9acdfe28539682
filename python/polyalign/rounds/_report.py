"""What the rounds made of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from polyalign._io import json_text


@dataclass(frozen=True)
class Round:
    """A model's answers to the prompts that are looked at, after a round."""

    name: str
    """``"start"``, ``"round 1"``, …; ``"humans"``: theirs to the same prompts."""
    model: str | None
    """Where it is."""
    answers: int
    """How many there are."""
    held_out_score: float | None
    """Their mean score by the critic that nothing trains against; lower is closer to human."""
    held_out_percentile: float | None
    """What share of humans it finds closer, 0 to 1; humans have half."""
    critic_score: float | None
    """Their mean score by the critic that trained the model; of the start, by that of the first round."""
    critic_percentile: float | None
    """Likewise."""
    distinct_2: float | None
    """Share of their pairs of neighbouring words that are different ones."""
    characters: float
    """Their mean length."""
    empty: int
    """Those without text."""
    cut: int
    """Those that had no end."""


@dataclass(frozen=True)
class Report:
    """A row for the humans, the start, and each round. ``print(report)`` shows a table."""

    output: str
    """The folder."""
    split: str
    """Whose prompts were answered: ``"test"``, those held out, or ``"train"``."""
    rounds: tuple[Round, ...]
    """Humans first, then the start."""
    warnings: tuple[str, ...]
    """What the numbers should make one doubt."""

    @property
    def model(self) -> str:
        """Where the last round's model is."""
        return str(self.rounds[-1].model)

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain data."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json_text.indented(self.to_dict())

    def __str__(self) -> str:
        from polyalign._text import tables

        return tables.printed(*lines(self))


def lines(report: Report) -> list[object]:
    """Return what is printed of a report."""
    from polyalign._text import tables

    rows = report.rounds
    table = tables.columns_table(
        {
            "": [row.name for row in rows],
            "held-out critic": [tables.number(row.held_out_score, ".3f") for row in rows],
            "percentile": [tables.number(row.held_out_percentile, ".1%") for row in rows],
            "trained critic": [tables.number(row.critic_score, ".3f") for row in rows],
            "its percentile": [tables.number(row.critic_percentile, ".1%") for row in rows],
            "distinct-2": [tables.number(row.distinct_2, ".3f") for row in rows],
            "characters": [f"{row.characters:,.0f}" for row in rows],
            "empty": [f"{row.empty:,}" for row in rows],
            "cut": [f"{row.cut:,}" for row in rows],
        }
    )
    table.caption = "means of scores and percentiles: lower is closer to humans"
    prompts = "held-out prompts" if report.split == "test" else "prompts that train"
    return [f"{rows[0].answers:,} answers to {prompts}", table, *(f"warning: {line}" for line in report.warnings)]


def doubts(rounds: Sequence[tuple[Round, Round]], split: str) -> list[str]:
    """Say what should make one doubt of rounds: of each the answers before and after it, by the same critics."""
    found = []
    if split == "train":
        found.append("no prompts are held out, so these have trained: polyalign bucket --test-share holds some out")
    for before, after in rounds:
        own, other = (_change(before, after, name) for name in ("critic", "held_out"))
        if own is not None and other is not None and own < 0 <= other:
            found.append(
                f"{after.name}: the critic that trained finds the answers closer to humans than before, the held-out "
                "one does not: the model may have found what the first does not see"
            )
    return found


def _change(before: Round, after: Round, what: str) -> float | None:
    """Return how much further away a critic finds the later answers: by percentile, where it has them."""
    for kind in ("percentile", "score"):
        was, now = getattr(before, f"{what}_{kind}"), getattr(after, f"{what}_{kind}")
        if was is not None and now is not None:
            return float(now - was)
    return None
