"""The report: one page of HTML that needs nothing but itself.

Images are inside (base64), there is no script, no font and no link to fetch. It can be
read on a phone and printed.
"""

import base64
import html
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from ..persistence import write_atomically
from .runner import cores, versions


@dataclass
class Picture:
    """A PNG file, what it shows in words for who cannot see it, and its caption."""

    path: Path
    alt: str
    caption: str


@dataclass
class Table:
    """Rows of text under a header; the first column names the row."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Section:
    """One experiment: the lesson first, then what it rests on.

    All texts may hold HTML (``escape`` what comes from elsewhere).
    """

    name: str
    title: str
    lesson: str
    parts: list[Picture | Table | str]
    shows: list[str]
    limits: list[str]
    seconds: float
    settings: dict[str, object] = field(default_factory=dict)


PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 1rem/1.55 Georgia, "Times New Roman", serif; color: #1a1a1a;
  background: #fff; max-width: 44rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: break-word; }
h1, h2, h3, th, figcaption, caption, nav { font-family: system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin-bottom: .3rem; }
h2 { font-size: 1.35rem; margin-top: 3rem; border-top: 2px solid #1a1a1a;
  padding-top: .6rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
.lesson { font-size: 1.1rem; border-left: 4px solid #0072B2; padding-left: .9rem;
  margin: 1rem 0; }
figure { margin: 1.5rem 0; break-inside: avoid; }
img { width: 100%; max-width: 640px; height: auto; display: block; margin: 0 auto; }
figcaption, caption { font-size: .88rem; color: #444; text-align: left;
  margin-top: .4rem; padding-bottom: .3rem; }
.scroll { overflow-x: auto; break-inside: avoid; margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; }
th, td { text-align: right; padding: .25rem .45rem; border-bottom: 1px solid #ccc;
  vertical-align: top; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
td:not(:first-child) { white-space: nowrap; }
pre { background: #f3f3f3; padding: .7rem; overflow-x: auto; font-size: .88rem;
  white-space: pre-wrap; }
code { font-size: .9em; }
a { color: #005a8c; }
@media (max-width: 30rem) { body { padding: .7rem; } th, td { padding: .2rem .3rem; }
  table { font-size: .8rem; } }
@media print { html { font-size: 10pt; } body { max-width: none; padding: 0; }
  h1, h2, h3, caption { break-after: avoid; } li, tr, pre { break-inside: avoid; }
  p, li { orphans: 3; widows: 3; } .scroll { overflow: visible; }
  section + section h2 { break-before: page; } nav { display: none; }
  .lesson { font-size: 10.5pt; } figure, .scroll { margin: .7rem 0; }
  img { max-width: 112mm; } figcaption { max-width: 150mm; margin: .4rem auto 0; } }
@page { margin: 18mm; }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def page(sections: Sequence[Section], command: str) -> str:
    """The whole page as text."""
    names = "".join(f'<li><a href="#{s.name}">{s.title}</a></li>' for s in sections)
    body = [
        "<p>Experiments on real images, computed on this machine by "
        "<code>tinytl</code>. Each begins with its lesson; then come the figures and "
        "numbers it rests on, what they do not show, and how to make them again.</p>",
        f"<nav><ol>{names}</ol></nav>",
        *(_section(section) for section in sections),
        _again(sections, command),
    ]
    return PAGE.substitute(title="tinytl: the demonstration", body="\n".join(body))


def write_report(sections: Sequence[Section], command: str, path: Path) -> None:
    """Write the page, complete or not at all."""
    write_atomically(path, page(sections, command).encode())


def _section(section: Section) -> str:
    parts = "\n".join(_part(part) for part in section.parts)
    return f"""<section id="{section.name}">
<h2>{section.title}</h2>
<div class="lesson">{section.lesson}</div>
{parts}
<h3>What this shows</h3>
{_list(section.shows)}
<h3>What it does not show</h3>
{_list(section.limits)}
</section>"""


def _part(part: Picture | Table | str) -> str:
    if isinstance(part, Picture):
        return _figure(part)
    return _table(part) if isinstance(part, Table) else f"<p>{part}</p>"


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _figure(picture: Picture) -> str:
    content = base64.b64encode(picture.path.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(picture.alt)}" '
        f'src="data:image/png;base64,{content}">'
        f"<figcaption>{picture.caption}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{cell}</th>' for cell in table.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table><caption>{table.caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _again(sections: Sequence[Section], command: str) -> str:
    known = versions()
    facts = Table(
        "Where these numbers come from.",
        ("what", "value"),
        [
            ("tinytl", f"{known['tinytl']}, files {known['package']}"),
            ("Python, NumPy", f"{known['python']}, {known['numpy']}"),
            ("kernels", known["kernels"]),
            (
                "machine",
                f"{escape(platform.machine())}, {cores()} cores, one thread each",
            ),
            *(
                (f"{s.name}: time, added up over cells", f"{s.seconds:.0f} s")
                for s in sections
            ),
        ],
    )
    settings = "".join(
        f"<li>{s.name}: <code>{escape(str(s.settings))}</code></li>" for s in sections
    )
    return f"""<section id="again">
<h2>How to run it again</h2>
<pre>pip install 'tinytl[demo]'
{escape(command)}</pre>
<p>Results that are there already are kept, and only missing ones are computed; add
<code>--fresh</code> to compute all. The same seed gives the same numbers, to the last
bit, with the same versions on the same kind of processor.</p>
{_table(facts)}
<p>Settings:</p><ul>{settings}</ul>
</section>"""


def escape(text: str) -> str:
    """Text for HTML."""
    return html.escape(text)
