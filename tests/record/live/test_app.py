"""What the server of the live page answers, and what it refuses."""

import json
import time

import pytest

from pokered_rl.record.live.app import is_loopback
from simulated_run import SimulatedRun


@pytest.fixture
def simulated(tmp_path):
    run = SimulatedRun(tmp_path / "run", workers=1).start()
    yield run
    run.end()


def test_the_page_and_its_scripts_are_served_with_headers_that_allow_nothing_else(serve, simulated):
    server = serve(simulated.folder)
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/draw.js", "text/javascript")):
        status, headers, _ = server.request(path)
        assert (status, headers["content-type"].partition(";")[0]) == (200, kind)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8721", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_another_name_in_the_host_header_is_refused(serve, simulated, host):
    # A page of evil.example whose name has been pointed at 127.0.0.1 sends its own name.
    server = serve(simulated.folder)
    for path in ("/", "/events", "/map/0.png"):
        assert server.request(path, host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8721"])
def test_names_of_the_loopback_are_served(serve, simulated, host):
    assert serve(simulated.folder).request("/", host=host)[0] == 200


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}]
)
def test_requests_of_other_pages_are_refused(serve, simulated, headers):
    server = serve(simulated.folder)
    assert server.request("/look", method="POST", body={"emulator": 1}, **headers)[0] == 403
    assert server.request("/events", **headers)[0] == 403


def test_another_address_needs_the_token_once(serve, simulated):
    server = serve(simulated.folder, token="secret-word")
    assert server.request("/")[0] == 401
    assert server.request("/events", cookie="pokered_live=wrong")[0] == 401
    assert server.request("/?token=wrong")[0] == 401
    status, headers, _ = server.request("/?token=secret-word")
    assert (status, headers["location"]) == (303, "/")  # the token leaves the address bar
    assert "HttpOnly" in headers["set-cookie"]
    assert server.request("/", cookie=headers["set-cookie"].partition(";")[0])[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/config.yaml", "/../config.yaml", "/%2e%2e/progress.json", "/live/watch.json", "/screen/0/..%2f0", "/map/x.png"],
)
def test_no_file_of_the_run_can_be_reached(serve, simulated, path):
    (simulated.folder / "config.yaml").write_text("run: {}")
    assert serve(simulated.folder).request(path)[0] == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/look", {"emulator": "0"}),
        ("/look", {"emulator": -2}),
        ("/look", {"emulator": 2**40}),
        ("/look", b"[" * 4000),
        ("/look", b"x" * 100_000),
        ("/look", [1]),
    ],
)
def test_what_is_no_request_is_refused(serve, simulated, path, body):
    assert serve(simulated.folder).request(path, method="POST", body=body)[0] == 400


def test_logs_screens_and_maps_that_do_not_exist_are_not_found(serve, simulated):
    server = serve(simulated.folder)
    assert server.request("/open", method="POST", body={"log": 0})[0] == 404
    assert server.request("/screen/0/0")[0] == 404
    assert server.request("/map/250.png")[0] == 404
    assert server.request("/map/0.png")[0] == 200  # nothing was seen of it yet: transparent


def test_a_form_of_another_page_cannot_ask_for_anything(serve, simulated):
    # A form can send no JSON; without its type the content is not read.
    server = serve(simulated.folder)
    answer = server.request("/look", method="POST", body={"emulator": 1}, content_type="text/plain")
    assert answer[0] == 400


def test_the_first_event_has_the_state_of_the_run_and_no_path(serve, simulated):
    server = serve(simulated.folder)
    queue = server.follower.subscribe()
    hello = queue.get_nowait()
    assert hello.startswith("event: hello\ndata: {")
    content = json.loads(hello.partition("data: ")[2])
    assert {"facts", "layout", "status", "charts", "logs", "story"} <= content.keys()
    assert str(simulated.folder) not in hello


def test_a_run_is_asked_for_steps_only_while_a_page_is_open(serve, simulated):
    server = serve(simulated.folder)
    time.sleep(0.6)
    assert simulated.asked == []
    queue = server.follower.subscribe()
    assert server.request("/look", method="POST", body={"emulator": 3})[0] == 204
    end = time.monotonic() + 10
    while (3, 0) not in simulated.asked and time.monotonic() < end:
        time.sleep(0.05)
    assert (3, 0) in simulated.asked
    server.follower.unsubscribe(queue)


def test_addresses_of_this_machine_alone_are_loopback():
    assert [
        name
        for name in ("127.0.0.1", "127.3.2.1", "::1", "localhost", "0.0.0.0", "10.1.1.1", "host")
        if is_loopback(name)
    ] == [
        "127.0.0.1",
        "127.3.2.1",
        "::1",
        "localhost",
    ]
