"""Answers by a server that speaks OpenAI's protocol."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import os
import queue
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from polyalign.generation._engine import Answer, Key, Request
from polyalign.generation._prompts import Prompt, as_dialogue, as_plain
from polyalign.generation._settings import Form, Sampling

__all__ = ["OpenAIEngine"]

#: What may pass: a server that is busy, restarts, or is asked too often.
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
#: What would be answered alike however often it is asked: an unknown model or address, a wrong key.
_FATAL = {401, 402, 403, 404, 405, 410}
_LONGEST_WAIT = 60.0
#: So many refusals before the first answer: then it is not the prompts.
_REFUSALS = 10


class OpenAIEngine:
    """Answers by any server with OpenAI's endpoints: vLLM, ``transformers serve``, llama.cpp, SGLang, a vendor's.

    Parameters
    ----------
    model : str
        As the server names it.
    base_url : str
        Up to the version, as ``http://localhost:8000/v1``.
    api_key_env : str, optional
        The variable of the environment with the key. Default: ``OPENAI_API_KEY``, where it is set.
    concurrency : int, default 16
        Requests under way at once.
    retries : int, default 6
        How often a request is tried again that the server failed at.
    timeout : float, default 600
        Seconds an answer may take.
    requests_per_minute : float, optional
        Ask no more often.
    body : dict, optional
        Further members of each request, as ``{"reasoning_effort": "low"}``.

    Raises
    ------
    ValueError
        The address is none, or the variable is not set.

    Notes
    -----
    Dialogues and plain prompts go to ``/completions``, others to ``/chat/completions``. Each answer has a seed of its
    own; whether the server heeds it is the server's. What may pass (429, 5xx, a connection that is cut, an answer that
    is no JSON) is tried again, later and later, or when the server says; what it refuses for good (400, 413, 422) is
    left out and counted.
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str | None = None,
        concurrency: int = 16,
        retries: int = 6,
        timeout: float = 600.0,
        requests_per_minute: float | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url {base_url!r} is no address: give one such as http://localhost:8000/v1")
        if parts.username or parts.password:
            raise ValueError("base_url holds a password, which would be written down: name a variable with api_key_env")
        self._url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        key = os.environ.get(api_key_env or "OPENAI_API_KEY")
        if api_key_env is not None and not key:
            raise ValueError(f"api_key_env: the environment has no variable {api_key_env}, or it is empty")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._model, self._body, self._retries = model, dict(body or {}), retries
        self._concurrency, self._timeout, self._rate = concurrency, timeout, requests_per_minute
        self._form: Form = "chat"

    # ------------------------------------------------------------------------------------------- the protocol

    def check(self) -> None:
        """Ask the server for its models: one that is down is seen now."""
        for wait in [*(0.5, 1.0, 2.0)[: self._retries], None]:
            reply = _ask(f"{self._url}/models", self._headers, None, min(self._timeout, 10.0))
            if reply.status in (401, 403):
                raise PermissionError(f"{self._url}: {_reason(reply)}; api_key_env names the variable with the key")
            if reply.status is not None:
                return
            if wait is None:
                raise ConnectionError(f"{self._url}: no server answers ({_reason(reply)}): does it run?")
            time.sleep(wait)

    def form(self, given: Form | None) -> Form:
        """Return the form of prompts: chat, unless another is asked for."""
        self._form = given or "chat"
        return self._form

    def settings(self) -> dict[str, Any]:
        """Return what answers depend on."""
        return {
            "engine": self.name,
            "base_url": self._url,
            "model": {"name": self._model},
            "body": self._body,
        }

    def notes(self) -> list[str]:
        """Return what a user should know first."""
        return []

    def prepare(self, prompt: Prompt, form: Form, sampling: Sampling, limit: int | None) -> Any:
        """Return what a request says of a prompt."""
        if limit is not None:
            raise ValueError("max_prompt_tokens: how many tokens a prompt has only the server knows: leave it out")
        if form != "chat":
            return {"prompt": as_dialogue(prompt.messages) if form == "dialogue" else as_plain(prompt.messages)}
        return {"messages": prompt.messages, **({"tools": prompt.tools} if prompt.tools else {})}

    def answers(
        self, requests: Sequence[Request], sampling: Sampling, stops: Sequence[str], done: Collection[Key]
    ) -> Iterator[list[Answer]]:
        """Give answers as they come."""
        left = [request for request in requests if request.key not in done]
        url = self._url + ("/chat/completions" if self._form == "chat" else "/completions")
        common = self._common(sampling, stops)
        caller = _Caller(
            url,
            self._headers,
            common,
            retries=self._retries,
            timeout=self._timeout,
            per_minute=self._rate,
        )
        yield from _as_they_come(left, caller, self._concurrency)

    def _common(self, sampling: Sampling, stops: Sequence[str]) -> dict[str, Any]:
        """Return what all requests say; what is not of OpenAI's protocol only where it is asked for."""
        common: dict[str, Any] = {
            "model": self._model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
        }
        if stops:
            common["stop"] = list(stops)
        if sampling.top_k:
            common["top_k"] = sampling.top_k
        if sampling.min_new_tokens:
            common["min_tokens"] = sampling.min_new_tokens
        return {**common, **self._body}


@dataclass(frozen=True)
class _Reply:
    """What a server sent."""

    status: int | None
    """``None``: nothing, or not all of it."""
    text: str
    """The body; without a status, what went wrong."""
    retry_after: str | None = None


