"""Questions to a judge: asked once, kept, and counted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from polyalign._io import json_text
from polyalign._io.progress import row_bar
from polyalign._text.words import counted
from polyalign.evaluation.judges._ask import AGAIN, Messages, Unread
from polyalign.generation._engine import Answer, Engine, Request
from polyalign.generation._settings import Sampling

__all__ = ["Asker", "Cache", "Unjudged", "Usage"]

_T = TypeVar("_T")
_FORMAT = "polyalign judge, replies"


@dataclass(frozen=True)
class Unjudged:
    """Why there is no judgement, and the reply, if there was one."""

    kind: str
    """``"refused"``: the server did not answer; ``"cut"``: a limit of tokens ended the reply; ``"unread"``."""
    reason: str
    reply: str = ""


@dataclass
class Usage:
    """What was spent."""

    requests: int = 0
    """Asked of the server."""
    kept: int = 0
    """Replies that were there from an earlier run."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    """Requests of which the server did not say how many tokens they took."""

    def count(self, answer: Answer) -> None:
        """Add what an answer took."""
        self.requests += 1
        if answer.tokens is None or answer.prompt_tokens is None:
            self.uncounted += 1
        self.prompt_tokens += answer.prompt_tokens or 0
        self.completion_tokens += answer.tokens or 0


class Cache:
    """Replies by what was asked, in a file of lines; without one, in memory."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._known: dict[str, dict[str, Any]] = {}
        self._file: Any = None
        if self._path is not None:
            self._open(self._path)

    def _open(self, path: Path) -> None:
        whole = self._read(path) if path.exists() else 0
        self._file = path.open("r+b" if whole else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write({"format": _FORMAT})

    def _read(self, path: Path) -> int:
        """Take what is there; return how many bytes are whole lines of it: a kill may have torn the last."""
        whole = 0
        with path.open("rb") as file:
            for at, line in enumerate(file):
                try:
                    value = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    value = None
                if not isinstance(value, dict) or (at == 0 and value.get("format") != _FORMAT):
                    if at == 0:
                        raise ValueError(f"{path}: not a file of a judge's replies: name another")
                    break
                if at:
                    self._known[value["key"]] = value
                whole += len(line)
        return whole

    @property
    def path(self) -> Path | None:
        """The file; ``None``: there is none."""
        return self._path

    def __len__(self) -> int:
        """How many replies there are."""
        return len(self._known)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was replied."""
        return self._known.get(key)

    def add(self, key: str, answer: Answer) -> None:
        """Keep a reply."""
        told = {"key": key, "text": answer.text, "finish": answer.finish}
        self._known[key] = told
        if self._file is not None:
            self._write(told)

    def _write(self, value: object) -> None:
        self._file.write(json_text.one_line(value).encode("utf-8", "replace") + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


@dataclass
class Asker:
    """Asks a judge, and asks again where a reply can't be read."""

    engine: Engine
    cache: Cache
    sampling: Sampling
    usage: Usage = field(default_factory=Usage)
    progress: bool = False

    def judge(self, questions: Sequence[Messages], read: Callable[[str], _T]) -> list[_T | Unjudged]:
        """Return what each question came to, in their order."""
        found = self._read_all(self._replies(questions), read)
        again = [at for at, told in enumerate(found) if isinstance(told, Unjudged) and told.kind == "unread"]
        asked = [
            [*questions[at], {"role": "assistant", "content": _reply(found[at])}, {"role": "user", "content": AGAIN}]
            for at in again
        ]
        for at, second in zip(again, self._read_all(self._replies(asked), read), strict=True):
            found[at] = second
        return found

    @staticmethod
    def _read_all(replies: Sequence[Answer], read: Callable[[str], _T]) -> list[_T | Unjudged]:
        found: list[_T | Unjudged] = []
        for reply in replies:
            if reply.refused is not None:
                found.append(Unjudged("refused", reply.refused))
                continue
            try:
                found.append(read(reply.text))
            except Unread as missing:
                kind = "cut" if reply.finish == "length" else "unread"
                found.append(Unjudged(kind, str(missing), reply.text))
        return found

    def _replies(self, questions: Sequence[Messages]) -> list[Answer]:
        """Return a reply a question: those that are kept, and the rest of the server."""
        keys = [self._key(messages) for messages in questions]
        found: dict[str, Answer] = {}
        wanted: dict[str, Messages] = {}
        for key, messages in zip(keys, questions, strict=True):
            kept = self.cache.get(key)
            if kept is not None:
                found[key] = Answer((0, 0), kept["text"], kept["finish"])
            else:
                wanted[key] = messages
        self.usage.kept += sum(key in found for key in keys)
        order = list(wanted)
        try:
            with row_bar(len(order), self.progress, "judged") as update:
                for answer in self._asked([wanted[key] for key in order]):
                    key = order[answer.key[0]]
                    found[key] = answer
                    if answer.refused is None:  # a refusal may be mended: it is asked again the next time
                        self.cache.add(key, answer)
                    self.usage.count(answer)
                    update(1)
        except ConnectionError as error:
            if not self.cache.path or not len(self.cache):
                raise
            there = counted(len(self.cache), "reply", "replies")
            raise type(error)(f"{error}; {there} kept in {self.cache.path}: the same command goes on there") from None
        return [found[key] for key in keys]

    def _asked(self, questions: Sequence[Messages]) -> Iterator[Answer]:
        requests = [Request((at, 0), self.sampling.seed, {"messages": each}) for at, each in enumerate(questions)]
        for answers in self.engine.answers(requests, self.sampling, (), ()) if requests else ():
            yield from answers

    def _key(self, messages: Messages) -> str:
        told = {name: value for name, value in self.engine.settings().items() if name != "base_url"}
        spelt = json_text.one_line([told, self.sampling.to_dict(), messages])
        return hashlib.sha256(spelt.encode("utf-8", "surrogatepass")).hexdigest()


def _reply(told: Any) -> str:
    return str(told.reply) or "(nothing)"


def sampling_of(settings: Mapping[str, Any] | None = None) -> Sampling:
    """Return how a judge replies: the likeliest, of at most 1,024 tokens, unless said otherwise."""
    return Sampling(**{"temperature": 0.0, "max_new_tokens": 1024, **(settings or {})})
