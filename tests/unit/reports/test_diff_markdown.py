"""`diff -o markdown`, read by a CommonMark parser: what it renders is text and preformatted blocks, whatever names and values are."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kubectl_mesh.differences.values import GROUPS, Detail, Diff, Line
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.reports.diff_markdown import markdown_text
from kubectl_mesh.safety.apply_steps import Order
from tests.conftest import TOP

GOLDENS = sorted((TOP / "tests/diff").glob("*/diff.md"))
KNOWN = {
    "details",
    "summary",
    "pre",
    "h3",
    "h4",
    "p",
    "ul",
    "ol",
    "li",
    "strong",
    "em",
    "code",
    "blockquote",
    "br",
}
# What GitHub and GitLab look for in the text of the finished page: mentions and references.
REFERENCE = re.compile(
    r"@\w|#\w|[!$%&]\d|~\w|\bGH-\d|\bwww\.|://|\b(?:mailto|xmpp):\w", re.IGNORECASE
)


class Page(HTMLParser):
    """The finished page: which tags it has, that they close in order, and the text outside of code."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.plain = ""
        self.pre: list[str] = []
        parser = MarkdownIt("commonmark", {"html": True, "linkify": True}).enable("linkify")
        assert parser.linkify is not None
        parser.linkify.set({"fuzzy_link": False})
        self.feed(parser.render(source))
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "br":
            self.open.append(tag)
        if tag == "pre":
            self.pre.append("")

    def handle_endtag(self, tag: str) -> None:
        assert tag == "br" or self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        if "pre" in self.open:
            self.pre[-1] += data
        elif "code" not in self.open:
            self.plain += data


def read_page(source: str) -> Page:
    """The page, of known tags alone, with nothing in it that becomes a link or a mention."""
    page = Page(source)
    assert set(page.tags) <= KNOWN, page.tags
    assert not page.attributes
    assert not (found := REFERENCE.search(page.plain)), page.plain[
        max(0, found.start() - 40) : found.end() + 40
    ]
    assert page.tags.count("pre") == page.tags.count("details") == page.tags.count("summary")
    return page


@pytest.mark.parametrize("path", GOLDENS, ids=lambda p: p.parent.name)
def test_goldens(path: Path) -> None:
    """Each block of details is preformatted as a whole, blank lines included."""
    source = path.read_text()
    page = read_page(source)
    bodies = re.findall(r"<pre>\n(.*?)\n</pre>", source, re.DOTALL)
    assert len(bodies) == source.count("<details>") == len(page.pre)
    assert [
        re.sub(r"&(lt|gt|amp);", lambda m: {"lt": "<", "gt": ">", "amp": "&"}[m[1]], body)
        for body in bodies
    ] == [p.strip("\n") for p in page.pre]


ODD = [
    "[click](https://evil.example)", "![x](https://evil.example/x.png)", "<https://evil.example>", "https://evil.example", "HTTP://evil.example",
    "www.evil.example", "ftp://evil.example", "mailto:a@b.example", "a@b.example", "@acme/admins", "@you", "#12", "acme/mesh#12", "GH-12", "gh-12", "!12",
    "$12", "&12", "%12", "~12", "~label", '~"a label"', "<img src=x>", "</pre></details>", "</pre>", "<!-- x -->", "`code`", "``", "**b**", "# heading",
    "- item", "1. item", "> quote", "```", "    code", "a\n\n# b", "a\n \n[x](y)", "a\r\n\r\n[x](y)", "[ref]: https://evil.example", "a  \nb", "|a|b|", "\\",
    "&lt;img&gt;", "&#64;you", "<script>", "<pre>", "\u2028[x](y)", "===", "---", " ", "\t", "{{x}}", "![", "](x)", "*", "_a_", "~~x~~", "<a href=x>", "xmpp:a",
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(ODD),
    st.text(st.sampled_from(list("ab1 \n\t@#!~$%&<>[]()`*_\\|:/.-=+\"'w")), max_size=30),
)


def line(name: str, group: str) -> Line:
    """A line that says a name in every place."""
    details = (Detail(name, name, None), Detail(name, None, name), Detail(name, name, name))
    return Line(
        group,
        "object",
        name,
        name,
        (name,),
        (name, name),
        details,
        ((name, (name, "other")),),
        (name,),
    )


def diff(name: str, *, refused: bool = False) -> Diff:
    """A diff that says a name wherever one can be."""
    problem = (Problem(Place(name), name, f"{name}\n{name}"),) if refused else ()
    order = Order(False, ((name,), (name, name)), (name,), (name,), problem)
    return Diff(name, name, name, tuple(line(name, group) for group in GROUPS), order, (name,), 2)


@pytest.mark.parametrize("name", ODD)
def test_odd_names(name: str) -> None:
    """No name links, mentions, or leaves its place."""
    page = read_page(markdown_text(diff(name), 65536))
    assert len(page.pre) == len(GROUPS)
    assert page.tags.count("li") == 2 * len(GROUPS)
    assert page.tags.count("h4") == len(GROUPS) + 1
    assert read_page(markdown_text(diff(name, refused=True), 65536)).tags.count("blockquote") == 1


@given(NAMES)
@settings(deadline=None)
def test_random_names(name: str) -> None:
    """The same of any mixture."""
    page = read_page(markdown_text(diff(name), 65536))
    assert page.tags.count("h4") == len(GROUPS) + 1
    assert page.tags.count("li") == 2 * len(GROUPS)
    read_page(markdown_text(diff(name, refused=True), 65536))


@pytest.mark.parametrize("budget", [1024, 1500, 2500, 4000])
def test_a_cut_page_is_whole(budget: int) -> None:
    """What the budget leaves is still a page."""
    read_page(markdown_text(diff("a\n \n[x](https://evil.example)"), budget))
