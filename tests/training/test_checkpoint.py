import json
import resource
import threading
from pathlib import Path

import pytest
import torch

from pokered_rl.errors import CheckpointError
from pokered_rl.training.checkpoint import CheckpointStore, load_tensors, save_tensors


def _saved(store: CheckpointStore, steps: int) -> None:
    store.save(steps=steps, updates=steps // 10, state={"weights": torch.full((3,), float(steps)), "steps": steps})


def test_newest_checkpoint_is_found_with_its_counters(tmp_path: Path):
    store = CheckpointStore(tmp_path)
    assert store.newest() is None
    _saved(store, 100)
    _saved(store, 2000)
    newest = store.newest()
    assert newest is not None
    assert (newest.steps, newest.updates) == (2000, 200)
    assert newest.state()["weights"].tolist() == [2000.0] * 3


def test_only_the_last_checkpoints_are_kept(tmp_path: Path):
    store = CheckpointStore(tmp_path, keep=2)
    for steps in (10, 20, 30, 40):
        _saved(store, steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000030-000000003", "000000000040-000000004"]


@pytest.mark.parametrize("damage", ["cut", "changed", "no manifest", "part missing"])
def test_damaged_newest_checkpoint_is_passed_over_with_a_warning(tmp_path: Path, damage: str):
    store = CheckpointStore(tmp_path)
    _saved(store, 10)
    _saved(store, 20)
    folder = tmp_path / "000000000020-000000002"
    content = (folder / "state.pt").read_bytes()
    if damage == "cut":
        (folder / "state.pt").write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        (folder / "state.pt").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "state.pt").unlink()
    with pytest.warns(UserWarning, match="000000000020-000000002 is damaged"):
        newest = store.newest()
    assert newest is not None
    assert newest.steps == 10


def test_interrupted_writing_is_never_taken_for_a_checkpoint(tmp_path: Path):
    store = CheckpointStore(tmp_path)
    _saved(store, 10)

    def fail(folder: Path) -> None:
        (folder / "replay.json").write_text("{")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.save(steps=20, updates=2, state={}, write_parts=fail)
    newest = store.newest()
    assert newest is not None
    assert newest.steps == 10


def test_what_a_killed_job_left_is_swept_away_by_the_next_one_that_saves(tmp_path: Path):
    for name in (".writing-000000000005-000000000", ".removing-000000000001-000000000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.pt").write_bytes(b"half")
    store = CheckpointStore(tmp_path)
    store.newest()
    assert len(list(tmp_path.iterdir())) == 2, "a reader changes nothing"
    _saved(store, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["000000000010-000000001"]


def test_parts_are_covered_by_the_manifest(tmp_path: Path):
    store = CheckpointStore(tmp_path)
    store.save(steps=1, updates=0, state={}, write_parts=lambda folder: (folder / "part.bin").write_bytes(b"abc"))
    manifest = json.loads((tmp_path / "000000000001-000000000" / "manifest.json").read_text())
    assert manifest["files"]["part.bin"]["bytes"] == 3


def test_failed_background_writing_is_reported_at_the_next_wait(tmp_path: Path):
    store = CheckpointStore(tmp_path)
    _saved(store, 10)
    store.save(steps=20, updates=2, state={"file": open}, wait=False)  # a function is no state, but pickles
    store.wait()
    newest = store.newest()
    assert newest is not None
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        newest.state()


def test_loading_refuses_what_is_cut_short_or_missing(tmp_path: Path):
    path = tmp_path / "params.pt"
    with pytest.raises(CheckpointError, match="no file"):
        load_tensors(path)
    save_tensors(path, {"a": torch.arange(1000)})
    assert load_tensors(path)["a"].sum() == 499_500
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="truncated"):
        load_tensors(path)


def test_checkpoint_counts_as_written_only_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    may_write = threading.Event()

    def slow_save(*arguments):
        may_write.wait(30)
        torch_save(*arguments)

    torch_save = torch.save
    monkeypatch.setattr(torch, "save", slow_save)
    store = CheckpointStore(tmp_path)
    store.save(steps=20, updates=1, state={"a": torch.ones(2)}, wait=False)
    # A job that is killed now starts anew: nothing may promise step 20.
    assert store.written is None
    may_write.set()
    store.wait()
    assert store.written is not None
    assert (store.written.steps, store.written.path) == (20, store.newest().path)
    store.close()


def test_weights_on_a_full_disk_say_so_and_leave_the_old_ones(tmp_path: Path):
    path = tmp_path / "online_params.pt"
    save_tensors(path, {"a": torch.ones(2)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(OSError, match="File too large"):
            save_tensors(path, {"a": torch.ones(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_tensors(path)["a"].tolist() == [1, 1]
