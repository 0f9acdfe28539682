"""`TokenCounter`: what it takes, what it gives, how it refuses."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import arro3.core
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import small_tokenizers
from polyalign import TokenCounter
from small_tokenizers import expected

TEXTS = ["Hello, world!", "", "你好，世界！", "fox 🙂\u0000x", "naïve <|endoftext|> café"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return small_tokenizers.build("qwen2")


@pytest.fixture(scope="module")
def counter(tokenizer: Any) -> TokenCounter:
    return TokenCounter(tokenizer)


@pytest.fixture(scope="module")
def counts(tokenizer: Any) -> list[int]:
    return [expected(tokenizer, text) for text in TEXTS]


# What it is made from


def test_sources_agree(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    compact = tmp_path / "compact.json"
    compact.write_text(json.dumps(json.loads(path.read_text("utf-8"))), "utf-8")
    sources = [path, str(path), tmp_path, compact, tokenizer, PreTrainedTokenizerFast(tokenizer_object=tokenizer)]
    counters = [TokenCounter(source) for source in sources]
    assert len({counter.sha256 for counter in counters}) == 1
    assert len({tuple(counter.count(TEXTS)) for counter in counters}) == 1


def test_truncation_and_padding_play_no_part(tokenizer: Any, counts: list[int]) -> None:
    from tokenizers import Tokenizer

    other = Tokenizer.from_str(tokenizer.to_str())
    other.enable_truncation(2)
    other.enable_padding(length=50)
    assert TokenCounter(other).count(TEXTS).tolist() == counts


@pytest.mark.parametrize("pre_tokenizer", ["qwen2", None])
def test_settings_that_are_not_in_the_file(pre_tokenizer: str | None, tmp_path: Path) -> None:
    """Special tokens in a text are text where the tokenizer, or the tokenizer_config.json beside it, says so."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if pre_tokenizer:
        own = Tokenizer.from_str(small_tokenizers.build(pre_tokenizer).to_str())
    else:
        own = Tokenizer(models.WordPiece({"[UNK]": 0, "fox": 1, "<": 2, "left": 3, ">": 4, "|": 5}, unk_token="[UNK]"))
        own.pre_tokenizer = pre_tokenizers.Whitespace()
        own.add_special_tokens(["<|endoftext|>", "<|left|>"])
    texts = [*TEXTS, "fox <|left|> fox<|endoftext|>", "<|left|"]
    usual = TokenCounter(own)
    own.encode_special_tokens = True
    splitting = TokenCounter(own)
    assert splitting.count(texts).tolist() == [expected(own, text) for text in texts]
    assert splitting.count(texts).tolist() != usual.count(texts).tolist()
    assert splitting.sha256 != usual.sha256
    assert pickle.loads(pickle.dumps(splitting)).count(texts).tolist() == splitting.count(texts).tolist()
    assert splitting.is_fast == usual.is_fast == bool(pre_tokenizer)

    loaded = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(own.to_str()), split_special_tokens=True)
    loaded.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for source in (loaded, again, tmp_path, tmp_path / "tokenizer.json"):
        assert TokenCounter(source).count(texts).tolist() == splitting.count(texts).tolist()
        assert TokenCounter(source).sha256 == splitting.sha256
    lengths = [len(again(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert lengths == splitting.count(texts).tolist()
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: not JSON"):
        TokenCounter(tmp_path)


def added(text: str, **flags: bool) -> dict[str, object]:
    usual = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"content": text, **usual, "special": True, **flags}


NAMED: dict[str, dict[str, object]] = {
    "a token": {"added_tokens_decoder": {"900": added("<x>")}},
    "one that is no special token": {"added_tokens_decoder": {"900": added("<x>", special=False, single_word=True)}},
    "other flags": {"added_tokens_decoder": {"0": added("<|endoftext|>", lstrip=True, rstrip=True)}},
    "padding": {"pad_token": "<x>"},
    "padding, with flags": {"pad_token": {"__type": "AddedToken", **added("<x>", rstrip=True)}},
    "one that is there": {"eos_token": {"__type": "AddedToken", **added("<|endoftext|>", lstrip=True)}},
    "another name": {"image_token": "<x>"},
    "extra": {"extra_special_tokens": ["<x>", "<y>"]},
    "extra, named": {"extra_special_tokens": {"image_token": "<x>"}},
    "extra, by the old name": {"additional_special_tokens": ["<x>"]},
    "null": {"pad_token": None, "extra_special_tokens": None},
    # These change nothing of a text.
    "begin and end": {"add_bos_token": True, "add_eos_token": True, "bos_token": "<|endoftext|>"},
    "others": {"legacy": False, "clean_up_tokenization_spaces": True, "model_max_length": 2, "do_lower_case": True},
}


@pytest.mark.parametrize("family", ["qwen2", "wordpiece", "unigram"])
@pytest.mark.parametrize("config", NAMED.values(), ids=NAMED)
def test_tokens_that_only_the_config_names(config: dict[str, object], family: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    own = small_tokenizers.build(family)
    own.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    texts = [*TEXTS, "fox <x> fox", "<x><y> <x>", "a <|endoftext|> b", " fox", "FOX fox<x>fox"]
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again).__name__ == "TokenizersBackend"
    lengths = [len(again(text, add_special_tokens=False)["input_ids"]) for text in texts]
    read = TokenCounter(tmp_path)
    assert read.count(texts).tolist() == lengths == TokenCounter(again).count(texts).tolist()
    assert read.is_fast == TokenCounter(own).is_fast


def test_tokens_of_the_files_of_old(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<x>"}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<y>": 900}))
    texts = ["fox <x> fox", "<x><y> <x>"]
    again = AutoTokenizer.from_pretrained(tmp_path)
    lengths = [len(again(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert TokenCounter(tmp_path).count(texts).tolist() == lengths
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": {}}))
    assert TokenCounter(tmp_path).count(texts).tolist() == TokenCounter(tokenizer).count(texts).tolist()


def test_a_setting_that_is_not_the_files_is_said(
    tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Classes of their own build what splits a text anew; what they then count, only they know."""
    from transformers import AutoTokenizer

    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = tmp_path / "tokenizer_config.json"
    said = []
    for setting, name in ((True, "Qwen2Tokenizer"), (False, "Qwen2Tokenizer"), (True, "PreTrainedTokenizerFast")):
        config.write_text(json.dumps({"tokenizer_class": name, "add_prefix_space": setting}))
        with caplog.at_level(logging.WARNING, logger="polyalign"):
            caplog.clear()
            counter = TokenCounter(tmp_path)
        told = len(caplog.records)
        again = AutoTokenizer.from_pretrained(tmp_path)
        same = counter.count("fox and fox") == len(again("fox and fox", add_special_tokens=False)["input_ids"])
        assert TokenCounter(again).count("fox and fox") == len(again("fox and fox")["input_ids"])
        said.append((same, told))
    assert said == [(False, 1), (True, 0), (True, 0)]
    config.write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": True}))
    TokenCounter(tmp_path)
    assert "says add_prefix_space true and tokenizer.json false, which is counted with" in caplog.text


def test_an_added_token_of_one_repeated_letter(tokenizer: Any) -> None:
    """Its loading took a time that grew with the square of its length: here, minutes."""
    from tokenizers import AddedToken, Tokenizer

    own = Tokenizer.from_str(tokenizer.to_str())
    own.add_tokens([AddedToken("a" * 60_000, normalized=False)])
    texts = ["fox", "a" * 60_000, "b" + "a" * 130_000 + "b", "a" * 59_999]
    assert TokenCounter(own).count(texts).tolist() == [expected(own, text) for text in texts]


def test_hub_name_through_the_cache(tokenizer: Any, tmp_path: Path) -> None:
    commit = "0" * 40
    repo = tmp_path / "models--some--model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    tokenizer.save(str(snapshot / "tokenizer.json"))
    code = "import sys, polyalign; print(polyalign.TokenCounter(sys.argv[1]).sha256)"
    environment = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)}

    def load(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, name], env=environment, capture_output=True, text=True, check=False
        )

    assert load("some/model").stdout.strip() == TokenCounter(tokenizer).sha256
    (snapshot / "tokenizer_config.json").write_text('{"split_special_tokens": true}')
    assert load("some/model").stdout.strip() == TokenCounter(snapshot).sha256 != TokenCounter(tokenizer).sha256
    missing = load("some/other")
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[-1] == (
        "FileNotFoundError: some/other: not on disk, a tokenizer.json of that name not in the hub cache, "
        "and HF_HUB_OFFLINE is set"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/tokenizer.json", "no such file"),
        ("./here", "no such file"),
        (Path("nowhere"), "no such file"),
        ("two words", "not on disk, and not a name the hub could have"),
    ],
)
def test_what_is_not_there(source: Any, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        TokenCounter(source)


def test_directory_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json: no such file"):
        TokenCounter(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "no json", "[]", "{}", '{"model": {"type": "BPE"}}', '{"model": {"type": "Nope"}}', "\ufeff{}", '{"a":' * 500],
)
def test_hostile_files_are_one_line_errors(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"tokenizer\.json: ") as error:
        TokenCounter(path)
    assert "\n" not in str(error.value)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(ValueError, match=r"tokenizer\.json: "):
        TokenCounter(path)


def test_dropout_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    content = json.loads(tokenizer.to_str())
    content["model"]["dropout"] = 0.1
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match="dropout"):
        TokenCounter(path)


def test_slow_transformers_tokenizers_are_refused_by_name() -> None:
    from transformers import PreTrainedTokenizer

    class CharTokenizer(PreTrainedTokenizer):
        def __init__(self) -> None:
            self.vocab = {"a": 0}
            super().__init__()

        @property
        def vocab_size(self) -> int:
            return 1

        def get_vocab(self) -> dict[str, int]:
            return dict(self.vocab)

        def _tokenize(self, text: str, **_: object) -> list[str]:
            return list(text)

        def _convert_token_to_id(self, token: str) -> int:
            return self.vocab.get(token, 0)

        def _convert_id_to_token(self, index: int) -> str:
            return "a"

    with pytest.raises(TypeError, match=r"CharTokenizer .* without a Rust backend"):
        TokenCounter(CharTokenizer())


@pytest.mark.parametrize("source", [None, 3, b"tokenizer.json", ["a"], object()])
def test_what_is_no_tokenizer(source: Any) -> None:
    with pytest.raises(TypeError, match="is not a tokenizer"):
        TokenCounter(source)


# What it counts


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, pd.Index, np.array, lambda texts: np.array(texts, object), lambda texts: (t for t in texts)],
)
def test_python_and_numpy_texts(counter: TokenCounter, counts: list[int], make: Any) -> None:
    # numpy's fixed-width strings can't hold a trailing NUL, which none of these has.
    counted = counter.count(make(TEXTS))
    assert isinstance(counted, np.ndarray)
    assert counted.dtype == np.uint32
    assert counted.tolist() == counts


def test_numpy_string_dtype(counter: TokenCounter, counts: list[int]) -> None:
    texts = np.array(TEXTS, dtype=np.dtypes.StringDType())
    assert counter.count(texts).tolist() == counts


def test_strided_numpy(counter: TokenCounter, counts: list[int]) -> None:
    assert counter.count(np.array(TEXTS)[::-2]).tolist() == counts[::-2]


def test_one_text_gives_an_int(counter: TokenCounter, counts: list[int]) -> None:
    assert [counter.count(text) for text in TEXTS] == counts
    assert type(counter.count("x")) is int


def test_strings_of_subclasses(counter: TokenCounter, counts: list[int]) -> None:
    class Text(str):
        __slots__ = ()

    assert counter.count([Text(text) for text in TEXTS]).tolist() == counts


def test_nothing_to_count(counter: TokenCounter) -> None:
    assert counter.count([]).shape == (0,)
    assert counter.count([]).dtype == np.uint32
    assert counter.count(np.array([], dtype=str)).shape == (0,)
    assert len(counter.count(pa.array([], pa.string()))) == 0
    assert len(counter.count(pa.chunked_array([], pa.string()))) == 0


ARROW_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", ARROW_TYPES, ids=str)
def test_arrow_columns(counter: TokenCounter, counts: list[int], kind: pa.DataType) -> None:
    texts = [None, *TEXTS, None, *TEXTS]
    wanted = [None, *counts, None, *counts]
    array = pa.array(texts, pa.string()).cast(kind)
    counted = counter.count(array)
    assert isinstance(counted, pa.UInt32Array)
    assert counted.to_pylist() == wanted
    assert counter.count(array[2:9]).to_pylist() == wanted[2:9]


@pytest.mark.parametrize("kind", ARROW_TYPES, ids=str)
def test_chunked_arrow_columns(counter: TokenCounter, counts: list[int], kind: pa.DataType) -> None:
    array = pa.array([*TEXTS, None], pa.string()).cast(kind)
    chunked = pa.chunked_array([array[:2], array[2:2], array[2:]])
    counted = counter.count(chunked)
    assert isinstance(counted, pa.ChunkedArray)
    assert counted.type == pa.uint32()
    assert counted.to_pylist() == [*counts, None]
    assert [len(chunk) for chunk in counted.chunks] == [2, 0, 4]


def test_all_null_columns(counter: TokenCounter) -> None:
    assert counter.count(pa.nulls(3)).to_pylist() == [None] * 3
    assert counter.count(pa.nulls(3, pa.string())).to_pylist() == [None] * 3
    assert counter.count(pa.nulls(2).dictionary_encode()).to_pylist() == [None] * 2


def test_dictionary_with_null_values(counter: TokenCounter) -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1]), pa.array([None, "fox"]))
    fox = counter.count("fox")
    assert counter.count(array).to_pylist() == [fox, None, None, fox]


def test_polars_pandas_and_arro3_columns_give_arro3(counter: TokenCounter, counts: list[int]) -> None:
    series = pl.Series("text", [*TEXTS, None])
    counted = counter.count(series)
    assert isinstance(counted, arro3.core.ChunkedArray)
    assert pl.Series(counted).to_list() == [*counts, None]
    array = arro3.core.Array.from_arrow(pa.array(TEXTS))
    assert isinstance(counter.count(array), arro3.core.Array)
    assert pa.array(counter.count(array)).to_pylist() == counts
    assert np.asarray(counter.count(array)).tolist() == counts


def test_datasets_columns(counter: TokenCounter, counts: list[int]) -> None:
    from datasets import Dataset

    dataset = Dataset.from_dict({"text": TEXTS})
    assert counter.count(dataset["text"]).tolist() == counts
    mapped = dataset.map(lambda batch: {"tokens": counter.count(batch["text"])}, batched=True)
    assert list(mapped["tokens"]) == counts


# What it refuses


@pytest.mark.parametrize("make", [list, tuple, lambda texts: np.array(texts, object)])
def test_none_raises_with_its_index(counter: TokenCounter, make: Any) -> None:
    with pytest.raises(TypeError, match=r"texts\[2\] is None"):
        counter.count(make(["a", "b", None, "c"]))


def test_other_items_raise_with_their_index(counter: TokenCounter) -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] is bytes"):
        counter.count(["a", b"b"])
    with pytest.raises(TypeError, match=r"texts\[0\] is list"):
        counter.count([["a"]])
    with pytest.raises(TypeError, match=r"texts\[1\] is float"):
        counter.count(np.array(["a", float("nan")], object))


def test_lone_surrogates_raise_with_their_index(counter: TokenCounter) -> None:
    with pytest.raises(ValueError, match=r"texts\[1\] has a lone surrogate at character 2") as error:
        counter.count(["fine", "ab\ud800c"])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="the text has a lone surrogate at character 0"):
        counter.count("\udfff")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "not NoneType"),
        (7, "not int"),
        (b"bytes", "not bytes"),
        ({"a": 1}, "not dict"),
        (np.arange(3), "array of int64"),
        (np.array(["a", "b"]).reshape(1, 2), "one-dimensional"),
        (np.array("a"), "one-dimensional"),
        (pa.array([1, 2]), "not Int64"),
        (pa.table({"text": ["a"]}), "one string column, not a table"),
        (pa.array([[1]]), "string column"),
        (pl.Series([1.5]), "not Float64"),
    ],
)
def test_what_is_no_texts(counter: TokenCounter, texts: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        counter.count(texts)


def test_an_iterator_that_fails_is_heard(counter: TokenCounter) -> None:
    def texts() -> Any:
        yield "a"
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        counter.count(texts())


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_bad_thread_settings(counter: TokenCounter, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("POLYALIGN_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"POLYALIGN_NUM_THREADS is .{value}.: it must be a whole number"):
        counter.count(["a"])
    assert counter.count(["fox"], threads=1).tolist() == [counter.count("fox", threads=2)]


# How it counts


@pytest.mark.parametrize("threads", [1, 2, 16, None])
def test_any_number_of_threads_gives_the_same(counter: TokenCounter, counts: list[int], threads: int | None) -> None:
    assert counter.count(TEXTS * 2000, threads=threads).tolist() == counts * 2000


def test_the_gil_is_released(counter: TokenCounter) -> None:
    texts = pa.array(["some words and 一些汉字 " * 400] * 3000)
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks
    counter.count(texts, threads=1)
    during = ticks - before
    done.set()
    thread.join()
    assert during > 3


def test_many_threads_share_a_counter(counter: TokenCounter, counts: list[int]) -> None:
    results: list[list[int]] = []

    def work() -> None:
        results.extend(counter.count(TEXTS * 3).tolist() for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [counts * 3] * 400


def test_a_list_that_shrinks_meanwhile_is_safe(counter: TokenCounter) -> None:
    texts = [f"text number {number} with some words" * 20 for number in range(20_000)]
    wanted = counter.count(texts)
    thread = threading.Thread(target=texts.clear)
    thread.start()
    counted = counter.count(texts)
    thread.join()
    assert len(counted) in (0, len(wanted))
    assert len(counted) == 0 or counted.tolist() == wanted.tolist()


def test_pickles(counter: TokenCounter, counts: list[int]) -> None:
    copy = pickle.loads(pickle.dumps(counter))
    assert copy.sha256 == counter.sha256
    assert copy.count(TEXTS).tolist() == counts


def _count(counter: TokenCounter) -> list[int]:
    return counter.count(TEXTS * 5000).tolist()[: len(TEXTS)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(counter: TokenCounter, counts: list[int], method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    counter.count(TEXTS * 5000, threads=2)  # starts threads, which do not survive a fork
    with multiprocessing.get_context(method).Pool(2) as workers:
        assert workers.map_async(_count, [counter] * 2).get(timeout=60) == [counts] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_one_long_word_is_interrupted(tokenizer_file: Path) -> None:
    code = """if True:
        import sys, polyalign
        counter = polyalign.TokenCounter(sys.argv[1])
        word = "".join(chr(97 + at * at % 26) for at in range(1000)) * 400_000
        print("counting", flush=True)
        try:
            counter.count(word)
        except KeyboardInterrupt:
            print("interrupted")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tokenizer_file)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)  # a word of 400 MB takes far longer
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"


# Which path counts


def test_fast_tokenizers_say_so(counter: TokenCounter, caplog: pytest.LogCaptureFixture) -> None:
    assert counter.is_fast
    assert counter.engine == "byte-level BPE (qwen2)"
    assert TokenCounter(small_tokenizers.build("sentencepiece")).engine == "SentencePiece BPE"
    assert not caplog.records


def test_slow_tokenizers_say_why_once(caplog: pytest.LogCaptureFixture) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "only": 1, "here": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with caplog.at_level(logging.INFO, logger="polyalign"):
        counter = TokenCounter(tokenizer)
        TokenCounter(tokenizer)
        pickle.loads(pickle.dumps(counter))
    assert not counter.is_fast
    assert counter.engine.startswith("tokenizers: ")
    assert [record.name for record in caplog.records] == ["polyalign"]
    assert "slower" in caplog.text
    assert counter.engine.removeprefix("tokenizers: ") in caplog.text
    assert counter.count(["only here", "fox only"]).tolist() == [2, 2]


def test_a_blank_that_is_bytes() -> None:
    """A `▁` that the vocabulary lacks is the tokens of its three bytes."""
    from tokenizers import Tokenizer, models, normalizers

    vocab = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}, "a": 257, "b": 258, "ab": 259}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("a", "b")], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    counter = TokenCounter(tokenizer)
    assert counter.engine == "tokenizers: no token for ▁"
    assert counter.count("ab a▁b") == 1 + 3 + 1 + 3 + 1


