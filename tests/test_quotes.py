"""Code that a page quotes is the code of the file."""

import re
from pathlib import Path

import pytest

from reference import quote

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "from-loop-to-kernel.md"


def test_the_page_quotes_the_code_as_it_is():
    page = PAGE.read_text()
    assert page == quote.renewed(page), (
        f"the code has changed: python -m reference.quote {PAGE.relative_to(ROOT)}"
    )


def test_every_block_of_the_page_is_a_quotation():
    page = PAGE.read_text()
    assert len(quote.BLOCK.findall(page)) == page.count("```python") >= 9


def test_four_steps_each():
    """Both operations are quoted from the loops and from all three kernel sets."""
    found = [path for path, _, _ in quote.BLOCK.findall(PAGE.read_text())]
    for step in ("reference/loops", *(f"kernels/tinytl_kernels/{s}" for s in SETS)):
        assert sum(path.startswith(step) for path in found) >= 2, step


SETS = ("plain", "cpu", "cuda")


def test_a_quotation_that_was_changed_is_noticed():
    page = PAGE.read_text()
    changed = page.replace("math.log1p", "math.log", 1)
    assert changed != page == quote.renewed(changed)


def test_a_function_that_is_gone_is_noticed():
    with pytest.raises(LookupError, match="has no softminus"):
        quote.quoted("reference/loops/activations.py", "softminus", False)


def test_a_docstring_is_quoted_on_request():
    path, name = "reference/loops/activations.py", "softplus"
    short, whole = (quote.quoted(path, name, w) for w in (False, True))
    assert '"""' not in short
    assert '"""log(1 + exp' in whole
    assert re.sub(r' +""".*"""\n', "", whole) == short
