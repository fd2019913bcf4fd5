from dataclasses import replace

import numpy as np
import pytest
import torch

from pokered_rl.emulator import ActionSet, Cartridge, EmulatorPool
from pokered_rl.episodes import (
    EpisodeLog,
    EpisodePlayer,
    Outcome,
    ReplayDivergedError,
    cartridge_for,
    load_start_state,
    record_episode,
    trajectory,
    verify,
)
from pokered_rl.errors import EpisodeLogError
from pokered_rl.observations import unpack_shades


def _changed(log, array, position, value):
    values = getattr(log, array).copy()
    assert values[position] != value
    values[position] = value
    return replace(log, **{array: values}, chain=None)  # as in a log of version 1: checked by the full hashes alone


def _divergence(log, **options):
    with pytest.raises(ReplayDivergedError) as caught:
        verify(log, **options)
    return caught.value.divergence, str(caught.value)


def test_a_replay_reproduces_every_hash(played):
    # 120 steps, a hash every 20 and one of the start state: 0, 20, ..., 120.
    assert verify(played) == 7


def test_a_replay_can_be_repeated(played):
    with EpisodePlayer(played) as player:
        for _ in range(2):
            player.play_to(played.steps)
            assert player.hashes_checked == 7
            assert player.frame == played.frames
            player.rewind()


