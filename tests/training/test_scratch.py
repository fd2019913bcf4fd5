import json
import math
import re
import shutil
from pathlib import Path

import pytest

from file_limits import file_size_limit
from pokered_rl.errors import CheckpointError
from pokered_rl.training.config import Config
from pokered_rl.training.run_folder import replay_folder
from pokered_rl.training.runtime import Deadline, StopSignals
from pokered_rl.training.scratch import ScratchReplay


class SlowClock:
    """A clock that goes on by a second with each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class _Replay:
    """A replay of 100 sequences in a folder."""

    capacity_sequences = 100

    def __init__(self, folder: Path, filled: int) -> None:
        self.scratch_dir, self._filled = folder, filled

    def __len__(self) -> int:
        return self._filled


def _scratch(
    folder: Path, *, home: Path, max_seconds: float, share: float = 1.0, seconds_left: float = math.inf, **options
) -> ScratchReplay:
    """The rows in ``folder``, a share of them filled, with so many seconds until the scheduler ends the job."""
    environment = {} if math.isinf(seconds_left) else {"SLURM_JOB_END_TIME": str(seconds_left)}
    deadline = Deadline(
        max_runtime_seconds=1e9, start=0.0, margin_seconds=0.0, environment=environment, clock=lambda: 0.0
    )
    replay = _Replay(folder, round(100 * share))
    return ScratchReplay(replay, home=home, max_seconds=max_seconds, deadline=deadline, **options)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch" / "a"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{}")
    (folder / "pixels.memmap").write_bytes(b"x" * 1000 + bytes(3000))
    return folder


def test_only_the_filled_part_is_copied_back_and_the_size_kept(rows, tmp_path):
    home = tmp_path / "run" / "replay"
    home.mkdir(parents=True)
    (home / "old.memmap").write_bytes(b"old")
    scratch = _scratch(rows, home=home, max_seconds=60, share=0.25, seconds_left=60)
    assert "were copied back" in scratch.bring_back()
    assert sorted(path.name for path in home.iterdir()) == ["meta.json", "pixels.memmap"]
    assert (home / "pixels.memmap").read_bytes() == (rows / "pixels.memmap").read_bytes()
    assert [path.name for path in home.parent.iterdir()] == ["replay"]


def test_holes_of_a_file_are_neither_counted_nor_copied(rows, tmp_path, monkeypatch):
    home, block = tmp_path / "run" / "replay", rows / "block.memmap"
    with block.open("wb") as file:
        file.seek(8 << 20)
        file.write(b"second" * 2000)
        file.truncate(16 << 20)
    scratch = _scratch(rows, home=home, max_seconds=60, seconds_left=60)
    home.parent.mkdir()
    scratch.bytes_per_second = 1.0
    assert scratch.seconds_needed() == 0.0  # 17 kB at that speed are more than it may take
    scratch.bytes_per_second = 1e4
    assert scratch.seconds_needed() < 4, "of 16 MB"
    assert "were copied back" in scratch.bring_back()
    monkeypatch.setattr("pokered_rl.training.scratch.matching_sequences", lambda folder, saved: int(folder == home))
    fetched = _scratch(tmp_path / "node2" / "a", home=home, max_seconds=60)
    assert fetched.fetch(tmp_path) == 1
    for copy in (home, tmp_path / "node2" / "a"):
        assert (copy / "block.memmap").read_bytes() == block.read_bytes()
        assert (copy / "block.memmap").stat().st_blocks == block.stat().st_blocks


@pytest.mark.parametrize(("max_seconds", "seconds_left"), [(60, 1.5), (1.5, 60), (0, 60), (60, -5)])
def test_rows_without_time_are_declared_lost_and_leave_nothing_half(rows, tmp_path, max_seconds, seconds_left):
    home = tmp_path / "run" / "replay"
    home.mkdir(parents=True)
    (home / "kept").write_text("an older copy")
    scratch = _scratch(rows, home=home, max_seconds=max_seconds, seconds_left=seconds_left, clock=SlowClock())
    assert "lost with this node's disk" in scratch.bring_back()
    assert [path.name for path in home.parent.iterdir()] == ["replay"]
    assert (home / "kept").is_file()


def test_signal_while_rows_are_copied_back_ends_the_copying(rows, tmp_path):
    home = tmp_path / "run" / "replay"
    home.mkdir(parents=True)
    (home / "kept").write_text("an older copy")
    signals = StopSignals()
    signals.received = 1  # the one that ended the job does not count

    def clock() -> float:
        signals.received += 1
        return 0.0

    scratch = _scratch(rows, home=home, max_seconds=60, seconds_left=60, signals=signals, clock=clock)
    assert "copying them back was interrupted" in scratch.bring_back()
    assert [path.name for path in home.parent.iterdir()] == ["replay"]
    assert (home / "kept").is_file()


def test_rows_that_do_not_fit_are_declared_lost_and_the_older_copy_stays(rows, tmp_path):
    home = tmp_path / "run" / "replay"
    home.mkdir(parents=True)
    (home / "kept").write_text("an older copy")
    scratch = _scratch(rows, home=home, max_seconds=60, seconds_left=60)
    with file_size_limit(512):
        assert re.search(
            "lost with this node's disk: they cannot be copied back .*File too large",
            scratch.bring_back(),
        )
    shutil.rmtree(rows)
    assert "is empty" in scratch.bring_back()
    assert [path.name for path in home.parent.iterdir()] == ["replay"]
    assert (home / "kept").is_file()


def test_copy_that_does_not_fit_on_the_scratch_disk_says_what_to_do(rows, tmp_path, monkeypatch):
    scratch = _scratch(tmp_path / "node2" / "a", home=rows, max_seconds=60)
    monkeypatch.setattr("pokered_rl.training.scratch.matching_sequences", lambda folder, saved: int(folder == rows))
    with file_size_limit(512), pytest.raises(CheckpointError, match=r"set replay\.scratch_folder to another disk"):
        scratch.fetch(tmp_path)
    assert list((tmp_path / "node2").iterdir()) == []
    assert scratch.fetch(tmp_path) == 1
    assert [path.name for path in (tmp_path / "node2").iterdir()] == ["a"]


def test_time_needed_follows_the_measured_speed(rows, tmp_path):
    home = tmp_path / "run" / "replay"
    home.parent.mkdir()
    scratch = _scratch(rows, home=home, max_seconds=60, share=0.25, clock=SlowClock())
    assert scratch.seconds_needed() == 0.0, "nothing is known yet"
    scratch.measure()
    assert scratch.bytes_per_second == 32 << 20  # 32 MiB between two looks at the clock, a second apart
    scratch.bytes_per_second = 100.0
    assert scratch.seconds_needed() == pytest.approx(1.5 * 1002 / 100)
    full = _scratch(rows, home=home, max_seconds=60)
    full.bytes_per_second = 100.0
    assert full.seconds_needed() == 0.0, "1.5 * 4002 / 100 = 60.03 s are more than it may take: it will not be tried"
    assert list(home.parent.iterdir()) == []


def test_resumed_run_fetches_its_rows_from_the_copy_when_the_node_is_another(train, runs, tmp_path, capsys):
    first, second = tmp_path / "node1", tmp_path / "node2"
    assert train(f"replay.scratch_folder={first}", "run.target_total_steps=140") == 0
    assert "were copied back" in capsys.readouterr().out
    stored = json.loads((runs / "a" / "progress.json").read_text())["replay_sequences"]
    assert train(f"replay.scratch_folder={second}", "run.target_total_steps=200") == 0
    shown = capsys.readouterr().out
    assert f"{stored:,} sequences were fetched" in shown
    assert "left out" not in shown
    assert len(list(second.glob("a-*/meta.json"))) == 1


def test_runs_of_one_name_do_not_share_rows_on_a_scratch_disk(tmp_path):
    config = Config()
    config.run.name = "a"
    assert replay_folder(config, tmp_path / "x" / "a") == tmp_path / "x" / "a" / "replay"
    config.replay.scratch_folder = str(tmp_path / "disk")
    rows = [replay_folder(config, tmp_path / folder / "a") for folder in ("x", "y", "x")]
    assert rows[0] == rows[2] != rows[1]
    assert {path.parent for path in rows} == {tmp_path / "disk"}


def test_loss_on_scratch_needs_the_users_consent_also_with_resume_must(train, runs, tmp_path, capsys):
    off = "replay.copy_back_max_seconds=0"
    assert train(f"replay.scratch_folder={tmp_path / 'node1'}", off, "run.target_total_steps=140") == 0
    assert "lost with this node's disk" in capsys.readouterr().out
    again = (f"replay.scratch_folder={tmp_path / 'node2'}", off, "run.resume=must", "run.target_total_steps=200")
    assert train(*again) == 1
    assert "replay.on_loss=refill" in capsys.readouterr().err
    assert train(*again, "replay.on_loss=refill") == 0
    assert "the learner waits until 8 sequences are there" in capsys.readouterr().out
