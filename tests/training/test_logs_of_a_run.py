"""What the episode logs of a real run say about themselves."""

import hashlib
import json
from itertools import pairwise

import pytest

from pokered_rl.emulator import PYBOY_VERSION, Cartridge
from pokered_rl.episodes import EpisodeLog, Outcome, find_logs, load_start_state, verify
from pokered_rl.record.batch import joined_jobs, render_jobs
from pokered_rl.training.checkpoint import load_tensors


def _logs(run):
    return [EpisodeLog.load(path) for path in find_logs([run])]


def test_every_field_of_a_header_is_filled_by_the_run(finished):
    sprout = Cartridge.bundled()
    begins = [json.loads(line) for line in (finished / "jobs.jsonl").read_text().splitlines() if '"begin"' in line]
    configs = [begin["config_sha256"] for begin in begins]
    assert configs[-1] == hashlib.sha256((finished / "config.yaml").read_bytes()).hexdigest()
    updates = load_tensors(finished / "online_params.pt")["updates"]
    logs = _logs(finished)
    # 2 emulators, 200 steps: 100 steps of each are two episodes of 40 and a rest; job 1 ended within the second one.
    assert len(logs) == 2 * 4
    for log in logs:
        header = log.header
        assert (header.run_name, header.worker) == ("a", 0)
        assert header.emulator in (0, 1)
        assert (header.cartridge_sha1, header.cartridge_title) == (sprout.sha1, "SPROUT")
        assert header.pyboy_version == PYBOY_VERSION
        assert load_start_state(log).sha256 == header.start_state_sha256
        assert header.state_version == load_start_state(log).state_version
        assert header.actions == ("a", "b", "right", "left", "up", "down")
        assert (header.frames_per_action, header.hold_frames) == (24, 8)
        assert (header.wait_while_busy, header.max_wait_frames) == (True, 240)
        assert "new_tiles" in header.reward_terms
        assert header.epsilon == 1.0, "quickstart warms up for longer than this run lasts"
        assert header.seeds["run"] == 0
        assert header.seeds["worker"] > 0
        assert begins[0]["time"] < header.start_unix_seconds <= log.end_unix_seconds
        assert log.outcome in (Outcome.TRUNCATED, Outcome.SHUTDOWN)
        assert log.episode_return == pytest.approx(sum(log.term_returns.values()), abs=1e-4)
        assert verify(log) >= 2
    row = [log for log in logs if log.header.emulator == 1]
    assert [(log.header.episode, log.header.segment, log.steps) for log in row] == [
        (0, 0, 40),
        (1, 0, 30),  # the first job ended at 140 steps, 70 of each emulator
        (1, 1, 10),
        (2, 0, 20),
    ]
    assert [log.header.global_step for log in row] == [0, 80, 140, 160]
    assert [log.outcome for log in row] == [Outcome.TRUNCATED, Outcome.SHUTDOWN, Outcome.TRUNCATED, Outcome.SHUTDOWN]
    assert [log.header.config_sha256 for log in row] == [configs[0]] * 2 + [configs[1]] * 2
    # The two jobs draw from seeds of their own.
    assert len({log.header.seeds["worker"] for log in row}) == 2
    versions = [log.header.weights_version for log in row]
    assert versions[0] == 0
    assert versions == sorted(versions)
    assert 0 < versions[-1] <= updates


def test_run_without_ends_is_logged_in_segments_and_shown_in_one_video(train, runs, tmp_path):
    endless = ("env.max_episode_steps=0", "env.log_segment_steps=25")
    assert train("run.target_total_steps=120", *endless) == 0
    assert train("run.target_total_steps=200", *endless) == 0
    logs = _logs(runs / "a")
    for emulator in (0, 1):
        row = [log for log in logs if log.header.emulator == emulator]
        # 60 steps in the first job, 40 in the second.
        assert [log.steps for log in row] == [25, 25, 10, 25, 15]
        assert [log.header.segment for log in row] == [0, 1, 2, 3, 4]
        assert {log.header.episode for log in row} == {0}
        for log, following in pairwise(row):
            assert following.ram_hashes[0] == log.final_ram_hash
    jobs = joined_jobs(logs, tmp_path)
    outcomes = render_jobs(jobs, workers=1)
    for job, outcome in zip(jobs, outcomes, strict=True):
        assert outcome.error is None
        assert outcome.result.frames == sum(log.frames for log in job.logs)


def test_endless_episodes_and_waiting_for_their_ends_exclude_each_other(train, capsys):
    assert train("env.max_episode_steps=0", "collector.send=episodes") == 1
    assert "collector.send must be 'segments' with env.max_episode_steps=0" in capsys.readouterr().err
    assert train("env.max_episode_steps=1") == 1
    assert "env.max_episode_steps must be 0 or >= 2, got 1" in capsys.readouterr().err
