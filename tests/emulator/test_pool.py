import threading

import numpy as np
import pytest
import torch

from pokered_rl.emulator import ActionSet, ActionTiming, Emulator, EmulatorPool
from pokered_rl.errors import ConfigError, SaveStateError
from pokered_rl.game.ram_map import RamLayout, address

ROWS = 5


def make_pool(sprout, start, *, rows=ROWS, **options):
    pool = EmulatorPool(sprout, num_emulators=rows, **options)
    pool.reset(range(rows), [start] * rows)
    return pool


def play(pool, actions):
    """Steps through actions [T, E]; the RAM hash of each row and all outputs."""
    steps = [pool.step(row) for row in actions]
    return [pool.ram_hash(row) for row in range(pool.num_emulators)], steps


@pytest.fixture(scope="module")
def actions():
    return np.random.default_rng(7).integers(0, len(ActionSet()), (40, ROWS))


def test_threads_change_nothing(sprout, start, actions):
    outcomes = []
    for threads in (1, 2, 8):
        with make_pool(sprout, start, num_threads=threads) as pool:
            outcomes.append(play(pool, actions))
    for hashes, steps in outcomes[1:]:
        assert hashes == outcomes[0][0]
        for step, first in zip(steps, outcomes[0][1], strict=True):
            for mine, its in zip(step, first, strict=True):
                assert (mine == its).all()
    assert len(set(outcomes[0][0])) == ROWS  # different actions, different games


def test_batch_of_one_plays_as_row_of_many(sprout, start, actions):
    with make_pool(sprout, start) as pool:
        together, _ = play(pool, actions)
    for row in range(ROWS):
        with make_pool(sprout, start, rows=1) as pool:
            assert play(pool, actions[:, row : row + 1])[0] == [together[row]]


@pytest.mark.parametrize(("frames", "hold"), [(24, 8), (4, 2), (4, 3), (2, 1)])
def test_step_takes_exactly_its_frames_and_its_wait(sprout, start, frames, hold):
    timing = ActionTiming(frames_per_action=frames, hold_frames=hold)
    with make_pool(sprout, start, timing=timing) as pool:
        for action in range(8):
            before = [emulator.frame_count for emulator in pool.emulators]
            step = pool.step([action] * ROWS)
            for row, emulator in enumerate(pool.emulators):
                assert emulator.frame_count - before[row] == frames + step.wait_frames[row]


def test_step_without_waiting_is_press_hold_release(sprout, start):
    with make_pool(sprout, start, rows=1, wait_while_busy=False) as pool, Emulator(sprout) as emulator:
        emulator.load_state(start)
        for name in ("down", "noop", "right", "start", "b"):
            step = pool.step([pool.actions.index(name)])
            if name != "noop":
                emulator.press(name)
                emulator.tick(8)
                emulator.release(name)
            else:
                emulator.tick(8)
            emulator.tick(16, render=True)
            assert pool.ram_hash(0) == emulator.ram_hash()
            assert (step.ram[0] == emulator.ram()).all()
            assert (step.pixels[0] == emulator.pixels()).all()


def test_no_button_is_down_after_a_step(sprout, start):
    # With the button held to the last frame but one, a state saved after the step must not hold it.
    timing = ActionTiming(frames_per_action=4, hold_frames=3)
    with make_pool(sprout, start, rows=1, timing=timing) as pool:
        pool.step([pool.actions.index("down")])
        state = pool.save_states()[0]
        pool.emulators[0].tick(60)
        gone_on = pool.ram_hash(0)
        pool.reset([0], [state])
        pool.emulators[0].tick(60)
        assert pool.ram_hash(0) == gone_on


def test_waiting_lets_a_step_of_the_player_end(sprout, start):
    # A tile takes 16 or 17 frames: four-frame actions without waiting see wWalkCounter run.
    timing = ActionTiming(frames_per_action=4, hold_frames=3)
    layout = RamLayout.of("wWalkCounter")
    moving = {}
    for wait in (False, True):
        with make_pool(sprout, start, rows=4, timing=timing, wait_while_busy=wait, ram_layout=layout) as pool:
            directions = [pool.actions.index(name) for name in ("right", "left", "up", "down")]
            steps = [pool.step(directions) for _ in range(12)]
        moving[wait] = sum(int((step.ram != 0).sum()) for step in steps)
        waited = sum(int(step.wait_frames.sum()) for step in steps)
        assert (waited > 0) is wait
    assert moving[False] > 0
    assert moving[True] == 0


def test_wait_is_bounded(sprout, start):
    with make_pool(sprout, start, rows=1, max_wait_frames=10) as pool:
        pool._is_busy = lambda memory: True
        assert pool.step([0]).wait_frames.tolist() == [10]
    with make_pool(sprout, start, rows=1, wait_while_busy=False) as pool:
        pool._is_busy = lambda memory: True
        assert pool.step([0]).wait_frames.tolist() == [0]


