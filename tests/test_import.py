"""`import polyalign` costs next to nothing and says what it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import polyalign


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "code",
    [
        "import polyalign",
        "import polyalign; polyalign.BucketSchema(); dir(polyalign)",
        "import polyalign; polyalign.Reference, polyalign.rewards, polyalign.pairs, polyalign.features.registry()",
    ],
)
def test_import_brings_no_heavy_package(code: str) -> None:
    loaded = set(python(f"{code}; import sys; print(*sys.modules)").split())
    assert not loaded & {"numpy", "pyarrow", "torch", "arro3", "huggingface_hub", "rich", "click", "tqdm", "yaml"}


def test_import_loads_neither_the_engine_nor_other_modules_of_ours() -> None:
    loaded = python("import polyalign, sys; print(*(name for name in sys.modules if name.startswith('polyalign')))")
    assert loaded.split() == ["polyalign"]


def test_every_public_name_is_there() -> None:
    for name in polyalign.__all__:
        assert getattr(polyalign, name) is not None
        assert name in dir(polyalign)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        polyalign.Nope  # noqa: B018
    with pytest.raises(ImportError):
        from polyalign import Nope  # noqa: F401


def test_package_is_typed() -> None:
    folder = Path(polyalign.__file__).parent
    assert (folder / "py.typed").is_file()
    assert (folder / "_core.pyi").is_file()


def test_stub_has_what_the_engine_has() -> None:
    from polyalign import _core

    stub = Path(_core.__file__).with_name("_core.pyi").read_text(encoding="utf-8")
    for name in dir(_core):
        if not name.startswith("__") or name == "__version__":
            assert name in stub
    for cls in (_core.TokenCounter, _core.Bucketer, _core.Reference, _core.ReferenceBuilder):
        for name in vars(cls):
            assert name.startswith("__") or f"def {name}(" in stub


def test_fewer_instructions_may_be_used() -> None:
    for level in ("portable", "avx2", "avx512", ""):
        environment = {**os.environ, "POLYALIGN_SIMD": level}
        subprocess.run([sys.executable, "-c", "from polyalign import _core"], env=environment, check=True)
    environment = {**os.environ, "POLYALIGN_SIMD": "sse"}
    failed = subprocess.run(
        [sys.executable, "-c", "from polyalign import _core"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'ValueError: POLYALIGN_SIMD is "sse": it must be portable, avx2 or avx512' in failed.stderr
