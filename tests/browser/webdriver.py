# SPDX-License-Identifier: MIT
"""A headless Chromium by WebDriver, with nothing but Python's standard library."""

import base64
import http.client
import json
import pathlib
import re
import shutil
import subprocess
import time

TIMEOUT_S = 60
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that the standard gives to references
KEYS = {"enter": "\ue007", "escape": "\ue00c", "left": "\ue012", "up": "\ue013",
        "right": "\ue014", "down": "\ue015", "tab": "\ue004"}
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--hide-scrollbars"]


def available():
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


class Browser:
    """For a with block."""

    def __init__(self, profile):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            line = ""
            while not (found := re.search(r"started successfully on port (\d+)", line)):
                line = self.driver.stdout.readline()
                assert line, "chromedriver ended"
            self.port = int(found.group(1))
            options = {"binary": shutil.which("chromium"),
                       "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
            self.session = "/session"
            capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            self.session = "/session/" + self.ask("POST", "", {
                "capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        except BaseException:
            self.driver.kill()
            self.driver.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            self.driver.stdout.close()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request(method, self.session + path,
                           None if method != "POST" else json.dumps(body or {}))
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{path}: {value['error']}: {value['message']}")
        return value

    def open(self, path):
        """Opens a file; returns the seconds until it was loaded and its scripts had run."""
        started = time.monotonic()
        self.ask("POST", "/url", {"url": pathlib.Path(path).resolve().as_uri()})
        return time.monotonic() - started

    def script(self, text, *arguments):
        return self.ask("POST", "/execute/sync", {"script": text, "args": arguments})

    def find(self, css):
        return self.ask("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.ask("POST", f"/element/{self.find(css)}/click")

    def type(self, css, text):
        self.ask("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, *keys):
        """Keys to whatever has the focus: names of KEYS, or characters."""
        actions = []
        for key in keys:
            key = KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def resize(self, width, height):
        self.ask("POST", "/window/rect", {"width": width, "height": height})

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def complaints(self):
        """What the page's console has of errors."""
        log = self.ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]
