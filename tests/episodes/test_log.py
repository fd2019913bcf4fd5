import numpy as np
import pytest

from pokered_rl.episodes import EpisodeFolder, EpisodeLog, EpisodeLogWriter, Outcome, ReachedMilestone, find_logs
from pokered_rl.errors import EpisodeLogError


def _assert_same(one, other):
    assert one.header == other.header
    for name in ("actions", "wait_frames", "rewards", "term_rewards"):
        mine, its = getattr(one, name), getattr(other, name)
        assert mine.dtype == its.dtype
        assert mine.shape == its.shape
        assert mine.tobytes() == its.tobytes(), name
    for name in ("ram_hashes", "milestones", "outcome", "end_unix_seconds"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("steps", [1, 2, 250])
def test_a_log_is_read_back_bit_for_bit(make_log, tmp_path, steps):
    log = make_log(steps=steps, milestones=())
    path = log.save(tmp_path)
    read = EpisodeLog.load(path)
    _assert_same(log, read)
    assert read.path == path


def test_rewards_keep_their_bits_whatever_they_are(make_log, make_header):
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 0.1, 3.4e38, 0.0], np.float32)
    for terms in (np.zeros((8, 0)), np.zeros((8, 3)), np.stack([odd, odd[::-1], odd], axis=1)):
        log = make_log(
            steps=8,
            rewards=odd,
            term_rewards=terms.astype(np.float32),
            header=make_header(reward_terms=("x", "y", "z")[: terms.shape[1]]),
            milestones=(),
        )
        _assert_same(log, EpisodeLog.from_bytes(log.to_bytes()))


@pytest.mark.parametrize("distinct", [254, 255, 256, 65535, 65536])
def test_reward_tables_of_every_index_width_are_read_back(make_log, make_header, distinct):
    rewards = np.arange(1, distinct + 1, dtype=np.float32)
    log = make_log(
        steps=distinct,
        rewards=rewards,
        term_rewards=np.zeros((distinct, 0), np.float32),
        header=make_header(reward_terms=()),
    )
    _assert_same(log, EpisodeLog.from_bytes(log.to_bytes()))


def test_two_thousand_steps_take_less_than_eight_kilobytes(make_log):
    assert len(make_log(steps=2000).to_bytes()) < 8 * 1024


def test_sums_are_those_of_the_steps(make_log):
    log = make_log(
        steps=3,
        rewards=np.array([1.0, 0.5, 0.0], np.float32),
        term_rewards=np.array([[1.0, 0.0], [0.25, 0.25], [0.0, 0.0]], np.float32),
        wait_frames=np.array([0, 6, 240], np.uint16),
        milestones=(),
    )
    assert log.episode_return == 1.5
    assert log.term_returns == {"coverage": 1.25, "events": 0.25}
    assert log.frames == 3 * 24 + 246  # 24 an action, and what was waited


def test_the_writer_writes_the_steps_that_were_added(make_header, tmp_path):
    header = make_header(ram_hash_every_steps=2)
    writer = EpisodeLogWriter(folder=tmp_path, header=header, start_ram_hash="00" * 32)
    due = []
    for step in range(5):
        writer.step(step, wait_frames=10 * step, reward=float(step), terms=(step, 0.0))
        due.append(writer.ram_hash_due)
        if writer.ram_hash_due:
            writer.add_ram_hash(f"{writer.steps:064x}")
        if step == 3:
            writer.add_milestone("door")
    log = EpisodeLog.load(writer.finish(Outcome.TERMINATED, ram_hash="ff" * 32))
    assert due == [False, True, False, True, False]
    assert log.actions.tolist() == [0, 1, 2, 3, 4]
    assert log.wait_frames.tolist() == [0, 10, 20, 30, 40]
    assert log.rewards.tolist() == log.term_rewards[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert log.ram_hashes == {0: "00" * 32, 2: f"{2:064x}", 4: f"{4:064x}", 5: "ff" * 32}
    assert log.milestones == ((4, "door"),)
    assert log.outcome is Outcome.TERMINATED


def test_an_episode_without_a_step_leaves_no_file(make_header, tmp_path):
    writer = EpisodeLogWriter(folder=tmp_path, header=make_header())
    assert writer.finish(Outcome.SHUTDOWN, ram_hash="00" * 32) is None
    assert list(tmp_path.iterdir()) == []


def test_names_sort_by_global_step_and_never_replace_an_earlier_jobs_log(make_log, make_header, tmp_path):
    # The second job resumed from a checkpoint and counts the steps from 900 again; worker and emulator are the same.
    saved = [
        make_log(seed=seed, header=make_header(global_step=step)).save(tmp_path)
        for seed, step in ((0, 900), (1, 100_000), (2, 900))
    ]
    assert len(set(saved)) == 3
    in_order = EpisodeFolder(tmp_path).logs()
    assert [log.header.global_step for log in EpisodeFolder(tmp_path)] == [900, 900, 100_000]
    assert set(in_order) == set(saved)


def test_a_failed_write_leaves_nothing_behind(make_log, tmp_path, monkeypatch):
    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pokered_rl.atomic.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        make_log().save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.zeros(3, np.float32)}, r"rewards has shape \[3\], expected \[250\]"),
        ({"actions": np.full(250, 8, np.uint8)}, "action 8 at step 0, the action set has 8"),
        ({"ram_hashes": {0: "00" * 32}}, r"no RAM hash at the last step \(250\)"),
        ({"milestones": ((251, "late"),)}, "late at step 251, the episode has 250 steps"),
    ],
)
def test_a_log_that_contradicts_itself_is_refused(make_log, changes, message):
    if "milestones" in changes:
        changes = {"milestones": tuple(ReachedMilestone(*m) for m in changes["milestones"])}
    with pytest.raises(EpisodeLogError, match=message):
        make_log(**changes)


def test_logs_are_found_by_run_folder_file_and_glob(make_log, make_header, tmp_path):
    folder = tmp_path / "run" / "episode_logs"
    first, second = (make_log(header=make_header(global_step=step)).save(folder) for step in (1, 2))
    for sources in ([tmp_path / "run"], [folder], [first, second], [folder / "*.episode"], [tmp_path / "run", first]):
        assert find_logs(sources) == [first, second]


@pytest.mark.parametrize(
    ("source", "message"), [("empty", "no episode logs"), ("gone", "no such"), ("*.episode", "no such")]
)
def test_a_source_without_logs_is_named(tmp_path, source, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EpisodeLogError, match=message):
        find_logs([tmp_path / source])
