"""A headless Chromium that opens pages, waits for them and takes pictures.

Debian's chromium and chromedriver. Waiting is for a condition in the page,
not for a time: on a page with server-sent events "loaded" says nothing.
"""

from __future__ import annotations

import base64
import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

from .process import Service, ServiceError, free_port, wait_until

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # refuses to run as root with it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
)


def _program(*names: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise ServiceError(f"none of {', '.join(names)} is installed; run tests/support/install.sh")


class _Driver(Service):
    """chromedriver; the browser it starts stays in its session and ends with it."""

    name = "chromedriver"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> list[str]:
        return [_program("chromedriver"), f"--port={self.port}", "--log-level=SEVERE"]

    def ready(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/status", timeout=2) as answer:
            return bool(json.load(answer)["value"]["ready"])


class Browser:
    """One browser with one page.

    with Browser() as browser:
        browser.open(url)
        browser.wait_for("document.querySelectorAll('tr').length > 3")
        browser.screenshot("page.png", 1280, 800, dark=True)
    """

    def __init__(self, width: int = 1280, height: int = 800) -> None:
        self._driver = _Driver().start()
        try:
            self._page = self._connect(width, height)
        except BaseException:
            self._driver.close()
            raise

    def _connect(self, width: int, height: int) -> Any:
        from selenium import webdriver
        from selenium.webdriver.chrome.remote_connection import ChromeRemoteConnection

        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
        options.page_load_strategy = "eager"
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        profile = f"--user-data-dir={self._driver.dir}/profile"
        for flag in (*_FLAGS, profile, f"--window-size={width},{height}"):
            options.add_argument(flag)
        connection = ChromeRemoteConnection(remote_server_addr=self._driver.url)
        return webdriver.Remote(command_executor=connection, options=options)

    def open(self, url: str, timeout: float = 60.0) -> None:
        self._page.set_page_load_timeout(timeout)
        self._page.get(url)

    def js(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self._page.execute_script(f"return ({expression});")

    def wait_for(self, predicate: str, timeout: float = 60.0) -> Any:
        """Polls a JavaScript expression until it is truthy and returns it."""
        return wait_until(f"{predicate} in the page", lambda: self.js(predicate), timeout, 0.1)

    def text(self) -> str:
        """The visible text of the page."""
        return self.js("document.body.innerText")

    def emulate(self, width: int, height: int, dark: bool = False) -> None:
        """Sets the viewport and the colour scheme that the page is told."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setDeviceMetricsOverride", size)
        self._cdp("Emulation.setEmulatedMedia", {"features": [scheme]})

    def screenshot(
        self,
        path: str | Path,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        full: bool = False,
    ) -> Path:
        """Writes a PNG of the viewport; with `full`, of the page's whole height."""
        self.emulate(width, height, dark)
        if full:
            height = max(height, int(self.js("document.documentElement.scrollHeight")))
            self.emulate(width, height, dark)
        picture = self._cdp("Page.captureScreenshot", {"format": "png"})
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(picture["data"]))
        return target

    def console(self) -> list[dict[str, Any]]:
        """What the page has logged since the last call: errors have level SEVERE."""
        return self._page.execute("getLog", {"type": "browser"})["value"]

    def close(self) -> None:
        try:
            self._page.quit()
        except Exception:  # a browser that has died is closed, too
            pass
        self._driver.stop()
        self._driver.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _cdp(self, command: str, parameters: dict[str, Any]) -> Any:
        arguments = {"cmd": command, "params": parameters}
        return self._page.execute("executeCdpCommand", arguments)["value"]
