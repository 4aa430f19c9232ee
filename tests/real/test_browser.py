"""The page in a real browser: it shows what it should at every size, everything in it can be clicked and typed, and it asks nothing of a network."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from kubectl_mesh.graph.text_width import text_width
from tests.conftest import Run
from tests.support.chromium import FLAGS
from tests.support.pictures import HOSTILE, ODD, fleet, graph, rendered

MERMAID = Path(sys.prefix) / "mermaid.min.js"
CALM = {"name": "prefers-reduced-motion", "value": "reduce"}
"""So that nothing is still on its way when it is clicked."""


def program(*names: str) -> str:
    """The program of one of these names; without it the test is skipped, but in CI it fails."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        message = f"{names[0]} is not on PATH (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[webdriver.Chrome]":
    """Chromium, that sees nothing of anybody's profile."""
    chromium, driver = (
        program("chromium", "chromium-browser", "google-chrome"),
        program("chromedriver"),
    )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options, Service(driver))
    yield made
    made.quit()


Open = Callable[..., "Page"]


class Page:
    """An open page, and short ways to use it."""

    def __init__(self, browser: webdriver.Chrome, path: Path) -> None:
        self.browser, self.url = browser, path.as_uri()

    def size(self, wide: int, high: int, scheme: str = "light") -> "Page":
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": False},
        )
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}, CALM]},
        )
        return self

    def go(self, fragment: str = "") -> "Page":
        self.browser.get("about:blank")
        self.browser.get(self.url + fragment)
        return self

    def run(self, script: str, *words: object) -> Any:
        return self.browser.execute_script(script, *words)

    def css(self, selector: str) -> Any:
        """The first element that can be seen."""
        return self.all(selector)[0]

    def all(self, selector: str) -> list[Any]:
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())",
                selector,
            )
        )

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that can be seen."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.innerText)",
                selector,
            )
        )

    def node(self, name: str) -> Any:
        return self.css(f'.node[data-cluster="{name}"]')

    @property
    def fragment(self) -> str:
        return str(self.run("return location.hash"))

    @property
    def detail(self) -> str:
        found = self.browser.find_element(By.ID, "detail")
        text = str(found.text) if found.is_displayed() else ""
        return "" if text.startswith("overview\n") else text

    def until(self, done: "Callable[[], object]") -> None:
        WebDriverWait(self.browser, 5).until(lambda _: done())

    def clean(self) -> None:
        """Nothing was logged, and nothing but the file itself was asked for."""
        assert [line for line in self.browser.get_log("browser") if line["level"] != "INFO"] == []
        asked = {
            message["params"]["request"]["url"].split("#")[0]
            for line in self.browser.get_log("performance")
            if (message := json.loads(line["message"])["message"])["method"]
            == "Network.requestWillBeSent"
            # The browser's own first tab asks for things of its own.
            and message["params"]["documentURL"].split("#")[0] == self.url
        }
        assert self.url in asked
        assert all(url == self.url or url.startswith("data:") for url in asked), asked


@pytest.fixture
def opened(browser: webdriver.Chrome, run: Run, tmp_path: Path) -> Open:
    """Makes the page of a working directory and opens it, wide and light."""

    def make(mesh: Path, *words: str, fragment: str = "") -> Page:
        path = tmp_path / f"{mesh.name}.html"
        path.write_text(graph(run, mesh, "-o", "html", *words), encoding="utf-8")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        return Page(browser, path).size(1400, 1000).go(fragment)

    return make


TEXTS = """
const svg = [...document.querySelectorAll('.drawing svg')].find(s => s.getClientRects().length);
const paper = svg.getBoundingClientRect();
const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent && !t.closest('.badge') && !t.matches('.relation'));
const bad = [];
const rects = texts.map(t => t.getBoundingClientRect());
texts.forEach((t, i) => {
  if (!inside(rects[i], paper)) bad.push('beyond the paper: ' + t.textContent);
  const box = t.closest('.node, .area');
  if (box && !inside(rects[i], box.querySelector('.box, .ground').getBoundingClientRect())) bad.push('beyond its box: ' + t.textContent);
  for (let j = 0; j < i; j++) {
    const a = rects[i], b = rects[j];
    if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom) bad.push(t.textContent + ' lies on ' + texts[j].textContent);
  }
});
const scale = paper.width / svg.viewBox.baseVal.width;
if (12 * scale < 11) bad.push('shrunk to ' + scale);
return {bad, texts: texts.length, names: [...svg.querySelectorAll('.node')].length};
"""


