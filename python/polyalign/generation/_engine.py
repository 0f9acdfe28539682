"""What makes answers: the protocol of engines, and what they are asked and give."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from polyalign.generation._prompts import Prompt
from polyalign.generation._settings import Form, Sampling

__all__ = ["Answer", "Engine", "Request", "Unfit"]

Key = tuple[int, int]
"""The number of a row, and that of a sample."""


class Unfit(Exception):  # noqa: N818 - no error: a row that is left out
    """A prompt that can't be asked: the kind of reason, and what it is."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass(frozen=True)
class Request:
    """One answer that is wanted."""

    key: Key
    seed: int
    """64 bits, of this answer alone."""
    prompt: Any
    """What :meth:`Engine.prepare` gave."""


@dataclass(frozen=True)
class Answer:
    """What came of a request: a text, or a reason why there is none."""

    key: Key
    text: str = ""
    finish: str = "stop"
    """``"stop"``, or ``"length"`` where it was cut; others as a server says them."""
    tokens: int | None = None
    """Of the answer, its end not among them; ``None``: not known."""
    prompt_tokens: int | None = None
    thinking: str | None = None
    """What a server gives apart from the answer."""
    refused: str | None = None
    """Why a server did not answer."""


class Engine(Protocol):
    """What makes answers."""

    name: str

    def check(self) -> None:
        """Refuse what can be refused at once.

        Raises
        ------
        OSError, ValueError, ImportError
            A model that is not there, a server that does not answer, a package that is missing.
        """

    def form(self, given: Form | None) -> Form:
        """Return the form of prompts: the one that is given, where the model can be asked so."""

    def settings(self) -> dict[str, Any]:
        """Return what answers depend on, ready for JSON: the model and its weights, numbers, versions."""

    def prepare(self, prompt: Prompt, form: Form, sampling: Sampling, limit: int | None) -> Any:
        """Return a prompt as the engine takes it.

        Raises
        ------
        Unfit
            It is too long, or can't be put into the model's form.
        """

    def answers(
        self, requests: Sequence[Request], sampling: Sampling, stops: Sequence[str], done: Collection[Key]
    ) -> Iterator[list[Answer]]:
        """Give answers as they come, of all requests but those that are done.

        `requests` has the latter as well: what is computed together stays together when a run goes on.
        """

    def notes(self) -> list[str]:
        """Return what a user should know before the hours are spent."""
