import numpy as np
import pytest
import torch

from pokered_rl.envs import make_env
from pokered_rl.envs.rewards import NewTiles, Steps, load_preset, make_terms
from pokered_rl.episodes import EpisodeLog, find_logs, verify
from pokered_rl.record.rescore import rescore


@pytest.fixture(scope="module")
def env_log(sprout, start, tmp_path_factory):
    """A log that the env's own recorder wrote, with the rewards that the agent would have received."""
    folder = tmp_path_factory.mktemp("env") / "episode_logs"
    env = make_env(
        sprout, num_emulators=1, start_states=[start], max_episode_steps=60, seed=3, recorder={"folder": folder}
    )
    generator = torch.Generator().manual_seed(0)

    def act(tensordict):
        allowed = tensordict["action_mask"].float()
        return tensordict.set("action", torch.multinomial(allowed, 1, generator=generator).squeeze(-1))

    env.rollout(60, act)
    env.close()
    (path,) = find_logs([folder])
    return EpisodeLog.load(path)


def test_rescoring_with_the_terms_of_the_environment_gives_its_rewards(env_log, sprout):
    assert verify(env_log, cartridge=sprout) == 2  # at 0 and 60
    scored = rescore(env_log, cartridge=sprout)
    assert scored.header.reward_terms == env_log.header.reward_terms
    assert np.array_equal(scored.term_rewards, env_log.term_rewards)
    assert np.array_equal(scored.rewards, env_log.rewards)
    assert env_log.episode_return != 0


def test_other_terms_score_the_same_steps(env_log, sprout):
    scored = rescore(env_log, terms=[NewTiles(weight=2.0), Steps(weight=0.5)], cartridge=sprout)
    plain = rescore(env_log, terms=[NewTiles(weight=1.0)], cartridge=sprout)
    assert plain.term_returns["new_tiles"] > 0
    assert scored.term_returns["new_tiles"] == 2 * plain.term_returns["new_tiles"]
    assert scored.term_returns["steps"] == -0.5 * 60
    assert scored.episode_return == pytest.approx(sum(scored.term_returns.values()))
    assert EpisodeLog.from_bytes(scored.to_bytes()).rewards.tolist() == scored.rewards.tolist()


def test_scoring_with_a_preset_of_the_config(env_log, sprout):
    terms = make_terms(profile=sprout.profile, **load_preset("exploration"))
    assert rescore(env_log, terms=terms, cartridge=sprout).header.reward_terms == tuple(term.name for term in terms)
