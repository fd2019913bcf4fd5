"""A live page that is served for a test, and a browser to look at it."""

import http.client
import json
import shutil
import threading
import time

import pytest

pytest.importorskip("starlette", reason="the extra `live` is not installed")
pytest.importorskip("uvicorn", reason="the extra `live` is not installed")

import uvicorn

from pokered_rl.record.live.app import make_app
from pokered_rl.record.live.follower import RunFollower

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Served:
    """A server in a thread, on a port of its own."""

    def __init__(self, run, cartridge, *, token=None, **options) -> None:
        self.follower = RunFollower(run, cartridge, **options)
        config = uvicorn.Config(make_app(self.follower, token=token), port=0, log_level="warning")
        config.timeout_graceful_shutdown = 1
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def request(self, path, *, method="GET", body=None, **headers):
        """Return status, headers and content of an answer; a name with `_` is a header with `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="host" in given)
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if method == "POST":
            given = {"content-type": "application/json", "content-length": str(len(content)), **given}
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        result = answer.status, answer.headers, b"" if path == "/events" else answer.read()
        connection.close()
        return result

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(timeout=10)


@pytest.fixture
def serve(sprout):
    """Serve a run; ended with the test."""
    open_servers = []

    def start(run, **options):
        open_servers.append(Served(run, sprout, **options))
        return open_servers[-1]

    yield start
    for server in open_servers:
        server.close()


class PlayOn:
    """Plays no episode on, but notes the keys of a person until there is a `quit`."""

    def __init__(self) -> None:
        self.pressed = []

    def __call__(self, log, steps, page):
        page.caption("you have the buttons")
        while (key := page.pressed()) != "quit":
            self.pressed.extend([key] if key else [])
            time.sleep(0.005)
        return f"{steps} of {log.steps} steps replayed"


@pytest.fixture
def play_on():
    return PlayOn()


@pytest.fixture
def finished(recorded_run, tmp_path):
    """The folder of a run that has ended, with two logs."""
    run = shutil.copytree(recorded_run, tmp_path / "done")
    (run / "progress.json").write_text(json.dumps({"run": "done", "last_stop": "target reached", "complete": True}))
    return run


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as started:
        try:
            opened = started.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium that Playwright can start: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A page that fails the test for every error of its scripts and for every address of another machine."""
    opened = browser.new_page(viewport={"width": 1200, "height": 850})
    problems = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if "Security Policy" in message.text else None)
    opened.on("request", lambda asked: problems.append(asked.url) if "//127.0.0.1" not in asked.url else None)
    yield opened
    opened.close()
    assert problems == []
