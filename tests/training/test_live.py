"""What a run sends to a live page, and that it sends nothing without one."""

import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from pokered_rl.collectors.control import WatchRequest
from pokered_rl.episodes import EpisodeFolder, EpisodeLog, EpisodePlayer
from pokered_rl.record.live.feed import FeedReader, WatchFile
from pokered_rl.training import Callback, Experiment
from tiny_run import TINY

OVERRIDES = [*TINY, "run.name=a", "collector.backend=inline", "run.target_total_steps=400"]


class _Page(Callback):
    """Asks for emulator 1 and its log from the second batch on."""

    def __init__(self, folder) -> None:
        self.watch = WatchFile(folder)

    def on_batch(self, trainer, num_steps):
        if trainer.steps >= 40:
            self.watch.write(emulator=1, log_request=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    page = _Page(folder / "a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pokered_rl.training.live._LOOK_SECONDS", 0.0)
        Experiment("quickstart", overrides=[*OVERRIDES, f"run.folder={folder}"], callbacks=[page]).run()
    return folder / "a"


@pytest.mark.parametrize("request_", [WatchRequest(), WatchRequest(0, 0), WatchRequest(2**31 - 3, 2**20)])
def test_a_request_is_one_number_that_is_not_0(request_):
    assert request_.to_number() != 0
    assert WatchRequest.of_number(request_.to_number()) == request_
    assert WatchRequest.of_number(0) is None


def test_places_and_actions_in_the_feed_are_those_of_the_logs(run):
    (path,) = (run / "live").glob("feed-*.bin")
    records = list(FeedReader(run).read())
    assert path.is_file()
    assert records[0]["facts"]["emulators_per_worker"] == 2
    assert records[0]["facts"]["kind"] == "sprout"
    records = records[1:]
    assert len(records) >= 5
    compared = 0
    for log in EpisodeFolder(run / "episode_logs"):
        emulator = log.header.emulator
        with EpisodePlayer(log) as player:
            places = [0]
            for _ in range(log.steps):
                player.play_step()
                map_id, x, y = player.place
                places.append(map_id << 16 | x << 8 | y)
        for record in records:
            # Ten steps of an episode of forty: the batch at global step g holds steps (g / 2) % 40 + 1 ... of it.
            first = int(record["first_step"][emulator])
            taken = log.actions[first : first + 10]
            if np.array_equal(taken, record["actions"][:, emulator]):
                assert record["places"][:, emulator].tolist() == places[first + 1 : first + 11]
                assert np.allclose(record["rewards"][:, emulator], log.rewards[first : first + 10])
                compared += 1
    assert compared >= 5


def test_more_is_sent_of_the_emulator_that_is_looked_at(run):
    records = [record for record in FeedReader(run).read() if record.get("emulator") == 1]
    assert records
    for record in records:
        assert record["screens"].shape == (10, 72, 20)
        assert record["values"].shape == (10, 6)
        assert record["quantiles"].shape == (6, 5)
        assert record["masks"].shape == (10, 1)
        # The reward is the sum of its terms.
        assert np.allclose(record["terms"].sum(1), record["rewards"][:, 1], atol=1e-5)


def test_the_log_of_the_open_episode_is_sent_once_and_replays(run):
    logs = [record["log"].tobytes() for record in FeedReader(run).read() if "log" in record]
    assert len(logs) == 1
    log = EpisodeLog.from_bytes(logs[0])
    assert (log.header.emulator, log.steps > 0) == (1, True)
    folder = EpisodeFolder(run / "episode_logs")
    from pokered_rl.emulator import SaveState

    state = SaveState.load(folder.start_state_path(log.header.start_state_sha256))
    with EpisodePlayer(log, start_state=state) as player:
        player.play_to(log.steps)
        assert player.hashes_checked >= 1


def test_a_run_that_nobody_looks_at_writes_and_sends_nothing(tmp_path):
    seen = []

    class Listens(Callback):
        def on_batch(self, trainer, num_steps):
            seen.append(trainer.workers.control.watch)

    options = [*OVERRIDES, "run.target_total_steps=60", f"run.folder={tmp_path}"]
    Experiment("quickstart", overrides=options, callbacks=[Listens()]).run()
    assert set(seen) == {0}
    assert not (tmp_path / "a" / "live").exists()


def test_live_true_starts_the_server_with_the_job_and_ends_it_after(tmp_path, monkeypatch, capsys):
    started = []

    class Server:
        def __init__(self, command, *, stdin, **_):
            started.append(command)
            self.stdin = self

        def close(self):
            started.append("closed")

        def wait(self):
            return 0

    # Not `subprocess.Popen` itself, which asks git for the state of the checkout.
    processes = SimpleNamespace(Popen=Server, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr("pokered_rl.training.live.subprocess", processes)
    options = [*OVERRIDES, "run.target_total_steps=20", f"run.folder={tmp_path}", "live=true", "logging.live_port=8999"]
    Experiment("quickstart", overrides=options).run()
    command, ended = started
    assert command[1:] == ["-m", "pokered_rl", "live", str(tmp_path / "a"), "--port", "8999", "--with-job"]
    assert ended == "closed"
    assert "live page: http://127.0.0.1:8999" in capsys.readouterr().out
