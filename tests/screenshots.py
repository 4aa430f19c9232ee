"""Makes the pictures of docs/graph.md anew: meshes in a scratch directory, their pages in Chromium, PNGs in docs/images."""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

TOP = Path(__file__).resolve().parent.parent
REGIONS = ("eu-central", "us-east", "ap-south", "eu-west", "us-west")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync", "--hide-scrollbars")


def mesh(*words: "str | Path") -> str:
    """`kubectl mesh` with these words."""
    done = subprocess.run([sys.executable, "-m", "kubectl_mesh", *words], capture_output=True, text=True, check=True, cwd=TOP)
    return done.stdout


def fleet(path: Path, clusters: int, networks: int, over: "dict[str, dict[str, object]]", waiting: "tuple[str, ...]" = ()) -> Path:
    """A mesh of so many clusters, rendered; `waiting` have no token yet."""
    contexts: dict[str, dict[str, object]] = {}
    for i in range(clusters):
        region = REGIONS[i % networks]
        contexts[f"{region}-{i // networks + 1}"] = {"network": region, "server": f"https://203.0.113.{i + 1}:6443", "certificateAuthority": "clusters/ca.crt"}
    for name, more in over.items():
        contexts[name].update(more)
    config = yaml.safe_load((TOP / "examples/seed/kubeconfig.yaml").read_text())
    (path / "clusters").mkdir(parents=True)
    (path / "clusters/ca.crt").write_bytes(base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]))
    (path / "credentials").mkdir(mode=0o700)
    for name in set(contexts) - set(waiting):
        (path / f"credentials/{name}.token").write_text(f"made-up-token-of-{name}")
        (path / f"credentials/{name}.token").chmod(0o600)
    (path / "base.yaml").write_text("apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec: {}\n")
    value = {"mesh_id": "acme", "istio": {"version": "1.30.3"}, "certificates": {"keyType": "ec-p256"}, "contexts": contexts}
    (path / "topology.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    mesh("render", "-C", path)
    return path


def main() -> None:
    """Every picture."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        sys.exit("chromium or chromedriver is not on PATH (Debian: apt-get install chromium chromium-driver)")
    images = TOP / "docs/images"
    images.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        small = fleet(top / "small", 3, 2, {})
        over: dict[str, dict[str, object]] = {
            "eu-central-2": {"peers": ["eu-central-1", "us-east-1"]},
            "us-east-2": {"peers": ["eu-central-1", "eu-central-2", "eu-central-3", "eu-central-4", "us-east-1", "us-east-3", "us-east-4", "ap-south-1"]},
            "ap-south-4": {"disableRegistryJoin": True},
        }
        middle = fleet(top / "middle", 12, 3, over, ("ap-south-2",))
        edited = middle / "out/us-east-1/3-mesh/remote-secrets/us-east-4.yaml"
        edited.write_text(edited.read_text() + "# a hand was here\n")
        large = fleet(top / "large", 60, 5, {"us-east-7": {"peers": []}}, ("ap-south-3",))
        for folder in (small, middle, large):
            (folder.with_suffix(".html")).write_text(mesh("graph", "-C", folder, "-o", "html", "--on", "today"), encoding="utf-8")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={top / 'profile'}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options, Service(driver))
        try:
            for name, page, fragment, wide, high, scheme in (
                ("graph-3-light", small, "", 1310, 860, "light"),
                ("graph-12-dark", middle, "#/cluster/eu-central-2", 1310, 900, "dark"),
                ("graph-60-light", large, "", 1800, 1180, "light"),
                ("graph-12-narrow", middle, "#/cluster/ap-south-2", 390, 844, "light"),
            ):
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": False})
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
                browser.get("about:blank")
                browser.get(page.with_suffix(".html").as_uri() + fragment)
                browser.save_screenshot(str(images / f"{name}.png"))
        finally:
            browser.quit()
    for path in sorted(images.glob("*.png")):
        print(f"{os.path.relpath(path, TOP)}  {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
