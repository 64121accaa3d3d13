"""Pages that quote the code: each block is a function as it stands in its file.

    python -m reference.quote docs/from-loop-to-kernel.md      renews the blocks

A block of Python after the line ``<!-- quote: FILE NAME -->`` is the function, class or
nested function (outer.inner) of that name, without its docstring; with the word
``whole`` behind the name, with it. A test holds the pages to the files.
"""

import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"<!-- quote: (\S+) (\S+)( whole)? -->\n```python\n.*?```", re.S)


def quoted(path: str, name: str, whole: bool) -> str:
    """The lines of a function in a file.

    Raises:
        LookupError: there is no such function.
    """
    text = (ROOT / path).read_text()
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        found = [n for n in ast.walk(node) if getattr(n, "name", None) == part]
        if not found:
            raise LookupError(f"{path} has no {name}")
        node = found[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    decorators = [d.lineno for d in node.decorator_list]
    first = min([node.lineno, *decorators])
    lines = text.splitlines()
    kept = range(first, (node.end_lineno or first) + 1)
    if not whole and ast.get_docstring(node) is not None:
        prose = node.body[0]
        skipped = range(prose.lineno, (prose.end_lineno or 0) + 1)
        kept_lines = [lines[k - 1] for k in kept if k not in skipped]
    else:
        kept_lines = [lines[k - 1] for k in kept]
    code = textwrap.dedent("\n".join(kept_lines))
    return re.sub(r"  # type: ignore\[[\w-]+\]", "", code)


def renewed(page: str) -> str:
    """The page with all its blocks as the files are now."""

    def block(match: re.Match[str]) -> str:
        path, name, whole = match[1], match[2], match[3] or ""
        code = quoted(path, name, bool(whole))
        return f"<!-- quote: {path} {name}{whole} -->\n```python\n{code}\n```"

    return BLOCK.sub(block, page)


def main() -> None:
    """Renew the pages named."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renewed(path.read_text()))


if __name__ == "__main__":
    main()
