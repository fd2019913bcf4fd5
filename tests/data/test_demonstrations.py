"""Logs become sequences of an agent; batches mix them with the agent's own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tensordict import TensorDictBase

from pokered_rl.data import SequenceBuilder, SequenceLayout, make_replay
from pokered_rl.data.demonstrations import DemonstrationReplay, LogSequences, MixedReplay, demonstrated_steps
from pokered_rl.data.episode_logs import LogReplay
from pokered_rl.emulator import ActionSet, ActionTiming, Cartridge
from pokered_rl.envs import default_transforms, make_env
from pokered_rl.episodes import EpisodeLog, EpisodeLogWriter, find_logs
from pokered_rl.episodes.header import Acted
from pokered_rl.errors import ConfigError, EpisodeLogError

STEPS = 30
ACTIONS = ("a", "right", "left", "up", "down")
LAYOUT = SequenceLayout(burn_in_steps=2, unroll_steps=8, n_step=2)
SPROUT = Cartridge.bundled()


def _record(folder: Path, *, actions: tuple[str, ...] = ACTIONS, hold_frames: int = 8) -> None:
    """Walk to and fro for `STEPS` steps."""
    env = make_env(
        SPROUT,
        actions=actions,
        hold_frames=hold_frames,
        max_episode_steps=STEPS,
        recorder={"folder": folder, "acting": "script"},
    )
    steps = iter(("right", "left", "down", "up") * STEPS)
    env.rollout(STEPS, lambda td: td.set("action", torch.tensor([actions.index(next(steps))])))
    env.close()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    _record(folder)
    return folder


@pytest.fixture
def sequences() -> LogSequences:
    return LogSequences(
        replay=LogReplay(
            partial(default_transforms, map_memory={"radius": 3}, reward={"weights": {"new_tiles": 3.0}}),
            rescore=True,
            cartridge=SPROUT,
            actions=ActionSet(ACTIONS),
        ),
        make_builder=partial(SequenceBuilder, layout=LAYOUT),
        state_sizes={"recurrent_state_h": 4, "recurrent_state_c": 4},
        timing=ActionTiming(),
        wait_limit=240,
    )


def _demonstrations(folder: Path, paths: list[Path], sequences: LogSequences, **settings) -> DemonstrationReplay:
    return DemonstrationReplay(
        paths,
        folder=folder,
        make_replay=partial(make_replay, layout=LAYOUT, num_actions=len(ACTIONS), new_priority="maximum", seed=1),
        sequences=sequences,
        settings=settings,
    )


def _demonstrations_in(batch: TensorDictBase) -> torch.Tensor:
    return batch["demonstration"].any(-1)


def _damaged(path: Path, folder: Path) -> Path:
    """Write a log again with other buttons from step 10 on, without its chain: only the RAM hash at its end tells."""
    log = EpisodeLog.load(path)
    header = replace(log.header, chain_ranges=(), reward_terms=())
    writer = EpisodeLogWriter(folder=folder, header=header, start_ram_hash=log.ram_hashes[0])
    shutil.copytree(path.parent / "start_states", folder / "start_states")
    for step, action in enumerate(log.actions.tolist()):
        other = action if step < 10 else header.actions.index("a")
        writer.step(other, wait_frames=int(log.wait_frames[step]), reward=0.0)
    return writer.finish(log.outcome, ram_hash=log.ram_hashes[log.steps], end_unix_seconds=0.0)


def test_a_log_becomes_the_sequences_of_an_agent_that_saw_and_was_paid_the_same(logs: Path, sequences) -> None:
    [path] = find_logs([logs])
    built, facts = sequences(path)
    assert len(built) == 4  # 30 steps, 8 a sequence
    assert int(built["mask"][:, 2:10].sum()) == STEPS  # each step is learned once
    names = [ACTIONS[action] for action in built["action"][0, 2:6]]
    assert names == ["right", "left", "down", "up"]
    played = sequences.replay(EpisodeLog.load(path))
    assert torch.equal(built["reward"][0, 2:10], played["next", "reward"][:8, 0])
    assert built["reward"].max() > 3.0 > EpisodeLog.load(path).rewards.max()  # the weight is that of this agent
    assert built["truncated"].sum() == 1  # the log ends, the episode has a future
    assert not built["recurrent_state_h"].any()
    assert facts == {"steps": STEPS, "forbidden_actions": 0, "actors": ["script"], "milestones": []}


def test_actions_are_renumbered_by_name(tmp_path: Path, sequences) -> None:
    _record(tmp_path, actions=("noop", "down", "up", "left", "right", "b"))
    [path] = find_logs([tmp_path])
    built, _ = sequences(path)
    assert [ACTIONS[action] for action in built["action"][0, 2:6]] == ["right", "left", "down", "up"]


def test_each_log_that_does_not_fit_has_one_message_and_the_others_are_used(tmp_path: Path, logs, sequences) -> None:
    [good] = find_logs([logs])
    _record(tmp_path / "timing", hold_frames=9)
    diverging = _damaged(good, tmp_path / "diverging")
    [timing] = find_logs([tmp_path / "timing"])
    demonstrations = _demonstrations(tmp_path / "replay", [good, timing, diverging], sequences)
    assert demonstrations.prepare()
    assert (demonstrations.summary.logs, len(demonstrations)) == (1, 4)
    left_out = demonstrations.summary.left_out
    assert "another timing" in left_out[timing.name]
    assert "(24, 9, 240), the agent has (24, 8, 240)" in left_out[timing.name]
    assert "is not the recorded episode" in left_out[diverging.name]
    assert "2 left out" in str(demonstrations.summary)


def test_a_log_of_another_action_set_names_the_buttons_that_the_agent_lacks(logs: Path, sequences) -> None:
    [path] = find_logs([logs])
    replay = LogReplay(None, cartridge=SPROUT, actions=ActionSet(("a", "left", "right", "up")))
    with pytest.raises(EpisodeLogError, match="another action set: it presses down 7 times, the agent has a, left"):
        replay(EpisodeLog.load(path))


def test_a_log_of_another_cartridge_is_told_by_its_checksum(logs: Path, sequences, tmp_path: Path) -> None:
    [path] = find_logs([logs])
    data = bytearray(SPROUT.path.read_bytes())
    data[-1] ^= 1
    data[0x14E:0x150] = (sum(data) - data[0x14E] - data[0x14F] & 0xFFFF).to_bytes(2, "big")  # the global checksum
    (tmp_path / "other.gb").write_bytes(data)
    other = Cartridge.find(tmp_path / "other.gb", allow_unknown=True)
    with pytest.raises(EpisodeLogError, match=f"another cartridge: .* the agent plays SHA-1 {other.sha1[:8]}"):
        LogSequences(**{**vars(sequences), "replay": LogReplay(None, cartridge=other)})(path)


def test_no_usable_log_is_an_error_that_names_the_first_problem(tmp_path: Path, sequences) -> None:
    _record(tmp_path / "timing", hold_frames=9)
    with pytest.raises(ConfigError, match=r"none of the 1 logs can be used; the first: .* another timing"):
        _demonstrations(tmp_path / "replay", find_logs([tmp_path / "timing"]), sequences).prepare()


def test_sequences_are_replayed_once_and_again_when_settings_or_logs_change(tmp_path: Path, logs, sequences) -> None:
    paths = find_logs([logs])
    first = _demonstrations(tmp_path, paths, sequences, gamma=0.9)
    assert first.prepare()
    stored = first.replay.sample(4).exclude("index_generation")
    again = _demonstrations(tmp_path, paths, sequences, gamma=0.9)
    assert not again.prepare()
    assert again.summary == first.summary
    other = _demonstrations(tmp_path, paths, sequences, gamma=0.8)
    assert other.prepare()
    for reopened in (again, other):
        assert torch.equal(reopened.replay.sample(4)["reward"], stored["reward"])  # the same draws of the same content


def test_masked_actions_of_a_demonstration_are_counted(tmp_path: Path, sequences) -> None:
    _record(tmp_path, actions=(*ACTIONS, "start"))  # START opens a menu only when it is pressed
    [path] = find_logs([tmp_path])
    log = EpisodeLog.load(path)
    mask = sequences.replay(log)["action_mask"]
    taken = mask.gather(-1, sequences.replay(log)["action"][:, None])
    assert sequences(path)[1]["forbidden_actions"] == int((~taken).sum())


@pytest.mark.parametrize(
    ("acted", "shown"),
    [
        ((), range(30)),
        ((Acted(0, "policy"),), range(30)),
        ((Acted(0, "policy"), Acted(21, "person"), Acted(24, "policy")), range(21, 24)),
        ((Acted(0, "script"), Acted(5, "random"), Acted(6, "script")), [*range(5), *range(6, 30)]),
    ],
)
def test_the_steps_of_an_agent_that_a_person_corrects_and_random_ones_show_nothing(logs: Path, acted, shown) -> None:
    [path] = find_logs([logs])
    assert demonstrated_steps(replace(EpisodeLog.load(path), acted=acted)).nonzero()[:, 0].tolist() == list(shown)


def test_a_takeover_without_a_step_is_no_demonstration(tmp_path: Path, logs: Path, sequences) -> None:
    [path] = find_logs([logs])
    shutil.copytree(path.parent / "start_states", tmp_path / "start_states")
    log = replace(EpisodeLog.load(path), acted=(Acted(0, "policy"), Acted(STEPS, "person")), chain=None, path=None)
    with pytest.raises(EpisodeLogError, match="no step of a person"):
        sequences(log.save(tmp_path))


def test_a_correction_becomes_the_sequences_that_it_is_in(tmp_path: Path, logs: Path, sequences) -> None:
    [path] = find_logs([logs])
    acted = (Acted(0, "policy"), Acted(20, "person"), Acted(25, "policy"))
    shutil.copytree(path.parent / "start_states", tmp_path / "start_states")
    corrected = replace(EpisodeLog.load(path), acted=acted, chain=None, path=None)
    built, facts = sequences(corrected.save(tmp_path))
    assert facts["steps"] == 5
    assert facts["actors"] == ["person"]
    # Loss steps 16..23 and 24..29; the two steps before them are burn-in, the two behind successors.
    begins = [14, 22]
    expected = [[20 <= begin + step < 25 for step in range(LAYOUT.length)] for begin in begins]
    assert built["demonstration"].tolist() == expected
    whole, _ = sequences(path)
    for key in ("pixels", "action", "reward"):
        assert torch.equal(built[key], whole[key][2:]), key


class TestMixedReplay:
    @pytest.fixture
    def mixed(self, tmp_path: Path, logs: Path, sequences):
        demonstrations = _demonstrations(tmp_path / "shown", find_logs([logs]), sequences)
        demonstrations.prepare()
        own = make_replay(scratch_dir=tmp_path / "own", capacity_transitions=64, layout=LAYOUT, num_actions=5, seed=2)
        built, _ = sequences(find_logs([logs])[0])
        own.extend(built.exclude("demonstration").set("td_error", torch.ones(len(built))))
        return partial(MixedReplay, own, demonstrations, seed=3)

    def test_the_share_of_the_demonstrations_falls_in_a_straight_line(self, mixed) -> None:
        replay = mixed(ratio=0.5, final_ratio=0.1, fall_updates=4, pretrain_updates=2)
        shares = []
        for _ in range(8):
            shares.append(replay.share)
            replay.sample(4)
        assert shares == pytest.approx([1, 1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1])

    def test_a_batch_has_the_share_on_average_and_names_its_demonstrations(self, mixed) -> None:
        replay = mixed(ratio=0.25)
        shown = sum(int(_demonstrations_in(replay.sample(8)).sum()) for _ in range(100))
        assert abs(shown / 800 - 0.25) < 0.05  # three standard deviations: 3 sqrt(0.25 * 0.75 / 800) = 0.046

    def test_every_batch_has_the_same_entries_whatever_it_is_mixed_of(self, mixed) -> None:
        replay = mixed(ratio=0.5)
        entries = {}
        while len(entries) < 3:  # none, some and all of two sequences
            batch = replay.sample(2)
            entries[int(_demonstrations_in(batch).sum())] = set(batch.keys(True, True))
        assert entries[0] == entries[1] == entries[2]

    def test_priorities_go_back_into_the_replay_that_was_drawn_from(self, mixed) -> None:
        replay = mixed(ratio=0.5)
        while not 0 < int((shown := _demonstrations_in(batch := replay.sample(4))).sum()) < 4:
            pass
        batch["td_error"] = torch.where(shown, 0.0, 7.0)
        replay.update_tensordict_priority(batch)
        for part, priority in ((replay.replay, 7.0), (replay.demonstrations.replay, 0.0)):
            drawn = batch["index"][shown == (part is replay.demonstrations.replay)]
            alpha, eps = part._sampler.alpha, part._sampler._eps
            found = torch.tensor([part._sampler._sum_tree[int(index)] for index in drawn])
            torch.testing.assert_close(found, torch.full_like(found, (priority + eps) ** alpha))

    def test_a_saved_mixture_goes_on_with_the_same_draws(self, mixed, tmp_path: Path) -> None:
        replay = mixed(ratio=0.5)
        replay.sample(4)
        state = replay.state_dict()
        replay.demonstrations.save(tmp_path / "saved")
        replay.replay.save(tmp_path / "saved_own")
        expected = [replay.sample(4) for _ in range(3)]
        replay.demonstrations.load(tmp_path / "saved")
        replay.replay.load(tmp_path / "saved_own")
        replay.load_state_dict(state)
        for batch in expected:
            again = replay.sample(4)
            assert torch.equal(again["index"], batch["index"])
            assert torch.equal(again["demonstration"], batch["demonstration"])

    def test_batches_drawn_ahead_have_the_same_share_and_none_is_mixed_before_it_is_asked_for(self, mixed) -> None:
        asked, ahead = mixed(ratio=0.5, pretrain_updates=3), mixed(ratio=0.5, pretrain_updates=3, prefetch=2)
        for number in range(6):
            assert number > 2 or ahead.updates <= 3
            one, other = asked.sample(4), ahead.sample(4)
            assert torch.equal(_demonstrations_in(one), _demonstrations_in(other))
            assert asked.state_dict()["updates"] == ahead.state_dict()["updates"] == number + 1
