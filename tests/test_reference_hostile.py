"""Files that are no reference, or no longer: a one-line error that names the file, never a crash."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyalign import Reference
from polyalign.reference import example_table

QA = "en|single|qa|short"


@pytest.fixture(scope="module")
def data() -> bytes:
    return Reference.from_arrow(example_table(), sample_size=3).to_bytes()


def refused(path: Path, reason: str = "") -> None:
    with pytest.raises((ValueError, OSError)) as raised:
        Reference.load(path)
    message = str(raised.value)
    assert str(path) in message
    assert reason in message
    assert "\n" not in message


def test_places_that_hold_no_file(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, "Is a directory")
    refused(tmp_path / "nowhere", "No such file or directory")
    (tmp_path / "file").write_bytes(data)
    refused(tmp_path / "file" / "below", "Not a directory")
    refused(Path("/dev/null"), "it is no safetensors file")
    with pytest.raises(FileNotFoundError, match=r"human\.safetensors"):
        Reference.from_pretrained(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everyone may read everything here")
def test_a_file_that_may_not_be_read(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(data)
    path.chmod(0)
    refused(path, "Permission denied")


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"PK\x03\x04", b"{}", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      ", "中文".encode() * 99]
)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    refused(tmp_path / "other")


def test_other_safetensors(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"weight": np.zeros((2, 2), np.float32)}, tmp_path / "model.safetensors", {"format": "pt"})
    refused(tmp_path / "model.safetensors", "it is another kind of file: it has no polyalign reference in it")


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_files(data: bytes, tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated"
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "no safetensors file, or a damaged one")


def test_longer_files(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "longer").write_bytes(data + b"\0")
    refused(tmp_path / "longer", "no safetensors file, or a damaged one")


# Files made by hand


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def about(header: dict[str, Any], **changes: Any) -> None:
    """Change what the file says of itself."""
    said = json.loads(header["__metadata__"]["polyalign"])
    header["__metadata__"]["polyalign"] = json.dumps({**said, **changes})


def shape(name: str, shape: list[int]) -> Callable[[dict[str, Any]], None]:
    return lambda header: header[name].update(shape=shape)


def dtype(name: str, dtype: str) -> Callable[[dict[str, Any]], None]:
    return lambda header: header[name].update(dtype=dtype)


HUGE = 1 << 62


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header.pop("__metadata__"), "it is another kind of file"),
        (lambda header: header["__metadata__"].update(polyalign="{no json"), "its metadata is no JSON"),
        (lambda header: header["__metadata__"].update(polyalign="[]"), "it is another kind of file"),
        (lambda header: about(header, format="other"), "it is another kind of file"),
        (lambda header: about(header, format_version=2), "written by a newer polyalign, in format 2; this one reads 1"),
        (lambda header: about(header, format_version="x"), "its `format_version` is no version"),
        (lambda header: about(header, registry_version=99), "its features are those of registry version 99"),
        (lambda header: about(header, registry_sha256="0" * 64), "build it again"),
        (lambda header: about(header, variant="other"), 'its variant "other" is not known'),
        (lambda header: about(header, variant="paper"), "its features are those of"),
        (lambda header: about(header, schema={"axes": ["family"]}), ""),
        (lambda header: about(header, schema={"version": 9}), ""),
        (lambda header: about(header, schema=7), ""),
        (lambda header: about(header, tokenizer_sha256="abc"), 'tokenizer "abc" is no SHA-256'),
        (lambda header: about(header, sample_size=-1), "its `sample_size` is no number of rows"),
        (lambda header: about(header, sample_size=1), ""),
        (lambda header: about(header, sources=["b", "a"]), "its `sources` are not sorted"),
        (lambda header: about(header, sources=7), "its `sources` are no list of texts"),
        (lambda header: about(header, buckets=[QA]), ""),
        (lambda header: about(header, buckets=[QA, QA]), ""),
        (lambda header: about(header, buckets=["a|b", "c\nd"]), ""),
        (lambda header: about(header, features=["char_count"]), "its `features` are not those of its registry"),
        (dtype("count", "I64"), "tensor `count` is I64"),
        (dtype("sample_row", "I32"), "tensor `sample_row` is I32"),
        (dtype("bin_index", "F32"), "tensor `bin_index` is F32"),
        (dtype("min", "Q99"), "no safetensors file, or a damaged one"),
        (shape("rows", [HUGE]), ""),
        (shape("count", [HUGE, 4]), ""),
        (shape("count", [-1, 2]), ""),
        (shape("sample_row", [0, HUGE]), ""),
        (shape("bin_count", []), ""),
        (lambda header: header.update(more=header["rows"]), ""),
        (lambda header: header.pop("rows"), ""),
        (lambda header: header["rows"].update(data_offsets=[HUGE, HUGE + 16]), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers(data: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str) -> None:
    header, body = parts(data)
    change(header)
    (tmp_path / "changed").write_bytes(joined(header, body))
    refused(tmp_path / "changed", reason)


def test_a_header_longer_than_the_file(data: bytes, tmp_path: Path) -> None:
    for length in (len(data), 1 << 40, (1 << 64) - 1):
        (tmp_path / "long").write_bytes(struct.pack("<Q", length) + data[8:])
        refused(tmp_path / "long", "no safetensors file, or a damaged one")


@pytest.mark.parametrize(
    ("tensor", "number"),
    [
        ("min", np.float64(np.nan)),
        ("max", np.float64(-np.inf)),
        ("min", np.float64(1e300)),
        ("sample_row", np.float32(np.inf)),
        ("rows", np.uint64(0)),
        ("count", np.uint64(10**9)),
        ("sum", np.uint64(2**63)),
        ("square_sum", np.uint64(2**63)),
        ("bin_offset", np.uint64(7)),
        ("bin_index", np.uint32(2**32 - 1)),
        ("bin_count", np.uint64(0)),
        ("bin_sum", np.int64(-1)),
        ("sample_offset", np.uint64(2**63)),
        ("sample_key", np.uint64(2**64 - 1)),
    ],
)
def test_numbers_that_do_not_fit(data: bytes, tmp_path: Path, tensor: str, number: np.generic) -> None:
    header, body = parts(data)
    start, _ = header[tensor]["data_offsets"]
    raw = number.tobytes()
    (tmp_path / "changed").write_bytes(joined(header, body[:start] + raw + body[start + len(raw) :]))
    named = "sample_key" if tensor == "sample_row" else tensor  # rows with one key are in order
    refused(tmp_path / "changed", f"`{named}`")


_TENSORS = (
    "rows count sum square_sum min max bin_offset bin_index bin_count bin_sum sample_offset sample_key sample_row"
).split()


def signed(header: dict[str, Any], body: bytes) -> bytes:
    """Return the file of a changed reference with the hash that its content has now."""
    said = json.loads(header["__metadata__"]["polyalign"])
    del said["content_sha256"]
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    content = hashlib.sha256(text.encode())
    for name in _TENSORS:
        start, end = header[name]["data_offsets"]
        content.update(name.encode() + body[start:end])
    said["content_sha256"] = content.hexdigest()
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return joined({**header, "__metadata__": {"polyalign": text}}, body)


def test_the_hash_is_of_the_content(data: bytes, tmp_path: Path) -> None:
    assert Reference.from_bytes(signed(*parts(data))).to_bytes() == data
    header, body = parts(data)
    about(header, sources=["another"])
    (tmp_path / "changed").write_bytes(joined(header, body))
    refused(tmp_path / "changed", "it is damaged")


def test_more_humans_than_can_be_added(data: bytes) -> None:
    header, body = parts(data)
    start, _ = header["rows"]["data_offsets"]
    raw = np.uint64(2**64 - 1).tobytes()
    reference = Reference.from_bytes(signed(header, body[:start] + raw + body[start + 8 :]))
    assert reference.rows >= 2**63
    assert reference.support_distance(["Yes."], "en|*|*|*") >= 0
    with pytest.raises(ValueError, match=r"too large|too many"):
        reference.merge(reference)


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6))
def test_flipped_bytes(data: bytes, tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[float, int]]) -> None:
    changed = bytearray(data)
    for share, mask in flips:
        changed[int(len(changed) * share)] ^= mask
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(changed)
    try:
        reference = Reference.load(path)
    except ValueError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return
    # What passes is as good as any other reference.
    pa.table(reference.describe())
    pa.table(reference.to_arrow())
    reference.merge(reference)
    distances = reference.support_distance(["Yes.", "As an AI I can't!"], QA, warn=False)
    assert not (distances > 5).any()
    assert Reference.from_bytes(reference.to_bytes()) == reference


def test_bytes_are_refused_as_files_are(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^reference: it is no safetensors file, or a damaged one"):
        Reference.from_bytes(data[:100])
    with pytest.raises(TypeError):
        Reference.from_bytes("text")  # type: ignore[arg-type]
