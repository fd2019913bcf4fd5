import base64
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pokered_rl.episodes.header import Acted
from pokered_rl.errors import EpisodeLogError
from pokered_rl.record import report
from pokered_rl.record.render import RenderOptions
from pokered_rl.record.report import helper_rewards, write_report

_SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "report.py"
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def page(recorded_run, sprout, tmp_path_factory):
    run = shutil.copytree(recorded_run, tmp_path_factory.mktemp("report") / "run")
    (run / "config.yaml").write_text("run:\n  name: <recorded & run>\n")
    (run / "progress.json").write_text('{"best_return": 1.5, "list": [1]}')
    result = write_report(run, run / "report.html", cartridge=sprout, videos=RenderOptions(scale=1, fps=15, speed=8))
    assert result.replayed == 2
    assert result.errors == ()
    return result.path


class _Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href") and value]


def test_the_page_refers_to_no_other_file(page):
    text = page.read_text()
    reader = _Reader(text)
    assert reader.tags.count("video") >= 1
    # Terms of the return, the world twice, what was masked twice; there are milestones or not. A script draws the rest.
    assert reader.tags.count("svg") in (5, 6)
    # Every address is in the page itself; SVG's own name spaces are no addresses that anybody opens.
    outside = [link for link in reader.links if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []


def test_the_page_contains_the_facts_of_the_run(page):
    text = page.read_text()
    assert "<h1>recorded run</h1>" in text
    assert "&lt;recorded &amp; run&gt;" in text  # the config, escaped
    assert "best_return" in text
    assert "replayed, all RAM hashes equal" in text
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    bedroom = data["maps"][0]
    assert len(bedroom["first"]) == bedroom["width"] * bedroom["height"] == 80
    assert min(first for first in bedroom["first"] if first >= 0) == 0
    assert all(bedroom["first"][wall] == -1 for wall in bedroom["walls"])  # nobody stood where nobody can
    assert {chart["title"] for chart in data["charts"]} == {"return"}  # this run has no metrics
    assert len(data["charts"][0]["series"][1]["x"]) == 2  # a dot an episode
    assert base64.b64decode(bedroom["picture"].partition(",")[2]).startswith(b"\x89PNG")


def test_rewards_in_steps_of_helpers_are_told_apart(recorded_logs):
    log = recorded_logs[0]
    rewards = np.full(log.steps, 0.5, np.float32)
    header = replace(log.header, helpers=("deposit_items", "skip_nicknaming"), reward_terms=())
    acted = (Acted(0, "policy"), Acted(10, "helper:skip_nicknaming"), Acted(13, "policy"))
    helped = replace(
        log, header=header, acted=acted, rewards=rewards, term_rewards=np.zeros((log.steps, 0), np.float32)
    )
    # 40 steps at 0.5 each, three of them a helper's; the other log was played without helpers.
    plain = replace(log, acted=(), rewards=rewards)
    assert helper_rewards([helped]) == [("deposit_items", 0, 0.0), ("skip_nicknaming", 3, 1.5), ("agent", 37, 18.5)]
    assert helper_rewards([helped, plain])[-1] == ("agent", 77, 38.5)
    assert helper_rewards([plain]) == []


def test_bad_logs_are_named_on_the_page_and_the_script_ends_with_1(run_folder, sprout, monkeypatch, capsys):
    bad = sorted((run_folder / "episode_logs").glob("*.episode"))[1]
    bad.write_bytes(bad.read_bytes()[:-20])
    look = ["--rom", str(sprout.path), "--scale", "1", "--fps", "15", "--speed", "8"]
    monkeypatch.setattr(sys, "argv", ["report", str(run_folder), *look])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(_SCRIPT), run_name="__main__")
    assert ended.value.code == 1
    assert f"{bad}: cut off" in " ".join(capsys.readouterr().err.split())
    assert f"{bad}: cut off" in (run_folder / "report.html").read_text()


