"""The live page in a real browser (Chromium, through Playwright); skipped where there is none."""

import math
import statistics
import subprocess
import sys
import time

import pytest

from pokered_rl.episodes import EpisodeLog, find_logs, record_episode, verify
from pokered_rl.episodes.header import Acted
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


#: Notes when the rounds of the last worker were written, arrived and were drawn, and how long the long tasks took.
PROBE = """(() => {
  window.probe = { rounds: [], busy: 0 };
  source.addEventListener("steps", event => {
    const record = JSON.parse(event.data);
    if (record.worker === 7) probe.rounds.push({ written: record.time, arrived: Date.now() / 1000, drawn: Infinity });
  });
  new PerformanceObserver(list => { for (const task of list.getEntries()) probe.busy += task.duration; })
    .observe({ type: "longtask" });
  const draw = () => {
    for (const round of probe.rounds) if (round.drawn === Infinity) round.drawn = Date.now() / 1000;
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
})()"""


def fluency(page, simulated, *, seconds):
    """Return updates a second that were written and drawn, how the lag has grown, and the share of long tasks."""
    begin = time.time()
    places = page.evaluate(f"(probe.rounds = [], probe.busy = 0, {PLACES})")
    page.wait_for_timeout(1000 * seconds)
    moved = sum(one != other for one, other in zip(places, page.evaluate(PLACES), strict=True))
    probe, end = page.evaluate("({ rounds: probe.rounds.map(each => ({ ...each })), busy: probe.busy })"), time.time()
    written = sum(begin < at < end for at in simulated.rounds)
    # A round is drawn if a frame shows it before the next one is due.
    drawn = sum(each["drawn"] < each["arrived"] + 0.1 for each in probe["rounds"])
    lags = [each["arrived"] - each["written"] for each in probe["rounds"]]
    third = len(lags) // 3
    grown = statistics.median(lags[-third:]) - statistics.median(lags[:third]) if third else math.inf
    return {
        "written": written / (end - begin),
        "drawn": drawn / (end - begin),
        "lag": statistics.median(lags) if lags else math.inf,
        "grown": grown,
        "busy": probe["busy"] / 1000 / (end - begin),
        "moved": moved,
    }


def test_64_emulators_at_10_updates_a_second_stay_fluent(serve, simulated, page):
    opened(page, serve(simulated.folder))
    page.evaluate(PROBE)
    tried = []
    for _ in range(6):  # what else this machine does comes and goes
        tried.append(found := fluency(page, simulated, seconds=4))
        if (
            found["drawn"] >= 9
            and found["moved"] > 32
            and found["lag"] < 0.5
            # A page that keeps one of ten for later is 0.27 s further behind in two thirds of 4 s.
            and found["grown"] < 0.2
            and found["busy"] < 0.5
        ):
            return
    if max(found["written"] for found in tried) < 9.5:
        pytest.skip(f"this machine is too busy to write ten updates a second: {tried}")
    pytest.fail(f"not fluent: {tried}")


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


def test_a_finished_run_shows_its_logs(serve, finished, page):
    page.goto(serve(finished).url)
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


def test_an_episode_is_taken_over_and_given_back(trained, tmp_path, page):
    command = [sys.executable, "-m", "pokered_rl", "live", str(trained), "--port", "0", "--log", str(tmp_path)]
    with subprocess.Popen([*command, "--with-job"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        page.goto(next(line.strip() for line in server.stdout if line.startswith("http")))
        until(page, "[...live.figures.values()].filter(one => one.done).length > 1")
        page.evaluate("choose('t0'); goTo(5)")
        until(page, "document.getElementById('screen').dataset.step === '5'")
        page.click("#take")
        until(page, "document.getElementById('taken').innerText.startsWith('you have the buttons')")
        chosen, before = page.evaluate("[live.state.chosen, live.figures.get(live.state.chosen).places]")
        assert chosen != "t0"
        assert before == page.evaluate("live.figures.get('t0').places.slice(0, 6)")
        page.keyboard.press("ArrowLeft")
        until(page, "document.getElementById('screen').dataset.step === '6'")
        page.click("#actions [data-action=up]")  # by touch
        until(page, "document.getElementById('screen').dataset.step === '7'")
        assert "acts: person" in page.inner_text("#where")
        page.keyboard.press("t")
        until(page, "+document.getElementById('screen').dataset.step > 8")
        assert page.inner_text("#taken").startswith("weights of step 80")
        assert "acts: policy:" in page.inner_text("#where")
        page.click("#leave")
        until(page, "document.getElementById('taken').innerText.includes('it is kept as')")
        server.stdin.close()
        kept = EpisodeLog.load(server.stdout.readline().strip())
    assert find_logs([tmp_path]) == [kept.path]
    assert verify(kept) > 0
    assert [kept.header.actions[action] for action in kept.actions[5:7]] == ["left", "up"]
    assert kept.acted[:2] == (Acted(0, "policy"), Acted(5, "person"))
    assert (kept.acted[2].step, kept.acted[2].who[:7]) == (7, "policy:")


def test_the_open_episode_of_an_emulator_is_taken_over(serve, simulated, sprout, start, play_on, page):
    # Its replay is told in more than one message, which have 128 steps.
    log = record_episode([2, 4] * 75, cartridge=sprout, start_state=start, folder=simulated.folder / "episode_logs")
    simulated.log = log.read_bytes()
    opened(page, serve(simulated.folder, play_on=play_on))
    page.evaluate("choose('e9')")
    page.click("#take")
    until(page, "document.getElementById('taken').innerText.startsWith('you have the buttons')")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    page.keyboard.press("q")
    until(page, "document.getElementById('taken').innerText === '150 of 150 steps replayed'")
    assert play_on.pressed == ["right"]
