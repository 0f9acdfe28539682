"""Features of a language model for references: what builds one with them, and what scores against one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from polyalign import _core
from polyalign._io import bucketed, json_text
from polyalign._io.progress import row_bar
from polyalign.buckets import BucketSchema
from polyalign.lm import GROUP
from polyalign.reference._inputs import count_tables, counted_under, is_table

if TYPE_CHECKING:
    from polyalign.lm import LanguageModel

#: How many features these are, always the last.
COUNT = len(GROUP)
NONE = "the reference has no features of a language model: build one with lm=, or leave lm out"
_COLUMNS = ("completion", "bucket", "prompt", "language")
#: Rows that the model sees before they are counted.
_ROWS = 512


def build(
    inputs: Iterable[Any],
    lm: Any,
    *,
    schema: BucketSchema | None,
    sources: Iterable[str],
    sample_size: int,
    keep_thinking: bool,
    limit: int | None,
    threads: int | None,
    progress: Any,
) -> tuple[_core.Reference, dict[str, Any]]:
    """Build a reference with the features of a language model; return it with what became of the rows.

    The rows are counted as :func:`polyalign.reference._reference.build_files` does; ``lm`` is how many of them the
    model was asked about, and of how many it could not say all.
    """
    model = as_model(lm)
    given = list(inputs)
    opened = [bucketed.open_rows("records", table) for table in given] if given and is_table(given[0]) else None
    if opened is None:
        opened = [bucketed.open_rows("records", [os.fspath(path) for path in given])]
    for rows in opened:
        rows.require("records", "completion", "bucket", hint="; polyalign bucket makes them")
    made = opened[0].bucketed
    keep_thinking = keep_thinking or bool(made and made.settings.get("keep_thinking"))
    settings = {
        **counted_under((made and made.schema) or schema or BucketSchema(), sources, "default", sample_size),
        "tokenizer": made and made.tokenizer,
        "keep_thinking": keep_thinking,
        "lm": model.told,
    }
    builder = _core.ReferenceBuilder(json_text.one_line(settings))
    spec: dict[str, Any] = {"keep_thinking": keep_thinking}
    count = None if any(rows.count is None for rows in opened) else sum(rows.count or 0 for rows in opened)
    tally: dict[str, Any] = {"rows": 0, "used": 0, "rejected": 0, "rejected_by_kind": {}, "first_rejects": {}}
    with row_bar(count if limit is None else min(count or limit, limit), bool(progress)) as on_rows:
        for batch in _batches(opened, limit):
            texts = bucketed.texts("completion", batch["completion"]).text
            prompts = (
                bucketed.prompts("prompt", batch["prompt"]).to_pylist() if "prompt" in batch.schema.names else None
            )
            values = model.measure(texts, prompts, keep_thinking=keep_thinking)
            table = bucketed.arrow().Table.from_batches([batch])
            _add(tally, count_tables(builder, [table], spec, threads, lm=values))
            on_rows(len(batch))
    asked = {**model.counts}
    return builder.finish(), {**tally, "bytes": 0, "held_out": 0, "unreadable": [], "lm": asked}


def _batches(opened: Iterable[Any], limit: int | None) -> Iterator[Any]:
    """Give the rows, so many at a time."""
    left = limit
    for rows in opened:
        for _, _, batch in rows.batches(_COLUMNS):
            for start in range(0, len(batch), _ROWS):
                part = batch.slice(start, min(_ROWS, len(batch) - start if left is None else left))
                if left is not None:
                    left -= len(part)
                if len(part):
                    yield part


def _add(tally: dict[str, Any], more: dict[str, Any]) -> None:
    """Add what became of some rows."""
    kinds = more.get("rejected_by_kind", {})
    for name in ("rows", "used"):
        tally[name] += more[name]
    tally["rejected"] = tally["rows"] - tally["used"]
    for kind, count in kinds.items():
        tally["rejected_by_kind"][kind] = tally["rejected_by_kind"].get(kind, 0) + count
    tally["first_rejects"] = {**more.get("first_rejects", {}), **tally["first_rejects"]}


def as_model(lm: Any, told: dict[str, Any] | None = None) -> LanguageModel:
    """Return a language model: itself, or by its name, asked as a reference says."""
    from polyalign.lm import LanguageModel

    if isinstance(lm, LanguageModel):
        return lm
    if not isinstance(lm, (str, os.PathLike)):
        raise TypeError(
            f"lm is a {type(lm).__name__}: give a polyalign.lm.LanguageModel, a folder or a name on the hub"
        )
    asked = {} if told is None else {name: told[name] for name in ("revision", "prefix", "max_length")}
    return LanguageModel(lm, **asked)


def fitting(lm: Any, told: dict[str, Any] | None) -> LanguageModel:
    """Return the language model of a reference; refuse another one, and one for a reference without.

    Raises
    ------
    ValueError
        It is another one, or is asked otherwise.
    """
    if told is None:
        raise ValueError(NONE)
    model = as_model(lm, told)
    own = model.told
    if own["fingerprint"] != told["fingerprint"]:
        raise ValueError(
            f"the language model {model.name!r} is another than the one that the reference was built with, "
            f"{named(told)}: give that one"
        )
    for name in ("prefix", "max_length"):
        if own[name] != told[name]:
            raise ValueError(
                f"the language model {model.name!r} is asked with {name}={own[name]!r}, the reference was built with "
                f"{told[name]!r}: ask alike"
            )
    return model


def named(told: dict[str, Any]) -> str:
    """Return a model's name and revision."""
    return f"{told['name']}" + (f" at {told['revision']}" if told["revision"] else "")


def uncounted(told: dict[str, Any]) -> str:
    """Say that the features of a reference's language model don't count."""
    return f"the reference has features of the language model {named(told)}, which don't count here: give it as lm="


def said(tally: dict[str, Any]) -> list[str]:
    """Say of how many rows a language model could not say all."""
    counts = dict(tally)
    rows = counts.pop("responses")
    return [f"{count:,} of {rows:,} {what}" for what, count in counts.items() if count]
