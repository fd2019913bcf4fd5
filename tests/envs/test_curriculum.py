"""The archive of states: what is kept, what is drawn, how processes share it."""

import json
import os
import re
from collections import Counter

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torchrl.envs.utils import step_mdp

from pokered_rl.atomic import LockToken
from pokered_rl.emulator import Cartridge, Emulator, SaveState
from pokered_rl.envs import ArchiveStates, StateArchive, make_env
from pokered_rl.envs.curriculum import ArchiveStarts, Level, level_of
from pokered_rl.envs.start_states import StartStates
from pokered_rl.errors import CheckpointError, ConfigError, RunLostError
from pokered_rl.game.ram_map import RAM_MAP


@pytest.fixture(scope="module")
def state() -> SaveState:
    with Emulator(Cartridge.find()) as emulator:
        return emulator.save_state()


def _cell(archive: StateArchive, key: str, state: SaveState | None = None, *, story: int = 0, depth: int = 10) -> str:
    archive.add_level(Level(f"level{story}", tuple(range(story))))
    archive.add_cell(key, level=f"level{story}", story=story, map_id=1, x=2, y=3, depth_steps=depth)
    if state is not None:
        archive.add_state(key, state, {"MapMemory": {"x": torch.tensor([7])}}, depth_steps=depth)
    return key


def _draws(archive: StateArchive, count: int = 400) -> Counter:
    generator = np.random.default_rng(0)
    return Counter(archive.draw(generator).cell for _ in range(count))


def test_state_comes_back_with_memory_and_depth(state):
    archive = StateArchive()
    _cell(archive, "a", state, depth=33)
    start = archive.draw(np.random.default_rng(0))
    assert start.state.sha256 == state.sha256
    assert start.memory["MapMemory"]["x"].tolist() == [7]
    assert (start.cell, start.depth_steps) == ("a", 33)


def test_archive_without_states_draws_nothing():
    archive = StateArchive()
    _cell(archive, "a")
    assert archive.draw(np.random.default_rng(0)) is None


def test_bottleneck_is_drawn_more_often_than_what_always_or_never_succeeds(state):
    archive = StateArchive(bottleneck_share=1.0)
    for key, successes in (("always", 20), ("sometimes", 10), ("never", 0)):
        _cell(archive, key, state)
        for k in range(20):
            archive.add_start(key)
            archive.add_outcome(key, success=k < successes)
    # Laplace: 21/22, 11/22, 1/22 -> p (1 - p) = 0.043, 0.25, 0.043.
    drawn = _draws(archive)
    assert drawn["sometimes"] > 2 * max(drawn["always"], drawn["never"])
    assert min(drawn["always"], drawn["never"]) > 0, "nothing is given up"


def test_level_that_always_succeeds_makes_room_for_the_next(state):
    archive = StateArchive(bottleneck_share=1.0)
    for story in range(4):
        _cell(archive, f"c{story}", state, story=story)
        for _ in range(60):  # the moving rate of levels 0 and 1 approaches 1, that of 2 and 3 stays near 1/2
            archive.add_outcome(f"c{story}", success=story < 2 or bool(_ % 2))
    drawn = _draws(archive)
    assert drawn["c2"] + drawn["c3"] > 3 * (drawn["c0"] + drawn["c1"])


def test_level_where_episodes_from_power_on_end_is_drawn_more_often(state):
    archive = StateArchive(bottleneck_share=1.0)
    for story in range(6):
        _cell(archive, f"c{story}", state, story=story)
        for _ in range(200):  # nothing ever succeeds
            archive.add_outcome(f"c{story}", success=False)
    before = _draws(archive)["c2"]
    for _ in range(50):
        archive.add_stop("level2")
    assert _draws(archive)["c2"] > max(2 * before, 0.4 * 400)


