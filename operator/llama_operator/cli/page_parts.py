"""Parts of a page that needs nothing but itself: no script, no font, no image, no address. Well-formed XML, whatever the texts in it hold.

Its policy lets nothing be loaded and nothing be run but its own style sheet, named by its hash (https://www.w3.org/TR/CSP3/).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold (https://www.w3.org/TR/xml/#charsets)."""

BASE = """\
body { margin: 2rem auto; max-width: 66rem; padding: 0 1rem; color: var(--ink); background: var(--back);
  font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { overflow-wrap: anywhere } h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem } .wide { overflow-x: auto }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom }
tbody th, td { white-space: nowrap } th:first-child { text-align: left }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem } dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
figure { margin: .5rem 0; overflow-x: auto } .legend { color: var(--soft); font-size: .9rem }
.legend span { margin-right: 1.2rem }
svg { width: 100%; min-width: 36rem; height: auto; display: block }
text { fill: var(--ink); font: 12px system-ui, sans-serif } text.axis { fill: var(--soft) }
.grid { stroke: var(--line) } .tick { stroke: var(--soft) }
.limit { stroke: var(--limit); stroke-dasharray: 2 4; stroke-width: 1.5 }
.key { display: inline-block; width: 1.4rem; height: .7rem; margin-right: .4rem; vertical-align: baseline }
"""
"""What the style sheets of all pages share. Each has its colours before it (ink, soft, line, back, limit), and its marks behind."""


def begin(title: str, style: str) -> tuple[Element, Element]:
    """A page with its title as its heading; and its body."""
    root = Element("html", {"lang": "en"})
    head, body = SubElement(root, "head"), SubElement(root, "body")
    SubElement(head, "meta", {"charset": "utf-8"})
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    text(head, "title", title)
    SubElement(head, "style").text = style
    text(body, "h1", title)
    return root, body


def finish(root: Element, body: Element, name: str, document: Any) -> str:
    """The page's text, with the document as JSON in the element `name`."""
    script = SubElement(body, "script", {"type": "application/json", "id": name})
    script.text = embedded(json.dumps(document, allow_nan=False))
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode") + "\n"


def embedded(words: str) -> str:
    """JSON that means the same to a reader of HTML, of XML, and of JSON: no character that either would take for its own."""
    return words.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def text(parent: Element, tag: str, words: str) -> Element:
    """An element with a text."""
    made = SubElement(parent, tag)
    made.text = _NO_XML.sub("\ufffd", words)
    return made


def section(body: Element, title: str, about: str) -> Element:
    """A part of the page under a heading, with a sentence about it where there is one."""
    made = SubElement(body, "section")
    text(made, "h2", title)
    if about:
        text(made, "p", about).set("class", "legend")
    return made


def facts(body: Element, rows: Iterable[tuple[str, str]]) -> None:
    """Names and what stands for them."""
    listed = SubElement(body, "dl")
    for name, words in rows:
        text(listed, "dt", name)
        text(listed, "dd", words)


def table(parent: Element, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The first of each row is its name."""
    made = SubElement(SubElement(parent, "div", {"class": "wide"}), "table")
    line = SubElement(SubElement(made, "thead"), "tr")
    for name in columns:
        text(line, "th", name).set("scope", "col")
    rest = SubElement(made, "tbody")
    for first, *cells in rows:
        line = SubElement(rest, "tr")
        text(line, "th", first).set("scope", "row")
        for cell in cells:
            text(line, "td", cell)


def legend(parent: Element, *keys: tuple[str, str]) -> None:
    """What the marks of a chart stand for: class and words."""
    line = SubElement(parent, "p", {"class": "legend"})
    for style, words in keys:
        item = SubElement(line, "span")
        key = SubElement(item, "i", {"class": f"key {style}", "aria-hidden": "true"})
        key.text, key.tail = "\u200b", _NO_XML.sub("\ufffd", words)
