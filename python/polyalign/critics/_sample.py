"""Which humans stand for their bucket where not all can be kept."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polyalign import _core
from polyalign._io.responses import prompts as as_prompts
from polyalign._text.words import counted

#: A row of a sample: the hash it was drawn by, and the response.
Row = tuple[int, str]


class SupportSample:
    """Up to `size` human responses of each bucket, drawn by a hash of prompt and response.

    The same rows give the same sample, in whatever order they come and however they were parted.

    Parameters
    ----------
    size : int, default 256
        Of each bucket, the rows with the smallest hashes.
    keep_thinking : bool, default False
        Whether reasoning counts as part of a response.

    Examples
    --------
    >>> buckets, texts = ["en|single|qa|short"] * 400, [f"Number {n}." for n in range(400)]
    >>> one, two = SupportSample(), SupportSample()
    >>> one.add(texts[:300], buckets[:300])
    >>> two.add(texts[300:], buckets[300:])
    >>> whole = SupportSample()
    >>> whole.add(texts[::-1], buckets)
    >>> one.merge(two).rows == whole.rows, len(whole.rows["en|single|qa|short"]), whole.counts
    (True, 256, {'en|single|qa|short': 400})
    """

    def __init__(self, size: int = 256, *, keep_thinking: bool = False) -> None:
        if size < 1:
            raise ValueError(f"size is {size}: a sample has at least one row of each bucket")
        self.size, self.keep_thinking = size, keep_thinking
        self._rows: dict[str, list[Row]] = {}
        self._counts: dict[str, int] = {}

    def add(
        self, responses: Sequence[str], buckets: Sequence[str | None], prompts: Sequence[Any] | None = None
    ) -> None:
        """Add human responses; blank ones, and those without a bucket, stand for nobody.

        Raises
        ------
        ValueError
            Lengths that differ.
        """
        sides = {"buckets": buckets, **({} if prompts is None else {"prompts": prompts})}
        for name, side in sides.items():
            if len(side) != len(responses):
                raise ValueError(f"{counted(len(responses), 'response')} and {len(side):,} {name}: give one for each")
        answers = list(responses) if self.keep_thinking else _core.answers(list(responses))
        asked = as_prompts(prompts) or [None] * len(answers)
        found: dict[str, list[Row]] = {}
        for answer, bucket, prompt in zip(answers, buckets, asked, strict=True):
            if bucket and answer.strip():
                found.setdefault(bucket, []).append((_hash(prompt, answer), answer))
        self._take(found, {bucket: len(rows) for bucket, rows in found.items()})

    def merge(self, *others: SupportSample) -> SupportSample:
        """Return the sample of all rows.

        Raises
        ------
        ValueError
            Samples of another size, or rule for reasoning.
        """
        merged = SupportSample(self.size, keep_thinking=self.keep_thinking)
        for other in (self, *others):
            if (other.size, other.keep_thinking) != (self.size, self.keep_thinking):
                raise ValueError(
                    f"samples of size {self.size} and {other.size}, keep_thinking {self.keep_thinking} and "
                    f"{other.keep_thinking}: they were not drawn alike"
                )
            merged._take(other._rows, other._counts)
        return merged

    def _take(self, rows: Mapping[str, Iterable[Row]], counts: Mapping[str, int]) -> None:
        for bucket, more in rows.items():
            # Sorted, so that of equal hashes the same are kept.
            self._rows[bucket] = heapq.nsmallest(self.size, [*self._rows.get(bucket, ()), *more])
            self._counts[bucket] = self._counts.get(bucket, 0) + counts[bucket]

    @property
    def rows(self) -> dict[str, list[Row]]:
        """By bucket, in the order of the ids: hashes and responses, ascending."""
        return {bucket: list(self._rows[bucket]) for bucket in sorted(self._rows)}

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each bucket had."""
        return {bucket: self._counts[bucket] for bucket in sorted(self._counts)}

    def __repr__(self) -> str:
        kept = sum(map(len, self._rows.values()))
        humans, buckets = counted(sum(self._counts.values()), "human"), counted(len(self._rows), "bucket")
        return f"<SupportSample: {kept:,} of {humans} in {buckets}>"


def _hash(prompt: Sequence[tuple[str, str]] | None, answer: str) -> int:
    parts = [*(part for message in prompt or () for part in message), answer]
    spelled = b"".join(
        len(part := text.encode("utf-8", "surrogatepass")).to_bytes(8, "little") + part for text in parts
    )
    return int.from_bytes(hashlib.blake2b(spelled, digest_size=8).digest(), "little")
