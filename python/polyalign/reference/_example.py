"""The columns that a reference is built of, and a small table that has them."""

from __future__ import annotations

from typing import Any


def reference_schema() -> dict[str, str]:
    """Return the columns that :meth:`Reference.from_arrow` reads, and what they hold.

    Examples
    --------
    >>> list(reference_schema())
    ['completion', 'bucket', 'prompt', 'language']
    """
    return {
        "completion": "text, or a list of messages (role, content): the human response; required",
        "bucket": "text: the bucket's id, as Bucketer.assign appends it; required",
        "prompt": "text, or a list of messages: what it answers; features of interaction need it",
        "language": "text: read where the schema has no language axis",
    }


def example_table() -> Any:
    """Return a small made-up table that a reference can be built from, for examples and tests.

    Examples
    --------
    >>> example_table().num_rows
    48
    """
    from arro3.core import Array, DataType, Table

    answers = {
        "en|single|qa|short": ["Yes, it does.", "No, not that I know of.", "I think it is the blue one.", "About ten."],
        "zh|single|qa|short": ["是的，可以。", "不，我不知道。", "我觉得是蓝色的。", "大概十个。"],
    }
    rows = [(answer, bucket) for bucket, texts in answers.items() for answer in texts for _ in range(6)]
    columns = dict(zip(("completion", "bucket"), zip(*rows, strict=True), strict=True))
    return Table.from_pydict({name: Array(values, type=DataType.string()) for name, values in columns.items()})