@pytest.mark.long
def test_runs_with_other_seeds_give_the_curve_its_band(recorded_run, sprout, tmp_path):
    other = shutil.copytree(recorded_run, tmp_path / "other")
    look = {"cartridge": sprout, "videos": RenderOptions(scale=1, fps=15, speed=8), "most_replays": 1, "workers": 2}
    result = write_report(recorded_run, tmp_path / "report.html", seeds=[other], **look)
    assert result.replayed == 1  # the last, which is the best, too
    assert "mean over 2 runs: run, other" in result.path.read_text()


@pytest.mark.parametrize(
    ("most", "chosen"), [(1, [3, 9]), (2, [3, 9]), (3, [0, 3, 9]), (5, [0, 3, 6, 9]), (10, [*range(10)])]
)
def test_replayed_episodes_are_the_best_the_last_and_others_evenly(most, chosen):
    logs = [SimpleNamespace(number=number, episode_return=float(number == 3)) for number in range(10)]
    assert [log.number for log in report._spread(logs, most)] == chosen


def test_runs_in_folders_of_one_name_are_labelled_by_their_paths(tmp_path):
    runs = [(tmp_path / folder, []) for folder in ("x/a", "y/a", "b")]
    assert report._run_labels(runs) == [str(tmp_path / "x" / "a"), str(tmp_path / "y" / "a"), "b"]


def test_a_run_without_a_usable_log_is_refused(run_folder, tmp_path, sprout):
    for log in (run_folder / "episode_logs").glob("*.episode"):
        log.write_bytes(b"")
    with pytest.raises(EpisodeLogError, match="none of its 2 episode logs can be read"):
        write_report(run_folder, tmp_path / "report.html", cartridge=sprout)
    assert not (tmp_path / "report.html").exists()


class _Browser:
    """Headless Chromium, spoken to over a pair of pipes (DevTools protocol, messages end with a zero byte)."""

    def __init__(self, width, height):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4; bash puts the pipes there.
        start = f'exec "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", start, "chromium", _CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-pipe", f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._number, self._read, self._session = 0, b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                self._read += os.read(self._answers, 1 << 20)
            answer, _, self._read = self._read.partition(b"\0")
            answer = json.loads(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path):
        self.call("Page.navigate", url=f"file://{path}")
        self.wait("document.readyState == 'complete' && location.protocol == 'file:'")

    def wait(self, condition):
        for _ in range(300):
            if self.run(condition):
                return
            time.sleep(0.1)
        raise AssertionError(condition)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self):
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()


@pytest.mark.skipif(_CHROMIUM is None, reason="needs Chromium (Debian package chromium)")
def test_the_page_works_in_a_browser(page):
    browser = _Browser(390, 800)  # a phone
    try:
        browser.open(page)
        assert browser.run("document.documentElement.scrollWidth") <= 390  # nothing sticks out
        assert browser.run("document.querySelectorAll('#charts svg polyline').length") == 1
        browser.run("document.getElementById('time').scrollIntoView({block: 'center'})")
        seen_at_the_end = browser.run("document.getElementById('now').textContent")
        before = browser.screenshot()
        place = json.loads(browser.run("JSON.stringify(document.getElementById('time').getBoundingClientRect())"))
        browser.click(place["x"] + 6, place["y"] + place["height"] / 2)  # the left end: the very beginning
        browser.wait("+document.getElementById('time').value < 100")
        seen_at_the_start = browser.run("document.getElementById('now').textContent")
        assert browser.screenshot() != before

        def count(text):
            return int(re.search(r"(\d+) map steps", text)[1])

        assert 0 < count(seen_at_the_start) < count(seen_at_the_end)
        # The videos play in a decoder that is not ours, variable frame rate and all.
        played = browser.run(
            """(async () => {
                const video = document.querySelector("video");
                video.muted = true;
                await video.play();
                while (!video.ended && !video.error) await new Promise(resolve => setTimeout(resolve, 50));
                return [video.error === null, video.videoWidth, video.videoHeight];
            })()"""
        )
        assert played == [True, *RenderOptions(scale=1).size]
    finally:
        browser.close()