def test_stuck_level_that_mostly_succeeds_is_drawn_less_than_one_that_fails(state):
    archive = StateArchive(bottleneck_share=1.0)
    for story in range(4):
        _cell(archive, f"c{story}", state, story=story)
        for _ in range(100):  # moving rates: 0 for levels 0, 2 and 3, nearly 1 for level 1
            archive.add_outcome(f"c{story}", success=story == 1)
    for _ in range(50):
        archive.add_stop("level0")
        archive.add_stop("level1")
    drawn = _draws(archive)
    assert drawn["c0"] > 0.4 * 400 > 4 * drawn["c1"]


def test_dead_end_is_drawn_less_the_more_episodes_failed_there(state):
    archive = StateArchive(bottleneck_share=1.0)
    for story, failures in enumerate((2000, 60, 60, 60)):  # the two levels with the most events get a bonus
        _cell(archive, f"c{story}", state, story=story)
        for _ in range(failures):
            archive.add_outcome(f"c{story}", success=False)
    # Floors 0.005 + 0.025 / (1 + failures / 200): 0.0073 and 0.0242.
    drawn = _draws(archive, 1000)
    assert drawn["c1"] > 2 * drawn["c0"] > 0


def test_cell_is_judged_by_its_map_until_it_was_tried_itself(state):
    archive = StateArchive(bottleneck_share=1.0)
    for map_id in (1, 2):
        for k in range(20):
            key = f"m{map_id}{k:02}"
            archive.add_level(Level("level0", ()))
            archive.add_cell(key, level="level0", story=0, map_id=map_id, x=k, y=0, depth_steps=1)
            archive.add_state(key, state, {}, depth_steps=1)
            for _ in range(10 if k < 10 else 0):
                archive.add_outcome(key, success=map_id == 2 and bool(_ % 2))
    drawn = _draws(archive)
    untried = {m: sum(drawn[f"m{m}{k}"] for k in range(10, 20)) for m in (1, 2)}
    assert untried[2] > 4 * untried[1], "expected rates are 0.01 and 0.5: p (1 - p) is 0.0097 and 0.25"


def test_frontier_draws_go_to_cells_that_were_started_least(state):
    archive = StateArchive(bottleneck_share=0.0)
    for key, starts in (("old", 99), ("new", 0)):
        _cell(archive, key, state)
        for _ in range(starts):
            archive.add_start(key)
    # 1 / sqrt(100) against 1: one in eleven at first.
    assert _draws(archive, 20)["new"] > 10


def test_states_of_a_cell_and_in_all_are_bounded_and_every_level_keeps_one(state, tmp_path):
    archive = StateArchive(folder=tmp_path, states_per_cell=2, max_states=10)
    for _ in range(3):
        _cell(archive, "a", state)
    assert len(archive.cells["a"].states) == 2
    for k in range(30):
        _cell(archive, f"k{k:02}", state, story=k % 3)
    assert archive.num_states <= 10
    assert {cell.story for cell in archive.cells.values() if cell.states} == {0, 1, 2}
    assert len(list(tmp_path.glob("*.state"))) == archive.num_states, "files go with their states"


def test_writers_share_a_folder(state, tmp_path):
    one, two = (StateArchive(folder=tmp_path, writer=name, refresh_seconds=0) for name in ("one", "two"))
    _cell(one, "a", state)
    assert two.draw(np.random.default_rng(0)).cell == "a"
    two.add_outcome("a", success=True)
    one.refresh()
    assert (one.cells["a"].starts, one.cells["a"].successes) == (1, 1)


def test_line_cut_short_by_a_crash_is_read_when_it_is_whole(state, tmp_path):
    one, two = (StateArchive(folder=tmp_path, writer=name, refresh_seconds=0) for name in ("one", "two"))
    _cell(one, "a", state)
    journal = tmp_path / "one.jsonl"
    line = json.dumps({"do": "end", "key": "a", "ok": 1}).encode() + b"\n"
    with journal.open("ab") as file:
        file.write(line[:10])
    two.refresh()
    assert two.cells["a"].successes == 0
    with journal.open("ab") as file:
        file.write(line[10:])
    two.refresh()
    assert two.cells["a"].successes == 1


