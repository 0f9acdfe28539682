"""What makes a bucket: the axes and the bins of lengths."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polyalign import _core
from polyalign._io import json_text
from polyalign.buckets._ids import DEFAULT_AXES

PAPER_EDGES = (40, 120, 240)

LengthUnit = Literal["tokens", "words", "words-paper", "characters"]


@dataclass(frozen=True, kw_only=True, repr=False)
class BucketSchema:
    """The axes of a bucket and the rules of each.

    A bucket's id is its parts joined by ``|``, one part an axis: ``en|single|qa|short``. The schema is plain
    data: it serialises to JSON and travels in every output.

    Parameters
    ----------
    length_edges : sequence of int, mapping or "auto", default (40, 120, 240)
        Upper ends (inclusive) of all length bins but the last. A mapping has edges by language and a
        ``"default"``. ``"auto"`` takes the quartiles per language of the corpus, from a first pass.
    length_unit : {"tokens", "words", "words-paper", "characters"}, optional
        What lengths are counted in. Default: tokens with a tokenizer, else words (UAX #29).
    length_bins : sequence of str, optional
        Names of the bins, one more than edges. Default: ``short``, ``medium``, ``long``, ``xlong``.
    languages : sequence of str, optional
        The languages there may be, as BCP-47 codes; detection chooses among them, and a record that names
        another is rejected. Default: any.
    default_language : str, default "und"
        Of records of which neither the record nor its text tells the language.
    families : mapping of str to str, optional
        Family by source (the record's ``source`` or ``dataset``), for records that name none.
    axes : sequence of str or mapping, default ("language", "track", "family", "length")
        In the order of an id's parts. Any other name is a column of the records; a mapping
        ``{"name": …, "column": …, "missing": …}`` names the axis and its column apart, and says which part a
        record has that lacks the column (default: it is rejected).
    version : int, default 1
        Version of the JSON form.

    Raises
    ------
    ValueError
        The settings contradict each other; the message says which rule they break.

    Examples
    --------
    >>> BucketSchema(length_edges=(50, 200), languages=["zh", "English"])
    BucketSchema(length_edges=(50, 200), languages=('en', 'zh'))
    >>> BucketSchema(length_edges=(50, 20))
    Traceback (most recent call last):
    ...
    ValueError: schema: length_edges: edges must rise, but 50 is followed by 20
    """

    length_edges: Sequence[int] | Mapping[str, Sequence[int]] | Literal["auto"] = PAPER_EDGES
    length_unit: LengthUnit | None = None
    length_bins: Sequence[str] | None = None
    languages: Sequence[str] | None = None
    default_language: str = "und"
    families: Mapping[str, str] = dataclasses.field(default_factory=dict)
    axes: Sequence[str | Mapping[str, str]] = DEFAULT_AXES
    version: int = 1

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if isinstance(given["languages"], str):
            raise TypeError('languages is a list of codes: ["en", "zh"]')
        normal = json.loads(_core.normalise_settings(json_text.one_line(given)))
        for name, value in normal.items():
            object.__setattr__(self, name, frozen(value))

    @classmethod
    def from_json(cls, text: str) -> BucketSchema:
        """Read a schema from its JSON form; members left out have their defaults."""
        return cls(**json.loads(_core.normalise_schema(text)))

    def to_json(self) -> str:
        """Return the schema as one line of JSON; equal schemas give equal text."""
        return _core.normalise_schema(json_text.one_line(dataclasses.asdict(self)))

    def check_fits(self, reference: BucketSchema) -> None:
        """Refuse to compare buckets of this schema with a reference's, of the schema `reference`.

        Raises
        ------
        ValueError
            Ids mean something else there: other axes, or lengths that are binned otherwise.
        """
        _core.check_schema_fits(self.to_json(), reference.to_json())

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        default = {
            "length_edges": PAPER_EDGES,
            "default_language": "und",
            "axes": DEFAULT_AXES,
            "version": 1,
        }
        named = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        shown = [
            f"{name}={value!r}"
            for name, value in named
            if name == "length_edges" or (value and value != default.get(name))
        ]
        return f"BucketSchema({', '.join(shown)})"


def axis_names(schema: BucketSchema | None) -> tuple[str, ...]:
    """Return the names of a schema's axes; without one, the usual four."""
    if schema is None:
        return DEFAULT_AXES
    if not hasattr(schema, "axes"):
        raise TypeError(f"schema is a BucketSchema, not {type(schema).__name__}")
    return tuple(axis if isinstance(axis, str) else axis["name"] for axis in schema.axes)


def frozen(value: Any) -> Any:
    """Return lists as tuples, all the way down, so that a schema can't be changed by accident."""
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, dict):
        return {name: frozen(member) for name, member in value.items()}
    return value
