"""The release workflow builds what README promises, with actions that can't change under us."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_actions_are_pinned_by_commit() -> None:
    used = [line for path in WORKFLOWS for line in path.read_text("utf-8").splitlines() if "uses:" in line]
    assert used
    assert [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d", line)] == []


def test_release_covers_every_system() -> None:
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))
    targets = {entry["target"] for entry in release["jobs"]["wheels"]["strategy"]["matrix"]["include"]}
    linux = {f"{cpu}-unknown-linux-{libc}" for cpu in ("x86_64", "aarch64") for libc in ("gnu", "musl")}
    others = {f"{cpu}-{system}" for cpu in ("x86_64", "aarch64") for system in ("apple-darwin", "pc-windows-msvc")}
    assert targets == linux | others
    assert {"wheels", "sdist"} == set(release["jobs"]["publish"]["needs"])


def test_only_publishing_may_write() -> None:
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {"contents": "read"}, path.name
        asking = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
        assert asking in ({}, {"publish": {"id-token": "write"}}), path.name


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_dependencies_are_compiled_once_for_the_tests_and_the_wheel() -> None:
    def built(*which: str) -> set[str]:
        command = ["cargo", "tree", "--locked", "--prefix", "none", "--format", "{p} {f}", *which]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {line.removesuffix(" (*)") for line in told.splitlines()}

    wheel = built("--package", "polyalign-python", "--edges", "normal,build")
    assert len(wheel) > 100
    assert wheel - built("--workspace", "--edges", "normal,build,dev") == set()
