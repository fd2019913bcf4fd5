import copy
import pickle

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import ExplorationType, set_exploration_type
from torchrl.modules import MLP

from pokered_rl.errors import ConfigError
from pokered_rl.modules import NETWORK_SIZES, MemorylessCore, R2D2Network, RecurrentQuantileNetwork

ACTIONS = 4


def observations(*batch, context_size=6, shape=(72, 20)):
    return TensorDict(
        {
            "pixels": torch.randint(0, 256, (*batch, *shape), dtype=torch.uint8),
            "map_memory": torch.randint(0, 4, (*batch, 2, 21, 21), dtype=torch.uint8),
            "context": torch.rand(*batch, context_size),
            "last_action": torch.randint(0, ACTIONS + 1, batch),
            "last_reward": torch.randn(*batch, 1),
        },
        batch_size=batch[:1],
    )


def make_network(**changes):
    return R2D2Network(**{"num_actions": ACTIONS, "size": "tiny", "context_size": 6, "num_quantiles": 5, **changes})


def random_state(network, batch_size):
    state = network.initial_state([batch_size])
    return state.apply(torch.randn_like)


@pytest.mark.parametrize("size", sorted(NETWORK_SIZES))
def test_every_size_maps_sequences_to_quantiles_state_and_reconstruction(size):
    network = make_network(size=size, reconstruct_map=True)
    td = network(observations(2, 3).update(network.initial_state([2])))
    assert td["quantiles"].shape == (2, 3, ACTIONS, 5)
    assert td["context_reconstruction"].shape == (2, 3, 6)
    assert td["map_reconstruction"].shape == (2, 3, 2, 21, 21)
    assert td["next", "recurrent_state_h"].shape == (2, NETWORK_SIZES[size].hidden_size)
    assert set(network.out_keys) <= set(td.keys(True, True))


@pytest.mark.parametrize(
    "off",
    [
        {"pixel_shape": None},
        {"map_shape": None},
        {"context_size": 0},
        {"use_last_action": False},
        {"use_last_reward": False},
        {"pixel_shape": None, "map_shape": None, "use_last_action": False, "use_last_reward": False},
        {"core": MemorylessCore},
        {"dueling": False, "noise_std": 0.0},
        {"spatial_attention": True, "norm": True},
        {"initialisation": "pytorch", "layer_norm": False},
    ],
)
def test_parts_can_be_left_out(off):
    network = make_network(**off)
    td = observations(2, 3).select(*network.observation_keys).update(network.initial_state([2]))
    assert network(td)["quantiles"].shape == (2, 3, ACTIONS, 5)
    step = td[:, 0] if td.ndim == 2 else observations(2).select(*network.observation_keys)
    assert network.step(step.update(network.initial_state([2])))["action_value"].shape == (2, ACTIONS)


def test_layer_norm_brings_every_branch_to_one_scale():
    network = make_network()
    td = observations(64, 1)
    features = network.encoder(*(td[key][:, 0] for key in network.observation_keys))
    for branch in features.split([encoder.num_features for encoder in network.encoder.encoders.values()], -1):
        torch.testing.assert_close(branch.mean(-1), torch.zeros(64), atol=1e-4, rtol=0)
        torch.testing.assert_close(branch.square().mean(-1), torch.ones(64), atol=1e-2, rtol=0)


def test_full_size_frames_are_taken():
    network = make_network(pixel_shape=(144, 40))
    td = observations(2, 3, shape=(144, 40)).update(network.initial_state([2]))
    assert network(td)["quantiles"].shape == (2, 3, ACTIONS, 5)


def test_entries_can_have_other_names():
    network = R2D2Network(
        num_actions=2,
        size="tiny",
        pixel_shape=None,
        map_shape=None,
        context_size=3,
        in_keys={"context": "observation", "last_reward": ("agent", "reward")},
    )
    assert network.observation_keys == ["observation", "last_action", ("agent", "reward")]
    td = network.initial_state([2])
    td["observation"], td["agent", "reward"] = torch.rand(2, 4, 3), torch.rand(2, 4, 1)
    td["last_action"] = torch.zeros(2, 4, dtype=torch.int64)
    assert network(td)["quantiles"].shape == (2, 4, 2, 51)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "huge"}, "size must be one of .*, got 'huge'"),
        ({"map_shape": None, "reconstruct_map": True}, "reconstruct_map needs a map_shape"),
        (
            dict(pixel_shape=None, map_shape=None, context_size=0, use_last_action=False, use_last_reward=False),
            "no observation",
        ),
        (
            {"map_shape": None, "in_keys": {"map_memory": "map"}},
            r"in_keys must name observations out of .*\['map_memory'\]",
        ),
    ],
)
def test_contradicting_arguments_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        make_network(**change)


