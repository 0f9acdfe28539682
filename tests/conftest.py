"""What the tests share: small tokenizers, corpora, and the reference data where it is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import small_tokenizers
from ready import Ready

# How long an example takes says nothing where tests run side by side.
hypothesis.settings.register_profile("polyalign", deadline=None)
hypothesis.settings.load_profile("polyalign")

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: what is last is short then, and no worker waits long for another."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data; skips where it is absent."""
    folder = Path(os.environ.get("POLYALIGN_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} is not there (POLYALIGN_SHARED names another place)")
    return folder


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level BPE as a tokenizer.json."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    small_tokenizers.build("qwen2").save(str(path))
    return path


QUESTIONS = {
    "en": ("What is the capital of France?", "The capital of France is Paris, on the river Seine."),
    "zh": ("法国的首都是哪里？", "法国的首都是巴黎，位于塞纳河畔。"),
}


def conversation(number: int, language: str = "en", *, turns: int = 1, words: int = 1) -> dict[str, object]:
    """A record in TRL's form, with an answer of a length that grows with `words`."""
    question, answer = QUESTIONS[language]
    messages = []
    for _ in range(turns):
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": " ".join([answer] * words)},
        ]
    return {"id": f"r{number}", "messages": messages, "source": "geo", "score": number / 2}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty records: two languages, single- and multi-turn, several lengths."""
    records = [
        conversation(number, ("en", "zh")[number % 2], turns=1 + number % 3 // 2, words=1 + number % 7)
        for number in range(60)
    ]
    return write_jsonl(tmp_path / "corpus.jsonl", records)


def write_jsonl(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def ready() -> Iterator[Ready]:
    process = Ready(clean_environment())
    yield process
    process.close()


@pytest.fixture
def cli(tmp_path: Path, ready: Ready) -> Cli:
    """Run `polyalign` as a user does, in a process of its own."""

    def run(*arguments: object, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        given, whole = [*map(str, arguments)], clean_environment(**environment)
        # Other variables may be read when modules are imported.
        if stdin is None and environment.keys() <= {"COLUMNS"}:
            return ready.run(given, tmp_path, whole)
        return subprocess.run(
            [sys.executable, "-m", "polyalign", *given],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=whole,
            timeout=120,
            check=False,
        )

    return run


def clean_environment(**more: str) -> dict[str, str]:
    """The environment, offline and without settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("POLYALIGN_", "COLUMNS"))}
    return {**kept, "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1", **more}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, driven by selenium; what it downloads is in ``browser.downloads``."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium (pip install selenium)")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    running.downloads = downloads
    yield running
    running.quit()
