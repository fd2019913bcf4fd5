"""`RewardTerms`: the sum, the presets, and that nothing can be farmed."""

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs.utils import check_env_specs

from pokered_rl.envs import RewardTerms, make_env
from pokered_rl.envs.rewards import REWARD_TERMS, NewTiles, RewardTerm, Steps, load_preset, make_terms
from pokered_rl.errors import ConfigError

PRESETS = ("balanced", "exploration", "story")


@pytest.fixture
def play(overworld):
    """Feeds images of one row and returns the reward of each step after the first."""

    def run(transform: RewardTerms, frames: list[torch.Tensor]) -> torch.Tensor:
        rewards = [transform(TensorDict({"ram": ram[None]}, [1]))["reward"] for ram in frames]
        return torch.stack(rewards).flatten()

    return run


def test_reward_is_the_weighted_sum_and_each_term_has_its_key(overworld, batch):
    reward = RewardTerms(terms=[NewTiles(weight=2.0, neighbour=0, distance=0), Steps(weight=0.5)])
    reward(batch(overworld(), overworld(wXCoord=9)))
    td = reward(batch(overworld(wXCoord=6), overworld(wXCoord=9)))
    # Row 0 moves to a new tile: 2 - 0.5; row 1 stands: -0.5.
    assert td["reward"].tolist() == [[1.5], [-0.5]]
    assert td["reward_terms", "new_tiles"].tolist() == [[2.0], [0.0]]
    assert td["reward_terms", "steps"].tolist() == [[-0.5], [-0.5]]


def test_an_episode_that_begins_pays_the_same_again(overworld, batch, play):
    reward = RewardTerms(terms=[NewTiles(weight=1.0, neighbour=0, distance=0)])
    walk = [overworld(), overworld(wXCoord=6)]
    assert play(reward, walk)[1:].tolist() == [1.0]
    assert play(reward, walk)[1:].tolist() == [0.0]
    reward._reset(TensorDict({}, [1]), batch(walk[0]))
    assert play(reward, walk[1:]).tolist() == [1.0]


def test_a_new_term_is_ten_lines(overworld, play):
    class Northwards(RewardTerm):
        name, default_weight = "northwards", 0.1

        def _value(self, step):
            same_map = step.now.map_id == step.before.map_id
            return same_map * (step.before.y - step.now.y)

    reward = RewardTerms(terms=[Northwards(weight=0.5)])
    assert play(reward, [overworld(wYCoord=6), overworld(wYCoord=5), overworld(wYCoord=6)]).tolist() == [0, 0.5, -0.5]


def test_terms_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="distinct"):
        RewardTerms(terms=[Steps(), Steps()])


def test_terms_may_be_left_unwritten(overworld, batch):
    reward = RewardTerms(write_terms=False)
    assert set(reward(batch(overworld())).keys()) == {"ram", "reward"}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_terms_that_exist(preset):
    terms = make_terms(**load_preset(preset))
    assert {term.name for term in terms} <= set(REWARD_TERMS)
    assert any(term.name == "new_tiles" for term in terms)


def test_balanced_is_the_default():
    balanced = {term.name: term.weight for term in make_terms(**load_preset("balanced"))}
    assert balanced == {term.name: term.weight for term in make_terms()}
    # healing, money, novelty, screen novelty and goals are off unless asked for.
    assert not {"healing", "money", "novelty", "screen_novelty", "goals"} & set(balanced)


