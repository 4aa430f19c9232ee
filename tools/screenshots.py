"""Makes the pictures of docs/graph.md anew: meshes in a scratch directory, their pages in Chromium, PNGs in docs/images."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.conftest import TOP
from tests.support.chromium import FLAGS
from tests.support.pictures import fleet


def mesh(where: Path, *words: str) -> str:
    """`kubectl mesh` in a folder."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TOP), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "kubectl_mesh", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=where,
        env=environment,
    )
    return done.stdout


def made(
    path: Path,
    clusters: int,
    networks: int,
    over: "dict[str, dict[str, object]] | None" = None,
    waiting: str = "",
) -> Path:
    """A mesh of so many clusters, rendered; `waiting` has no token yet."""
    fleet(path, clusters, networks, over)
    if waiting:
        (path / f"credentials/{waiting}.token").unlink()
    mesh(path, "render")
    return path


def main() -> None:
    """Every picture."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        sys.exit(
            "chromium or chromedriver is not on PATH (Debian: apt-get install chromium chromium-driver)"
        )
    images = TOP / "docs/images"
    images.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        small = made(top / "small", 3, 2)
        over: dict[str, dict[str, object]] = {
            "eu-central-2": {"peers": ["eu-central-1", "us-east-1"]},
            "us-east-2": {
                "peers": [
                    "eu-central-1",
                    "eu-central-2",
                    "eu-central-3",
                    "eu-central-4",
                    "us-east-1",
                    "us-east-3",
                    "us-east-4",
                    "ap-south-1",
                ]
            },
            "ap-south-4": {"disableRegistryJoin": True},
        }
        middle = made(top / "middle", 12, 3, over, "ap-south-2")
        edited = middle / "out/us-east-1/3-mesh/remote-secrets/us-east-4.yaml"
        edited.write_text(edited.read_text() + "# a hand was here\n")
        large = made(top / "large", 60, 5, {"us-east-7": {"peers": []}}, "ap-south-3")
        for folder in (small, middle, large):
            (folder.with_suffix(".html")).write_text(
                mesh(folder, "graph", "-o", "html", "--on", "today"), encoding="utf-8"
            )
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, "--hide-scrollbars", f"--user-data-dir={top / 'profile'}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options, Service(driver))
        try:
            for name, page, fragment, wide, high, scheme in (
                ("graph-3-light", small, "", 1310, 860, "light"),
                ("graph-12-dark", middle, "#/cluster/eu-central-2", 1310, 900, "dark"),
                ("graph-60-light", large, "", 1800, 1180, "light"),
                ("graph-12-narrow", middle, "#/cluster/ap-south-2", 390, 844, "light"),
            ):
                browser.execute_cdp_cmd(
                    "Emulation.setDeviceMetricsOverride",
                    {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": False},
                )
                browser.execute_cdp_cmd(
                    "Emulation.setEmulatedMedia",
                    {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
                )
                browser.get("about:blank")
                browser.get(page.with_suffix(".html").as_uri() + fragment)
                shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
                # A palette of fewer colours makes a third of the size, and nobody sees it.
                shot.quantize(200, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                    images / f"{name}.png", optimize=True
                )
        finally:
            browser.quit()
    for path in sorted(images.glob("*.png")):
        print(f"{os.path.relpath(path, TOP)}  {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
