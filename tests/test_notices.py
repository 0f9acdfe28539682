"""The notices that ship in a wheel: of every crate that is linked into it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

pytestmark = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")


def linked() -> set[str]:
    """The crates of others that the extension is linked with, as cargo sees them: `name version`."""
    command = ["cargo", "tree", "--locked", "-e", "normal,no-proc-macro", "--prefix", "none", "-p", "polyalign-python"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    crates = {" ".join(line.split()[:2]).replace(" v", " ", 1) for line in told.splitlines() if line}
    return {crate for crate in crates if not crate.startswith("polyalign")}


def named(notices: str) -> set[str]:
    """The crates over whose licences their names stand."""
    headings = re.findall(r"^-{100}\n(.+)\n-{100}\n\n(?=\S)", notices, re.MULTILINE)
    return {crate for heading in headings for crate in heading.split(", ")}


def test_every_linked_crate_has_its_notices() -> None:
    script = ROOT / "rust" / "polyalign-python" / "notices"
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, encoding="utf-8", check=True)
    assert len(linked()) > 50
    assert linked() - named(result.stdout) == set()
    # What crates have from others, and what a crate's repository ships but not the crate.
    for said in ("Copyright (c) Meta Platforms, Inc. and affiliates", "Oniguruma LICENSE"):
        assert said in result.stdout
    listed = re.findall(r"^(\S+ \d\S*) \((.+?)\)", result.stdout, re.MULTILINE)
    assert {crate for crate, _ in listed} == named(result.stdout)
    assert all(licence != "see below" for _, licence in listed)