@pytest.mark.parametrize(("clusters", "networks", "over"), [(3, 2, {}), (12, 3, ODD), (60, 5, ODD)])
def test_it_looks_right_at_every_size(
    opened: Open, tmp_path: Path, clusters: int, networks: int, over: dict[str, dict[str, object]]
) -> None:
    """As the browser measures it: no text clipped, shrunk or upon another, no sideways scrolling, in light, dark and narrow."""
    page = opened(fleet(tmp_path / "mesh", clusters, networks, over))
    for wide, scheme in (
        (1400, "light"),
        (1800, "light"),
        (1310, "light"),
        (900, "light"),
        (700, "light"),
        (390, "light"),
        (360, "dark"),
        (1400, "dark"),
    ):
        page.size(wide, 900, scheme)
        found = page.run(TEXTS)
        assert found["bad"] == []
        assert (found["names"], found["texts"] > 3 * clusters) == (clusters, True)
        assert page.run("return document.documentElement.scrollWidth") <= wide
        dark = scheme == "dark"
        assert page.run("return getComputedStyle(document.body).backgroundColor") == (
            "rgb(11, 14, 19)" if dark else "rgb(244, 246, 249)"
        )
        assert page.css("#theme").text == ("Light" if dark else "Dark")
    page.size(390, 844).go("#/cluster/" + ("eu-central-2" if clusters > 3 else "eu-central-1"))
    assert page.run("return document.documentElement.scrollWidth") <= 390
    assert page.run(
        "const r = document.getElementById('detail').getBoundingClientRect(); return r.left >= 0 && r.right <= 390 && r.bottom <= 844 && r.height > 200"
    )
    page.clean()


