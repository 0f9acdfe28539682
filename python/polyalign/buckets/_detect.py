"""The languages of texts, as buckets have them."""

from __future__ import annotations

from collections.abc import Sequence

from polyalign.buckets._bucketer import Bucketer
from polyalign.buckets._schema import BucketSchema

__all__ = ["detect_languages"]


def detect_languages(texts: Sequence[str]) -> list[str]:
    """Tell the language of each text, as a :class:`polyalign.Bucketer` does that knows no more than the text.

    Parameters
    ----------
    texts : sequence of str

    Returns
    -------
    list of str
        ``"und"`` where it can't be told.

    Examples
    --------
    >>> detect_languages(["今天是晴天。", "It does not rain here at all today.", ""])
    ['zh', 'en', 'und']
    """
    from arro3.core import Array, DataType, Table

    different = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    columns = {"prompt": [""] * len(different), "completion": list(different)}
    table = Table.from_pydict({name: Array(values, DataType.string()) for name, values in columns.items()})
    found = Bucketer(BucketSchema(axes=["language"])).assign(table)["bucket"].to_pylist()
    return [found[different[text]] or "und" for text in texts]
