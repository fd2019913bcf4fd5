import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModuleBase

from pokered_rl.envs import make_env
from pokered_rl.episodes import EpisodeLog, find_logs
from pokered_rl.errors import ConfigError
from pokered_rl.modules import R2D2Network
from pokered_rl.record.panel import Panel
from pokered_rl.record.render import RenderOptions, render_episode
from pokered_rl.record.values import action_values


class _Greedy(TensorDictModuleBase):
    """Act greedily with the network and keep its action values."""

    def __init__(self, network):
        super().__init__()
        self.network, self.values, self.state = network, [], network.initial_state([1])
        self.in_keys, self.out_keys = [*network.observation_keys, "action_mask"], ["action"]

    def forward(self, tensordict):
        observed = tensordict.copy().update(self.state)
        self.network.step(observed)
        self.state = observed["next"].select(*self.network.state_keys)
        self.values.append(observed["action_value"][0].numpy().copy())
        allowed = observed["action_value"].masked_fill(~tensordict["action_mask"], -torch.inf)
        return tensordict.set("action", allowed.argmax(-1))


@pytest.fixture(scope="module")
def acted(sprout, start, tmp_path_factory):
    """A log of 30 greedy steps, the network that took them and its action values."""
    folder = tmp_path_factory.mktemp("acted") / "episode_logs"
    torch.manual_seed(0)
    env = make_env(sprout, start_states=[start], max_episode_steps=30, recorder={"folder": folder})
    context_size = env.observation_spec["context"].shape[-1]
    network = R2D2Network(num_actions=8, size="tiny", context_size=context_size)
    policy = _Greedy(network)
    env.rollout(30, policy, auto_cast_to_device=False)
    env.close()
    (path,) = find_logs([folder])
    return EpisodeLog.load(path), network, np.stack(policy.values)


def test_action_values_of_a_replay_equal_those_of_the_recorded_episode(acted, sprout):
    log, network, expected = acted
    assert log.steps == 30
    found = action_values(log, network, cartridge=sprout)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected[:30], rtol=1e-5, atol=1e-6)


def test_values_are_shown_in_the_panel(acted, sprout, tmp_path):
    log, _, expected = acted
    panel = Panel(log, maps=sprout.profile.maps, action_values=expected[:30])
    plain = Panel(log, maps=sprout.profile.maps)
    for each in (panel, plain):
        each.draw(0, (38, 3, 6))
    bars = panel.canvas[170:206, 100:168]
    lit = panel.canvas[205, 100 + 8 * int(log.actions[0])]
    assert (bars != plain.canvas[170:206, 100:168]).any()
    assert lit == 4  # the colour of what is pressed, on the bar of the action that was taken
    render_episode(
        log, tmp_path / "a.mp4", cartridge=sprout, options=RenderOptions(last_step=2), action_values=expected[:30]
    )
    assert (tmp_path / "a.mp4").exists()


def test_values_of_another_length_are_refused(acted, sprout):
    log, _, expected = acted
    with pytest.raises(ConfigError, match=r"action_values must have shape \[30, 8\], got \[29, 8\]"):
        Panel(log, maps=sprout.profile.maps, action_values=expected[:29])
