"""Made-up human answers, enough of them and different enough to have distributions."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow

import polyalign as pa

SCHEMA = pa.BucketSchema(length_unit="words", length_edges=(8, 20, 60))

_WORDS = {
    "en": "we they you I think that maybe the river station house runs goes late early blue quick, however because "
    "7 1999 don't it's understand approximately wonderful however and or not".split(),
    "zh": "我们 他们 觉得 可能 公园 车站 今天 早上 很好 跑步 因为 所以 不 是 的 了 北京 三点 漂亮 天气".split(),
}
_ENDS = {"en": [".", ".", "?", "!", "...", "\n\n- so it is."], "zh": ["。", "。", "？", "！", "……"]}


def answer(random: random.Random, language: str, words: int) -> str:
    """A text of about so many words, in sentences."""
    joint = " " if language == "en" else ""
    sentences = []
    while words > 0:
        length = min(words, random.randint(2, 14))
        sentences.append(joint.join(random.choices(_WORDS[language], k=length)) + random.choice(_ENDS[language]))
        words -= length
    return joint.join(sentences)


@functools.cache
def records() -> tuple[dict[str, Any], ...]:
    """Records in TRL's form: five large kinds of buckets, and some with too few humans."""
    source = random.Random(7)
    kinds = [
        ("en", "qa", 0, 3, 120),
        ("en", "qa", 0, 30, 60),
        ("en", "dialogue", 1, 3, 60),
        ("en", "dialogue", 1, 300, 40),
        ("zh", "qa", 0, 3, 80),
        ("zh", "dialogue", 1, 30, 12),
        ("en", "story", 0, 12, 7),
        ("fr", "qa", 0, 3, 5),
    ]
    found = []
    for language, family, earlier, words, rows in kinds:
        for _ in range(rows):
            spoken = "en" if language == "fr" else language
            question = answer(source, spoken, source.randint(2, 9))
            before = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello there!"}] * earlier
            text = answer(source, spoken, max(1, round(words * source.lognormvariate(0, 0.4))))
            found.append(
                {
                    "id": f"h{len(found)}",
                    "prompt": [*before, {"role": "user", "content": question}],
                    "completion": [{"role": "assistant", "content": text}],
                    "language": language,
                    "family": family,
                }
            )
    source.shuffle(found)
    return tuple(found)


def copies(count: int, *, apart: bool) -> list[dict[str, Any]]:
    """The records of English and Chinese, each so often, two to a group; the copies' groups are others, if `apart`."""
    return [
        {**row, "id": f"{row['id']}-{copy}", "group": f"g{number // 2}-{copy if apart else ''}"}
        for copy in range(count)
        for number, row in enumerate(records())
        if row["language"] != "fr"
    ]


@functools.cache
def table() -> pyarrow.Table:
    """The records with their buckets."""
    return pyarrow.table(pa.Bucketer(SCHEMA).assign(pyarrow.Table.from_pylist(list(records()))))


@functools.cache
def reference() -> pa.Reference:
    """How the records' answers are distributed."""
    return pa.Reference.from_arrow(table(), schema=SCHEMA)


class Listener:
    """A critic that knows what was asked, and keeps it; a response's score is its length."""

    uses_prompts = True

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, Any]] = []

    def score(
        self, responses: Sequence[str], buckets: Sequence[str], prompts: Sequence[Any] | None = None
    ) -> npt.NDArray[np.float32]:
        assert prompts is not None
        self.heard += zip(responses, buckets, prompts, strict=True)
        return np.array([len(response) for response in responses], dtype=np.float32)
