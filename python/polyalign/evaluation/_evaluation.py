"""An evaluation, and what it looks like."""

from __future__ import annotations

import os
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

    def to_html(self, path: str | os.PathLike[str], *, title: str | None = None) -> None:
        """Write the report: one HTML file that needs no network, in English and Chinese.

        Parameters
        ----------
        path : path
            The file. One that is there is replaced.
        title : str, optional
            The heading. Default: the models' names.

        Raises
        ------
        OSError
            It can't be written.
        """
        from polyalign._io.output import publishing
        from polyalign.evaluation._report import render

        with publishing(path, overwrite=True) as output:
            output.write(render(self, title).encode())

    def __str__(self) -> str:
        from polyalign._text import tables
        from polyalign.evaluation._verdict import lines

        return tables.printed(*lines(self, tables.WIDE))