def test_texts_are_as_wide_as_was_reckoned(opened: Open, tmp_path: Path) -> None:
    """What the layout takes for the width of a text is at least what the browser makes of it."""
    page = opened(fleet(tmp_path / "mesh", 3, 2))
    letters = [
        c * 20 for c in "abcdefghijklmnopqrstuvwxyz0123456789-.:,()[]/ ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    ]
    words = [
        "CA until 2028-11-30",
        "gateway.us-east.example.com:15443",
        "[2001:db8::15]:443",
        "kept out",
        "arn-aws-eks-us-east-1-checkout",
    ]
    for bold in (False, True):
        measured = page.run(
            """const c = document.createElement('canvas').getContext('2d');
            c.font = (arguments[1] ? '700' : '400') + ' 100px ' + getComputedStyle(document.querySelector('.mesh')).fontFamily;
            return arguments[0].map(t => c.measureText(t).width);""",
            [*letters, *words],
            bold,
        )
        # Of single letters a little less is no harm: no text is made of one.
        assert [
            t
            for t, wide in zip(letters, measured, strict=False)
            if wide > 1.12 * text_width(t, 100, bold=bold)
        ] == []
        assert [
            t
            for t, wide in zip(words, measured[len(letters) :], strict=True)
            if wide > text_width(t, 100, bold=bold)
        ] == []


def test_clicking_through(run: Run, opened: Open, tmp_path: Path) -> None:
    """Cluster, certificate, edge, check and line; each has its address, and is shown in picture, tables and details."""
    mesh = rendered(run, fleet(tmp_path / "mesh", 12, 3, ODD))
    edited = mesh / "out/us-east-1/3-mesh/remote-secrets/us-east-3.yaml"
    edited.write_text(edited.read_text() + "# mine\n")
    page = opened(mesh)
    page.node("us-east-2").click()
    page.until(lambda: page.fragment == "#/cluster/us-east-2")
    assert page.detail.startswith("cluster\nus-east-2")
    for words in (
        "https://203.0.113.5:6443",
        "L=intermediate-us-east-2",
        "SHA-256",
        "days left",
        "is read by",
    ):
        assert words in page.detail
    relations = {
        e.get_attribute("data-cluster"): e.find_element(By.CSS_SELECTOR, ".relation").text
        for e in page.all(".node")
    }
    assert relations == {
        **dict.fromkeys(relations, "← reads it"),
        "us-east-2": "",
        "ap-south-1": "⇄ both ways",
        "ap-south-2": "✕ no edge",
        "eu-central-2": "✕ no edge",
    }
    assert "selected" in page.node("us-east-2").get_attribute("class")
    assert page.css('tr[data-key="cluster/us-east-2"]').get_attribute("aria-current") == "true"

    page.css("#detail .chips a").click()
    page.until(lambda: page.fragment.startswith("#/edge/us-east-2/ap-south-1"))
    assert "us-east-2 reads ap-south-1" in page.detail
    page.css('.bar-row[data-key="certificate/eu-central-1"]').click()
    page.until(lambda: page.fragment == "#/certificate/eu-central-1")
    assert "intermediate certificate" in page.detail
    page.css('.bar-row[data-key="certificate/root"] a').click()
    page.until(lambda: "root certificate" in page.detail)
    page.css('#edges tr[data-key="edge/ap-south-1/us-east-2"] td:nth-child(3)').click()
    page.until(lambda: page.fragment == "#/edge/ap-south-1/us-east-2")
    page.css('.check[data-key="check/tree-edited"]').click()
    page.until(lambda: "check, tree" in page.detail)
    assert "was edited by hand" in page.detail
    page.css('#detail .note a[href="#/cluster/us-east-1"]').click()
    page.until(lambda: page.detail.startswith("cluster\nus-east-1"))
    page.run("scrollTo(0, 0)")
    page.css(".badge.broken").click()
    page.until(lambda: page.fragment == "#/edge/us-east-1/us-east-3")
    assert (
        "the remote secret of us-east-3 in us-east-1 was edited or deleted by hand" in page.detail
    )
    assert len(page.all(".edge.selected")) == 1
    page.browser.back()
    page.until(lambda: page.fragment == "#/cluster/us-east-1")
    page.css("#detail button").click()
    page.until(lambda: page.detail == "")
    assert page.fragment == ""
    page.clean()


def test_searching(opened: Open, tmp_path: Path) -> None:
    """What is typed filters every table, and dims the picture; the numbers of what is found stand beside the sections."""
    page = opened(fleet(tmp_path / "mesh", 60, 5, ODD))
    assert page.texts("#nav a")[:2] == ["Picture", "Clusters 60"]
    shown = len(page.all("#edges tbody tr"))
    assert 0 < shown < 100
    page.css("#edges .more").click()
    page.until(lambda: len(page.all("#edges tbody tr")) > shown)
    page.css("#search").send_keys("us-east-2 ")
    page.until(lambda: len(page.all("#clusters tbody tr")) == 1)
    assert "us-east-2" in page.texts("#edges tbody a")
    assert all("us-east-2" in text for text in page.texts("#edges tbody tr"))
    assert len(page.all(".node.dim")) == 59
    page.css("#search").send_keys(Keys.CONTROL + "a" + Keys.NULL + "certs-chain")
    page.until(lambda: page.texts(".check a") == ["certs-chain"])
    assert page.texts(".checks h3") == ["Certificates"]
    assert page.all(".node.dim") == []
    page.css("#search").send_keys(Keys.CONTROL + "a" + Keys.NULL + "no such thing")
    page.until(lambda: "Clusters 0" in page.texts("#nav a"))
    assert "No edge is like that." in page.css("#edges").text
    page.css("#search").send_keys(Keys.ESCAPE)
    page.until(lambda: len(page.all("#clusters tbody tr")) == 60)
    only = page.css("#only")
    only.find_elements(By.TAG_NAME, "option")[1].click()
    page.until(
        lambda: (
            page.texts("#edges tbody tr")
            and all(
                "eu-central-2" in text or "us-east-2" in text or "not rendered" in text
                for text in page.texts("#edges tbody tr")
            )
        )
    )
    page.clean()


def test_by_keyboard_alone(opened: Open, tmp_path: Path) -> None:
    """Every cluster is reached by Tab, opened by Enter, left by Escape; / is the search."""
    page = opened(fleet(tmp_path / "mesh", 3, 2))

    def press(*keys: str) -> None:
        webdriver.ActionChains(page.browser).send_keys(*keys).perform()

    for _ in range(20):
        press(Keys.TAB)
        if page.run("return document.activeElement.dataset.cluster") == "eu-central-2":
            break
    assert page.run(
        "return document.activeElement.getAttribute('role') + ': ' + document.activeElement.getAttribute('aria-label')"
    ).startswith("button: eu-central-2: Istio 1.31.3")
    press(Keys.ENTER)
    page.until(lambda: page.detail.startswith("cluster\neu-central-2"))
    assert page.run("return document.activeElement.id") == "detail"
    press(Keys.ESCAPE)
    page.until(lambda: page.detail == "")
    assert page.run("return document.activeElement.dataset.cluster") == "eu-central-2"
    press("/")
    assert page.run("return document.activeElement.id") == "search"
    press("us-east")
    page.until(lambda: len(page.all("#clusters tbody tr")) == 1)
    page.clean()


def test_links_into_the_page(opened: Open, tmp_path: Path) -> None:
    """A fragment opens what it names; one that names nothing opens nothing, and is no error."""
    mesh = fleet(tmp_path / "mesh", 3, 2)
    page = opened(mesh, fragment="#/edge/us-east-1/eu-central-1")
    assert "us-east-1 → eu-central-1" in page.detail
    assert page.go("#/check/certs-chain").detail.startswith("check, certificates")
    for fragment in (
        "#/cluster/nobody",
        "#/edge/us-east-1",
        "#/constructor/x",
        "#/%E0%A4%A",
        "#/",
        "#picture",
        "#/__proto__",
    ):
        assert page.go(fragment).detail == "", fragment
    page.clean()


def test_light_and_dark_by_hand(opened: Open, tmp_path: Path) -> None:
    """The switch wins over the system, and is remembered."""
    page = opened(fleet(tmp_path / "mesh", 3, 2))
    page.css("#theme").click()
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(11, 14, 19)"
    assert (
        page.run("return getComputedStyle(document.querySelector('.drawing.large .box')).fill")
        == "rgb(14, 18, 23)"
    )
    assert (
        page.go().run("return getComputedStyle(document.body).backgroundColor") == "rgb(11, 14, 19)"
    )
    page.css("#theme").click()
    assert (
        page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(244, 246, 249)"
    )
    page.run("localStorage.clear()")
    page.clean()


def test_days_are_counted_in_the_page(
    run: Run, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the day that was asked for, else by the browser's clock: what has expired is an error there, what will soon a warning."""
    made = datetime.now(UTC) - timedelta(days=38, hours=12)
    monkeypatch.setattr("kubectl_mesh.cli.clock.read_clock", lambda: made)
    mesh = rendered(
        run,
        fleet(
            tmp_path / "mesh",
            3,
            2,
            top={"certificates": {"keyType": "ec-p256", "intermediateDays": 40, "rootDays": 60}},
        ),
    )
    page = opened(mesh)
    assert "1 day left" in page.css('.bar-row[data-key="certificate/eu-central-1"]').text
    assert "21 days left" in page.css('.bar-row[data-key="certificate/root"]').text
    assert (
        page.css('.check[data-key="check/certs-expiring"]').get_attribute("class")
        == "check warning"
    )
    assert page.css("i.soon")
    assert page.css(".scale .today").text.startswith("today 20")
    page.clean()
    page = opened(mesh, "--on", f"{made + timedelta(days=41):%Y-%m-%d}")
    assert "expired" in page.css('.bar-row[data-key="certificate/eu-central-1"]').text
    assert (
        page.css('.check[data-key="check/certs-expired"]').get_attribute("class") == "check error"
    )
    assert page.css("i.over")
    monkeypatch.setattr(
        "kubectl_mesh.cli.clock.read_clock", lambda: datetime.now(UTC) + timedelta(days=9)
    )
    page = opened(rendered(run, fleet(tmp_path / "young", 2, 1)))
    assert "not valid yet" in page.css('.bar-row[data-key="certificate/root"]').text
    page.clean()


def test_markup_in_names_stays_text(run: Run, opened: Open, tmp_path: Path) -> None:
    """A context and an organization that would end the script run nothing."""
    mesh = fleet(
        tmp_path / "mesh", 2, 1, top={"organization": "</script><img src=x onerror=alert(1)>"}
    )
    value = yaml.safe_load((mesh / "topology.yaml").read_text())
    value["contexts"][HOSTILE] = {
        **value["contexts"]["eu-central-1"],
        "clusterName": "odd",
        "server": "https://203.0.113.99:6443",
    }
    (mesh / "topology.yaml").write_text(yaml.safe_dump(value))
    page = opened(rendered(run, mesh), fragment="#/cluster/odd")
    assert HOSTILE in page.detail
    assert "O=</script><img src=x onerror=alert(1)>" in page.detail.replace("\\", "")
    assert page.run("return [document.scripts.length, document.images.length]") == [2, 0]
    page.clean()


def test_the_policy_holds(opened: Open, tmp_path: Path) -> None:
    """What is put into the page afterwards may not load or run anything."""
    page = opened(fleet(tmp_path / "mesh", 3, 2))
    page.browser.set_script_timeout(5)
    blocked = page.browser.execute_async_script(
        """const done = arguments[0], seen = [];
        document.addEventListener('securitypolicyviolation', e => { seen.push(e.effectiveDirective); if (seen.length === 4) done(seen); });
        const add = (tag, key, value) => { const e = document.createElement(tag); e[key] = value; document.body.append(e); };
        add('img', 'src', 'http://127.0.0.1:9/a.png');
        add('script', 'textContent', 'window.ran = 1');
        add('style', 'textContent', 'body{display:none}');
        fetch('http://127.0.0.1:9/').catch(() => 0);"""
    )
    assert sorted(blocked) == ["connect-src", "img-src", "script-src-elem", "style-src-elem"]
    assert page.run("return window.ran") is None


def test_it_prints(opened: Open, tmp_path: Path) -> None:
    """On paper: the wide drawing and the tables, in light colours, without what one could click."""
    page = opened(fleet(tmp_path / "mesh", 12, 3))
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    assert page.all("#search, #theme, #nav, .more") == []
    assert (
        page.run("return getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 31, 36)"
    )
    assert len(page.all(".drawing svg")) == 1
    assert len(page.browser.print_page()) > 10_000
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    page.clean()


@pytest.mark.parametrize(("clusters", "networks", "over"), [(3, 2, {}), (12, 3, ODD), (60, 5, ODD)])
def test_mermaid_draws_it(
    browser: webdriver.Chrome,
    run: Run,
    tmp_path: Path,
    clusters: int,
    networks: int,
    over: dict[str, dict[str, object]],
) -> None:
    """Mermaid itself, as GitHub has it (strict), makes a drawing with every name in it."""
    if not MERMAID.is_file():
        pytest.skip(f"{MERMAID.name} is not there: `make setup` takes it from npm, where npm is")
    mesh = fleet(tmp_path / "mesh", clusters, networks, over)
    if clusters == 12:
        edited = rendered(run, mesh) / "out/us-east-1/3-mesh/remote-secrets/us-east-3.yaml"
        edited.write_text("mine\n")
    text = graph(run, mesh)
    shutil.copy(MERMAID, tmp_path)
    (tmp_path / "draw.html").write_text(
        '<!doctype html><meta charset="utf-8"><body><script src="mermaid.min.js"></script>'
    )
    browser.get((tmp_path / "draw.html").as_uri())
    browser.set_script_timeout(30)
    drawn = browser.execute_async_script(
        """const [text, done] = arguments;
        mermaid.initialize({startOnLoad: false, securityLevel: 'strict'});
        mermaid.render('m', text).then(r => { document.body.innerHTML = r.svg; done(document.body.innerText); }, e => done('error: ' + e.message));""",
        text,
    )
    assert not drawn.startswith("error"), drawn
    for name in yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"]:
        assert name in drawn.split(), drawn
    assert "reads every other" in drawn.replace("\n", " ")
    assert "#" not in drawn
