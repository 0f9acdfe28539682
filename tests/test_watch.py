"""Signs of a model that learns to please its critic: when they are told, and when not."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs polyalign[train]")

from polyalign.trainers._variety import variety
from polyalign.trainers._watch import warnings

QA, CHAT = "en|single|qa|short", "en|multi|dialogue|short"


def said(
    trained: Sequence[float],
    held_out: Sequence[float | None],
    distinct: Sequence[float] | None = None,
    prefix: str = "",
) -> list[list[str]]:
    """What is told after each log, with logs of other things between them."""
    history: list[dict[str, Any]] = []
    found = []
    for at, (score, other) in enumerate(zip(trained, held_out, strict=True)):
        entry = {f"{prefix}online_score": score, f"{prefix}online_distinct_2": distinct[at] if distinct else 0.8}
        history += [{"loss": 1.0}, entry | ({} if other is None else {f"{prefix}online_held_out_score": other})]
        found.append(warnings(history, prefix))
        assert warnings([*history, {"loss": 1.0}], prefix) == []
    return found


def noisy(values: Sequence[float], seed: int, noise: float = 0.02) -> list[float]:
    generator = random.Random(seed)
    return [value + generator.gauss(0, noise) for value in values]


def line(start: float, step: float, count: int) -> list[float]:
    return [start + step * at for at in range(count)]


@pytest.mark.parametrize("prefix", ["hdpo/", "eval_hdpo/"])
def test_a_critic_that_improves_alone_is_told_once(prefix: str) -> None:
    found = said(line(0.6, -0.04, 12), [0.5] * 12, prefix=prefix)
    assert [len(each) for each in found] == [0, 0, 0, 0, 1] + [0] * 7
    assert found[4][0].startswith(
        f"over the last 5 readings of {prefix}online_score the critic that trains improves (0.6 to 0.44) and the "
        "held-out one does not (0.5 to 0.5): the model learns what pleases its critic."
    )


def test_it_is_told_again_when_it_comes_again() -> None:
    trained = [*line(0.6, -0.04, 6), *[0.4] * 7, *line(0.36, -0.04, 6)]
    told = [at for at, each in enumerate(said(trained, [0.5] * len(trained))) if each]
    assert told[0] == 4
    assert len(told) == 2
    assert told[1] > 12


def test_what_is_no_sign() -> None:
    falls, flat = line(0.6, -0.04, 12), [0.5] * 12
    both: dict[str, tuple[Sequence[float], Sequence[float | None]]] = {
        "both improve": (falls, line(0.7, -0.01, 12)),
        "neither does": (flat, flat),
        "the trained one worsens": (line(0.3, 0.04, 12), line(0.3, 0.05, 12)),
        "nothing but noise": (noisy(flat, 3), flat),
        "there is no other": (falls, [None] * 12),
        "too early": (falls[:4], flat[:4]),
    }
    for what, given in both.items():
        assert not any(said(*given)), what


@pytest.mark.parametrize("seed", range(20))
def test_noise_hides_no_gaming_and_makes_little(seed: int) -> None:
    """A critic that is gamed is told within ten readings; of twenty honest trainings in noise, next to none is."""
    gamed = said(noisy(line(0.6, -0.03, 15), seed), noisy(line(0.4, 0.01, 15), 100 + seed))
    assert any(gamed[4:15])
    honest = said(noisy(line(0.6, -0.03, 15), seed), noisy(line(0.6, -0.03, 15), 100 + seed))
    assert not any(honest)


def test_answers_that_become_alike_are_told_once() -> None:
    steady, falling = [0.8, 0.7, 0.9, 0.8], [0.6, 0.39, 0.35, 0.3, 0.2, 0.2]
    found = said([0.5] * 10, [0.5] * 10, steady + falling)
    assert [len(each) for each in found] == [0] * 6 + [1] + [0] * 3
    assert found[6][0].startswith("online_distinct_2 is 0.39, it was 0.8: the model's answers become alike, or loop.")
    # One low reading is noise; so are the first ones.
    assert not any(said([0.5] * 6, [0.5] * 6, [0.8, 0.8, 0.8, 0.1, 0.8, 0.8]))
    assert not any(said([0.5] * 3, [0.5] * 3, [0.8, 0.3, 0.1]))


# ------------------------------------------------------------------------------------------------------ variety


def by_hand(texts: Sequence[Sequence[str]], size: int) -> float:
    """Distinct-n of texts that are cut: different n-grams among all."""
    rows = [tuple(text[at : at + size]) for text in texts for at in range(len(text) - size + 1)]
    return len({*rows}) / len(rows)


def test_distinct_n_is_of_a_buckets_responses() -> None:
    texts = ["the cat and the dog", "The cat sat.", "the cat", "a bird"]
    found = variety(texts, [QA, QA, CHAT, QA], ["en"] * 4)
    inside = [["the", "cat", "and", "the", "dog"], ["the", "cat", "sat"], ["a", "bird"]]
    for size in (1, 2):
        sums, counts = (of[f"online_distinct_{size}"] for of in (found.sums, found.counts))
        at = [0, 1, 3]
        assert (sums[at].sum() / counts[at].sum()).item() == pytest.approx(by_hand(inside, size))
        assert sums[2] == counts[2] == 3 - size


def test_chinese_is_counted_by_character() -> None:
    found = variety(["好好学习", "学习 好"], ["zh|single|qa|short"] * 2, ["zh"] * 2)
    assert found.counts["online_distinct_2"].tolist() == [3, 2]
    assert found.sums["online_distinct_2"].tolist() == [3, 1]
    unknown = variety(["abc"], ["xx|single|qa|short"], ["xx"])
    assert unknown.counts["online_distinct_1"].tolist() == [3]


def test_loops_and_empty_answers() -> None:
    texts = ["no no no no no no", "one two three four", "so it goes", "", "<think>Hm.", " \n"]
    found = variety(texts, [QA] * 6, ["en"] * 6)
    repetition = found.sums["online_repetition"].tolist()
    assert repetition[:2] == [pytest.approx(2 / 3), 0.0]
    assert all(map(math.isnan, repetition[2:]))
    assert found.sums["online_empty"].tolist() == [0, 0, 0, 1, 1, 1]
    assert variety([], [], []).sums["online_empty"].shape == (0,)
