from pathlib import Path
from types import SimpleNamespace

from pokered_rl.episodes import EpisodeLog
from pokered_rl.training.milestones import MilestoneWatch


def test_best_new_episode_is_found_once_and_a_damaged_log_is_no_obstacle(finished, tmp_path: Path):
    log = sorted((finished / "episode_logs").glob("*.episode"))[0]
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "0-old.episode").write_bytes(log.read_bytes())
    watch = MilestoneWatch(folder)
    assert watch.new_best(-1) is None, "what was there before is not new"

    (folder / "1-cut.episode").write_bytes(log.read_bytes()[:50])
    (folder / "2-new.episode").write_bytes(log.read_bytes())
    reached = EpisodeLog.load(log).milestones
    expected = (len(reached), reached[-1].name) if reached else None
    assert watch.new_best(-1 if reached else 0) == expected
    assert watch.new_best(-1) is None


def test_missing_folder_holds_nothing(tmp_path: Path):
    assert MilestoneWatch(tmp_path / "gone").new_best(0) is None


def test_the_best_of_many_episodes_that_end_at_once_is_found(tmp_path: Path, monkeypatch):
    def load(path: Path):
        names = ["starter", "rival"][: int(path.stem) // 100]
        return SimpleNamespace(milestones=[SimpleNamespace(name=name) for name in names])

    monkeypatch.setattr("pokered_rl.training.milestones.EpisodeLog", SimpleNamespace(load=load))
    watch = MilestoneWatch(tmp_path)
    for number in range(201):
        (tmp_path / f"{number:03}.episode").touch()
    assert watch.new_best(0) == (2, "rival")
    assert watch.new_best(0) is None, "each is looked at once"