def test_a_weight_of_zero_removes_a_term_and_options_reach_it():
    terms = {t.name: t for t in make_terms(weights={"steps": 0}, options={"revisit": {"cap": 3}})}
    assert "steps" not in terms
    assert terms["revisit"].cap == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {"new_tile": 1.0}}, "new_tiles"),
        ({"options": {"revist": {}}}, "revisit"),
        ({"options": {"revisit": {"kap": 1}}}, "cap"),
        ({"options": {"steps": {"weight": 1}}}, "no option"),
    ],
)
def test_misspelt_terms_and_options_are_refused_with_the_nearest_name(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_terms(**arguments)


def test_presets_are_read_from_files(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("weights: {badges: 3}\ngoals:\n  - {name: out, map: ROUTE_1}\n")
    terms = {term.name: term for term in make_terms(**load_preset(path))}
    assert terms["badges"].weight == 3
    assert [goal.name for goal in terms["goals"].goals] == ["out"]


@pytest.mark.parametrize("text", ["weight: {badges: 3}\n", "- 1\n", "a: [\n"])
def test_files_that_are_no_preset_are_refused(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_preset(path)


def test_unknown_presets_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="balanced, exploration, story"):
        load_preset("speedrun")


def _rounds(overworld, start_menu) -> dict[str, list[torch.Tensor]]:
    """Things that can be done over and over, as one round of images."""
    menu = [overworld(), start_menu(), start_menu(wCurrentMenuItem=1), start_menu(), overworld()]
    save = [overworld(), start_menu(wCurrentMenuItem=4), start_menu(wTextBoxID=0x14), start_menu(), overworld()]
    walk = [overworld(wXCoord=x) for x in (5, 6, 7, 8, 7, 6)]
    door = [overworld(), overworld(wCurMap=37, wCurMapTileset=1, wXCoord=2), overworld()]
    hurt = {"wEnemyMonMaxHP": [0, 20], "wIsInBattle": 1, "wEnemyMonSpecies": 36}
    after = {"wEnemyMonHP": [0, 8], "wEnemyMonMaxHP": [0, 20], "wEnemyMonSpecies": 36, "wBattleResult": 2}
    flee = [overworld(), *(overworld(**hurt, wEnemyMonHP=[0, hp]) for hp in (20, 14, 8)), overworld(**after)]
    return {"menu": menu, "save": save, "walk": walk, "door": door, "flee": flee}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("what", ["menu", "save", "walk", "door", "flee"])
def test_doing_the_same_for_500_steps_pays_nothing_after_the_first_round(overworld, start_menu, play, what, preset):
    frames = _rounds(overworld, start_menu)[what]
    reward = RewardTerms(terms=make_terms(**load_preset(preset)), write_terms=False)
    first = play(reward, frames)
    rest = play(reward, frames * (500 // len(frames)))
    assert rest.sum() <= 0
    if what in ("walk", "door"):
        assert first[1:].sum() > rest[: len(frames)].sum()


def test_no_term_pays_for_repetition_whatever_its_weight(overworld, start_menu, play):
    """The same with every term on, also those that are off by default; healing has a budget of its own."""
    weights = {name: 1.0 for name in REWARD_TERMS if name != "healing"}
    for what, frames in _rounds(overworld, start_menu).items():
        reward = RewardTerms(terms=make_terms(weights=weights), write_terms=False)
        play(reward, frames)
        assert (play(reward, frames * 20) <= 0).all(), what


def test_a_reward_under_a_key_of_its_own_stands_beside_the_environments(sprout, start):
    shaped = RewardTerms(terms=[Steps(weight=0.5)], out_keys=["shaped", "shaped_terms"], write_terms=False)
    env = make_env(sprout, num_emulators=2, start_states=start, transforms=[RewardTerms(write_terms=False), shaped])
    try:
        check_env_specs(env)
        played = env.rollout(3)
        assert played["next", "shaped"].flatten().tolist() == [-0.5] * 6
        assert played["next", "reward"].shape == (2, 3, 1)
    finally:
        env.close()


def test_walking_to_and_fro_on_the_cartridge_pays_nothing_after_the_first_round(sprout, start):
    env = make_env(sprout, start_states=start, max_episode_steps=None)
    try:
        td = env.reset()
        total = []
        left, right, start_button, b = 5, 4, 3, 2
        for _ in range(6):
            total.append(0.0)
            for action in (left, right, left, left, right, right, start_button, b):
                td["action"] = torch.tensor([action])
                td = env.step(td)["next"]
                total[-1] += td["reward"].item()
        assert total[0] > max(total[1:])
        assert max(total[1:]) <= 0
    finally:
        env.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_term_that_is_not_finite_is_named_with_what_to_do(overworld, play, caplog, value):
    class Broken(RewardTerm):
        name, default_weight = "broken", 0.1

        def _value(self, step):
            return step.now.x * 0 + value

    assert not torch.isfinite(
        play(RewardTerms(terms=[Steps(weight=1.0), Broken(weight=1.0)]), [overworld()] * 3)[1:]
    ).any()
    assert len(caplog.records) == 1, "once, not at every step"
    assert "the reward term broken gave" in caplog.text
    assert "reward.weights.broken=0" in caplog.text


def test_weight_of_zero_turns_a_term_off_that_is_not_finite(overworld, play):
    class Broken(RewardTerm):
        name, default_weight = "broken", 0.1

        def _value(self, step):
            return step.now.x * float("nan")

    assert play(RewardTerms(terms=[Steps(weight=1.0), Broken(weight=0.0)]), [overworld()] * 3)[1:].tolist() == [-1, -1]


@pytest.mark.parametrize("whole", [True, False])
def test_a_term_that_remembered_less_begins_its_episode_when_a_run_goes_on(overworld, batch, whole):
    """As an option that was added to a run or to a later version does; the other terms go on."""

    def made(**options) -> RewardTerms:
        transform = RewardTerms(
            terms=[NewTiles(weight=1.0, neighbour=0, distance=0), REWARD_TERMS["idle"](weight=1.0, **options)]
        )
        transform(batch(overworld()))
        return transform

    earlier, later = made(), made(stay=1)
    earlier(batch(overworld(wXCoord=9)))
    if whole:
        later.set_extra_state(earlier.get_extra_state())
    else:
        later.load_emulator_state(0, earlier.emulator_state(0))
    seen = [later(batch(overworld(wXCoord=x)))["reward_terms"] for x in (8, 9, 9, 9)]
    assert [float(each["new_tiles"]) for each in seen] == [1, 0, 0, 0]
    assert [float(each["idle"]) for each in seen] == [0, 0, 0, -1]