def test_a_missing_state_is_an_error_and_not_a_network_without_memory():
    network = make_network()
    with pytest.raises(KeyError, match="recurrent_state_h"):
        network(observations(2, 3))


def test_steps_one_by_one_give_the_values_of_the_sequence():
    network = make_network()
    steps = observations(3, 7)
    state = random_state(network, 3)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        sequence = network(steps.clone().update(state))
    carried = state
    for t in range(7):
        td = TensorDict({key: steps[key][:, t] for key in network.observation_keys}, [3]).update(carried)
        network.step(td)
        torch.testing.assert_close(td["action_value"], sequence["quantiles"][:, t].mean(-1), rtol=1e-5, atol=1e-5)
        carried = td["next"]
    torch.testing.assert_close(
        carried["recurrent_state_c"], sequence["next", "recurrent_state_c"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("key", ["pixels", "map_memory", "context", "last_action", "last_reward"])
def test_every_input_of_every_step_moves_the_output(key):
    network = make_network(noise_std=0.0)
    td = observations(1, 4).update(network.initial_state([1]))
    before = network(td.clone())["quantiles"]
    changed = td.clone()
    values = {"map_memory": 4, "last_action": ACTIONS + 1}.get(key)
    value = changed[key][:, 2] + 1
    changed[key][:, 2] = value if values is None else value % values
    after = network(changed)["quantiles"]
    assert torch.equal(after[:, :2], before[:, :2])  # no look into the future
    assert (after[:, 2] - before[:, 2]).abs().max() > 0
    assert (after[:, 3] - before[:, 3]).abs().max() > 0  # through memory


def test_a_memoryless_network_does_not_depend_on_earlier_steps():
    network = make_network(core=MemorylessCore, noise_std=0.0)
    assert network.state_keys == []
    td = observations(1, 4)
    before = network(td.clone())["quantiles"]
    td["context"][:, 2] += 1
    after = network(td)["quantiles"]
    assert torch.equal(after[:, 3], before[:, 3])
    assert not torch.equal(after[:, 2], before[:, 2])


def test_a_policy_needs_no_gradient():
    network = make_network()
    td = network.step(observations(2).update(network.initial_state([2])))
    assert not td["action_value"].requires_grad
    assert not td["action_value"].is_inference()  # a replay in the same process may feed it to autograd


def test_network_is_copied_and_pickled_with_equal_outputs():
    network = make_network(noise_std=0.0)
    td = observations(1, 2).update(network.initial_state([1]))
    expected = network(td.clone())["quantiles"]
    for clone in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(clone(td.clone())["quantiles"], expected)


def test_no_layer_keeps_running_statistics_or_drops_units():
    for size in NETWORK_SIZES:
        kinds = {type(m).__name__ for m in make_network(size=size, spatial_attention=True, norm=True).modules()}
        assert not [kind for kind in kinds if "BatchNorm" in kind or "Dropout" in kind]


def test_any_encoder_makes_a_network():
    network = RecurrentQuantileNetwork(
        encoder=MLP(in_features=4, out_features=16, num_cells=[16]),
        observation_keys=["observation"],
        num_features=16,
        num_actions=2,
        num_quantiles=3,
        hidden_size=8,
        head_size=8,
    )
    td = network.initial_state([5]).set("observation", torch.randn(5, 6, 4))
    assert network(td)["quantiles"].shape == (5, 6, 2, 3)


def test_bfloat16_autocast_keeps_states_in_float32():
    network = make_network()
    td = observations(2, 3).update(network.initial_state([2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(td)
    assert td["next", "recurrent_state_h"].dtype == torch.float32
    assert torch.isfinite(td["quantiles"].float()).all()