def test_only_the_last_frame_is_drawn(sprout, start):
    with make_pool(sprout, start, rows=1) as pool:
        drawn = []
        emulator = pool.emulators[0]
        tick = emulator.tick
        emulator.tick = lambda frames=1, render=False: (drawn.append((frames, render)), tick(frames, render))[1]
        answers = iter([True, True, False])
        pool._is_busy = lambda memory: next(answers)
        step = pool.step([pool.actions.index("a")])
        assert sum(frames for frames, _ in drawn) == 24 + step.wait_frames[0]
        assert [frames for frames, render in drawn if render] == [1]
        assert drawn[-1] == (1, True)


def test_outputs_are_fresh_arrays(sprout, start, actions):
    with make_pool(sprout, start) as pool:
        first = pool.step(actions[0])
        kept = [array.copy() for array in first]
        second = pool.step(actions[1])
        for array, copy, later in zip(first, kept, second, strict=True):
            assert (array == copy).all()
            assert not np.shares_memory(array, later)


def test_only_the_declared_ranges_are_read(sprout, start):
    layout = RamLayout.of("wXCoord", "wYCoord", "wTileMap", "hWY")
    with make_pool(sprout, start, rows=2, ram_layout=layout) as pool:
        step = pool.step([0, 1])
        assert step.ram.shape == (2, 1 + 1 + 360 + 1)
        for row, emulator in enumerate(pool.emulators):
            full = emulator.ram()
            assert step.ram[row, layout.column(address("wXCoord"))] == full[address("wXCoord") - 0xC000]
            assert step.ram[row, layout.column(address("hWY"))] == full[8192 + address("hWY") - 0xFF80]


def test_reset_of_one_row_leaves_the_others_alone(sprout, start, actions):
    with make_pool(sprout, start) as pool:
        play(pool, actions[:10])
        before = [pool.ram_hash(row) for row in range(ROWS)]
        shown = pool.reset([2], [start])
        after = [pool.ram_hash(row) for row in range(ROWS)]
        assert [b == a for b, a in zip(before, after, strict=True)] == [True, True, False, True, True]
        assert shown.pixels.shape == (1, *pool.screen_shape)
        assert (shown.ram[0] == pool.emulators[2].ram()).all()
        assert shown.wait_frames.tolist() == [0]


def test_saved_rows_continue_identically(sprout, start, actions):
    with make_pool(sprout, start) as pool:
        play(pool, actions[:10])
        states = pool.save_states()
        expected, _ = play(pool, actions[10:20])
        pool.reset(range(ROWS), states)
        assert play(pool, actions[10:20])[0] == expected
        assert pool.save_states([3])[0].cartridge_sha1 == sprout.sha1


def test_observe_runs_no_frame(sprout, start):
    with make_pool(sprout, start) as pool:
        frames = [emulator.frame_count for emulator in pool.emulators]
        shown = pool.observe()
        assert [emulator.frame_count for emulator in pool.emulators] == frames
        assert shown.pixels.shape == (ROWS, 72, 20)
        assert len(pool.observe([4, 0]).ram) == 2


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda values: torch.tensor(values, dtype=torch.int32)])
def test_actions_come_as_list_array_or_tensor(sprout, start, kind):
    with make_pool(sprout, start, rows=2) as pool:
        assert pool.step(kind([1, 4])).ram.shape == (2, 8319)


@pytest.mark.parametrize("wrong", [[0], [0, 0, 0], [0, 8], [0, -1]])
def test_wrong_actions_are_refused_before_anything_runs(sprout, start, wrong):
    with make_pool(sprout, start, rows=2) as pool:
        frames = pool.emulators[0].frame_count
        with pytest.raises(ValueError, match=r"2 indices in 0\.\.7"):
            pool.step(wrong)
        assert pool.emulators[0].frame_count == frames


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_emulators": 0}, "num_emulators must be >= 1, got 0"),
        ({"num_emulators": 1, "num_threads": 0}, "num_threads must be >= 1, got 0"),
        ({"num_emulators": 1, "max_wait_frames": -1}, "max_wait_frames must be >= 0, got -1"),
    ],
)
def test_impossible_pools_are_refused(sprout, options, message):
    with pytest.raises(ConfigError, match=message):
        EmulatorPool(sprout, **options)


def test_reset_with_too_few_states_is_refused(sprout, start):
    with make_pool(sprout, start, rows=2) as pool, pytest.raises(ValueError, match="2 emulators, got 1"):
        pool.reset([0, 1], [start])


def test_error_in_a_helper_thread_reaches_the_caller(sprout, start):
    with make_pool(sprout, start, rows=2, num_threads=2) as pool:

        def fail(memory):
            if memory is pool.emulators[1].memory:
                raise SaveStateError("row 1 broke")
            return False

        pool._is_busy = fail
        with pytest.raises(SaveStateError, match="row 1 broke"):
            pool.step([0, 0])


def test_close_ends_the_threads(sprout, start):
    pool = make_pool(sprout, start, num_threads=4)
    pool.step([0] * ROWS)
    pool.close()
    pool.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("emulator")]