def test_state_that_is_gone_or_damaged_is_left_out(state, tmp_path):
    archive = StateArchive(folder=tmp_path)
    for key in ("gone", "damaged", "whole"):
        _cell(archive, key, state)
    (tmp_path / f"{archive.cells['gone'].states[0]}.state").unlink()
    (tmp_path / f"{archive.cells['damaged'].states[0]}.state").write_bytes(b"x" * 100)
    with pytest.warns(UserWarning, match="damaged-0-2 .* is left out"):
        assert set(_draws(archive, 40)) == {"whole"}


@pytest.mark.parametrize("shared", [False, True])
def test_saved_archive_goes_on_as_if_nothing_had_happened(state, tmp_path, shared):
    folder = tmp_path if shared else None
    archive = StateArchive(folder=folder)
    for k in range(6):
        _cell(archive, f"c{k}", state, story=k % 2)
    archive.add_stop("level1")
    saved = archive.state_dict()
    expected = _draws(archive, 50)
    _cell(archive, "dead", state)

    again = StateArchive(folder=folder)
    again.load_state_dict(saved)
    assert "dead" not in again.cells
    assert _draws(again, 50) == expected


def test_a_fixed_part_of_the_emulators_begins_at_power_on(state):
    archive = StateArchive()
    _cell(archive, "a", state)
    starts = ArchiveStarts(archive, StartStates(state), power_on_share=0.25, max_steps=160)
    generator = np.random.default_rng(0)
    drawn = [starts.draw(generator, emulator=e, num_emulators=8) for e in range(8)]
    assert [start.cell for start in drawn] == ["a", "a", "a", "", "a", "a", "a", ""]
    assert [start.max_steps for start in drawn] == [160, 160, 160, None, 160, 160, 160, None]


def test_events_and_badges_make_a_level():
    assert level_of(b"\x03\x00", 1).events == (0, 1)
    assert len({level_of(*each).key for each in ((b"\3\0", 1), (b"\5\0", 1), (b"\3\0", 2))}) == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: StateArchive(bottleneck_share=1.5), "bottleneck_share must be in"),
        (lambda: StateArchive(max_states=0), "max_states"),
        (lambda: ArchiveStates(StateArchive(), patience_steps=0), "patience_steps must be >= 1"),
        (lambda: ArchiveStates(StateArchive(), power_on_patience_steps=0), "power_on_patience_steps must be >= 1"),
        (lambda: ArchiveStarts(StateArchive(), None, power_on_share=-1), "power_on_share must be in"),
    ],
)
def test_numbers_out_of_range_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def _play(env, steps: int, seed: int = 0) -> None:
    torch.manual_seed(seed)
    tensordict = env.reset()
    for _ in range(steps):
        tensordict = env.step(_act(tensordict))
        tensordict = _next(env, tensordict)


def _flat(tree) -> list:
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in _flat(tree[key])]
    return tree.tolist() if isinstance(tree, torch.Tensor) else [tree]


def _act(tensordict):
    """A random allowed action, from the tensordict alone."""
    action = torch.multinomial(tensordict["action_mask"].float(), 1).squeeze(-1)
    return tensordict.set("action", action)


def _next(env, tensordict):
    after = step_mdp(tensordict)
    if after["done"].any():
        after["_reset"] = after["done"].clone()
        after = env.reset(after)
        after.pop("_reset", None)
    return after


def test_archived_episode_begins_where_it_was_captured_and_is_not_paid_again():
    archive = StateArchive()
    env = make_env(
        num_emulators=4,
        seed=0,
        max_episode_steps=60,
        extra_transforms=[ArchiveStates(archive, patience_steps=20, capture_every_steps=1)],
    )
    try:
        _play(env, 90)
        assert archive.num_states > 3
        tensordict = env.reset()
        base = env.base_env
        archived = [e for e in range(4) if base.start(e).cell]
        assert len(archived) == 3, "emulator 3 plays from power-on"
        remembered = next(each for each in env.transform if type(each).__name__ == "RewardTerms").memory
        for e in archived:
            carried = base.start(e).memory["RewardTerms"]
            assert _flat(remembered.emulator_state(e)) == _flat(carried), "walked ground stays walked"
        assert tensordict["step_count"].eq(0).all()
    finally:
        env.close()


