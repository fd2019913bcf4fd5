"""The figures of an episode, against what its steps say."""

import copy

import pytest
import torch
from torchrl.envs.utils import step_mdp

from pokered_rl.emulator import ActionSet, start_states
from pokered_rl.envs import ArchiveStates, EpisodeMeter, StateArchive, make_env
from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.rewards.battle import battle_results
from pokered_rl.episodes import EpisodeLog
from pokered_rl.game import FULL_LAYOUT

STEPS = 120


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Two random episodes of two emulators each, their logs, and the figures."""
    folder = tmp_path_factory.mktemp("logs")
    meter = EpisodeMeter()
    env = make_env(
        num_emulators=2,
        game_fields=None,
        recorder={"folder": folder},
        extra_transforms=[meter],
        max_episode_steps=STEPS,
    )
    torch.manual_seed(0)
    steps = env.rollout(2 * STEPS, break_when_any_done=False)
    figures = meter.take()
    env.close()
    logs = [EpisodeLog.load(path) for path in sorted(folder.glob("*.episode"))]
    return steps, figures, {(log.header.emulator, log.header.episode): log for log in logs}


def _episode(played, emulator: int, number: int):
    steps, figures, logs = played
    own = [each for each in figures if each.emulator == emulator][number]
    return steps[emulator, number * STEPS : (number + 1) * STEPS], own, logs[emulator, number]


@pytest.mark.parametrize(("emulator", "number"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_figures_are_those_of_the_steps_of_the_episode(played, emulator, number):
    steps, figures, log = _episode(played, emulator, number)
    game, after = steps["game"], steps["next", "game"]
    places = {
        (int(tree["map_id"][k]), int(tree["x"][k]), int(tree["y"][k])) for tree in (game, after) for k in range(STEPS)
    }
    assert figures.tiles == len(places)
    assert set(figures.places) == {m << 16 | x << 8 | y for m, x, y in places}
    assert figures.maps == len({place[0] for place in places})
    assert figures.wait_frames == int(steps["next", "wait_frames"].sum())
    assert figures.masked_share == pytest.approx(1 - float(steps["action_mask"].float().mean()))
    assert figures.terms == pytest.approx(log.term_returns, abs=1e-4)
    assert figures.milestones == {each.name: each.step for each in log.milestones if not each.name.startswith("map:")}
    assert figures.events == int(after["event_flags"][-1].sum())
    assert figures.party_level == int(after["party_level"][-1].sum())
    assert figures.cell == ""


def test_every_episode_is_taken_once(played):
    assert [figures.emulator for figures in played[1]] == [0, 1, 0, 1]


def test_a_restored_meter_goes_on_in_the_middle_of_an_episode():
    def roll(env, tensordict, count):
        for _ in range(count):
            tensordict = env.step(tensordict.set("action", torch.tensor([4])))
            tensordict = step_mdp(tensordict)
        return tensordict

    meters = [EpisodeMeter(), EpisodeMeter()]
    first, second = (make_env(extra_transforms=[meter], max_episode_steps=20) for meter in meters)
    half = roll(first, first.reset(), 10)
    state = copy.deepcopy((first.base_env.episode_state(), first.state_dict()))
    second.reset()
    second.base_env.load_episode_state(state[0])
    second.load_state_dict(state[1])
    roll(second, half.clone(), 10)
    roll(first, half, 10)
    (figures,), (restored,) = (meter.take() for meter in meters)
    assert restored == figures
    first.close()
    second.close()


def test_saving_the_state_on_the_way_changes_no_bit_of_the_figures():
    actions = ActionSet(("a", "b", "right", "left", "up", "down"))  # a share of six is no sum of powers of two
    buttons = torch.randint(len(actions), (60, 1), generator=torch.Generator().manual_seed(0))
    start, taken = start_states("sprout")["starter"], []
    for saves in (False, True):
        meter = EpisodeMeter()
        env = make_env(actions=actions, start_states=[start], extra_transforms=[meter], max_episode_steps=60)
        tensordict = env.reset()
        for step, button in enumerate(buttons):
            tensordict = step_mdp(env.step(tensordict.set("action", button)))
            if saves and step % 5 == 0:
                meter.get_extra_state()
        taken += meter.take()
        env.close()
    assert taken[0].masked_share > 0
    assert taken[0] == taken[1]


def test_an_episode_from_the_archive_names_its_cell():
    meter = EpisodeMeter()
    archive = StateArchive()
    env = make_env(
        num_emulators=2,
        extra_transforms=[ArchiveStates(archive, power_on_share=0.5), meter],
        max_episode_steps=60,
        seed=0,
    )
    env.rollout(240, break_when_any_done=False)
    figures = meter.take()
    env.close()
    assert {bool(each.cell) for each in figures} == {True, False}
    assert all(bool(each.places) != bool(each.cell) for each in figures)


def test_battles_are_counted_by_their_ends(overworld):
    def frame(**values):
        return RamFrame(overworld(**values).unsqueeze(0), FULL_LAYOUT)

    fight = frame(wIsInBattle=1, wBattleResult=0, wEnemyMonHP=0)
    over = frame(wIsInBattle=0, wBattleResult=0, wEnemyMonHP=0)
    ran = frame(wIsInBattle=0, wBattleResult=2, wEnemyMonHP=0)
    down = frame(wIsInBattle=255)
    assert [result.tolist() for result in battle_results(over, fight)] == [[True], [False]]
    assert [result.tolist() for result in battle_results(ran, fight)] == [[False], [False]]
    assert [result.tolist() for result in battle_results(down, fight)] == [[False], [True]]
    assert [result.tolist() for result in battle_results(over, over)] == [[False], [False]]
