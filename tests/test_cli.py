"""The command line, run as a user runs it."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import pty
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import polyalign
import small_tokenizers
from conftest import Cli, clean_environment, conversation, write_jsonl

COMMANDS = [
    "bucket",
    "count",
    "show",
    "reference",
    "score",
    "pairs",
    "sft",
    "hdpo",
    "rounds",
    "detect",
    "features",
    "demo",
]


def in_terminal(*arguments: object, columns: int, **streams: int) -> str:
    """Run `polyalign` with its output, or what `streams` leaves, on a terminal of its own; return what it shows."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "polyalign", *map(str, arguments)]
    with subprocess.Popen(
        command, **{"stdout": follower, "stderr": follower, **streams}, env=clean_environment(TERM="xterm")
    ) as process:
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while True:
                shown += os.read(leader, 10_000)
    os.close(leader)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def one_line(stderr: str) -> str:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("polyalign: ")
    return lines[0].removeprefix("polyalign: ")


# Help


def test_version(cli: Cli) -> None:
    result = cli("--version")
    assert (result.returncode, result.stdout) == (0, f"polyalign {polyalign.__version__}\n")


def test_entry_point_is_installed() -> None:
    from importlib.metadata import PackageNotFoundError, entry_points, version

    try:
        version("polyalign")
    except PackageNotFoundError:
        pytest.skip("polyalign is not installed, only on the path")
    (script,) = (point for point in entry_points(group="console_scripts") if point.name == "polyalign")
    assert callable(script.load())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=str)
def test_help_names_the_commands_and_teaches(cli: Cli, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout
    assert "polyalign bucket corpus.jsonl" in result.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "reference"])
def test_each_command_has_help(cli: Cli, command: str) -> None:
    result = cli(command, "--help", COLUMNS="120")
    assert result.returncode == 0
    assert "--debug" in result.stdout


@pytest.mark.parametrize("command", [["bucket"], ["count"], ["reference", "build"], ["score"], ["pairs"]], ids=" ".join)
def test_commands_that_read_records_take_the_same_options(cli: Cli, command: list[str]) -> None:
    text = cli(*command, "--help", COLUMNS="200").stdout
    for flag in "shape messages-field prompt-field response-field rejected-field system-field role id-field".split():
        assert f"--{flag} " in text


def test_options_of_reading_mean_the_same_in_every_command(cli: Cli, tokenizer_file: Path, tmp_path: Path) -> None:
    def record(number: int, reply: str) -> dict[str, object]:
        log = [{"role": "Alice", "content": "Why?"}, {"role": "assistant", "content": reply}]
        return {"key": f"r{number}", "bucket": "en|single|qa|short", "who": "Be brief.", "log": log}

    write_jsonl(tmp_path / "humans.jsonl", [record(number, f"So it is, my friend {number}.") for number in range(30)])
    write_jsonl(tmp_path / "model.jsonl", [record(number, f"As an AI I can't say {number}.") for number in range(30)])
    read = "--messages-field log --role Alice=user --system-field who --id-field key".split()
    counted = json.loads(cli("count", "humans.jsonl", *read, "--json", "--tokenizer", tokenizer_file).stdout)
    counter = polyalign.TokenCounter(tokenizer_file)
    texts = [text for n in range(30) for text in ("Be brief.", "Why?", f"So it is, my friend {n}.")]
    assert counted["total"] == {"texts": 30, "tokens": int(counter.count(texts).sum()), "rejected": 0}
    made = cli("reference", "build", "humans.jsonl", *read, "--out", "human.safetensors", "--json")
    assert json.loads(made.stdout)["tally"]["used"] == 30, made.stderr
    scored = cli("score", "model.jsonl", *read, "--reference", "human.safetensors", "--json")
    assert json.loads(scored.stdout)["scored"] == 30, scored.stderr
    assert cli("bucket", "humans.jsonl", *read, "--out", "bucketed").returncode == 0
    paired = cli("pairs", "bucketed", "--samples", "model.jsonl", *read, "--out", "pairs", "--json")
    assert json.loads(paired.stdout)["pairs"] == 30, paired.stderr
    unread = cli("pairs", "bucketed", *read, "--out", "others")
    assert "say how samples are read, and there are none" in one_line(unread.stderr)


