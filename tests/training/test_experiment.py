"""An experiment takes parts of a program's own, keeps them over jobs, and says what is wrong with one."""

import csv
import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torchrl.envs import RewardScaling

from pokered_rl.envs.rewards import RewardTerm
from pokered_rl.episodes import EpisodeLog, find_logs
from pokered_rl.errors import ConfigError
from pokered_rl.training import Callback, ExitStatus, Experiment, StopReason, load_policy
from pokered_rl.training.callbacks import CallbackError
from pokered_rl.training.checkpoint import CheckpointStore

REUSE = Path(__file__).parents[2] / "examples" / "reuse"


@pytest.fixture
def own(monkeypatch):
    """The program of the page "Change a part", imported as a user's module is, by workers too."""
    monkeypatch.syspath_prepend(str(REUSE))
    import own_parts

    yield own_parts
    del sys.modules["own_parts"]


def _parts(own) -> dict:
    return {
        "make_env": own.clipped_env,
        "reward_terms": [own.Northwards],
        "network": own.context_network,
        "loss": own.decay_loss,
    }


def _newest(run: Path) -> dict:
    checkpoint = CheckpointStore(run / "checkpoints").newest()
    assert checkpoint is not None
    return checkpoint.state()


class StopAt(Callback):
    """Stops as a scheduler would at a number of steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def should_stop(self, trainer):
        return StopReason.requested if trainer.steps >= self.steps else None


def test_own_parts_train_in_worker_processes_stop_and_resume(own, train, runs, capsys):
    processes = ("collector.backend=processes", "collector.num_workers=1")
    first = own.StopAtReturn(least=1e9)
    assert train("run.target_total_steps=400", *processes, callbacks=[first, StopAt(140)], **_parts(own)) == 75
    run = runs / "a"
    saved = _newest(run)
    assert saved["callbacks"]["StopAtReturn"] == first.state_dict()
    assert first.episodes >= 2
    assert json.loads((run / "parts.json").read_text()) | {"network": ""} == {
        "network": "",
        "loss": "own_parts.DecayLoss",
        "make_env": "own_parts.clipped_env",
        "reward_terms": "own_parts.Northwards",
        "transforms": "none",
    }

    second = own.StopAtReturn(least=1e9)
    assert train("run.target_total_steps=400", *processes, callbacks=[second], **_parts(own)) == 0
    assert f"continuing {run} at step {saved['workers']['sink']['steps']}" in capsys.readouterr().out
    progress = json.loads((run / "progress.json").read_text())
    assert second.episodes == progress["episodes"] > first.episodes, "the callback went on counting"
    assert _newest(run)["learner"]["updates"] > saved["learner"]["updates"]
    with (run / "metrics" / "train.csv").open() as file:
        assert any(float(row["loss_decay"] or 0) > 0 for row in csv.DictReader(file))
    assert all("northwards" in EpisodeLog.load(path).header.reward_terms for path in find_logs([run]))

    # Each part alone, missing or another one, is named.
    for part in ("make_env", "reward_terms", "network", "loss"):
        others = {name: value for name, value in _parts(own).items() if name != part}
        if part == "network":
            others["loss"] = own.decay_loss
        assert train("run.target_total_steps=500", *processes, **others) == 1
        message = capsys.readouterr().err
        assert message.startswith(f"error: {part}: the run in {run} began with")
        assert "own_parts." in message or part == "network"

    with pytest.raises(ConfigError, match=r"give it to load_policy\((network|make_env)=\.\.\.\)"):
        load_policy(run)
    policy = load_policy(run, network=own.context_network, make_env=own.clipped_env)
    env = policy.make_env(num_emulators=2)
    played = env.rollout(3, policy.policy)
    env.close()
    assert played["next", "reward"].abs().max() <= 1


def test_a_network_and_its_loss_can_be_objects(own, train, runs):
    from pokered_rl import R2D2Loss, R2D2Network

    network = R2D2Network(
        num_actions=6, size="tiny", map_shape=None, context_size=0, pixel_shape=(72, 20), num_quantiles=5
    )
    loss = R2D2Loss(network, burn_in_steps=2, n_step=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert train("run.target_total_steps=160", network=network, loss=loss) == 0
    assert any(not torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("transform", [RewardScaling(0.0, 0.0), partial(RewardScaling, 0.0, 0.0)])
def test_own_transforms_stand_behind_those_of_the_environment(train, runs, transform):
    assert train("run.target_total_steps=100", transforms=[transform]) == 0
    with (runs / "a" / "metrics" / "episodes.csv").open() as file:
        returns = [float(row["return"]) for row in csv.DictReader(file)]
    assert len(returns) == 2
    assert max(returns) < 1e-3, "each step to a new tile pays 0.1 or more, times a scale of 0 (TorchRL: 1e-6)"
    parts = json.loads((runs / "a" / "parts.json").read_text())
    assert parts["transforms"].startswith("torchrl.envs.transforms")


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("config", 3, ["config must be a Config, the name of a config or the folder of a run", "int 3"]),
        ("overrides", "run.name=a", ["overrides must be a list", "'run.name=a'"]),
        ("network", 3, ["network must be a RecurrentQuantileNetwork", "int 3"]),
        ("network", torch.nn.Linear(1, 1), ["network must be a RecurrentQuantileNetwork", "Linear"]),
        ("loss", torch.nn.MSELoss(), ["loss must be a LossModule", "MSELoss"]),
        ("make_env", "PokemonRed", ["make_env must be a function", "str 'PokemonRed'"]),
        ("reward_terms", RewardTerm, ["reward_terms must be a list", "type"]),
        ("reward_terms", [int], ["reward_terms must be a list of RewardTerm", "int"]),
        ("transforms", [3], ["transforms must be a list of Transform", "int 3"]),
        ("callbacks", [print], ["callbacks must be Callback objects", "print"]),
    ],
)
def test_a_part_of_a_wrong_kind_is_named_with_what_is_needed(argument, value, words):
    arguments = {"config": "quickstart"} | {argument: value}
    with pytest.raises(ConfigError) as caught:
        Experiment(arguments.pop("config"), **arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"network": lambda config, env: env}, "network must return a RecurrentQuantileNetwork, got TransformedEnv"),
        ({"loss": lambda config, network: network}, "loss must return a LossModule, got R2D2Network"),
        ({"make_env": lambda cartridge, **options: cartridge}, "make_env must return a TorchRL environment, got"),
    ],
)
def test_a_function_that_returns_another_thing_is_named(train, capsys, parts, message):
    assert train(**parts) == 1
    assert f"error: {message}" in capsys.readouterr().err


def test_a_part_that_cannot_be_sent_to_workers_is_named(train, capsys):
    from pokered_rl import make_env

    def local(cartridge, **options):
        return make_env(cartridge, **options)

    assert train("collector.backend=processes", make_env=local) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: make_env: ")
    assert "local cannot be sent to worker processes (" in message
    assert "at the top level of a module" in message


class Faulty(Callback):
    """Fails in its third update."""

    def __init__(self) -> None:
        self.ended_with: list[object] = []

    def on_update(self, trainer):
        if trainer.updates == 3:
            raise KeyError("no such column")

    def on_end(self, trainer, stop):
        self.ended_with.append(stop)


def test_a_callback_that_raises_ends_the_run_with_its_name_and_what_was_learned_is_saved(train, runs, capsys):
    faulty = Faulty()
    assert train(callbacks=[faulty]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: the callback Faulty failed in on_update: KeyError: 'no such column'")
    assert "test_experiment.py:" in message
    assert _newest(runs / "a")["learner"]["updates"] == 3
    assert torch.load(runs / "a" / "online_params.pt", weights_only=True)["updates"] == 3
    progress = json.loads((runs / "a" / "progress.json").read_text())
    assert progress["last_stop"].startswith("CallbackError: the callback Faulty")
    assert [type(stop) for stop in faulty.ended_with] == [CallbackError]
    assert train() == 0, "without it the run goes on"


def test_a_callback_that_fails_at_the_end_does_not_keep_others_from_ending(train, runs, capsys):
    class Late(Callback):
        def on_end(self, trainer, stop):
            raise OSError("the server is away")

    faulty = Faulty()
    assert train("run.target_total_steps=60", callbacks=[Late(), faulty]) == 1
    assert "the callback Late failed in on_end: OSError: the server is away" in capsys.readouterr().err
    assert faulty.ended_with == [StopReason.target]
    assert json.loads((runs / "a" / "progress.json").read_text())["complete"]


def test_a_state_that_a_checkpoint_cannot_hold_is_named(train, capsys):
    class Careless(Callback):
        def state_dict(self):
            return {"seen": {Path("a")}}

    assert train("run.target_total_steps=60", callbacks=[Careless()]) == 1
    assert "Careless.state_dict must return a dict of tensors, numbers, strings" in capsys.readouterr().err


def test_callbacks_hear_of_batches_episodes_evaluations_and_checkpoints(train, runs):
    class Listener(Callback):
        def __init__(self) -> None:
            self.heard: list[str] = []
            self.steps = 0

        def on_start(self, trainer):
            self.heard.append("start")

        def on_batch(self, trainer, num_steps):
            self.steps += num_steps

        def on_episode(self, trainer, episode):
            self.heard.append(f"episode of {episode.steps}")

        def on_evaluation(self, trainer, results):
            self.heard.append(f"evaluation of {' and '.join(results)}")

        def on_checkpoint(self, trainer, checkpoint):
            self.heard.append(f"checkpoint at {checkpoint.steps}")

        def on_end(self, trainer, stop):
            self.heard.append(stop.value)

    listener = Listener()
    assert train("run.target_total_steps=100", "run.evaluation_episodes=1", callbacks=[listener]) == 0
    assert listener.steps == 100
    # 2 emulators x 50 steps in episodes of 40.
    assert listener.heard == [
        "start",
        "episode of 40",
        "episode of 40",
        "checkpoint at 100",
        "evaluation of trained and random",
        "target reached",
    ]


def test_a_run_is_begun_by_name_and_continued_by_its_folder(finished, capsys):
    status = Experiment(finished, overrides=["run.target_total_steps=240", "learner.learning_rate=0.002"]).run()
    assert status is ExitStatus.complete
    shown = capsys.readouterr().out
    assert "at step 200" in shown
    assert "learner.learning_rate: 0.001 -> 0.002" in shown
    with pytest.raises(ConfigError, match="there is no run in"):
        Experiment(finished / "metrics")
    with pytest.raises(ConfigError, match=r"batch_siz.*did you mean learner\.batch_size"):
        Experiment(str(finished), overrides=["learner.batch_siz=3"])
    config = Experiment("quickstart", overrides=["run.name=b", "loss.n_step=2"]).config
    assert (config.run.name, config.loss.n_step) == ("b", 2)


def test_own_reward_terms_reach_a_run_from_the_command_line(own, train, runs):
    options = ("+reward.extra=[own_parts:Northwards]", "reward.weights.northwards=0.5")
    assert train("run.target_total_steps=80", *options) == 0
    log = EpisodeLog.load(find_logs([runs / "a"])[0])
    assert "northwards" in log.header.reward_terms
    assert json.loads((runs / "a" / "parts.json").read_text())["reward_terms"] == "own_parts.Northwards"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:Term", ["'nowhere:Term' cannot be imported", "PYTHONPATH"]),
        ("own_parts:Nothing", ["'own_parts:Nothing' cannot be imported", "write module:Class"]),
        ("own_parts", ["'own_parts' cannot be imported"]),
        ("own_parts:DecayLoss", ["must be a subclass of RewardTerm", "DecayLoss"]),
    ],
)
def test_a_reward_term_that_cannot_be_used_is_named(own, train, capsys, name, words):
    assert train(f"reward.extra=[{name}]") == 1
    error, *rest = capsys.readouterr().err.splitlines()
    assert error.startswith("error: reward.extra: ")
    assert rest == []
    for word in words:
        assert word in error
