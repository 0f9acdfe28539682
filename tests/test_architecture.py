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


def uses(file: Path) -> Iterator[str]:
    """Give the top modules of the engine that a file names."""
    code = re.sub(r"//.*", "", file.read_text(encoding="utf-8"))
    yield from re.findall(r"\bcrate::([a-z_]+)\b", code)
    for group in re.findall(r"\bcrate::\{(.*?)\};", code, re.S):
        yield from re.findall(r"(?:^|,)\s*([a-z_]+)\b", group)


def test_the_engine_imports_downwards_alone():
    # In the order of the page: each may use those before it.
    order = [row for row in folders("The engine") if "/" not in row]
    tops = {file.relative_to(ENGINE).parts[0].removesuffix(".rs") for file in ENGINE.rglob("*.rs")}
    tops -= {"lib", "error", "cpu", "hash"}
    assert sorted(order) == sorted(tops)
    for place, name in enumerate(order):
        for file in (ENGINE / name).rglob("*.rs"):
            above = {top for top in uses(file) if top in order[place + 1 :]}
            assert not above, f"{file.relative_to(ENGINE)} imports {', '.join(sorted(above))}, which stand after {name}"


def test_no_circle_of_jobs():
    jobs = ENGINE / "jobs"
    graph: dict[str, set[str]] = {}
    for file in jobs.rglob("*.rs"):
        own = file.relative_to(jobs).parts[0].removesuffix(".rs")
        code = re.sub(r"//.*", "", file.read_text(encoding="utf-8"))
        graph.setdefault(own, set()).update(re.findall(r"\bcrate::jobs::([a-z_]+)\b", code))
    del graph["mod"]
    assert circles({name: others - {name} for name, others in graph.items()}) == []


def neighbours(folder: Path) -> dict[str, set[str]]:
    """Return which files of a folder of the engine use which others; a folder in it counts as one file."""
    graph: dict[str, set[str]] = {}
    for file in folder.rglob("*.rs"):
        parts = file.relative_to(folder).parts
        code = re.sub(r"//.*", "", file.read_text(encoding="utf-8")).split("#[cfg(test)]\nmod tests")[0]
        # From a file its folder is `super`, from one a folder below `super::super`.
        up = r"(?<!super::)\b" + "super::" * (len(parts) - (parts[-1] == "mod.rs"))
        path = "::".join(("crate", *folder.relative_to(ENGINE).parts))
        names = re.findall(rf"(?:{up}|\b{path}::)([a-z_]+)\b", code)
        for group in re.findall(rf"{up}{{(.*?)}};", code, re.S):
            names += re.findall(r"(?:^|,)\s*([a-z_]+)\b", group)
        graph.setdefault(parts[0].removesuffix(".rs"), set()).update(names)
    del graph["mod"]
    return {name: (others & set(graph)) - {name} for name, others in graph.items()}


@pytest.mark.parametrize(
    "folder", ["text", "text/chinese", "tokens", "tokens/pretokens", "distance", "distance/embedding", "jobs/score"]
)
def test_no_circle_of_files(folder):
    graph = neighbours(ENGINE / folder)
    assert any(graph.values())
    assert circles(graph) == []


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