def test_archived_episode_ends_some_steps_after_its_last_news():
    archive = StateArchive()
    env = make_env(
        num_emulators=4,
        seed=0,
        max_episode_steps=1000,
        extra_transforms=[ArchiveStates(archive, patience_steps=12, capture_every_steps=1)],
    )
    try:
        tensordict = env.reset()
        for _ in range(40):  # the no-op finds nothing new after the first cell
            tensordict["action"] = torch.zeros(4, dtype=torch.int64)
            tensordict = env.step(tensordict)["next"]
            if tensordict["truncated"].any():
                break
        # The first step finds the first cell, which counts for emulator 0 alone: its 12 steps begin there.
        assert tensordict["step_count"].flatten().tolist() == [12] * 4
        assert tensordict["truncated"].flatten().tolist() == [False, True, True, False]
    finally:
        env.close()


def test_episode_from_power_on_ends_some_steps_after_its_last_news_where_that_is_asked_for():
    transform = ArchiveStates(StateArchive(), power_on_share=1.0, power_on_patience_steps=5)
    env = make_env(num_emulators=2, seed=0, max_episode_steps=1000, extra_transforms=[transform])
    try:
        tensordict = env.reset()
        truncated = []
        for _ in range(8):
            tensordict["action"] = torch.zeros(2, dtype=torch.int64)
            tensordict = env.step(tensordict)["next"]
            truncated.append(tensordict["truncated"].flatten().tolist())
        # The first step finds the first cell, which is news to emulator 0 alone: it has 5 steps more.
        assert [[row[e] for row in truncated].index(True) for e in range(2)] == [5, 4]
        archive = transform.archive
        assert archive.level_stops == {}
        env.reset()
        [(level, share)] = archive.level_stops.items()
        assert (level, share) == (level_of(b"\0" * 320, 0).key, pytest.approx(1 - 0.98**2)), "both ended with no event"
    finally:
        env.close()


