"""The floors hold, everything public is explained, and no part outgrows a reader."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
import tinytl_kernels

import tinytl

ROOT = Path(__file__).parents[1]
SHIPPED = sorted([*ROOT.glob("tinytl/**/*.py"), *ROOT.glob("kernels/**/*.py")])

# A file may import from lower floors and from its own floor, never from a higher one.
FLOORS = [
    "tinytl_kernels",
    "tinytl.devices",
    "tinytl.cuda",
    "tinytl.pending",
    "tinytl.graph",
    "tinytl.operators",
    "tinytl.tensor",
    "tinytl.recomputed",
    "tinytl.forward",
    "tinytl.functional",
    "tinytl.nn",
    "tinytl.optim",
    "tinytl.persistence",
    "tinytl.models",
    "tinytl.data",
    "tinytl.bilevel",
    "tinytl.transfer",
    "tinytl.experiments",
    "tinytl.cli",
]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "kernels" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """Modules of ours that a file imports, wherever the import stands."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    hints = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    hints = [n for n in hints if ast.unparse(n.test) == "TYPE_CHECKING"]
    for_types = {id(inner) for node in hints for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0]
                base = f"{above}.{base}" if base else above
            yield from (
                base if base not in ("tinytl",) else f"{base}.{alias.name}"
                for alias in node.names
            )


def floor(module):
    inside = [f for f in FLOORS if module == f or module.startswith(f + ".")]
    return inside[0] if inside else None


def test_imports_go_down():
    wrong = []
    for path in SHIPPED:
        here = floor(module_name(path))
        for target in map(floor, imported(path)):
            if here and target and FLOORS.index(target) > FLOORS.index(here):
                wrong.append((module_name(path), target))
    assert not wrong


def test_every_module_has_a_floor():
    homeless = [module_name(p) for p in SHIPPED if not floor(module_name(p))]
    assert homeless == ["tinytl"] + ["tinytl.__main__"] * (
        "tinytl.__main__" in homeless
    )


def test_the_shipped_packages_know_nothing_of_torch_and_the_reference():
    for path in SHIPPED:
        names = {m.split(".")[0] for m in imported(path)}
        assert not names & {"torch", "reference", "tests", "sklearn"} - (
            {"sklearn"} if path.name == "make_images.py" else set()
        ), path


def test_only_kernels_know_numba_and_devices():
    for path in SHIPPED:
        if path.parts[len(ROOT.parts)] != "kernels":
            assert not {"numba", "cupy"} & set(imported(path)), path


def test_importing_needs_numpy_alone():
    """And loads nothing else from outside Python's own library."""
    code = (
        "import sys, json, numpy; before = set(sys.modules); import tinytl;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(json.dumps(sorted(new)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    foreign = set(json.loads(done.stdout)) - set(sys.stdlib_module_names)
    compiled = {m for m in foreign if "cython" in m}  # of numpy.random
    assert foreign - compiled <= {"numpy", "tinytl", "tinytl_kernels"}


# -- explained -------------------------------------------------------------------------


def public_functions():
    for package in (tinytl, tinytl_kernels):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if "__main__" in info.name:
                continue
            module = importlib.import_module(info.name)
            for name, thing in vars(module).items():
                if name.startswith("_") or not callable(thing):
                    continue
                if getattr(thing, "__module__", None) == info.name:
                    yield info.name, name, thing


def test_every_public_name_has_a_docstring():
    bare = [
        f"{m}.{n}" for m, n, thing in public_functions() if not inspect.getdoc(thing)
    ]
    assert not bare


@pytest.mark.parametrize("name", tinytl.functional.__all__)
def test_an_operation_says_what_it_computes_and_what_it_raises(name):
    function = getattr(tinytl.functional, name)
    text = inspect.getdoc(function)
    assert len(text) > 20
    source = inspect.getsource(function)
    if "raise ValueError" in source or "raise TypeError" in source:
        assert "Raises:" in text, f"{name} raises, and does not say so"
    if "record(" in source:
        assert re.search(r"Backward|gradient", text), f"{name} hides its pullback"


def test_arguments_named_in_a_docstring_exist():
    for module, name, thing in public_functions():
        text = inspect.getdoc(thing) or ""
        if not inspect.isfunction(thing) or "\nArgs:" not in text:
            continue
        block = text.split("\nArgs:\n")[1].split("\n\n")[0]
        named = re.findall(r"^    (\w+):", block, re.M)
        assert set(named) <= set(inspect.signature(thing).parameters), (module, name)


# -- readable --------------------------------------------------------------------------


def code_lines(path):
    """Line numbers with code: neither blank, comment nor docstring."""
    text = path.read_text()
    prose = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                prose.update(range(first.lineno, first.end_lineno + 1))
    return [
        k
        for k, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and k not in prose
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=module_name)
def test_files_and_functions_fit_in_a_head(path):
    code = code_lines(path)
    assert len(code) <= 250
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            size = sum(node.lineno <= k <= node.end_lineno for k in code)
            assert size <= 45, node.name


def test_lines_are_not_crowded():
    """At most 12 tokens a line of code on average, and 15 in the densest file."""
    tokens, lines = {}, {}
    for path in SHIPPED:
        code = set(code_lines(path))
        with path.open("rb") as file:
            found = [t for t in tokenize.tokenize(file.readline) if t.string.strip()]
        tokens[path] = sum(token.start[0] in code for token in found)
        lines[path] = len(code)
        assert tokens[path] <= 15 * max(lines[path], 10), path
    assert sum(tokens.values()) <= 12 * sum(lines.values())


def test_the_tree_names_no_particular_machine():
    """No absolute path of somebody's home or work folder, and no loose ends."""
    somewhere = r"(?<![\w.:/~-])/(?:home|root|work|Users)/|\bTODO\b|\bFIXME\b"
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in files or [str(p) for p in SHIPPED]:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".html") and path != Path(__file__):
            assert not re.search(somewhere, path.read_text()), name
