import json
import resource
import shutil
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


class TestFoldersOfOthers:
    """Nothing but complete checkpoints of the run itself is ever removed."""

    @pytest.mark.parametrize("name", ["best", "analysis", "000000000005-000000000.old", "12"])
    def test_folder_of_another_name_stays_and_is_no_checkpoint(self, tmp_path: Path, name: str):
        store = CheckpointStore(tmp_path, keep=1, run_id="run")
        _saved(store, 10)
        shutil.copytree(tmp_path / "000000000010-000000001", tmp_path / name)
        for steps in (20, 30):
            _saved(store, steps)
        assert {path.name for path in tmp_path.iterdir()} == {name, "000000000030-000000003"}
        assert store.newest().steps == 30

    @pytest.mark.parametrize("kind", ["another run", "a file put into it", "damaged", "no manifest"])
    def test_folder_that_is_not_a_whole_checkpoint_of_this_run_stays_and_fills_no_slot(self, tmp_path: Path, kind: str):
        first = tmp_path / "000000000010-000000001"
        _saved(CheckpointStore(tmp_path, run_id="other" if kind == "another run" else "run"), 10)
        if kind == "a file put into it":
            (first / "keep").touch()
        elif kind == "damaged":
            (first / "state.pt").write_bytes(b"cut")
        elif kind == "no manifest":
            (first / "manifest.json").unlink()
        store = CheckpointStore(tmp_path, keep=2, run_id="run")
        for steps in (20, 30, 40):
            _saved(store, steps)
        kept = ["000000000010-000000001", "000000000030-000000003", "000000000040-000000004"]
        assert sorted(path.name for path in tmp_path.iterdir()) == kept

    def test_same_damage_of_the_same_size_fills_no_slot_once_it_was_seen(self, tmp_path: Path):
        _saved(CheckpointStore(tmp_path, run_id="run"), 10)
        _saved(CheckpointStore(tmp_path, run_id="run"), 20)
        state = tmp_path / "000000000020-000000002" / "state.pt"
        state.write_bytes(bytes(state.stat().st_size))
        store = CheckpointStore(tmp_path, keep=1, run_id="run")
        with pytest.warns(UserWarning, match="damaged"):
            assert store.newest().steps == 10
        _saved(store, 15)
        assert {path.name for path in tmp_path.iterdir()} == {"000000000015-000000001", "000000000020-000000002"}

    def test_second_checkpoint_at_a_step_takes_no_place_of_the_first(self, tmp_path: Path):
        store = CheckpointStore(tmp_path, keep=2)
        _saved(store, 10)
        store.save(steps=10, updates=1, state={"second": True})
        assert len(list(tmp_path.iterdir())) == 2
        assert store.newest().state() == {"second": True}

    def test_symbolic_link_is_no_checkpoint(self, tmp_path: Path):
        store = CheckpointStore(tmp_path / "a", run_id="run")
        _saved(store, 10)
        _saved(CheckpointStore(tmp_path / "b", run_id="run"), 20)
        (tmp_path / "a" / "000000000020-000000002").symlink_to(tmp_path / "b" / "000000000020-000000002")
        with pytest.warns(UserWarning, match="symbolic link"):
            assert store.newest().steps == 10


class TestNothingBeginsFromNothing:
    @pytest.mark.parametrize(
        ("damage", "words"),
        [("cut", "is damaged"), ("other run", r"another run \(id theirs"), ("renamed", "rename best to STEPS-UPDATES")],
    )
    @pytest.mark.filterwarnings("ignore:checkpoint")
    def test_run_whose_checkpoints_cannot_be_used_is_refused_with_what_to_do(
        self, tmp_path: Path, damage: str, words: str
    ):
        _saved(CheckpointStore(tmp_path, run_id="theirs"), 10)
        folder = tmp_path / "000000000010-000000001"
        if damage == "cut":
            (folder / "state.pt").write_bytes(b"")
        elif damage == "renamed":
            folder.rename(tmp_path / "best")
        with pytest.raises(CheckpointError, match=words) as caught:
            CheckpointStore(tmp_path, run_id="mine").newest()
        assert "does not begin again from nothing" in str(caught.value)

    def test_disk_that_fails_is_not_taken_for_damage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        store = CheckpointStore(tmp_path)
        _saved(store, 10)
        _saved(store, 20)

        def fail(path: Path) -> str:
            raise OSError(5, "Input/output error", str(path))

        monkeypatch.setattr("pokered_rl.training.checkpoint.sha256_of", fail)
        with pytest.raises(CheckpointError, match=r"000000000020-000000002 cannot be read .* may be intact"):
            store.newest()


def test_what_a_checkpoint_refers_to_is_flushed_before_it_has_its_name(tmp_path: Path):
    names: list[list[str]] = []
    store = CheckpointStore(tmp_path)
    store.save(steps=1, updates=0, state={}, flush=lambda: names.append([path.name for path in tmp_path.iterdir()]))
    assert names == [[".writing-000000000001-000000000"]]
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001-000000000"]