def test_a_rejected_response_by_any_name(cli: Cli, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_jsonl(tmp_path / "p.jsonl", [{"ask": "Why?", "good": "So it is.", "bad": {"text": "No idea."}}])
    named = "--prompt-field ask --response-field good --rejected-field bad.text".split()
    assert cli("bucket", "p.jsonl", *named, "--out", "out").returncode == 0
    (row,) = pq.read_table(next((tmp_path / "out" / "data").glob("*.parquet"))).to_pylist()
    assert [row[name][0]["content"] for name in ("prompt", "chosen", "rejected")] == ["Why?", "So it is.", "No idea."]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["fields"]["rejected"] == "bad.text"
    with pytest.raises(ValueError, match=r'name the chosen one with fields=\{"response": …\}'):
        polyalign.Bucketer(fields={"messages": "good", "rejected": "bad"}).bucket_files(tmp_path / "p.jsonl", None)


def test_bucket_has_the_documented_flags(cli: Cli) -> None:
    text = cli("bucket", "--help", COLUMNS="200").stdout
    flags = (
        "tokenizer out length-edges length-unit length-bins languages shape prompt-field response-field language-field "
        "family-field group-field id-field family-map axis assignments-only partition-by overwrite max-rejects "
        "max-record-bytes chunk-bytes count keep-thinking limit threads json config dry-run reference source "
        "sample-size"
    )
    for flag in flags.split():
        assert f"--{flag} " in text


# bucket


def test_bucket_prints_a_table(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    result = cli("bucket", corpus, "--out", "out", "--languages", "en,zh", "--length-edges", "8,20,40")
    assert result.returncode == 0, result.stderr
    assert "60 rows from 1 file" in result.stdout
    for text in ("bucket", "rows", "share", "median", "en|single|", "zh|multi|", "written to out"):
        assert text in result.stdout
    assert result.stderr == ""  # no progress bar where there is no terminal
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_bucket_json(cli: Cli, corpus: Path, tokenizer_file: Path) -> None:
    result = cli("bucket", corpus, "-o", "out", "-t", tokenizer_file, "--json", "--length-edges", "8,20,40")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["rows"] == report["bucketed"] == 60
    assert sum(bucket["completion_tokens"] for bucket in report["buckets"]) == report["completion_tokens"]
    assert result.stderr == ""


def test_dry_run_shows_shape_fields_and_rows(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    result = cli("bucket", corpus, "--limit", "20", "--dry-run", "--source-field", "source")
    assert result.returncode == 0, result.stderr
    assert "20 rows" in result.stdout
    assert "shape: messages (source: source)" in result.stdout
    assert "What is the capital of France?" in result.stdout
    assert "法国的首都是巴黎" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl"]


def test_what_is_there_twice_and_what_is_held_out_is_said(cli: Cli, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Question {at % 40}?", "completion": f"Answer {at % 50}.", "group": f"g{at}", "language": "en"}
        for at in range(210)
    ]
    write_jsonl(tmp_path / "in.jsonl", rows)
    result = cli("bucket", "in.jsonl", "--out", "out", "--test-share", "0.3", "--reference", "human.safetensors")
    assert result.returncode == 0, result.stderr
    assert (
        "repeated: 10 rows (4.8%), 170 prompts (81.0%), 160 responses (76.2%); the first row: in.jsonl, row 200, that "
        "of in.jsonl, row 0"
    ) in result.stdout
    assert "repeat" not in result.stderr
    said = json.loads(cli("bucket", "in.jsonl", "--dry-run", "--test-share", "0.3", "--json").stdout)
    held_out = said["held_out"]
    assert held_out["rows"] == held_out["groups"] == sum(bucket["held_out"] for bucket in said["buckets"])
    line = f"held out: {held_out['rows']} rows of {held_out['rows']} groups; {held_out['shared_prompts']} of their "
    assert f"{line}{held_out['prompts']} prompts train too" in result.stdout
    # The reference is of what trains, and so is one that is built of the folder.
    humans = 210 - held_out["rows"]
    built = cli("reference", "build", "out", "--out", "again.safetensors")
    assert f"not counted: {held_out['rows']} rows that polyalign bucket --test-share held out" in built.stdout
    assert f"{humans} humans" in built.stdout
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "human.safetensors").read_bytes()
    # Much of it is a warning.
    write_jsonl(tmp_path / "in.jsonl", rows[:60] * 2)
    result = cli("bucket", "in.jsonl", "--dry-run")
    assert (
        "warning: 50% of the rows repeat the prompt and response of an earlier one (the first: in.jsonl, row 60, that "
        "of in.jsonl, row 0): each counts again in buckets, references and weights\n"
    ) in result.stderr


def test_how_records_were_read_is_said(cli: Cli, tmp_path: Path) -> None:
    turns = [("prompter", "What is this?"), ("bing", "A cat."), ("prompter", "And that?"), ("bing", "A dog.")]
    chat = [{"role": role, "content": content, "toxic": False} for role, content in turns]
    write_jsonl(tmp_path / "chats.jsonl", [{"conversation_hash": "h", "conversation": chat, "system": "Be brief."}])
    said = cli("bucket", "chats.jsonl", "--dry-run")
    assert said.returncode == 0, said.stderr
    for line in (
        "shape: messages (messages: conversation)",
        "left out: 1 earlier reply of 1 record (first: chats.jsonl, row 0) is part of the prompt alone: "
        "--turns all makes each a row",
        "read: the record's own system message put first, in 1 record (first: chats.jsonl, row 0)",
        "roles: prompter as user (1), bing as assistant (1); first in chats.jsonl, row 0",
        "group: conversation_hash (1); first in chats.jsonl, row 0",
        "not used: conversation[].toxic (1); first in chats.jsonl, row 0",
    ):
        assert line in said.stdout
    every = cli("bucket", "chats.jsonl", "--turns", "all", "--json", "--out", "out")
    report = json.loads(every.stdout)
    assert (report["records"], report["rows"], report["reading"]["earlier_replies"]) == (1, 2, 0)
    assert "1 record" in cli("bucket", "chats.jsonl", "--turns", "all", "--dry-run").stdout


def test_fields_that_contradict_each_other_are_refused(cli: Cli, tmp_path: Path) -> None:
    chat = [{"role": "Alice", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
    write_jsonl(tmp_path / "chats.jsonl", [{"log": chat}])
    both = cli("bucket", "chats.jsonl", "--dry-run", "--prompt-field", "log", "--response-field", "log")
    assert both.returncode == 1
    assert "`log` can't be both the prompt and the response: if it holds whole conversations" in both.stderr
    more = cli("bucket", "chats.jsonl", "--dry-run", "--messages-field", "log", "--prompt-field", "log")
    assert "`log` is named as the whole conversation and `log` as the prompt" in more.stderr
    unnamed = cli("bucket", "chats.jsonl", "--dry-run")
    assert "`log` holds messages: if it is the whole conversation, --messages-field log" in unnamed.stderr
    named = cli("bucket", "chats.jsonl", "--dry-run", "--messages-field", "log")
    assert "warning: the role `Alice` is not known" in named.stderr
    known = cli("bucket", "chats.jsonl", "--dry-run", "--messages-field", "log", "--role", "Alice=user")
    assert "shape: messages (messages: log, roles: Alice=user)" in known.stdout
    assert "warning" not in known.stderr


def test_standard_input(cli: Cli, corpus: Path) -> None:
    result = cli("bucket", "-", "--out", "out", "--json", stdin=corpus.read_text("utf-8"))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["rows"] == 60


def test_axes_families_and_units(cli: Cli, corpus: Path) -> None:
    result = cli(
        *("bucket", corpus, "--dry-run", "--json", "--axes", "family,length", "--axis", "half=score"),
        *("--family-map", "geo=qa,other=code", "--length-unit", "characters", "--length-edges", "auto", "--limit", 9),
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["schema"]["length_unit"] == "characters"
    assert report["schema"]["length_edges"] != "auto"
    assert {bucket["parts"][0] for bucket in report["buckets"]} == {"qa"}
    assert {bucket["parts"][2] for bucket in report["buckets"]} >= {"0.5", "1.5"}


def test_settings_from_yaml_and_flags_over_them(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "inputs: [corpus.jsonl]\nlength-edges: [8, 20]\nlength_unit: words\nlanguages: [en, zh, no]\ndry-run: true\n"
        "family-map: {geo: qa}\naxis: {half: score}\nmax-rejects: 0.5\njson: yes\n"
    )
    result = cli("bucket", "--config", config, "--length-unit", "characters")
    assert result.returncode == 0, result.stderr
    schema = json.loads(result.stdout)["schema"]
    assert schema["length_edges"] == [8, 20]
    assert schema["length_unit"] == "characters"
    assert schema["languages"] == ["en", "no", "zh"]
    assert schema["families"] == {"geo": "qa"}
    assert schema["axes"][-1] == {"name": "half", "column": "score"}


def test_a_key_without_a_value_is_as_if_it_were_not_there(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("tokenizer: null\nlimit:\nlanguages: ~\nchunk-bytes:\nmax-rejects: null\naxes:\n")
    result = cli("bucket", corpus, "--dry-run", "--json", "--config", config)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["rows"] == 60


def test_edges_by_language_from_yaml(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("length-edges:\n  default: [8, 20]\n  zh: [5, 10]\n")
    result = cli("bucket", corpus, "--dry-run", "--json", "--config", config)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["schema"]["length_edges"] == {"default": [8, 20], "zh": [5, 10]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lenght-edges: [1]\n", "config.yaml:1: unknown key 'lenght-edges'; known are"),
        ("limit: 1\n\nlimit: 2\n", "config.yaml:3: key 'limit' is there twice"),
        ("limit: [\n", "config.yaml:2:1: not YAML"),
        ("- limit\n", "must be a mapping"),
        ("limit: many\n", "--limit"),
        ("limit: 1\nlimit:\n", "config.yaml:2: key 'limit' is there twice"),
        ("? [a, b]\n: 1\n", "config.yaml:1: a key must be the name of an option"),
        ("inputs: &a [*a]\n", "config.yaml:1: *a holds itself"),
        ("limit: 1\ninputs: *b\n", "config.yaml:2:9: not YAML"),
        ("limit: 1\ninputs: " + "[" * 100_000 + "\n", "config.yaml:2: nested more than 16 deep"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
            "config.yaml:5: more than 100,000 values",
        ),
    ],
)
def test_bad_configuration_is_named(cli: Cli, corpus: Path, tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content)
    result = cli("bucket", corpus, "--dry-run", "--config", config)
    assert result.returncode in (1, 2)
    assert message in one_line(result.stderr)


# Exit codes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "No such command"),
        (["bucket"], "INPUT"),
        (["bucket", "x.jsonl"], "--out"),
        (["bucket", "x.jsonl", "--dry-run", "--foo"], "--foo"),
        (["bucket", "x.jsonl", "--dry-run", "--length-edges", "a,b"], "is not whole numbers such as 40,120,240"),
        (["bucket", "x.jsonl", "--dry-run", "--axis", "tone"], "NAME=COLUMN"),
        (["bucket", "x.jsonl", "--dry-run", "--family-map", "=qa"], "SOURCE=FAMILY"),
        (["bucket", "x.jsonl", "--dry-run", "--chunk-bytes", "big"], "is not a size such as 64MiB"),
        (["bucket", "x.jsonl", "--dry-run", "--threads", "0"], "--threads"),
        (["bucket", "x.jsonl", "--dry-run", "--max-rejects", "2"], "--max-rejects"),
        (["bucket", "x.jsonl", "--dry-run", "--languages", "xyzzy"], "is no language"),
        (["bucket", "x.jsonl", "--dry-run", "--length-edges", "9,3"], "edges must rise"),
        (["bucket", "x.jsonl", "--dry-run", "--shape", "round"], "round"),
        (["bucket", "x.jsonl", "--dry-run", "--count", "some"], "'all', 'completion'"),
        (["count", "x.txt"], "--tokenizer"),
        (["show"], "OUT"),
    ],
)
def test_usage_errors_exit_with_2(cli: Cli, arguments: list[str], message: str) -> None:
    result = cli(*arguments)
    assert result.returncode == 2, result.stderr
    assert message in one_line(result.stderr)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bucket", "nothing-here.jsonl", "--dry-run"], "nothing-here.jsonl"),
        (["bucket", "corpus.jsonl", "--dry-run", "--tokenizer", "nothing-here.json"], "nothing-here.json"),
        (["bucket", "corpus.jsonl", "--dry-run", "--tokenizer", "some/model"], "HF_HUB_OFFLINE"),
        (["bucket", "some/dataset", "--dry-run"], "HF_HUB_OFFLINE"),
        (["bucket", "hf://datasets/some/dataset", "--dry-run"], "HF_HUB_OFFLINE"),
        (["bucket", "hf://datasets/some", "--dry-run"], "OWNER/NAME"),
        (["bucket", "corpus.jsonl", "--dry-run", "--length-unit", "tokens"], "tokenizer"),
        (["bucket", "corpus.jsonl", "--out", "corpus.jsonl"], "corpus.jsonl"),
        (["bucket", "corpus.jsonl", "--out", "s3://bucket/out"], "s3://bucket/out: an output is a folder of this"),
        (["bucket", "https://example.com/x.jsonl", "--dry-run"], "download it, or pipe it to polyalign bucket -"),
        (["bucket", "", "--dry-run"], "name of an input or output is empty"),
        (["bucket", "corpus.jsonl", "--out", "/proc/nope/out"], "/proc/nope"),
        (["show", "nothing-here"], "nothing-here: no such folder"),
        (["show", "."], ".: not an output of polyalign bucket"),
        (["count", "nothing-here.txt", "--text", "--tokenizer", "nothing.json"], "nothing.json"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(cli: Cli, corpus: Path, arguments: list[str], message: str) -> None:
    result = cli(*arguments)
    assert result.returncode == 1, result.stderr
    assert message in one_line(result.stderr)
    assert result.stdout == ""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polyalign", "bucket", b"\xff.jsonl", "--dry-run"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "the name is not UTF-8; rename the file" in one_line(result.stderr)


def test_debug_shows_a_traceback(cli: Cli) -> None:
    result = cli("bucket", "nothing-here.jsonl", "--dry-run", "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("polyalign: ")


def test_unreadable_input_exits_with_3(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text("[" + json.dumps(conversation(1)) + "," + json.dumps(conversation(2))[:40])
    result = cli("bucket", path, "--out", "out")
    assert result.returncode == 3, result.stderr
    assert "cut.json: unreadable" in one_line(result.stderr)
    assert (tmp_path / "out" / "manifest.json").is_file()


@pytest.mark.parametrize(("allowed", "code"), [("0.01", 4), ("0.09", 4), ("0.1", 0), ("1", 0)])
def test_too_many_rejects_exit_with_4(cli: Cli, tmp_path: Path, allowed: str, code: int) -> None:
    path = write_jsonl(tmp_path / "mixed.jsonl", [*(conversation(number) for number in range(9)), {"x": 1}])
    result = cli("bucket", path, "--out", "out", "--max-rejects", allowed)
    assert result.returncode == code, result.stderr
    assert "rejected: 1 for shape" in result.stdout
    if code:
        assert "1 of 10 rows rejected (10.0%), more than --max-rejects" in one_line(result.stderr)


def test_interruption_exits_with_130(tmp_path: Path) -> None:
    """Even when waiting for an input that never comes."""
    command = [sys.executable, "-m", "polyalign", "bucket", "-", "--out", "out"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=clean_environment()
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(conversation(1)) + "\n")
    process.stdin.flush()
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    stopped = time.monotonic()
    assert process.wait(30) == 130
    assert time.monotonic() - stopped < 4
    assert process.stderr is not None
    assert one_line(process.stderr.read()).startswith("interrupted")
    assert not (tmp_path / "out").exists()


def limited_to(size: int) -> Callable[[], None]:
    """Let no file of a child process grow above `size`: what a full disk does, without one."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_full_disk_is_said_and_the_run_goes_on_later(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polyalign", "bucket", corpus, "--out", "out", "--chunk-bytes", "4000"]
    assert cli(*command[3:-4], "--out", "whole", "--chunk-bytes", "4000").returncode == 0
    full = subprocess.run(
        command,
        cwd=tmp_path,
        env=clean_environment(),
        preexec_fn=limited_to(5000),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1, full.stderr
    assert "File too large" in full.stderr
    assert "goes on where it stopped" in one_line(full.stderr)
    assert not (tmp_path / "out").exists()
    assert cli(*command[3:]).returncode == 0
    for path in (tmp_path / "whole").rglob("*.parquet"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_a_text_that_the_tokenizer_fails_on_is_a_reject(cli: Cli, tmp_path: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(x+x+)+y"), "isolated")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_jsonl(tmp_path / "corpus.jsonl", [{"prompt": "a", "completion": text} for text in ("b", "x" * 60)])
    result = cli("bucket", "corpus.jsonl", "--dry-run", "-t", "tokenizer.json", "--max-rejects", "1", RUST_BACKTRACE="")
    assert result.returncode == 0, result.stderr
    assert "the first at corpus.jsonl:2: " in result.stdout
    assert "retry-limit-in-match" in result.stdout
    assert "panicked" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_output_that_cannot_be_printed(tmp_path: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "polyalign", *arguments]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert one_line(result.stderr) == "standard output: No space left on device"


def test_the_first_reject_of_each_kind_is_shown(cli: Cli, corpus: Path) -> None:
    result = cli("bucket", corpus, "--dry-run", "--axes", "language,tone")
    assert result.returncode == 4
    assert "60 for bucket, the first at corpus.jsonl:1: no value for axis `tone`" in result.stdout


def test_a_closed_pipe_is_no_error(tmp_path: Path, corpus: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "polyalign", "bucket", corpus, "--out", "out"], check=True, cwd=tmp_path, stdout=-3
    )
    show = f"{sys.executable} -m polyalign show out --bucket 'en|single|dialogue|short' -n 50 --json"
    shell = subprocess.run(
        ["bash", "-c", f"{show} | head -c 1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in shell.stderr
    assert "BrokenPipe" not in shell.stderr


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    small_tokenizers.build("unigram").save(str(tmp_path / "tokenizer.json"))
    path.write_text((json.dumps(conversation(1, words=40)) + "\n") * 4000)
    shown = in_terminal("bucket", path, "--dry-run", "-t", tmp_path, columns=100, stdout=subprocess.DEVNULL)
    for text in ("B/s", "rows", "%|"):
        assert text in shown


# show


@pytest.fixture
def output(cli: Cli, corpus: Path, tmp_path: Path) -> Path:
    result = cli("bucket", corpus, "--out", "out", "--family-map", "geo=qa", "--length-edges", "8,20,40")
    assert result.returncode == 0, result.stderr
    return tmp_path / "out"


def test_show_lists_the_buckets(cli: Cli, output: Path) -> None:
    result = cli("show", output)
    assert result.returncode == 0, result.stderr
    assert "lengths in words" in result.stdout
    buckets = json.loads(cli("show", output, "--json").stdout)
    assert sum(bucket["rows"] for bucket in buckets) == 60
    assert all(bucket["bucket"] in result.stdout for bucket in buckets)


def largest_bucket(cli: Cli, output: Path, start: str) -> str:
    buckets = json.loads(cli("show", output, "--json").stdout)
    found = [bucket for bucket in buckets if bucket["bucket"].startswith(start)]
    return str(max(found, key=lambda bucket: bucket["rows"])["bucket"])


def test_show_rows(cli: Cli, output: Path) -> None:
    bucket = largest_bucket(cli, output, "zh|")
    result = cli("show", output, "--bucket", bucket, "-n", "2")
    assert result.returncode == 0, result.stderr
    for text in (bucket, "user", "assistant", "法国的首都是哪里？", "法国的首都是巴黎，位于塞纳河畔。"):
        assert text in result.stdout
    rows = [json.loads(line) for line in cli("show", output, "-b", bucket, "-n", "3", "--json").stdout.splitlines()]
    assert len(rows) == 3
    assert {row["bucket"] for row in rows} == {bucket}
    assert rows[0]["completion"][0]["content"].startswith("法国")


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_bucket_ids_are_whole_in_a_narrow_terminal(cli: Cli, corpus: Path, tokenizer_file: Path, columns: int) -> None:
    assert cli("bucket", corpus, "--out", "out", "-t", tokenizer_file).returncode == 0
    shown = in_terminal("show", corpus.parent / "out", columns=columns)
    for bucket in json.loads(cli("show", "out", "--json").stdout):
        assert bucket["bucket"] in shown
    for name in ("rows", "median"):
        assert name in shown
    assert ("of responses" in shown) == (columns >= 120)


def test_show_wide_characters_fit_the_terminal(cli: Cli, output: Path) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    shown = in_terminal("show", output, "--bucket", largest_bucket(cli, output, "zh|"), columns=40)
    lines = [Text.from_ansi(line).plain for line in shown.splitlines()]
    assert any("法国" in line for line in lines)
    assert max(map(cell_len, lines)) <= 40


def test_show_cannot_disturb_the_terminal(cli: Cli, tmp_path: Path) -> None:
    record = {"prompt": "hello \x1b[2J there", "completion": "a \u202eright-to-left answer\x07 of words"}
    path = write_jsonl(tmp_path / "corpus.jsonl", [record])
    assert cli("bucket", path, "--out", "out").returncode == 0
    bucket = json.loads(cli("show", "out", "--json").stdout)[0]["bucket"]
    text = cli("show", "out", "--bucket", bucket).stdout
    assert "\\u001b[2J" in text
    assert "\\u202e" in text
    assert not set(text) & {"\x1b", "\x07", "\u202e"}


def test_show_unknown_bucket_suggests(cli: Cli, output: Path) -> None:
    result = cli("show", output, "--bucket", "en|single|qa|shrot")
    assert result.returncode == 1
    assert "did you mean" in one_line(result.stderr)


def test_show_assignments_only(cli: Cli, corpus: Path) -> None:
    assert cli("bucket", corpus, "--out", "out", "--assignments-only").returncode == 0
    bucket = json.loads(cli("show", "out", "--json").stdout)[0]["bucket"]
    result = cli("show", "out", "--bucket", bucket, "-n", "1")
    assert result.returncode == 0, result.stderr
    assert bucket in result.stdout


def test_show_broken_manifest(cli: Cli, output: Path) -> None:
    (output / "manifest.json").write_text("{}")
    result = cli("show", output)
    assert result.returncode == 1
    assert "manifest.json: not a manifest" in one_line(result.stderr)


# count


def test_count_texts_lines_and_records(cli: Cli, corpus: Path, tmp_path: Path, tokenizer_file: Path) -> None:
    counter = polyalign.TokenCounter(tokenizer_file)
    text = "Hello, world!\n你好，世界！\n"
    (tmp_path / "a.txt").write_text(text, "utf-8")
    result = cli("count", "a.txt", corpus, "-t", tokenizer_file, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    records = [json.loads(line) for line in corpus.read_text("utf-8").splitlines()]
    contents = [message["content"] for record in records for message in record["messages"]]
    total = int(counter.count(contents).sum())
    assert found["files"] == [
        {"file": "a.txt", "kind": "text", "texts": 1, "tokens": counter.count(text), "rejected": 0},
        {"file": str(corpus), "kind": "records", "texts": 60, "tokens": total, "rejected": 0},
    ]
    assert found["total"] == {"texts": 61, "tokens": total + counter.count(text), "rejected": 0}
    table = cli("count", "*.txt", corpus, "-t", tokenizer_file)
    assert f"{total:,}" in table.stdout
    assert f"{total + counter.count(text):,}" in table.stdout


def test_count_standard_input(cli: Cli, tokenizer_file: Path) -> None:
    counter = polyalign.TokenCounter(tokenizer_file)
    lines = ["fox fox", "", "你好"]
    stdin = "\r\n".join(lines)
    for flags, texts in ((["--text"], [stdin]), (["--lines"], lines), (["--lines", "--limit", "1"], lines[:1])):
        result = cli("count", "-", "-t", tokenizer_file, "--json", *flags, stdin=stdin)
        assert result.returncode == 0, result.stderr
        total = json.loads(result.stdout)["total"]
        assert (total["texts"], total["tokens"]) == (len(texts), int(counter.count(texts).sum()))


def test_count_reads_records_from_standard_input_as_bucket_does(cli: Cli, corpus: Path, tokenizer_file: Path) -> None:
    def total(*arguments: object, stdin: str | None = None) -> dict[str, int]:
        result = cli("count", *arguments, "-t", tokenizer_file, "--json", stdin=stdin)
        assert result.returncode == 0, result.stderr
        return dict(json.loads(result.stdout)["total"])

    assert total("-", stdin=corpus.read_text("utf-8")) == total(corpus)


def test_count_says_how_to_count_plain_text(cli: Cli, tokenizer_file: Path) -> None:
    result = cli("count", "-", "-t", tokenizer_file, stdin="Hello, world!\nHow are you?\n")
    assert result.returncode == 1
    assert "--text" in one_line(result.stderr)


def test_count_completion_only(cli: Cli, corpus: Path, tokenizer_file: Path) -> None:
    def tokens(*flags: str) -> int:
        result = cli("count", corpus, "-t", tokenizer_file, "--json", *flags)
        assert result.returncode == 0, result.stderr
        return int(json.loads(result.stdout)["total"]["tokens"])

    assert 0 < tokens("--count", "completion") < tokens()


def test_count_bad_text(cli: Cli, tmp_path: Path, tokenizer_file: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\n")
    result = cli("count", "bad.txt", "--lines", "-t", tokenizer_file)
    assert result.returncode == 1
    assert "bad.txt:2: not UTF-8 at byte 0" in one_line(result.stderr)


def test_count_packed_text_says_how_to_unpack_it(cli: Cli, tmp_path: Path, tokenizer_file: Path) -> None:
    (tmp_path / "notes.txt.gz").write_bytes(gzip.compress(b"some notes"))
    result = cli("count", "notes.txt.gz", "-t", tokenizer_file)
    assert result.returncode == 1
    assert "zcat notes.txt.gz | polyalign count - --text" in one_line(result.stderr)


def test_count_beside_the_library(cli: Cli, corpus: Path, tmp_path: Path, tokenizer_file: Path) -> None:
    (tmp_path / "lines.txt").write_text("Hello, world!\n你好，世界！\n\n", "utf-8")
    both = cli("count", "lines.txt", "--lines", "-t", tokenizer_file, "--bench", "--validate", "--json")
    assert both.returncode == 0, both.stderr
    compared = json.loads(both.stdout)["comparison"]
    assert (compared["texts"], compared["compared"], compared["wrong"], compared["first_wrong"]) == (3, 3, 0, None)
    assert compared["timed_bytes"] == len("Hello, world!你好，世界！".encode())
    assert compared["library"].startswith("tokenizers ")
    assert compared["polyalign_mb_s"] > 0 < compared["tokenizers_mb_s"]
    records = cli("count", corpus, "-t", tokenizer_file, "--validate")
    assert records.returncode == 0, records.stderr
    messages = [m for line in corpus.read_text("utf-8").splitlines() for m in json.loads(line)["messages"]]
    assert f"{len(messages):,} of {len(messages):,} texts have the same count" in records.stdout
    assert "MB/s" not in records.stdout
    speed = cli("count", corpus, "-t", tokenizer_file, "--bench", "--count", "completion")
    assert "times as fast" in speed.stdout
    assert "same count" not in speed.stdout
    (tmp_path / "after-a-line.json").write_bytes(b"\n" + tokenizer_file.read_bytes())
    after = cli("count", "lines.txt", "--lines", "-t", "after-a-line.json", "--validate")
    assert "same count" in after.stdout, after.stderr
    again = cli("count", "-", "-t", tokenizer_file, "--validate", stdin="x")
    assert again.returncode == 2
    assert "give files, not -" in again.stderr


def test_count_says_which_text_the_library_counts_otherwise(
    monkeypatch: pytest.MonkeyPatch, tokenizer_file: Path
) -> None:
    from polyalign.cli import _against

    counter = polyalign.TokenCounter(tokenizer_file)
    monkeypatch.setattr(
        _against, "_library", lambda _: (lambda texts: [int(counter.count(texts[0]))] * len(texts), "x 1")
    )
    found = _against.compare(counter, [["fox", "fox", "fox fox"]], bench=False, validate=True)
    assert (found.compared, found.wrong, found.speeds()) == (3, 1, None)
    assert found.first_wrong == f"'fox fox': {counter.count('fox fox')} tokens, by x 1 {counter.count('fox')}"


def test_count_exits_with_4_when_much_is_rejected(cli: Cli, tmp_path: Path, tokenizer_file: Path) -> None:
    write_jsonl(tmp_path / "mixed.jsonl", [conversation(1), {"x": 1}])
    assert cli("count", "mixed.jsonl", "-t", tokenizer_file).returncode == 4
    assert cli("count", "mixed.jsonl", "-t", tokenizer_file, "--max-rejects", "0.5").returncode == 0


# Hub data sets


def test_hub_data_sets_through_the_cache(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    commit = "1" * 40
    repo = tmp_path / "hub" / "datasets--some--chats"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    for folder in ("", "data"):
        snapshot = repo / "snapshots" / commit / folder
        snapshot.mkdir(parents=True, exist_ok=True)
        (snapshot / "part.jsonl").write_bytes(corpus.read_bytes())
    cache = str(tmp_path / "hub")
    for name, rows in (("some/chats", 120), ("hf://datasets/some/chats@main/data", 60)):
        result = cli("bucket", name, "--dry-run", "--json", HF_HUB_CACHE=cache)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["rows"] == rows