def test_another_action_is_detected_and_located(played):
    # A step to the right that was taken, turned into one to the left.
    step = int(np.flatnonzero((played.actions == 4) & (played.rewards > np.r_[0, played.rewards[:-1]]))[3])
    divergence, message = _divergence(_changed(played, "actions", step, 5))
    assert divergence.step == (step // 20 + 1) * 20
    assert divergence.last_equal_step == step // 20 * 20
    assert divergence.expected == played.ram_hashes[divergence.step]
    assert divergence.found != divergence.expected
    assert str(played.path) in message
    assert f"at step {divergence.step} of 120" in message
    assert divergence.map_name in message


def test_other_waiting_frames_are_detected(played):
    divergence, _ = _divergence(_changed(played, "wait_frames", 50, int(played.wait_frames[50]) + 1))
    assert (divergence.last_equal_step, divergence.step) == (40, 60)


@pytest.mark.parametrize("changes", [{"frames_per_action": 23}, {"hold_frames": 1, "frames_per_action": 25}])
def test_another_timing_is_named_as_the_likely_reason(played, changes):
    divergence, message = _divergence(replace(played, header=replace(played.header, **changes), chain=None))
    assert divergence.step == 20
    assert "timing" in divergence.reason
    assert f"{changes['frames_per_action']} frames an action" in message


def test_another_pyboy_is_named_as_the_likely_reason(played):
    log = _changed(replace(played, header=replace(played.header, pyboy_version="2.9.9")), "wait_frames", 5, 99)
    divergence, _ = _divergence(log)
    assert "recorded with PyBoy 2.9.9" in divergence.reason


def test_another_start_state_is_refused(played, sprout):
    from pokered_rl.emulator import Emulator

    with Emulator(sprout) as emulator:
        emulator.tick(30)
        other = emulator.save_state()
    with pytest.raises(EpisodeLogError, match="begins in the start state"):
        EpisodePlayer(played, start_state=other)
    # The same under the right name: caught by the hash at step 0.
    header = replace(played.header, start_state_sha256=other.sha256)
    divergence, _ = _divergence(replace(played, header=header, start_state=other))
    assert divergence.step == 0
    assert "start state" in divergence.reason


def test_another_cartridge_is_refused_before_anything_is_played(played, tmp_path):
    rom = bytearray(played.path and Cartridge.bundled().rom())
    rom[0x7FFF] ^= 1
    checksum = (sum(rom) - rom[0x14E] - rom[0x14F]) & 0xFFFF
    rom[0x14E], rom[0x14F] = checksum >> 8, checksum & 0xFF
    (tmp_path / "other.gb").write_bytes(rom)
    other = Cartridge.find(tmp_path / "other.gb", allow_unknown=True)
    for attempt in (
        lambda: verify(played, cartridge=other),
        lambda: cartridge_for(played, tmp_path / "other.gb"),
        lambda: cartridge_for(replace(played, header=replace(played.header, cartridge_sha1="00" * 20))),
    ):
        with pytest.raises(EpisodeLogError, match=r"played on SPROUT \(SHA-1 .*[Nn]ame the ROM"):
            attempt()


def test_a_missing_start_state_says_what_to_copy(played, tmp_path):
    moved = tmp_path / played.path.name
    moved.write_bytes(played.path.read_bytes())
    with pytest.raises(EpisodeLogError, match=r"start state is missing: expected .*copy the folder start_states/"):
        verify(EpisodeLog.load(moved))


def test_a_damaged_start_state_is_refused(played, tmp_path):
    moved = tmp_path / played.path.name
    moved.write_bytes(played.path.read_bytes())
    (tmp_path / "start_states").mkdir()
    state = tmp_path / "start_states" / f"{played.header.start_state_sha256}.state"
    good = load_start_state(played).to_bytes()
    for damaged in (good[:-100], good[:500] + b"x" + good[501:], b"", b"nonsense"):
        state.write_bytes(damaged)
        with pytest.raises(EpisodeLogError, match="start state cannot be used"):
            verify(EpisodeLog.load(moved))


def test_a_log_with_an_embedded_start_state_is_sufficient(played, tmp_path):
    alone = played.with_start_state(load_start_state(played)).save(tmp_path)
    assert verify(EpisodeLog.load(alone)) == 7


def test_equal_start_states_are_stored_once(played, sprout, start):
    record_episode([4, 5], cartridge=sprout, start_state=start, folder=played.path.parent, global_step=1)
    assert len(list((played.path.parent / "start_states").iterdir())) == 1


@pytest.mark.parametrize("every", [1, 2, 7, 24, 100])
def test_pictures_are_exactly_the_frames_of_the_episode(played, every):
    with EpisodePlayer(played) as player:
        frames = [(frame.frame, frame.step) for frame in player.frames(every=every)]
        assert player.hashes_checked == 7
    assert [frame for frame, _ in frames] == list(range(0, played.frames, every))
    ends = np.cumsum(played.step_frames)
    # A picture belongs to the step that is under way: the first one whose end lies behind it.
    assert [step for _, step in frames] == [int(np.searchsorted(ends, frame, side="right")) for frame, _ in frames]


def test_pictures_do_not_depend_on_how_many_are_shown(played):
    with EpisodePlayer(played) as player:
        all_of_them = [frame.pixels for frame in player.frames(last_step=30)]
        some = {frame.frame: frame.pixels for frame in player.frames(every=7, last_step=30)}
    assert len({pixels.tobytes() for pixels in all_of_them}) > 10
    for number, pixels in some.items():
        assert np.array_equal(pixels, all_of_them[number])


def test_the_first_picture_is_the_start_state(played):
    with EpisodePlayer(played) as player:
        first = next(player.frames())
        player.rewind()
        assert np.array_equal(first.pixels, player.emulator.pixels())
        assert unpack_shades(first.pixels).shape == (144, 160)
        assert first.frame == first.step == 0


def test_a_part_of_the_episode_begins_and_ends_where_asked(played):
    played = replace(played, chain=None)
    ends = np.cumsum(played.step_frames)
    with EpisodePlayer(played) as player:
        frames = [frame.frame for frame in player.frames(first_step=10, last_step=13)]
        # Played on to the next hash, so that what was shown is proved: 0 and 20.
        assert player.hashes_checked == 2
    assert frames == list(range(ends[9], ends[12]))


def test_a_replay_does_not_depend_on_the_number_of_emulators(played, sprout, start):
    actions = ActionSet(played.header.actions)
    with EmulatorPool(sprout, num_emulators=3, num_threads=2, actions=actions) as pool:
        pool.reset([0, 1, 2], [start] * 3)
        for step in range(40):
            result = pool.step([0, int(played.actions[step]), 4])
            assert result.wait_frames[1] == played.wait_frames[step]
        assert pool.ram_hash(1) == played.ram_hashes[40]


def test_a_trajectory_holds_the_data_of_the_environment(played):
    steps = trajectory(played)
    assert steps.batch_size == torch.Size([120])
    assert steps["action"].tolist() == played.actions.tolist()
    assert steps["next", "reward"][:, 0].tolist() == played.rewards.tolist()
    assert steps["next", "reward_terms", "column"].shape == (120, 1)
    # The recorded term is the player's column, read from the RAM after each step.
    column = steps["next", "ram"][:, 0xD362 - 0xC000]
    assert column.tolist() == played.term_rewards[:, 0].tolist()
    for key in ("ram", "pixels", "wait_frames", "step_count"):
        assert torch.equal(steps[key][1:], steps["next", key][:-1]), key
    assert steps["next", "wait_frames"][:, 0].tolist() == played.wait_frames.tolist()
    assert steps["wait_frames"][0] == 0
    assert steps["next", "truncated"].flatten().nonzero().tolist() == [[119]]
    assert torch.equal(steps["next", "done"], steps["next", "truncated"])
    assert not steps["next", "terminated"].any()
    assert not steps["done"].any()
    ended = trajectory(replace(played, outcome=Outcome.TERMINATED, chain=None))
    assert ended["next", "terminated"].flatten().nonzero().tolist() == [[119]]
    assert not ended["next", "truncated"].any()
