"""The built wheel, installed in an empty environment outside the checkout, does what README shows first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT
from test_docs import commands, workplace  # noqa: F401 (a fixture)
from test_notices import linked, named

WHEEL = os.environ.get("POLYALIGN_WHEEL")
pytestmark = pytest.mark.skipif(not WHEEL, reason="POLYALIGN_WHEEL names no wheel (make wheel; make check-wheel)")


@pytest.fixture(scope="module")
def wheel() -> Path:
    return Path(str(WHEEL))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with the wheel and what it requires, and nothing that compiles on its PATH."""
    folder = tmp_path_factory.mktemp("installed")
    uv = os.environ.get("UV", "uv")
    subprocess.run([uv, "venv", "--quiet", folder], check=True)
    tools = folder / "tools"
    tools.mkdir()
    for name in ("sh", "bash", "ls", "cat"):
        (tools / name).symlink_to(str(shutil.which(name)))
    environment = {"PATH": f"{folder / 'bin'}:{tools}", "HOME": str(folder), "LANG": "C.UTF-8"}
    command = [uv, "pip", "install", "--quiet", "--no-build", "--python", folder / "bin" / "python", wheel]
    kept = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_", "HTTP"))}
    cache = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")}
    subprocess.run(command, env={**environment, **kept, **cache}, check=True)
    return environment


def readme() -> str:
    """What comes before training, which needs more than the package requires."""
    return (ROOT / "README.md").read_text("utf-8").split("\n## Train", maxsplit=1)[0]


def test_wheel_holds_what_licences_ask_for(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/licenses/" in name]
        notices = archive.read(next(name for name in names if name.endswith("docs/licences.md"))).decode()
    assert any(name.endswith("/LICENSE") for name in names)
    assert "Copyright (c) 2016 C.J. Hutto" in notices
    assert "Copyright (c) 2013 Sun Junyi" in notices
    assert "UNICODE LICENSE V3" in notices


def test_wheel_holds_the_notices_of_what_it_is_linked_with(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/licenses/NOTICES.txt"))
        assert linked() - named(archive.read(name).decode()) == set()


def test_wheel_is_for_every_python_and_old_machines(wheel: Path) -> None:
    assert "-cp310-abi3-" in wheel.name
    if sys.platform == "linux":
        glibc = [int(minor) for minor in re.findall(r"manylinux_2_(\d+)_", wheel.name)]
        assert glibc, wheel.name
        assert min(glibc) <= 28, wheel.name
    assert wheel.stat().st_size < 15 << 20


def test_readme_runs_without_a_compiler(installed: dict[str, str], workplace: Path) -> None:  # noqa: F811
    where = subprocess.run(
        ["python", "-c", "import polyalign; print(polyalign.__file__)"],
        env=installed, cwd=workplace, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(installed["HOME"]), where
    text = readme()
    found = commands("".join(re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)))
    assert len(found) >= 5
    for command in found:
        result = subprocess.run(
            ["bash", "-c", command], cwd=workplace, env=installed, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0 or "has no bucket" in result.stderr, f"{command}\n{result.stderr}"


def test_readme_code_runs_without_a_compiler(installed: dict[str, str], workplace: Path) -> None:  # noqa: F811
    table = 'import arro3.core\nany_arrow_table = arro3.core.Table.from_pydict({"prompt": arro3.core.Array(["Hi"], arro3.core.DataType.string()), "completion": arro3.core.Array(["Hello there"], arro3.core.DataType.string())})\n'  # noqa: E501
    code = table + "".join(re.findall(r"^```python\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL))
    result = subprocess.run(
        ["python", "-c", code], cwd=workplace, env=installed, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_readme_has_code_before_training() -> None:
    assert len(re.findall(r"^```python\n", readme(), re.MULTILINE)) >= 3
