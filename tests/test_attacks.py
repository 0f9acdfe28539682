"""Attacks: each is what it says, of its own response, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyalign import _core
from polyalign.critics import attacks

EN, ZH = "en|single|qa|short", "zh|single|qa|short"
TEXTS = [
    "Well, I think that it will rain today.",
    "Nobody told me about the meeting, so I stayed at home.",
    "It's the third of May, isn't it?",
    "我们去公园散步吧，今天天气很好。",
    "确实岁数不算大，1980年出生。",
    "",
    "!!!",
]
BUCKETS = [EN, EN, EN, ZH, ZH, EN, EN]


def words(text: str, language: str) -> list[str]:
    return _core.cut_words([text], language)[0]


def test_words_are_those_that_features_count() -> None:
    assert words("It isn't so.", "en") == ["It", "isn't", "so"]
    assert words("我们去公园散步。", "zh") == ["我们", "去", "公园", "散步"]
    assert words("猫です。", "ja") == ["猫", "で", "す"]
    with pytest.raises(ValueError, match=r"languages.0. is .klingon!"):
        words("x", "klingon!")
    with pytest.raises(ValueError, match="2 texts and 1 languages"):
        _core.cut_words(["x", "y"], ["en"])


def test_each_is_what_it_says() -> None:
    made = attacks.battery(TEXTS, BUCKETS, seed=3)
    for at, (text, bucket) in enumerate(zip(TEXTS, BUCKETS, strict=True)):
        language = bucket[:2]
        own = words(text, language)
        letters, shuffled, drawn = (made[name][at] for name in ("letters_at_random", "words_shuffled", "random_words"))
        if not own:
            assert letters is None and shuffled is None and drawn is None and made["looping"][at] is None
            continue
        assert letters is not None and shuffled is not None and drawn is not None
        assert [char for char in letters if not char.isalpha()] == [char for char in text if not char.isalpha()]
        assert [char.isupper() for char in letters] == [char.isupper() for char in text]
        assert Counter(shuffled) == Counter(text)
        everyone = {
            word for other, of in zip(TEXTS, BUCKETS, strict=True) if of == bucket for word in words(other, language)
        }
        assert set(drawn) <= set("".join(everyone) + text)
        looping, foreign, other = (made[name][at] for name in ("looping", "wrong_language", "other_prompt"))
        assert looping is not None and looping.startswith(text[:3]) and looping.count(own[0]) == attacks._LOOPS
        assert foreign in TEXTS and BUCKETS[TEXTS.index(foreign or "")] != bucket
        assert other in TEXTS and other != text and BUCKETS[TEXTS.index(other or "")] == bucket
        cut = made["cut_short"][at]
        assert cut is not None and text.startswith(cut) and 0 < len(cut) < len(text)
        assert text in (made["boilerplate"][at] or "")
    for bucket in (EN, ZH):
        rows = [at for at, own in enumerate(BUCKETS) if own == bucket]
        assert len({made["constant"][at] for at in rows}) == 1


def test_the_same_seed_gives_the_same_whatever_else_is_asked() -> None:
    whole = attacks.battery(TEXTS, BUCKETS, seed=1)
    alone = attacks.battery(TEXTS, BUCKETS, attacks=["random_words"], seed=1)
    assert alone["random_words"] == whole["random_words"]
    assert attacks.battery(TEXTS, BUCKETS, seed=2)["random_words"] != whole["random_words"]


def test_at_the_humans_length() -> None:
    made = attacks.battery(TEXTS, BUCKETS, human_length=True)
    for name, texts in made.items():
        for text, human, bucket in zip(texts, TEXTS, BUCKETS, strict=True):
            if text is not None and name != "wrong_language":
                assert len(words(text, bucket[:2])) <= len(words(human, bucket[:2])), name


def test_where_there_is_none() -> None:
    made = attacks.battery(["Alone here."], [EN])
    assert made["other_prompt"] == [None]
    assert made["wrong_language"] == [None]
    assert attacks.battery([], []) == {name: [] for name in attacks.ATTACKS}


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="2 responses and 1 buckets"):
        attacks.battery(["a", "b"], [EN])
    with pytest.raises(ValueError, match="no attack is called 'x': there are letters_at_random,"):
        attacks.battery(["a"], [EN], attacks=["x"])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.text("ab 猫。'.", max_size=20), min_size=1, max_size=6), st.sampled_from([EN, ZH, "ja|single|qa|short"])
)
def test_any_text_can_be_attacked(texts: list[str], bucket: str) -> None:
    made = attacks.battery(texts, [bucket] * len(texts))
    assert all(len(column) == len(texts) for column in made.values())
    cut, other = attacks.equal_length(texts, texts[::-1], [bucket] * len(texts))
    for one, two, text in zip(cut, other, texts, strict=True):
        assert text.startswith(one)
        assert len(words(one, bucket[:2])) == len(words(two, bucket[:2]))


class LikesVowels:
    """A critic that is easily pleased: the share of letters that are no vowels."""

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> np.ndarray:
        return np.array(
            [1 - sum(char in "aeiou" for char in text) / max(1, len(text)) for text in responses], np.float32
        )


def test_hill_climbing_pleases_a_critic_that_can_be_pleased() -> None:
    starts = ["bcdfg hjaklm", "xyz vwe"]
    texts, scores = attacks.hill_climb(LikesVowels(), starts, [EN, EN], steps=300)
    before = LikesVowels().score(starts, [EN, EN])
    assert (scores < before - 0.2).all()
    assert scores.tolist() == LikesVowels().score(texts, [EN, EN]).tolist()
    again, _ = attacks.hill_climb(LikesVowels(), starts, [EN, EN], steps=300)
    assert again == texts
