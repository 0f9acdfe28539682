"""Answers of a server: one that is slow, cuts the connection, is busy, fails, or talks prose."""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import Cli, clean_environment
from polyalign.generation import OpenAIEngine, Prompting, Sampling, Selection, _openai, generate, generate_file

QA = "en|single|qa|short"
Reply = Callable[["Handler", dict[str, Any]], None]


def table(count: int = 12) -> pa.Table:
    rows = [
        {"id": f"r{at}", "bucket": QA, "prompt": [{"role": "user", "content": f"Why {at}?"}]} for at in range(count)
    ]
    return pa.Table.from_pylist(rows)


class Handler(BaseHTTPRequestHandler):
    """Hands requests to the server's script."""

    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.say(self.server.greeting, {"data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.paths.append(self.path)
            self.server.bodies.append(body)
            self.server.keys.add(self.headers["Authorization"])
            self.server.under_way += 1
            self.server.most = max(self.server.most, self.server.under_way)
            seen = self.server.seen[content(body)]
            self.server.seen[content(body)] += 1
        try:
            self.server.reply(self, {**body, "seen": seen})
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def say(self, status: int, told: Any, **headers: str) -> None:
        text = told if isinstance(told, str) else json.dumps(told)
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.lock, self.greeting = reply, threading.Lock(), 200
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.seen: Counter[str] = Counter()
        self.under_way = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


def content(body: dict[str, Any]) -> str:
    text = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return f"{text} {body['seed']}"


def answer(handler: Handler, body: dict[str, Any]) -> None:
    """Answer as a server should."""
    text = f" Because of {content(body)} "
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    choice = {"message": {"content": text}} if "messages" in body else {"text": text}
    handler.say(200, {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage})


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], Server]]:
    servers = []

    def start(reply: Reply = answer) -> Server:
        servers.append(Server(reply))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Wait a hundredth of what is waited for; keep what that was."""
    waited: list[float] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0)
            return super().wait((timeout or 0) / 100)

    threads = types.SimpleNamespace(Event=Event, Lock=threading.Lock, Thread=threading.Thread)
    times = types.SimpleNamespace(sleep=waited.append, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr(_openai, "threading", threads)
    monkeypatch.setattr(_openai, "time", times)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return waited


def engine(server: Server, **given: Any) -> OpenAIEngine:
    return OpenAIEngine("m", base_url=server.url, **{"concurrency": 4, **given})


def test_chats_are_asked_as_they_are(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "secret")
    server = serve()
    sampling = Sampling(samples=2, temperature=0.5, top_k=7, min_new_tokens=1, max_new_tokens=9, stop=["."])
    found = generate(table(), engine(server, api_key_env="KEY", body={"user": "me"}), sampling)
    assert server.paths[0] == "/v1/models"
    assert set(server.paths[1:]) == {"/v1/chat/completions"}
    assert server.keys == {"Bearer secret"}
    body = min(server.bodies, key=content)
    assert {name: value for name, value in body.items() if name not in ("seed", "messages")} == {
        "model": "m", "temperature": 0.5, "top_p": 1.0, "top_k": 7, "min_tokens": 1, "max_tokens": 9, "stop": ["."],
        "user": "me",
    }  # fmt: skip
    assert len({body["seed"] for body in server.bodies}) == 24
    assert [(line["id"], line["sample"]) for line in found.rows] == [(f"r{at}", k) for at in range(12) for k in (0, 1)]
    assert all(line["response"].startswith(f"Because of Why {line['id'][1:]}? ") for line in found.rows)
    assert {(line["tokens"], line["prompt_tokens"], line["finish"]) for line in found.rows} == {(5, 3, "stop")}
    assert "secret" not in json.dumps(found.report.to_dict())
    again = generate(table(), engine(serve()), sampling).rows
    assert [line["response"] for line in again] == [line["response"] for line in found.rows]


def test_texts_are_completed(serve: Any) -> None:
    server = serve()
    data = table(6).append_column("completion", pa.array([[{"role": "assistant", "content": "So."}]] * 6))
    found = generate(data, engine(server), prompting=Prompting(form="dialogue", few_shot=1))
    assert set(server.paths[1:]) == {"/v1/completions"}
    prompt = server.bodies[0]["prompt"]
    assert prompt.startswith("User: Why ") and prompt.endswith("?\nAssistant:")
    assert prompt.count("\nAssistant: So.\n") == 1
    assert "\nUser:" in server.bodies[0]["stop"]
    assert found.report.samples == 6


def test_reasoning_of_a_server_is_kept_apart(serve: Any) -> None:
    def thinks(handler: Handler, body: dict[str, Any]) -> None:
        message = {"content": "Yes.", "reasoning_content": "Hm."}
        handler.say(200, {"choices": [{"message": message, "finish_reason": "length"}]})

    (line,) = generate(table(1), engine(serve(thinks))).rows
    assert (line["response"], line["thinking"], line["finish"], line["tokens"]) == ("Yes.", "Hm.", "length", None)


def cut(handler: Handler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')


def reset(handler: Handler, body: dict[str, Any]) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def slow(handler: Handler, body: dict[str, Any]) -> None:
    time.sleep(0.5)  # the engine waits a quarter


TROUBLES: dict[str, Reply] = {
    "busy": lambda handler, body: handler.say(429, {"error": {"message": "slow down"}}),
    "busy-for": lambda handler, body: handler.say(429, "", Retry_After="3"),
    "until": lambda handler, body: handler.say(503, "", Retry_After=email.utils.formatdate(time.time() + 3)),
    "fails": lambda handler, body: handler.say(500, "Traceback"),
    "gateway": lambda handler, body: handler.say(502, "<html>Bad gateway</html>"),
    "prose": lambda handler, body: handler.say(200, "I am but a humble server."),
    "half": lambda handler, body: handler.say(200, {"choices": []}),
    "cuts": cut,
    "resets": reset,
}  # fmt: skip


@pytest.mark.parametrize("name", [*TROUBLES, "slow"])
def test_trouble_that_passes_is_waited_for(name: str, serve: Any, hurry: list[float]) -> None:
    trouble = slow if name == "slow" else TROUBLES[name]

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        (trouble if body["seen"] < 2 else answer)(handler, body)

    server = serve(reply)
    found = generate(table(4), engine(server, timeout=0.25 if name == "slow" else 30))
    assert found.report.samples == 4
    assert all(count == 3 for count in server.seen.values())
    if name in ("busy-for", "until"):
        assert 1.9 < max(hurry) <= 3.3
    else:
        assert sorted(hurry)[0] >= 0.25 and 0.5 <= sorted(hurry)[-1] <= 1.5  # 0.5 and 1, times 0.5 to 1.5
        assert len(set(hurry)) == 8  # no two alike


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_that_stays_ends_the_run_and_keeps_what_there_is(name: str, serve: Any, tmp_path: Path) -> None:
    def reply(handler: Handler, body: dict[str, Any]) -> None:
        (answer if len(server.seen) <= 5 else TROUBLES[name])(handler, body)

    server = serve(reply)
    out = tmp_path / "s.jsonl"
    with pytest.raises(ConnectionError, match=r", 3 times in a row; 5 of 12 samples are kept: the same command goes"):
        generate_file(table(), out, engine(server, concurrency=1, retries=2))
    assert not out.exists()
    server.reply = answer
    server.bodies.clear()
    report = generate_file(table(), out, engine(server, concurrency=3))
    assert (report.samples, report.resumed, len(server.bodies)) == (12, 5, 7)
    whole = generate(table(), engine(serve())).rows
    assert [json.loads(line)["response"] for line in out.read_text().splitlines()] == [
        line["response"] for line in whole
    ]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_no_retry_mends_ends_the_run_at_once(status: int, serve: Any) -> None:
    server = serve(lambda handler, body: handler.say(status, {"error": {"message": "no such model: m"}}))
    with pytest.raises(ConnectionError, match=f"completions: {status} no such model: m"):
        generate(table(), engine(server, concurrency=1))
    assert len(server.bodies) == 1


def test_a_wrong_key_is_seen_first(serve: Any) -> None:
    server = serve()
    server.greeting = 401
    with pytest.raises(PermissionError, match="api_key_env names the variable with the key"):
        generate(table(), engine(server))
    assert server.bodies == []
    server.greeting = 404  # not every server lists its models
    assert generate(table(), engine(server)).report.samples == 12


def test_a_server_that_is_down_is_seen_first(hurry: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ConnectionError, match=r"no server answers \(Connection refused\): does it run\?"):
        generate(table(), OpenAIEngine("m", base_url=url))
    assert hurry == [0.5, 1.0, 2.0]


def test_refusals_are_counted(serve: Any) -> None:
    def reply(handler: Handler, body: dict[str, Any]) -> None:
        long = {"error": {"message": "maximum context length is 8"}}
        handler.say(400, long) if "Why 3?" in content(body) else answer(handler, body)

    server = serve(reply)
    found = generate(table(), engine(server), Sampling(samples=2))
    assert (found.report.samples, found.report.skipped_by_kind) == (22, {"refused": 2})
    (first,) = found.report.first_skips
    assert (first["id"], first["reason"]) == ("r3", "400 maximum context length is 8")
    assert found.report.faults() == {"rows": 24, "rejected": 2, "unreadable": ()}
    assert max(server.seen.values()) == 1
    with pytest.raises(ValueError, match="the first 10 requests are refused, the last with 400 no"):
        generate(table(), engine(serve(lambda handler, body: handler.say(400, {"error": "no"})), concurrency=1))


def test_requests_are_under_way_together(serve: Any) -> None:
    together = threading.Barrier(3)

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        together.wait(timeout=30)
        answer(handler, body)

    server = serve(reply)
    generate(table(), engine(server, concurrency=3))
    assert server.most == 3


def test_requests_keep_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(_openai.time, "monotonic", lambda: now[0])
    caller = _openai._Caller("", {}, {}, retries=0, timeout=1, per_minute=30)
    monkeypatch.setattr(caller.stopped, "wait", lambda seconds: now.__setitem__(0, now[0] + seconds))
    turns = []
    for _ in range(4):
        caller._wait_for_turn()
        turns.append(now[0])
    assert turns == [100, 102, 104, 106]
    caller._back_off(0, _openai._Reply(429, "", "20"))  # the server asks all to be quiet
    quiet = caller._quiet_until
    now[0] = 107
    caller._wait_for_turn()
    assert now[0] == quiet == 126


@pytest.fixture
def bucketed(tmp_path: Path) -> Path:
    (tmp_path / "bucketed").mkdir()
    pq.write_table(table(), tmp_path / "bucketed" / "train-0.parquet")
    return tmp_path / "bucketed"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_keeps_what_there_is(serve: Any, cli: Cli, bucketed: Path, tmp_path: Path) -> None:
    halfway = threading.Event()

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.seen) > 5:
            halfway.set()
            time.sleep(60)
        answer(handler, body)

    server = serve(reply)
    arguments = [
        "generate",
        str(bucketed),
        "--model",
        "m",
        "--base-url",
        server.url,
        "--concurrency",
        "2",
        "--out",
        "s.jsonl",
    ]
    running = subprocess.Popen(
        [sys.executable, "-m", "polyalign", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=clean_environment(),
    )  # fmt: skip
    assert halfway.wait(60)
    while len((tmp_path / "s.jsonl.unfinished").read_text().splitlines()) < 6:
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert (running.returncode, said) == (130, "polyalign: interrupted; the same command goes on where it was\n")
    server.reply = answer
    server.seen.clear()
    found = cli(*arguments, "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["resumed"] == 5
    assert len(server.seen) == 7
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    whole = generate(bucketed, engine(serve()), Sampling(), selection=Selection()).rows
    assert [line["response"] for line in lines] == [line["response"] for line in whole]


def test_a_server_needs_no_torch(serve: Any, bucketed: Path, tmp_path: Path) -> None:
    script = "import sys; from polyalign import cli; sys.exit(cli.run(sys.argv[1:]) or 'torch' in sys.modules)"
    arguments = ["generate", str(bucketed), "--model", "m", "--base-url", serve().url, "--out", "s.jsonl"]
    subprocess.run([sys.executable, "-c", script, *arguments], cwd=tmp_path, check=True, env=clean_environment())
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 12


@pytest.mark.slow
def test_transformers_serve(tmp_path: Path, hurry: list[float]) -> None:
    """A server that others wrote gives the answers that transformers gives here."""
    for package in ("torch", "transformers", "fastapi", "uvicorn", "openai"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'transformers[serving]'")
    import tiny
    from polyalign.generation import TransformersEngine

    words = tiny.chat_tokenizer()
    words.save_pretrained(tmp_path / "model")
    tiny.chat_model(len(words)).save_pretrained(tmp_path / "model")
    name = str(tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(sys.executable).with_name("transformers")
    command = [str(script), "serve", name, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())
    try:
        url = f"http://127.0.0.1:{port}/v1"
        while _openai._ask(f"{url}/models", {}, None, 5).status != 200:
            assert running.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        sampling = Sampling(temperature=0, max_new_tokens=6)
        found = generate(table(5), OpenAIEngine(name, base_url=url, concurrency=2, retries=1), sampling)
    finally:
        running.terminate()
        running.wait(30)
    here = generate(table(5), TransformersEngine(name, device="cpu"), sampling)
    members = ("id", "response", "finish", "prompt_tokens")
    assert [[line[name] for name in members] for line in found.rows] == [
        [line[name] for name in members] for line in here.rows
    ]
