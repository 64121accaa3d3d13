"""What the README and the docs say is so."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])


def printed(code):
    """What a block of Python prints, line by line."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    return out.getvalue().splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_on_the_page_prints_what_the_page_shows(page):
    """A line `# ...` right after a print is what it printed."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        lines = block.splitlines()
        shown = [line[2:] for line in lines if line.startswith("# ")]
        if "print(" in block:
            assert printed(block) == shown


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_shows_its_numbers():
    text = (ROOT / "README.md").read_text()
    block = re.findall(r"```python\n(.*?)```", text, re.S)[0]
    assert "print(" in block
    assert len([line for line in block.splitlines() if line.strip()]) <= 13


def test_pytorch_ends_where_the_page_says():
    from reference.torch import beyond

    first, second, third = beyond.batch_norm()
    for ours, theirs in (first, second):
        assert max(ours, theirs) < 1e-12
    assert third[0] < 1e-12
    assert third[1] > 0.1
    for _, ours, theirs, true in beyond.tails():
        assert ours == pytest.approx(true, rel=1e-5)
        assert theirs == 0
    for _, ours, theirs, true in beyond.slips():
        assert ours == pytest.approx(true, rel=1e-15)
        assert theirs != pytest.approx(true, rel=1e-9)


SIZES = {
    "graph, tensor, operators": ("tinytl/graph", "tinytl/tensor", "tinytl/operators"),
    "functional": ("tinytl/functional/*",),
    "kernels": ("kernels/**/*",),
    "nn, optim, models": ("tinytl/nn/*", "tinytl/optim/*", "tinytl/models/*"),
    "data, persistence": ("tinytl/data/*", "tinytl/persistence/*"),
    "bilevel, transfer": ("tinytl/bilevel/*", "tinytl/transfer/*"),
    "experiments": ("tinytl/experiments/*", "tinytl/cli"),
    "tests, reference": ("tests/*", "reference/**/*"),
}


def test_the_sizes_are_what_the_readme_says():
    """Within a tenth, so that not every change has to touch the table."""
    from test_architecture import code_lines

    text = (ROOT / "README.md").read_text()
    for part, patterns in SIZES.items():
        shown = int(re.search(rf"^\| {part} \| (\d+) \|", text, re.M)[1])
        files = {path for p in patterns for path in ROOT.glob(f"{p}.py")}
        assert sum(len(code_lines(path)) for path in files) == pytest.approx(
            shown, rel=0.1
        ), part
    import tinytl

    count = int(re.search(r"(\d+) differentiable operations", text)[1])
    assert count == len(tinytl.functional.__all__)
