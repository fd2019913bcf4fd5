import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import ConfigError
from pokered_rl.record.batch import joined_jobs, load_logs, render_jobs, select_logs, single_jobs
from pokered_rl.record.render import RenderOptions
from pokered_rl.record.video import CONSOLE_FRAME_RATE

_SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "render_episodes.py"
_SMALL = RenderOptions(scale=1, panel=False, fps=15)


def _script(*arguments):
    command = [sys.executable, _SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)


def test_best_last_and_every_select_in_order(recorded_logs):
    first, second = recorded_logs
    logs = [first, second, first, second, first]
    assert select_logs(logs) == logs
    assert select_logs(logs, last=2) == [second, first]
    assert select_logs(logs, every=2) == [first, first, first]
    rich = replace(first, rewards=first.rewards + 1)
    assert select_logs([second, rich, first], best=1) == [rich]
    assert select_logs(logs, every=4, last=2) == [first, second, first]  # numbers 0, 3 and 4
    with pytest.raises(ConfigError, match="best must be >= 1, got 0"):
        select_logs(logs, best=0)


def test_joined_makes_one_video_an_emulator(recorded_logs, tmp_path):
    first, second = recorded_logs
    jobs = joined_jobs([first, second, first], tmp_path)
    assert [(job.out.name, len(job.logs)) for job in jobs] == [
        ("joined-w000-e000.mp4", 2),
        ("joined-w000-e001.mp4", 1),
    ]


def test_jobs_report_all_their_frames(recorded_logs, tmp_path):
    counted = []
    jobs = single_jobs(recorded_logs, tmp_path)
    for _ in range(2):  # the second time everything is there already
        counted.clear()
        outcomes = render_jobs(jobs, options=_SMALL, workers=1, on_progress=lambda n, outcome: counted.append(n))
        assert sum(counted) == sum(job.frames(_SMALL) for job in jobs)
    assert all(outcome.skipped for outcome in outcomes)


def test_a_bad_log_costs_only_its_own_video(run_folder):
    logs = sorted((run_folder / "episode_logs").glob("*.episode"))
    data = logs[0].read_bytes()
    cut = logs[0].with_name("000000000500-w000-e000-0000000000.episode")
    cut.write_bytes(data[: len(data) // 2])
    read, errors = load_logs([*logs, cut])
    assert len(read) == 2
    assert len(errors) == 1
    assert f"{cut}: cut off" in errors[0]


def test_the_script_renders_a_run_folder_in_parallel(run_folder, sprout, read_video):
    out = run_folder / "videos"
    result = _script(run_folder, "--scale", 1, "--fps", 15, "--no-panel", "--workers", 2, "--rom", sprout.path)
    assert result.returncode == 0, result.stderr
    logs = [EpisodeLog.load(path) for path in sorted((run_folder / "episode_logs").glob("*.episode"))]
    assert {path.name for path in out.iterdir()} == {f"{log.path.stem}.mp4" for log in logs}
    for log in logs:
        assert read_video(out / f"{log.path.stem}.mp4").seconds == log.frames / CONSOLE_FRAME_RATE
        assert f"{log.path.stem}.mp4: {log.frames} frames, all 5 RAM hashes equal" in result.stderr


def test_the_script_goes_on_after_a_bad_log(run_folder, sprout, monkeypatch, capsys):
    good, bad = sorted((run_folder / "episode_logs").glob("*.episode"))
    bad.write_bytes(bad.read_bytes()[:-20])
    look = ["--scale", "1", "--fps", "15", "--no-panel", "--workers", "1", "--rom", str(sprout.path)]
    for note in ("all 5 RAM hashes equal", "finished earlier, skipped"):
        monkeypatch.setattr(sys, "argv", ["render", "--logs", str(run_folder / "episode_logs" / "*.episode"), *look])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(_SCRIPT), run_name="__main__")
        assert ended.value.code == 1
        said = " ".join(capsys.readouterr().err.split())
        assert f"{bad}: cut off" in said
        assert f"{good.stem}.mp4: " in said
        assert note in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no logs named"),
        (["{folder}"], "no episode logs"),
        (["{folder}/gone"], "no such run folder or episode log"),
        (["{folder}", "--scale", "0"], "scale must be between"),
        (["{folder}", "--rom", "{folder}/gone.gb"], "No ROM at"),
    ],
)
def test_the_script_says_in_one_message_what_is_wrong(tmp_path, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["render", *(argument.format(folder=tmp_path) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(_SCRIPT), run_name="__main__")
    assert ended.value.code not in (0, None)
    assert message in " ".join(capsys.readouterr().err.split())


def _alive_in_group(group):
    alive = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process.cmdline())
    return alive


@pytest.mark.long
def test_ctrl_c_ends_all_processes_and_leaves_no_incomplete_video(run_folder, sprout):
    out = run_folder / "videos"
    command = [sys.executable, _SCRIPT, run_folder, "--scale", "8", "--workers", "2", "--rom", sprout.path]
    process = subprocess.Popen(
        list(map(str, command)), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 200
    while not list(out.glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(out.glob(".*.part"))
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert list(out.glob(".*")) == []
    deadline = time.monotonic() + 10
    while _alive_in_group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _alive_in_group(process.pid) == []
