"""The limits of the architecture page: sizes, docstrings, documented verbs, nothing left to do."""

import ast
import re
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 600, 100


def name_of(path):
    return str(path.relative_to(ROOT / "src"))


def functions(tree):
    """Yield every function and class of a module, with its qualified name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for name, inner in functions(node):
                    yield f"{node.name}.{name}", inner


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_are_sources():
    """The tests below look at something."""
    assert len(SOURCES) > 50


def test_no_file_is_longer_than_600_lines():
    """A longer one is two rooms."""
    lines = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}

    assert {name: n for name, n in lines.items() if n > MAX_FILE} == {}


def test_no_function_is_longer_than_100_lines():
    """With its docstring and its decorators."""
    long = {}
    for path in SOURCES:
        for name, node in functions(parsed(path)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            n = node.end_lineno - first + 1
            if not isinstance(node, ast.ClassDef) and n > MAX_FUNCTION:
                long[f"{name_of(path)}: {name}"] = n

    assert long == {}


def test_everything_public_has_a_docstring():
    """Modules, functions, classes and their methods; properties and dunders of Python excepted."""
    bare = []
    for path in SOURCES:
        tree = parsed(path)
        if not ast.get_docstring(tree):
            bare.append(name_of(path))
        for name, node in functions(tree):
            public = not any(part.startswith("_") for part in name.split("."))
            if public and not ast.get_docstring(node):
                bare.append(f"{name_of(path)}: {name}")

    assert bare == []


def test_nothing_is_left_to_do_in_the_sources():
    """What is to be done stands in an issue."""
    found = [
        f"{name_of(path)}:{k}"
        for path in SOURCES
        for k, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
    ]

    assert found == []


def test_no_room_is_called_utils_and_nobody_prints_outside_the_command_line():
    """Rules of the house: no `utils.py`; a number's owner never prints."""
    assert not [name_of(p) for p in SOURCES if p.stem in ("utils", "helpers", "common", "misc")]
    printing = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }

    allowed = ("radstart/cli/", "radstart/core/progress.py")
    assert not {name for name in printing if not name.startswith(allowed)}


def test_nothing_reads_the_global_random_generators():
    """Every stream is named."""
    banned = re.compile(
        r"np\.random\.(seed|rand|randn|randint|choice|shuffle|permutation|normal|uniform)\("
        r"|^import random$|^from random import",
        re.MULTILINE,
    )

    found = {name_of(p) for p in SOURCES if banned.search(p.read_text(encoding="utf-8"))}
    assert found == set()


def test_rooms_are_used_by_their_front_doors():
    """Another room imports what a room's `__init__.py` names, not its inner modules; core's may."""
    through = []
    for path in SOURCES:
        room = path.relative_to(ROOT / "src" / "radstart").parts[0]
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("radstart."):
                parts = node.module.split(".")
                if len(parts) > 2 and parts[1] not in ("core", room):
                    through.append(f"{name_of(path)}:{node.lineno} {node.module}")

    assert through == []


def verbs(group, before=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, (*before, name))
        else:
            yield " ".join((*before, name))


def test_readme_or_docs_name_every_verb():
    """A verb that nobody can find is none."""
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("README.md is absent: NOT TESTED")
    from radstart.cli import app

    pages = [readme, *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    missing = [
        verb for verb in verbs(typer.main.get_command(app)) if f"radstart {verb}" not in text
    ]
    assert missing == []


def test_links_between_pages_lead_somewhere():
    """README and docs point at files that exist."""
    pages = [p for p in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if p.exists()]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []
