"""How answers are sampled, what a model is asked, and which rows are answered."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

__all__ = ["Form", "Prompting", "Sampling", "Selection"]

Form = Literal["chat", "dialogue", "plain"]


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes
    ----------
    samples : int, default 1
        Answers to each prompt.
    temperature : float, default 1.0
        0: the likeliest token, always.
    top_p : float, default 1.0
        Draw from the likeliest tokens that have this much probability together.
    top_k : int, default 0
        Draw from so many likeliest tokens; 0: from all.
    max_new_tokens : int, default 512
        The longest answer.
    min_new_tokens : int, default 0
        The shortest.
    stop : sequence of str, default ()
        Texts at which an answer ends; they are no part of it.
    seed : int, default 0
        Each answer draws from a seed of its own, made of this one, the record's id and the answer's number.

    Raises
    ------
    ValueError
        A setting out of its range.

    Examples
    --------
    >>> Sampling(samples=4, temperature=0.8).top_p
    1.0
    """

    samples: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512
    min_new_tokens: int = 0
    stop: Sequence[str] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        for name, least in (("samples", 1), ("top_k", 0), ("max_new_tokens", 1), ("min_new_tokens", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be {least} or more")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}: it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: it must be above 0, and 1 at most")
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens {self.min_new_tokens} is more than max_new_tokens {self.max_new_tokens}")
        if self.temperature == 0 and self.samples > 1:
            raise ValueError(
                f"temperature 0 gives the same answer {self.samples} times: give samples=1, or a temperature"
            )
        if "" in self.stop:
            raise ValueError("stop is an empty text: name one that ends answers")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {**dataclasses.asdict(self), "stop": list(self.stop)}


@dataclass(frozen=True)
class Prompting:
    """What a model is asked.

    Attributes
    ----------
    form : {"chat", "dialogue", "plain"}, optional
        ``"chat"``: by the model's chat template; ``"dialogue"``: as text, ``User:`` and ``Assistant:`` before each
        message; ``"plain"``: the prompt's text alone. Default: chat where there is a template, else dialogue.
    few_shot : int, optional
        So many records of the same bucket, never of the row's own group, are shown before the prompt. Default: 3 for a
        dialogue, else none.
    conditioning : str, optional
        A system line with fields in braces, as the trainers' ``conditioning``.
    think : bool, default False
        Name the bucket and ask to think first, between ``<think>`` and ``</think>``; what follows is the answer.

    Raises
    ------
    ValueError
        Settings that contradict each other, or a broken template.
    """

    form: Form | None = None
    few_shot: int | None = None
    conditioning: str | None = None
    think: bool = False

    def __post_init__(self) -> None:
        from polyalign.trainers.conditioning import template_fields

        if self.form is not None and self.form not in get_args(Form):
            raise ValueError(f"form is {self.form!r}: it must be one of {', '.join(get_args(Form))}")
        if self.few_shot is not None and self.few_shot < 0:
            raise ValueError(f"few_shot is {self.few_shot}: it must be 0 or more")
        if self.conditioning is not None:
            template_fields(self.conditioning)
        if self.think and (self.few_shot or self.form not in (None, "chat")):
            raise ValueError("think asks by a system message: it needs form='chat', and no few_shot examples")
        if self.form == "plain" and (self.few_shot or self.conditioning):
            raise ValueError("form='plain' is the prompt's text alone: few_shot and conditioning need another form")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Selection:
    """Which rows are answered.

    Attributes
    ----------
    split : {"train", "test"}, default "train"
        ``"test"``: those that ``polyalign bucket --test-share`` held out.
    buckets : sequence of str, default ()
        Ids, or patterns with ``*`` and ``?``. None: all buckets.
    per_bucket : int, optional
        At most so many of each bucket: always the same ones, spread over its rows; more of them include these.
    limit : int, optional
        At most so many in all, likewise.
    max_prompt_tokens : int, optional
        Leave out longer prompts.

    Raises
    ------
    ValueError
        A number below 1, or another split.
    """

    split: Literal["train", "test"] = "train"
    buckets: Sequence[str] = field(default=())
    per_bucket: int | None = None
    limit: int | None = None
    max_prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "buckets", (self.buckets,) if isinstance(self.buckets, str) else tuple(self.buckets))
        if self.split not in ("train", "test"):
            raise ValueError(f"split is {self.split!r}: it must be 'train' or 'test'")
        for name in ("per_bucket", "limit", "max_prompt_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {**dataclasses.asdict(self), "buckets": list(self.buckets)}