def _set_event(transform: ArchiveStates, ram: torch.Tensor, bit: int) -> torch.Tensor:
    """Let the game set an event flag: return the RAM after it, and show it to the transform."""
    ram = ram.clone()
    ram[0, transform.ram_layout.column(RAM_MAP["wEventFlags"].address + bit // 8)] |= 1 << bit % 8
    transform(TensorDict({"ram": ram, "action": torch.zeros(1, dtype=torch.int64)}, batch_size=[1]))
    return ram


def test_the_last_three_side_events_tell_levels_apart():
    profile = Cartridge.bundled().profile
    needed, side = profile.required_events[0], [bit for bit in profile.events if bit not in profile.required_events]
    transform = ArchiveStates(StateArchive(), power_on_share=1.0)
    env = make_env(num_emulators=1, seed=0, extra_transforms=[transform])
    try:
        tensordict = env.reset()
        tensordict["action"] = torch.zeros(1, dtype=torch.int64)
        ram = env.step(tensordict)["next"]["ram"]
        for bit in (side[1], needed, side[0], side[2], side[3]):
            ram = _set_event(transform, ram, bit)
        archive = transform.archive
        assert [set(events) for events in archive.level_events.values()] == [
            set(),
            {side[1]},
            {side[1], needed},
            {side[1], needed, side[0]},
            {side[1], needed, side[0], side[2]},
            {needed, side[0], side[2], side[3]},
        ]
        assert [cell.story for cell in archive.cells.values()] == [0, 1, 2, 3, 4, 5], "all of them are counted"
    finally:
        env.close()


def test_the_last_events_are_known_where_an_episode_begins_in_the_archive(state):
    profile = Cartridge.bundled().profile
    first, second, *_ = (bit for bit in profile.events if bit not in profile.required_events)
    archive = StateArchive()
    archive.add_level(Level("been", (first, 2600)))  # an earlier version's number for a place
    key = f"{0xAB:016x}"
    archive.add_cell(key, level="been", story=1, map_id=1, x=0, y=0, depth_steps=100)
    archive.add_state(key, state, {}, depth_steps=100)
    transform = ArchiveStates(archive, power_on_share=0.0)
    env = make_env(num_emulators=1, seed=0, extra_transforms=[transform])
    try:
        tensordict = env.reset()
        tensordict["action"] = torch.zeros(1, dtype=torch.int64)
        ram = env.step(tensordict)["next"]["ram"]
        [cell] = (cell for cell in archive.cells.values() if cell.key != key)
        assert archive.level_events[cell.level] == (first,)
        assert archive.cells[key].ends == 0
        _set_event(transform, ram, second)
        assert (archive.cells[key].ends, archive.cells[key].successes) == (1, 1), "a further event is a success"
        assert archive.level_events[list(archive.cells.values())[-1].level] == tuple(sorted((first, second)))
    finally:
        env.close()


def test_environment_with_archive_continues_identically(tmp_path):
    def make():
        archive = StateArchive(folder=tmp_path)
        transform = ArchiveStates(archive, patience_steps=15, capture_every_steps=4)
        return make_env(num_emulators=3, seed=1, max_episode_steps=40, extra_transforms=[transform])

    env = make()
    torch.manual_seed(3)
    tensordict = env.reset()
    for _ in range(60):
        tensordict = _next(env, env.step(_act(tensordict)))
    saved = (env.base_env.episode_state(), dict(env.state_dict()), tensordict.clone(), torch.get_rng_state())

    def go_on(env, tensordict):
        seen = []
        for _ in range(50):
            tensordict = env.step(_act(tensordict))
            seen.append(tensordict["next", "ram"].clone())
            tensordict = _next(env, tensordict)
        return seen

    expected = go_on(env, tensordict)
    env.close()
    again = make()
    again.reset()
    again.base_env.load_episode_state(saved[0])
    again.load_state_dict(saved[1])
    torch.set_rng_state(saved[3])
    found = go_on(again, saved[2])
    again.close()
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", ["0.jsonl", "other.jsonl"])
def test_link_in_the_folder_is_refused_and_what_it_names_is_left_alone(state, tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    archive = StateArchive(folder=tmp_path / "archive", refresh_seconds=0)
    _cell(archive, "a", state)
    saved = archive.state_dict()
    (tmp_path / "archive" / name).unlink(missing_ok=True)
    (tmp_path / "archive" / name).symlink_to(outside)
    with pytest.raises(CheckpointError, match="symbolic link"):
        archive.load()
    if name == "0.jsonl":
        with pytest.raises(CheckpointError, match="symbolic link"):
            _cell(archive, "b")
        saved["positions"]["0"] = 0
        with pytest.raises(CheckpointError, match="symbolic link"):
            archive.load_state_dict(saved)
    assert outside.read_text() == "precious"


@pytest.mark.parametrize(
    "record",
    [
        {"do": "state", "key": "a", "name": "../../x-0-1", "bytes": 1, "depth": 1},
        {"do": "state", "key": "a", "name": "b-0-1", "bytes": 1, "depth": 1},
        {"do": "state", "key": "a", "name": "a-0-1", "bytes": -1, "depth": 1},
        {"do": "state", "key": "a", "name": "a-0-1", "bytes": 1, "depth": "1"},
        {"do": "gone", "key": "a", "name": "a/../../x-0-1"},
        {"do": "gone", "key": "a"},
        {"do": "level", "key": "a", "events": [0] * 5000},
        {"do": "level", "key": "a", "events": [{}]},
        {"do": "level", "key": ["a"], "events": []},
        {"do": "cell", "key": "b", "level": "l", "parent": "", "story": 1e9, "map": 1, "x": 1, "y": 1, "depth": 1},
        {"do": "cell", "key": "b/c", "level": "l", "parent": "", "story": 1, "map": 1, "x": 1, "y": 1, "depth": 1},
        {"do": "end", "key": "a", "ok": 10**9},
        {"do": "start", "key": "no_number"},
        {"do": "run", "key": "a"},
        ["do"],
    ],
)
def test_journal_of_a_stranger_is_checked_value_by_value(state, tmp_path, record):
    archive = StateArchive(folder=tmp_path / "archive")
    _cell(archive, "a", state)
    (tmp_path / "archive" / "other.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(CheckpointError, match=r"other\.jsonl is no journal of an archive"):
        StateArchive(folder=tmp_path / "archive").copy_to(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("what", ["link", "pipe", "large"])
def test_file_of_an_archive_that_is_no_plain_one_is_not_copied(state, tmp_path, what):
    archive = StateArchive(folder=tmp_path / "archive")
    _cell(archive, "a", state)
    (file,) = (tmp_path / "archive").glob("*.state")
    file.rename(tmp_path / "outside")
    if what == "link":
        file.symlink_to(tmp_path / "outside")
    elif what == "pipe":
        os.mkfifo(file)
    else:
        with file.open("wb") as hole:
            hole.truncate(1 << 40)
    with pytest.raises(CheckpointError, match=re.escape(file.name)):
        StateArchive(folder=tmp_path / "archive").copy_to(tmp_path / "copy")
    (tmp_path / "archive" / "pipe.jsonl").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "archive" / "pipe.jsonl")
    with pytest.raises(CheckpointError, match=r"pipe\.jsonl is not a regular file"):
        StateArchive(folder=tmp_path / "archive").load()


def test_no_more_is_copied_than_the_archive_may_hold(state, tmp_path):
    archive = StateArchive(folder=tmp_path / "archive")
    for key in "abcde":
        _cell(archive, key, state)
    copied = StateArchive(folder=tmp_path / "archive", max_states=3).copy_to(tmp_path / "copy")
    assert copied == len(list((tmp_path / "copy").glob("*.state"))) == 3
    assert StateArchive(folder=tmp_path / "archive").copy_to(tmp_path / "all") == 5


def test_archive_of_another_run_is_refused_by_its_id(state, tmp_path):
    archive = StateArchive(folder=tmp_path)
    _cell(archive, "a", state)
    archive.claim("mine")
    archive.claim("mine")
    with pytest.raises(CheckpointError, match=r"another run \(id mine, this run has yours\)"):
        archive.claim("yours")


@pytest.mark.parametrize("memory", [{}, {"cell": "x"}, 7, [torch.zeros(3)]])
def test_memory_that_does_not_fit_is_one_error_that_names_the_state(state, tmp_path, memory):
    archive = StateArchive(folder=tmp_path)
    key = _cell(archive, "a")
    archive.add_state(key, state, {"MapMemory": memory}, depth_steps=1)
    transform = ArchiveStates(archive, power_on_share=0.0)
    env = make_env(num_emulators=1, seed=0, extra_transforms=[transform])
    try:
        with pytest.raises(CheckpointError, match="cell a carries a memory that MapMemory cannot read"):
            env.reset()
    finally:
        env.close()


def test_job_that_lost_its_run_adds_nothing_to_the_archive(state, tmp_path):
    folder = tmp_path / "archive"
    archive = StateArchive(folder=folder)
    _cell(archive, "a", state)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    token = LockToken(tmp_path / "run.lock", "mine", heartbeat_seconds=0)  # there is no such lock
    token.guard(tmp_path)
    try:
        with pytest.raises(RunLostError):
            archive.add_start("a")
        with pytest.raises(RunLostError):
            archive.add_state("a", state, {}, depth_steps=1)
    finally:
        token.release()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
