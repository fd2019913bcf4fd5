"""The live page in a real browser (Chromium, through Playwright); skipped where there is none."""

import json
import shutil
import time

import pytest

from simulated_run import SimulatedRun

PLACES = "[...live.figures.values()].map(one => one.drawn).filter(Boolean).map(place => place.map(Math.round))"


@pytest.fixture
def simulated(tmp_path):
    run = SimulatedRun(tmp_path / "run").start()
    yield run
    run.end()


def until(page, condition, *, seconds=30):
    # Not Playwright's `wait_for_function`, which needs `eval`: the page's policy forbids it.
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def opened(page, server):
    page.goto(server.url)
    until(page, "live.figures.size === 64 && live.state.updates > 16")


def test_64_figures_move_and_the_page_stays_fluent(serve, simulated, page):
    opened(page, serve(simulated.folder))
    before = page.evaluate("[live.state.painted, live.state.updates, performance.now()]")
    places = page.evaluate(PLACES)
    page.wait_for_timeout(3000)
    after = page.evaluate("[live.state.painted, live.state.updates, performance.now()]")
    seconds = (after[2] - before[2]) / 1000
    # Eight workers send ten records a second; on a busy machine fewer come through, but the page never stands still.
    assert (after[1] - before[1]) / seconds > 2
    assert after[0] - before[0] >= 3
    # What a drawing takes where nothing interrupts it: thirty a second are possible.
    took = page.evaluate(
        "[...Array(20)].map(() => { const at = performance.now(); paint(); return performance.now() - at; })"
    )
    assert min(took) < 33
    moved = [one for one, other in zip(places, page.evaluate(PLACES), strict=True) if one != other]
    assert len(moved) > 32


def test_a_click_shows_screen_buttons_values_rewards_and_mask(serve, simulated, page):
    opened(page, serve(simulated.folder))
    page.click("#play")  # pause, so that the figure is still there when it is clicked
    until(page, "!!live.figures.get('e9').drawn")
    x, y = page.evaluate("live.figures.get('e9').drawn")
    page.click("#world", position={"x": x, "y": y})
    page.wait_for_selector("#one:not([hidden])")
    page.evaluate("choose('e9')")  # whoever stood there, look at this one
    page.click("#play")
    until(page, "document.getElementById('screen').dataset.step !== ''")
    assert "emulator 9" in page.inner_text("#who")
    assert "Mossby" in page.inner_text("#where")
    # Values and mask come with the batches after the click: the cursor has to reach them. Bit 4 of the mask is "up".
    until(page, "[...document.querySelectorAll('#actions .masked')].map(label => label.innerText).join() === 'up'")
    until(page, "document.getElementById('actions').innerText.includes('1.00')")
    until(page, "document.getElementById('terms').innerText.includes('new_tiles +0.125')")
    painted = page.evaluate(
        "document.getElementById('screen').getContext('2d').getImageData(0, 0, 80, 72).data.some(x => x > 200)"
    )
    assert painted


def test_names_are_shown_as_text(serve, simulated, page):
    opened(page, serve(simulated.folder))
    page.evaluate("choose('e7')")
    until(page, "document.getElementById('where').innerText.includes('<img src=x')")
    assert page.locator("img").count() == 0
    simulated.write_progress("running", name="<b>bold</b>")


def test_pause_and_the_slider_go_back_in_time(serve, simulated, page):
    opened(page, serve(simulated.folder))
    until(page, "live.figures.get('e0').cursor > 6")
    page.click("#play")
    until(page, "live.figures.get('e0').cursor === live.figures.get('e0').frozen")
    first = page.evaluate("live.figures.get('e0').cursor")
    page.wait_for_timeout(700)
    assert page.evaluate("live.figures.get('e0').cursor") == first
    page.evaluate("(() => { const bar = document.getElementById('time'); bar.value = -5; bar.oninput(); })()")
    until(page, f"live.figures.get('e0').cursor === {first} - 5")
    assert page.inner_text("#now") == "5 steps ago"


def test_a_run_that_ends_says_so(serve, simulated, page):
    opened(page, serve(simulated.folder))
    assert page.inner_text("#state") == "running"
    simulated.end("target reached")
    until(page, "document.getElementById('state').innerText === 'ended: target reached'")


def test_a_reconnect_goes_on(serve, simulated, page):
    server = serve(simulated.folder)
    opened(page, server)
    for queue in list(server.follower._subscribers):
        queue.put_nowait("")  # the server hangs up
    until(page, "document.getElementById('state').innerText.startsWith('connection lost')")
    until(page, "document.getElementById('state').innerText === 'running' && live.figures.size === 64")


def test_the_page_fits_the_width_of_a_phone(serve, simulated, page):
    page.set_viewport_size({"width": 390, "height": 800})
    opened(page, serve(simulated.folder))
    page.evaluate("choose('e1')")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.getElementById('world').clientWidth") > 340


def test_a_finished_run_shows_its_logs(serve, recorded_run, tmp_path, page):
    run = shutil.copytree(recorded_run, tmp_path / "done")
    (run / "progress.json").write_text(json.dumps({"run": "done", "last_stop": "target reached", "complete": True}))
    server = serve(run)
    page.goto(server.url)
    until(page, "live.state.mode === 'logs' && [...live.figures.values()].filter(one => one.done).length === 2")
    assert page.evaluate("[...live.figures.values()].map(one => one.places.length)") == [
        41,
        41,
    ]  # the start, and 40 steps
    page.evaluate("choose('t1')")
    page.click("#start")
    until(page, "document.getElementById('screen').dataset.step === '0'")
    page.click("#log")
    until(page, "document.getElementById('screen').dataset.step === '40'")
    assert page.evaluate("document.getElementById('screen').width") == 160
    assert page.locator("#logs tr").count() == 3
    until(page, "[...live.maps.values()].some(map => map.picture)")