def _ask(url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None, timeout: float) -> _Reply:
    """Send a request, and wait for the whole reply."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {**headers, "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as found:
            return _Reply(found.status, found.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error, contextlib.suppress(OSError, http.client.HTTPException):
            return _Reply(error.code, error.read().decode("utf-8", "replace"), error.headers.get("Retry-After"))
        return _Reply(error.code, str(error.reason), error.headers.get("Retry-After"))
    except urllib.error.URLError as error:
        return _Reply(None, _why(error.reason))
    except (OSError, http.client.HTTPException) as error:
        return _Reply(None, _why(error))


class _Caller:
    """Asks a server, again where that helps; used by many threads."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        common: Mapping[str, Any],
        *,
        retries: int,
        timeout: float,
        per_minute: float | None,
    ) -> None:
        self._url, self._headers, self._common = url, headers, common
        self._retries, self._timeout = retries, timeout
        self._pause = 60 / per_minute if per_minute else 0.0
        self._lock = threading.Lock()
        self._next = self._quiet_until = 0.0
        self._answered = self._refused = 0
        #: Set when nothing more is to be asked.
        self.stopped = threading.Event()

    def __call__(self, request: Request) -> Answer | None:
        """Return what came of a request; `None` if the run was stopped."""
        body = {**self._common, **request.prompt, "seed": request.seed & 0x7FFFFFFF}
        trouble = ""
        for attempt in range(self._retries + 1):
            self._wait_for_turn()
            if self.stopped.is_set():
                return None
            reply = _ask(self._url, self._headers, body, self._timeout)
            answer = _answer(request, reply) if reply.status == 200 else None
            if answer is not None:
                self._answered += 1
                return answer
            trouble = f"an answer that is none, {reply.text[:80]!r}" if reply.status == 200 else _reason(reply)
            if reply.status in _FATAL:
                raise ConnectionError(f"{self._url}: {trouble}")
            if reply.status not in (None, 200, *_PASSING):
                return self._refusal(request, trouble)
            if attempt < self._retries:
                self._back_off(attempt, reply)
        raise ConnectionError(f"{self._url}: {trouble}, {self._retries + 1} times in a row")

    def _wait_for_turn(self) -> None:
        """Wait until a request may be sent."""
        with self._lock:
            begin = max(time.monotonic(), self._next)
            self._next = begin + self._pause
        while (wait := max(begin, self._quiet_until) - time.monotonic()) > 0 and not self.stopped.is_set():
            self.stopped.wait(wait)

    def _back_off(self, attempt: int, reply: _Reply) -> None:
        """Wait before asking again: as long as the server says, else longer each time, and never all at once."""
        asked = _seconds(reply.retry_after)
        if asked is None:
            self.stopped.wait(min(_LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.5, 1.5))
            return
        if reply.status == 429:  # too many from all of us: nobody asks
            with self._lock:
                self._quiet_until = max(self._quiet_until, time.monotonic() + asked)
        self.stopped.wait(asked * random.uniform(1.0, 1.1))

    def _refusal(self, request: Request, reason: str) -> Answer:
        with self._lock:
            self._refused += 1
            refused = self._refused
        if not self._answered and refused >= _REFUSALS:
            raise ValueError(f"{self._url}: the first {refused} requests are refused, the last with {reason}")
        return Answer(request.key, refused=reason)


def _as_they_come(requests: Sequence[Request], caller: _Caller, concurrency: int) -> Iterator[list[Answer]]:
    """Give answers as they come; a thread for each request under way, none of which keeps Ctrl-C waiting."""
    found: queue.SimpleQueue[Answer | Exception | None] = queue.SimpleQueue()
    left, lock = iter(requests), threading.Lock()

    def work() -> None:
        try:
            while not caller.stopped.is_set():
                with lock:
                    request = next(left, None)
                if request is None or (answer := caller(request)) is None:
                    return
                found.put(answer)
        except Exception as error:  # it ends the run, where it is raised
            found.put(error)
        finally:
            found.put(None)

    working = min(concurrency, len(requests))
    for _ in range(working):
        threading.Thread(target=work, daemon=True).start()
    try:
        while working:
            item = found.get()
            if item is None:
                working -= 1
            elif isinstance(item, Exception):
                raise item
            else:
                yield [item]
    finally:
        caller.stopped.set()


# ------------------------------------------------------------------------------------------------- what servers say


def _answer(request: Request, reply: _Reply) -> Answer | None:
    """Return what a server answered; `None` where it is no answer."""
    try:
        told = json.loads(reply.text)
        choice = told["choices"][0]
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        text, finish = message.get("content"), choice.get("finish_reason") or "stop"
        thinking = message.get("reasoning_content") or message.get("reasoning")
        usage = told.get("usage") or {}
        counts = [usage.get(name) for name in ("completion_tokens", "prompt_tokens")]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if not (text is None or isinstance(text, str)):
        return None
    tokens, prompt_tokens = (count if isinstance(count, int) else None for count in counts)
    thinking = thinking if isinstance(thinking, str) else None
    return Answer(request.key, (text or "").strip(), str(finish), tokens, prompt_tokens, thinking)


def _reason(reply: _Reply) -> str:
    """Return what a server says is wrong, in one line."""
    try:
        told = json.loads(reply.text)
        error = told.get("error", told)
        text = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        text = reply.text
    said = " ".join(str(text).split())[:300]
    return said if reply.status is None else f"{reply.status} {said or http.client.responses.get(reply.status, '')}"


def _why(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, (http.client.HTTPException, ConnectionResetError, BrokenPipeError)):
        return "the connection was cut"
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def _seconds(said: str | None) -> float | None:
    """Return how long a server asks to wait: seconds, or a date; ten minutes at most."""
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), 600.0)
