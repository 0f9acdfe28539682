"""Start-up times, and the rates of small pieces: import, loading a tokenizer, many tiny texts, languages."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import harness
from harness import MEGABYTE, Options, WorkerError, log, median, number

IMPORT = "import polyalign"
LOAD = "pa.TokenCounter(path)"
TIMED = """
import sys, time
{setup}
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""
# Everything that runs inside the process that has polyalign; texts come on standard input.
RATES = """
import json, sys, time
import polyalign as pa, pyarrow
texts = json.load(sys.stdin)
counter = pa.TokenCounter(sys.argv[1])

def best(function, rounds=7):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return sorted(times)[rounds // 2]

tiny = ["ok"] * 1_000_000
schema = pa.BucketSchema(languages=("en", "zh"), axes=("language",), length_unit="characters")
bucketer = pa.Bucketer(schema, shape="prompt_completion")
rates = {"tiny list": len(tiny) / best(lambda: counter.count(tiny, threads=1)),
         "tiny arrow": len(tiny) / best(lambda: counter.count(pyarrow.array(tiny), threads=1))}
for language, answers in texts.items():
    table = pyarrow.table({"prompt": [""] * len(answers), "completion": answers})
    size = sum(len(text.encode()) for text in answers)
    rates[language] = size / best(lambda: bucketer.assign(table, threads=1))
    found = bucketer.assign(table, threads=1)["bucket"].to_pylist()
    rates[language + " right"] = sum(bucket == language for bucket in found) / len(found)
print(json.dumps(rates))
"""


def python(code: str, *arguments: str, given: str = "") -> str:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], input=given, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise WorkerError(result.stderr.strip().splitlines()[-1])
    return result.stdout


def start_up(setup: str, statement: str, rounds: int, *arguments: str) -> float:
    """Median seconds of a statement, each time in a fresh interpreter."""
    code = TIMED.format(setup=setup, statement=statement)
    return median(float(python(code, *arguments)) for _ in range(rounds))


def answers(options: Options, size: float) -> dict[str, list[str]]:
    """Answers of each language, at most so many bytes."""
    records = harness.all_records(options.corpus)
    return {
        language: harness.take((r.answer for r in records if r.language == language), size) for language in ("en", "zh")
    }


def measure(options: Options) -> dict[str, Any]:
    results: dict[str, Any] = {}
    rounds = max(3, options.rounds * 2)
    log("micro: start-up")
    results["import"] = start_up("", IMPORT, rounds)
    for name in ("qwen2.5", "llama3", "deepseek-v3"):
        if options.has_tokenizer(name):
            path = options.tokenizer(name)
            seconds = start_up("import polyalign as pa; path = sys.argv[1]", LOAD, rounds, str(path))
            results[f"load {name}"] = {"seconds": seconds, "bytes": path.stat().st_size}
    log("micro: rates")
    texts = json.dumps(answers(options, 5e5 if options.quick else 2e7))
    results["rates"] = json.loads(python(RATES, str(options.tokenizer()), given=texts))
    return results


def render(results: dict[str, Any]) -> str:
    rates = results["rates"]
    rows = [["`import polyalign`", f"{results['import'] * 1e3:.1f} ms"]]
    for name, load in results.items():
        if name.startswith("load "):
            rows.append(
                [
                    f"`TokenCounter`, {name.removeprefix('load ')} ({load['bytes'] / MEGABYTE:.1f} MB)",
                    f"{load['seconds'] * 1e3:,.0f} ms",
                ]
            )
    rows.append(["`count` of a list of tiny texts, a text", f"{1e9 / rates['tiny list']:,.0f} ns"])
    rows.append(["the same from an Arrow column", f"{1e9 / rates['tiny arrow']:,.0f} ns"])
    for language, name in (("en", "English"), ("zh", "Chinese")):
        speed, right = number(rates[language] / MEGABYTE), rates[f"{language} right"]
        rows.append([f"`assign` by language alone, {name} answers ({right:.2%} right)", f"{speed} MB/s"])
    return harness.table(["one core", ""], rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__)
