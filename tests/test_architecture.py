"""The layout that docs/architecture.md promises: every folder has its line there, and nothing imports in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "rust" / "polyalign" / "src"
PACKAGE = ROOT / "python" / "polyalign"
PAGE = ROOT / "docs" / "architecture.md"


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components with more than one member (Tarjan)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


# --------------------------------------------------------------------------------------------------- Python


def modules() -> dict[str, Path]:
    """Return the package's modules by their dotted names."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Give the package's modules that a file imports: at its head, within functions, and for types alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def test_no_circle_of_python_modules():
    known = modules()
    # The package itself hands out names of its modules when they are asked for.
    graph = {name: {other for other in imports(file, known) if other in known} for name, file in known.items()}
    del graph["polyalign"]
    graph = {name: others - {name, "polyalign"} for name, others in graph.items()}
    assert circles(graph) == []


def test_trl_is_imported_in_one_file():
    files = {
        str(file.relative_to(PACKAGE))
        for file in modules().values()
        if re.search(r"^\s*(from|import) trl\b", file.read_text(encoding="utf-8"), re.M)
    }
    assert files == {"trainers/_trl.py"}


# ----------------------------------------------------------------------------------------------------- Rust


def code(file: Path) -> str:
    """Return a file's code without comments and without its tests."""
    text = re.sub(r"//.*", "", file.read_text(encoding="utf-8"))
    return text.split("#[cfg(test)]\nmod tests")[0]


def spelt_out(tree: str) -> Iterator[str]:
    """Give the paths that a `use` names: `a::{b, c::{d as e, f}}` names `a::b`, `a::c::d` and `a::c::f`."""
    head, brace, rest = tree.partition("{")
    if not brace:
        yield tree.split(" as ", maxsplit=1)[0].strip()
        return
    depth, part = 0, ""
    for character in rest.strip().removesuffix("}") + ",":
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            yield from (head.strip() + path for path in spelt_out(part) if path)
            part = ""
        else:
            part += character


def test_uses_are_spelt_out():
    assert list(spelt_out("a::{b, c::{d as e, f},}")) == ["a::b", "a::c::d", "a::c::f"]
    assert list(spelt_out("super::a as b")) == ["super::a"]


def named(file: Path) -> Iterator[str]:
    """Give the paths from `crate` or `super` on that a file names, in a `use` or where they are needed."""
    text = code(file)
    uses = r"\buse\s+([^;]*);"
    for tree in re.findall(uses, text):
        yield from spelt_out(tree)
    yield from re.findall(r"(?<![:\w])(?:crate|super)(?:::\w+)+", re.sub(uses, "", text))


def test_the_engine_imports_downwards_alone():
    # In the order of the page: each may use those before it.
    order = [row for row in folders("The engine") if "/" not in row]
    tops = {file.relative_to(ENGINE).parts[0].removesuffix(".rs") for file in ENGINE.rglob("*.rs")}
    tops -= {"lib", "error", "cpu", "hash"}
    assert sorted(order) == sorted(tops)
    for place, name in enumerate(order):
        for file in (ENGINE / name).rglob("*.rs"):
            above = {path.split("::")[1] for path in named(file) if path.startswith("crate::")} & set(
                order[place + 1 :]
            )
            assert not above, f"{file.relative_to(ENGINE)} imports {', '.join(sorted(above))}, which stand after {name}"


def handed_on(folder: Path) -> dict[str, str]:
    """Return the names that a folder's own file has from the others, each with the file that it is from."""
    head = next((folder / name for name in ("mod.rs", "lib.rs") if (folder / name).is_file()), None)
    trees = re.findall(r"\bpub(?:\([^)]*\))? use\s+([^;]*);", code(head)) if head else []
    paths = [path.split("::") for tree in trees for path in spelt_out(tree)]
    return {path[-1]: path[0] for path in paths}


def neighbours(root: Path, folder: Path) -> dict[str, set[str]]:
    """Return which files of a folder of a crate use which others; a folder in it counts as one file."""
    graph: dict[str, set[str]] = {}
    source = handed_on(folder)
    from_crate = "::".join(("crate", *folder.relative_to(root).parts, ""))
    for file in folder.rglob("*.rs"):
        parts = file.relative_to(folder).parts
        # From a file its folder is `super`, from one a folder below `super::super`.
        up = "super::" * (len(parts) - (parts[-1] == "mod.rs"))
        names = {
            path.removeprefix(start).split("::")[0]
            for path in named(file)
            for start in (up, from_crate)
            if start and path.startswith(start)
        }
        graph.setdefault(parts[0].removesuffix(".rs"), set()).update(source.get(name, name) for name in names)
    # What a folder's own file holds is for all of them.
    graph = {name: others for name, others in graph.items() if name not in {"mod", "lib"}}
    return {name: (others & set(graph)) - {name} for name, others in graph.items()}


CRATES = (ENGINE, ROOT / "rust" / "polyalign-python" / "src")
FOLDERS = [(crate, folder) for crate in CRATES for folder in sorted({file.parent for file in crate.rglob("*.rs")})]


@pytest.mark.parametrize(("crate", "folder"), FOLDERS, ids=[str(folder.relative_to(ROOT)) for _, folder in FOLDERS])
def test_no_circle_of_files(crate, folder):
    assert circles(neighbours(crate, folder)) == []


def test_neighbours_are_seen():
    assert neighbours(ENGINE, ENGINE / "records")["forms"] == {"shape"}
    assert "input" in neighbours(ENGINE, ENGINE / "stream")["split"]
    # By the name that the folder hands on.
    assert "distribution" in neighbours(ENGINE, ENGINE / "reference")["target"]
    assert {"stream", "records"} <= neighbours(ENGINE, ENGINE)["jobs"]


# ----------------------------------------------------------------------------------------------------- page


def folders(title: str) -> list[str]:
    """Return what the table under a title of the page names in its first column."""
    section = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)
    text = next(part for part in section if part.startswith(title))
    cells = re.findall(r"^\| (`[^|]*`) \|", text, re.M)
    return [name.rstrip("/") for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(("title", "root", "ending"), [("The engine", ENGINE, ".rs"), ("The package", PACKAGE, ".py")])
def test_the_page_names_every_folder(title, root, ending):
    there = {str(file.parent.relative_to(root)) for file in root.rglob(f"*{ending}")} - {"."}
    named = set(folders(title))
    assert there <= named, f"not on the page: {sorted(there - named)}"
    missing = {name for name in named if not (root / name).is_dir() and not (root / f"{name}{ending}").is_file()}
    assert not missing, f"on the page, but not there: {sorted(missing)}"
