"""What the server of the live page answers, and what it refuses."""

import json
import time

import pytest

from pokered_rl.errors import CheckpointError
from pokered_rl.record.live.app import is_loopback
from pokered_rl.record.live.take_over import TakeOver
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


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def taken(serve, finished, play_on):
    """A server of a run with two logs that were replayed, and the keys that were pressed."""
    server = serve(finished, play_on=play_on)
    server.follower.subscribe()
    wait_for(lambda: server.follower.screen(0, 40) and server.follower.screen(1, 40))
    return server, play_on.pressed


def post(server, path, **body):
    return server.request(path, method="POST", body=body)[0]


def told(server):
    """Return what a page that is opened now is told of the episode that was taken over."""
    queue = server.follower.subscribe()
    server.follower.unsubscribe(queue)
    return json.loads(queue.get_nowait().partition("data: ")[2])["taken"]["text"]


def test_an_episode_is_taken_over_by_one_person_at_a_time(taken):
    server, pressed = taken
    assert post(server, "/press", key="left") == 404
    assert post(server, "/take", track=1, step=7) == 204
    assert post(server, "/take", track=0, step=7) == 409
    assert post(server, "/press", key="left") == 204
    wait_for(lambda: pressed == ["left"])
    assert [post(server, "/press", key=key) for key in ("../x", "reload", 3, None)] == [404] * 4
    assert post(server, "/press", key="quit") == 204
    wait_for(lambda: told(server) == "7 of 40 steps replayed")
    assert post(server, "/press", key="left") == 404
    assert post(server, "/take", track=0, step=0) == 204


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"track": "0", "step": 1}, 400),
        ({"track": 0}, 400),
        ({"track": 9, "step": 1}, 409),
        ({"track": 0, "step": 41}, 409),
    ],
)
def test_what_was_not_played_is_not_taken_over(taken, body, status):
    assert post(taken[0], "/take", **body) == status


def test_buttons_are_not_given_to_other_pages(taken):
    server = taken[0]
    for path in ("/take", "/press"):
        body = {"track": 0, "step": 1, "key": "left"}
        assert server.request(path, method="POST", body=body, origin="http://evil.example")[0] == 403


def test_an_episode_that_was_taken_over_ends_when_no_key_is_pressed(taken, monkeypatch):
    monkeypatch.setattr(TakeOver, "IDLE_SECONDS", 0.3)
    server, _ = taken
    assert post(server, "/take", track=1, step=0) == 204
    wait_for(lambda: told(server) == "0 of 40 steps replayed")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CheckpointError("there are no weights yet"), "there are no weights yet"),
        (OSError(28, "No space left on device", "/a/path"), "it cannot be kept: No space left on device"),
    ],
)
def test_why_an_episode_cannot_be_taken_over_is_told(serve, finished, error, text):
    def fail(log, steps, page):
        raise error

    server = serve(finished, play_on=fail)
    server.follower.subscribe()
    wait_for(lambda: server.follower.screen(0, 0))
    assert post(server, "/take", track=0, step=0) == 204
    wait_for(lambda: told(server) == text)


def test_without_a_policy_nobody_takes_over(serve, simulated):
    assert post(serve(simulated.folder), "/take", track=0, step=0) == 409
