"""Run the benchmarks and print their tables: `python benches/run.py [--quick] [--only NAME,…] [--update]`.

`--update` keeps the results in benches/results.json and puts the tables into README.md and docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import harness
import report
from report import BENCHES


def run(names: list[str], options: harness.Options) -> dict[str, Any]:
    results = {"machine": harness.machine(), "quick": options.quick}
    for name in names:
        results[name] = BENCHES[name].measure(options)
        print(f"\n## {name}\n\n{BENCHES[name].render(results[name])}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    harness.add_options(parser)
    parser.add_argument("--only", default=",".join(BENCHES), metavar="NAME,…", help="some of %(default)s")
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    parser.add_argument("--update", action="store_true", help="keep the results and put the tables into the docs")
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.only.split(",") if name.strip()]
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        parser.error(f"--only: {unknown[0]!r} is not one of {', '.join(BENCHES)}")
    if arguments.update and arguments.quick:
        parser.error("--update: quick numbers are not for the docs")
    results = run(names, harness.options_from(arguments))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.update:
        report.update(results)


if __name__ == "__main__":
    main()
