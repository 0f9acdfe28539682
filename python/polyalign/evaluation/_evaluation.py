"""An evaluation, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass

from polyalign.evaluation._result import Numbers

__all__ = ["Evaluation"]


@dataclass(frozen=True, repr=False)
class Evaluation(Numbers):
    """How human the answers of some models are, bucket by bucket. ``print(evaluation)`` says it in words and tables."""

    def to_markdown(self) -> str:
        """Return the verdict, the alerts and a table as Markdown."""
        from polyalign.evaluation._verdict import markdown

        return markdown(self)

    def __str__(self) -> str:
        from polyalign._text import tables
        from polyalign.evaluation._verdict import lines

        return tables.printed(*lines(self, tables.WIDE))
