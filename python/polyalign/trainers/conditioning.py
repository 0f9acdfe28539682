"""A system line that tells the model in which situation it answers."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from polyalign.buckets._ids import DEFAULT_AXES, named_parts

__all__ = ["condition", "system_line", "template_fields"]


def template_fields(template: str) -> tuple[str, ...]:
    """Return the fields of a template.

    Raises
    ------
    ValueError
        The template is broken, or names nothing.

    Examples
    --------
    >>> template_fields("A {length} {family} answer.")
    ('length', 'family')
    """
    try:
        fields = tuple(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)
    except ValueError as error:
        raise ValueError(f"conditioning={template!r}: {error}") from None
    if not fields or not all(name.isidentifier() for name in fields):
        raise ValueError(f"conditioning={template!r}: it names fields in braces, as '{{family}}, {{length}} answer'")
    return fields


def system_line(
    template: str, bucket: str, columns: Mapping[str, Any] | None = None, axes: Sequence[str] = DEFAULT_AXES
) -> str:
    """Fill a bucket's parts into a template.

    Use it at inference as well: a model trained with conditioning expects the line.

    Parameters
    ----------
    template : str
        Text with fields in braces.
    bucket : str
        A bucket's id; its parts are named by `axes`.
    columns : mapping, optional
        Further fields, as a row's columns; the bucket's parts win.
    axes : sequence of str, default ("language", "track", "family", "length")
        The names of the parts.

    Raises
    ------
    ValueError
        A field that is neither a part nor a column.

    Examples
    --------
    >>> system_line("{family}, {length} answer, {language}", "en|single|qa|short")
    'qa, short answer, en'
    """
    known = {**(columns or {}), **named_parts(bucket, axes)}
    for name in template_fields(template):
        if not isinstance(known.get(name), str):
            raise ValueError(f"conditioning: {{{name}}} is no part of {bucket!r} and no column of texts")
    return template.format(**known)


def condition(prompt: Any, line: str) -> Any:
    r"""Put a system line before a prompt: a text, or messages, whose system message it then begins.

    Examples
    --------
    >>> condition([{"role": "user", "content": "Hi"}], "chat")
    [{'role': 'system', 'content': 'chat'}, {'role': 'user', 'content': 'Hi'}]
    >>> condition("Hi", "chat")
    'chat\n\nHi'
    """
    if isinstance(prompt, str):
        return f"{line}\n\n{prompt}"
    if prompt and prompt[0]["role"] == "system":
        return [{**prompt[0], "content": f"{line}\n\n{prompt[0]['content']}"}, *prompt[1:]]
    return [{"role": "system", "content": line}, *prompt]