# Files of ranks

_RANKED = [bytes([byte]) for byte in range(256)]
_RANKED += [b"he", b" t", b"th", b" the", b"ll", b"hell", b"lo", "你".encode()[:2], "你".encode(), b"12", b"whole"]


def merged(piece: bytes, ranks: dict[bytes, int]) -> int:
    """The tokens of a piece, pair by pair, as tiktoken merges it."""
    if piece in ranks:
        return 1
    parts = [piece[at : at + 1] for at in range(len(piece))]
    while pairs := [(ranks[a + b], at) for at, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]:
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return len(parts)


def test_ranks_of_tiktoken(tmp_path: Path) -> None:
    ranks = {token: rank for rank, token in enumerate(_RANKED)}
    lines = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    (tmp_path / "cl100k_base.tiktoken").write_text(lines)
    counter = TokenCounter(tmp_path / "cl100k_base.tiktoken")
    assert counter.engine == "byte-level BPE (cl100k)"
    pieces = ["the", " the", " hello", " whole", "\n", "whole", " 你你", "!", "123", "4"]
    assert counter.count("".join(pieces)) == sum(merged(piece.encode(), ranks) for piece in pieces)
    (tmp_path / "some.model").write_text("\n" + lines)
    assert TokenCounter(f"qwen:{tmp_path / 'some.model'}").engine == "byte-level BPE (qwen2)"
    (tmp_path / "some.tiktoken").write_text(lines)
    with pytest.raises(ValueError, match="whose pattern"):
        TokenCounter(tmp_path / "some.tiktoken")
    for text, what in (("IQ== x\n", "line 1: not a token"), ("IQ== 0\n", "no rank for the byte 0x00")):
        (tmp_path / "gpt2.tiktoken").write_text(text)
        with pytest.raises(ValueError, match=what):
            TokenCounter(tmp_path / "gpt2.tiktoken")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_ranks_load_in_a_forked_child(tmp_path: Path) -> None:
    lines = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(_RANKED))
    (tmp_path / "gpt2.tiktoken").write_text(lines)
    TokenCounter(tmp_path / "gpt2.tiktoken")
    child = multiprocessing.get_context("fork").Process(target=TokenCounter, args=(tmp_path / "gpt2.tiktoken",))
    child.start()
    child.join(60)
    child.kill()
    assert child.exitcode == 0


def test_ranks_of_tekken(tmp_path: Path) -> None:
    vocab = [{"rank": r, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for r, t in enumerate(_RANKED)]
    # The last of the tokens are not of the vocabulary.
    sizes = {"default_vocab_size": len(vocab) - 1 + 10, "default_num_special_tokens": 10}
    held = {"config": {"pattern": r"\p{L}+|\P{L}", **sizes}, "vocab": vocab}
    (tmp_path / "tekken.json").write_text(json.dumps(held))
    counter = TokenCounter(tmp_path)
    assert counter.count("whole") == 5
    assert counter.count("hello 12") == 2 + 3
    (tmp_path / "tekken.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not a tekken\.json: missing field `config`"):
        TokenCounter(tmp_path / "tekken.json")
