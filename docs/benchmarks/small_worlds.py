"""Small worlds for one part of the agent each: does the part do there what it is for, and after how many steps?

    python docs/benchmarks/small_worlds.py                                       # every variant of every world, seed 0
    python docs/benchmarks/small_worlds.py --worlds plates --variants full no_lstm --seeds 0 1 2 3 4 --json FILE

``cue_recall``: a cue of step 0 is asked for later (LSTM, stored states). ``chain``: a cue of step 0 says which end of a
chain of 200 steps pays (n-step targets, stored states, beside a table of values that sees place and cue). ``plates``:
an old stone shows the order of the plates once, as in Sprout's cave (LSTM). ``shop``: buy one thing with eight buttons
(action mask). ``starter``: Sprout from the door of the house, only the first creature pays (exploration in time, n-step
targets, priorities, archive). A run is one thread; but for ``starter`` it ends early once two evaluations in a row are
nearly perfect. Runs that FILE has are not repeated: the same command continues an interrupted one.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor
from torch.nn.functional import one_hot
from torchrl.collectors import Collector
from torchrl.data import Binary, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase, ExplorationType, InitTracker, TransformedEnv, set_exploration_type
from torchrl.modules import MLP
from torchrl.objectives import SoftUpdate

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.collectors import emulator_epsilons
from pokered_rl.data import SequenceBuilder, SequenceLayout, make_replay
from pokered_rl.modules import LSTMCore, MemorylessCore, R2D2Policy, RecurrentQuantileNetwork
from pokered_rl.objectives import R2D2Loss

#: Episodes of an evaluation, and the success that ends a run.
EVALUATED, SOLVED = 64, 0.95
#: Points of a run's curve in the results.
POINTS = 12


class World(EnvBase):
    """A batch of small episodes; the agent also sees its last action.

    ``outcome`` of a step is 1 for a success, 0 for a failure and NaN where nothing is decided. An episode that reaches
    ``limit`` steps is truncated, a failure.

    Args:
        num_envs: Episodes side by side.
        masked: Write ``action_mask``.
    """

    actions: int
    size: int
    limit: int

    def __init__(self, num_envs: int, *, masked: bool = True) -> None:
        super().__init__(batch_size=[num_envs])
        flag = {"n": 1, "shape": (num_envs, 1), "dtype": torch.bool}
        mask = {"action_mask": Binary(self.actions, shape=(num_envs, self.actions), dtype=torch.bool)}
        self.observation_spec = Composite(
            observation=Unbounded(shape=(num_envs, self.size + self.actions)),
            step_count=Unbounded(shape=(num_envs, 1), dtype=torch.int64),
            outcome=Unbounded(shape=(num_envs, 1)),
            **(mask if masked else {}),
            shape=[num_envs],
        )
        self.action_spec = Categorical(self.actions, shape=(num_envs,))
        self.reward_spec = Unbounded(shape=(num_envs, 1))
        ends = ("done", "terminated", "truncated")
        self.done_spec = Composite({key: Binary(**flag) for key in ends}, shape=[num_envs])
        self.masked = masked
        self.now = torch.zeros(num_envs, dtype=torch.int64)

    def begin(self, which: Tensor) -> None:
        """Begin the episodes of ``which``, bool [E]."""
        raise NotImplementedError

    def advance(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return reward [E], whether the episode ends, bool [E], and the outcome [E] of a step."""
        raise NotImplementedError

    def observe(self) -> Tensor:
        """Return what is seen, [E, size]."""
        raise NotImplementedError

    def allowed(self) -> Tensor:
        """Return the actions that do something, bool [E, A]."""
        return torch.ones(*self.batch_size, self.actions, dtype=torch.bool)

    def _reset(self, tensordict: TensorDict | None = None, **_: object) -> TensorDict:
        which = None if tensordict is None else tensordict.get("_reset", None)
        which = torch.ones(self.batch_size, dtype=torch.bool) if which is None else which.reshape(self.batch_size)
        self.now[which] = 0
        self.begin(which)
        action = torch.zeros(*self.batch_size, self.actions)
        return self._seen(action, torch.full(self.batch_size, torch.nan)).update(self.done_spec.zero())

    def _step(self, tensordict: TensorDict) -> TensorDict:
        action = tensordict["action"]
        self.now += 1
        reward, ended, outcome = self.advance(action)
        truncated = (self.now >= self.limit) & ~ended
        outcome = torch.where(truncated, 0.0, outcome)
        flags = {"terminated": ended, "truncated": truncated, "done": ended | truncated}
        seen = self._seen(one_hot(action, self.actions), outcome)
        return seen.update(
            {"reward": reward.unsqueeze(-1)} | {key: value.unsqueeze(-1) for key, value in flags.items()}
        )

    def _seen(self, action: Tensor, outcome: Tensor) -> TensorDict:
        seen = {
            "observation": torch.cat([self.observe(), action], -1).float(),
            "step_count": self.now.unsqueeze(-1).clone(),
            "outcome": outcome.unsqueeze(-1).float(),
        }
        return TensorDict(seen | ({"action_mask": self.allowed()} if self.masked else {}), self.batch_size)

    def _set_seed(self, seed: int | None) -> None:
        torch.manual_seed(seed or 0)


class CueRecall(World):
    """One of four cues is shown at step 0 only; a question pays +1 for the right answer and -1 for any other.

    Up to step 30 the answer is the cue. Later questions, the outcomes, have a symbol of their own and want the cue
    after it: no sequence that holds the cue holds such a question, so only a stored state can teach the answer.
    """

    cues, late, query_chance = 4, 30, 0.2
    actions, size, limit = cues, cues + 3, 62

    def begin(self, which: Tensor) -> None:
        """Draw cues; all episodes have the same length, so they begin together."""
        self.cue = torch.randint(0, self.cues, self.batch_size)
        self.query = torch.zeros(self.batch_size, dtype=torch.bool)

    def advance(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge the answer to the question of the step before."""
        late = self.now - 1 > self.late
        right = action == (self.cue + late) % self.cues
        reward = torch.where(right, 1.0, -1.0) * self.query
        outcome = torch.where(self.query & late, right.float(), torch.nan)
        self.query = torch.rand(self.batch_size) < self.query_chance
        return reward, self.now >= self.limit - 1, outcome

    def observe(self) -> Tensor:
        """Show the cue at step 0, then questions, and noise."""
        cue = one_hot(self.cue, self.cues) * (self.now == 0).unsqueeze(-1)
        late = self.now > self.late
        return torch.cat(
            [cue, torch.stack([self.query & ~late, self.query & late, torch.randn(self.batch_size)], -1)], -1
        )


class Chain(World):
    """A chain of up to 200 steps that forks into two ends: the cue of step 0 says which of them pays +1.

    Forward, left, right: on the way left and right leave the chain, which ends the episode; at the fork they choose an
    end. Episodes begin 1 to 200 steps before the fork, short ways more often than long ones: 200 times the square of a
    uniform number.
    """

    length = 200
    actions, size, limit = 3, 7, 250

    def __init__(self, num_envs: int, *, masked: bool = True) -> None:
        super().__init__(num_envs, masked=masked)
        self.place, self.cue = torch.zeros(2, num_envs, dtype=torch.int64)

    def begin(self, which: Tensor) -> None:
        """Draw place, the steps to the fork, and cue."""
        distance = 1 + (torch.rand(self.batch_size).square() * self.length).long()
        self.place = torch.where(which, distance, self.place)
        self.cue = torch.where(which, torch.randint(0, 2, self.batch_size), self.cue)

    def advance(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Go forward or choose an end."""
        ended = action > 0
        right = (self.place == 0) & (action - 1 == self.cue)
        self.place = (self.place - (action == 0).long()).clamp(min=0)
        return right.float(), ended, torch.where(ended, right.float(), torch.nan)

    def observe(self) -> Tensor:
        """Show the cue at step 0, the fork, and the place on several scales."""
        cue = one_hot(self.cue, 2) * (self.now == 0).unsqueeze(-1)
        place = self.place / self.length
        waves = [torch.sin(torch.pi * factor * place) for factor in (1, 2, 4)]
        return torch.cat([cue, torch.stack([self.place == 0, place, *waves], -1)], -1)


class Plates(World):
    """A room of 3 x 3 tiles with plates in three corners and, in its middle, the old stone that tells their order once.

    As in Sprout, the letters crumble when they have been read, a plate that is not the next one lets all spring up, and
    the room looks the same however many are down. Each plate pays +1 when as many are down for the first time, like
    Sprout's events; the third, of Sprout's four, ends the episode.
    """

    plates = torch.tensor([0, 2, 6])
    actions, size, limit = 5, 9 + 9 + 2, 40

    def __init__(self, num_envs: int, *, masked: bool = True) -> None:
        super().__init__(num_envs, masked=masked)
        self.tile, self.down, self.most = torch.zeros(3, num_envs, dtype=torch.int64)
        self.order = torch.zeros(num_envs, 3, dtype=torch.int64)
        self.read, self.shown, self.click, self.wrong = torch.zeros(4, num_envs, dtype=torch.bool)

    def begin(self, which: Tensor) -> None:
        """Stand at the stone; draw the order."""
        self.tile = torch.where(which, 4, self.tile)
        self.order = torch.where(which.unsqueeze(-1), torch.rand(*self.batch_size, 3).argsort(-1), self.order)
        for name in ("down", "most", "read", "shown", "click", "wrong"):
            setattr(self, name, getattr(self, name).masked_fill(which, 0))

    def advance(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Walk up, down, left or right, or read (action 4) in the middle."""
        y, x = self.tile // 3, self.tile % 3
        y = (y + (action == 1).long() - (action == 0).long()).clamp(0, 2)
        x = (x + (action == 3).long() - (action == 2).long()).clamp(0, 2)
        moved, self.tile = 3 * y + x != self.tile, 3 * y + x
        self.shown = (action == 4) & (self.tile == 4) & ~self.read
        self.read = self.read | self.shown
        on = (self.tile.unsqueeze(-1) == self.plates) & moved.unsqueeze(-1)  # [E, 3]
        pressed, plate = on.any(-1), on.long().argmax(-1)
        self.click = pressed & (self.order.gather(1, self.down.clamp(max=2).unsqueeze(-1)).squeeze(-1) == plate)
        self.wrong = pressed & ~self.click
        again = (self.order[:, 0] == plate).long()
        self.down = torch.where(self.click, self.down + 1, torch.where(self.wrong, again, self.down))
        reward = (self.down > self.most).float()
        self.most = torch.maximum(self.most, self.down)
        solved = self.down == 3
        return reward, solved, torch.where(solved, 1.0, torch.nan)

    def observe(self) -> Tensor:
        """Show the tile, the order in the step after reading, and the texts of the last plate."""
        order = one_hot(self.order, 3).flatten(1) * self.shown.unsqueeze(-1)
        return torch.cat([one_hot(self.tile, 9), order, self.click.unsqueeze(-1), self.wrong.unsqueeze(-1)], -1)


class Shop(World):
    """A counter and its menus, with the eight buttons of the game; buying the wanted one of five goods pays +1.

    Buying another one ends the episode as well. Everything is seen: screen, cursor, quantity, chosen good.
    """

    NOOP, A, B, START, RIGHT, LEFT, UP, DOWN = range(8)
    MAP, PAUSE, TEXT, MENU, GOODS, NUMBER, CONFIRM = range(7)
    #: Entries of each screen's menu.
    entries = torch.tensor([1, 6, 1, 3, 6, 9, 2])
    wanted = 1
    actions, size, limit = 8, 7 + 9 + 4 + 6, 60

    def __init__(self, num_envs: int, *, masked: bool = True) -> None:
        super().__init__(num_envs, masked=masked)
        self.screen, self.cursor, self.facing, self.good = torch.zeros(4, num_envs, dtype=torch.int64)
        buttons = torch.zeros(7, 8, dtype=torch.bool)
        buttons[self.MAP] = True
        buttons[:, [self.NOOP, self.A, self.B]] = True  # the rules never mask no-op and B
        buttons[[self.PAUSE, self.MENU, self.GOODS, self.NUMBER, self.CONFIRM], self.UP :] = True
        buttons[self.PAUSE, self.START] = True
        self.buttons = buttons

    def begin(self, which: Tensor) -> None:
        """Stand at the counter, its menu open."""
        self.screen = self.screen.masked_fill(which, self.MENU)
        self.cursor, self.good = self.cursor.masked_fill(which, 0), self.good.masked_fill(which, 0)
        self.facing = self.facing.masked_fill(which, self.UP - self.RIGHT)

    def advance(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Press a button."""
        before, cursor = self.screen, self.cursor
        is_menu = (before != self.MAP) & (before != self.TEXT)
        turn = (action == self.DOWN).long() - (action == self.UP).long()
        self.cursor = torch.where(is_menu, (cursor + turn) % self.entries[before], cursor)
        self.facing = torch.where((before == self.MAP) & (action >= self.RIGHT), action - self.RIGHT, self.facing)
        at_counter = (before == self.MAP) & (self.facing == self.UP - self.RIGHT)
        confirmed = (before == self.CONFIRM) & (action == self.A) & (cursor == 0)
        chosen = (before == self.GOODS) & (action == self.A) & (cursor < 5)
        moves = [
            (at_counter & (action == self.A), self.TEXT),
            ((before == self.MAP) & (action == self.START), self.PAUSE),
            ((before == self.PAUSE) & ((action == self.START) | (action == self.B)), self.MAP),
            ((before == self.TEXT) & ((action == self.A) | (action == self.B)), self.MENU),
            ((before == self.MENU) & (action == self.A) & (cursor == 0), self.GOODS),
            ((before == self.MENU) & ((action == self.B) | (action == self.A) & (cursor == 2)), self.MAP),
            (chosen, self.NUMBER),
            ((before == self.GOODS) & ((action == self.B) | (action == self.A) & (cursor == 5)), self.MENU),
            ((before == self.NUMBER) & (action == self.A), self.CONFIRM),
            ((before == self.NUMBER) & (action == self.B), self.GOODS),
            ((before == self.CONFIRM) & ((action == self.B) | (action == self.A) & (cursor == 1)), self.GOODS),
        ]
        self.good = torch.where(chosen, cursor, self.good)
        for happens, screen in moves:
            self.screen = torch.where(happens, screen, self.screen)
        self.cursor = self.cursor.masked_fill(self.screen != before, 0)
        right = (self.good == self.wanted).float()
        return right * confirmed, confirmed, torch.where(confirmed, right, torch.nan)

    def observe(self) -> Tensor:
        """Show screen, cursor, facing and good."""
        good = one_hot(self.good, 6) * (self.screen >= self.NUMBER).unsqueeze(-1)
        return torch.cat([one_hot(self.screen, 7), one_hot(self.cursor, 9), one_hot(self.facing, 4), good], -1)

    def allowed(self) -> Tensor:
        """Return the buttons that the screen reads."""
        return self.buttons[self.screen]


@dataclass(frozen=True)
class Agent:
    """An agent and how it is trained."""

    world: type[World]
    #: Agent steps after which a run is given up.
    max_steps: int
    #: Share of successes that counts as learned.
    goal: float = 0.5
    masked: bool = True
    lstm: bool = True
    stored_state: bool = True
    burn_in_steps: int = 8
    unroll_steps: int = 32
    n_step: int = 5
    gamma: float = 0.97
    epsilon: float = 0.4
    max_hold_steps: int = 1
    num_envs: int = 32
    steps_per_batch: int = 40
    updates_per_batch: int = 24
    batch_size: int = 32
    hidden_size: int = 32
    learning_rate: float = 3e-3
    #: Batches between two evaluations.
    evaluate_every: int = 5


_CUE = Agent(CueRecall, 80_000, burn_in_steps=5, unroll_steps=20, n_step=2, gamma=0.5, hidden_size=48)
_CHAIN = Agent(Chain, 80_000, goal=0.75, n_step=10, gamma=0.997, epsilon=0.2, hidden_size=48)
_PLATES = Agent(Plates, 80_000, gamma=0.95, hidden_size=64)
_SHOP = Agent(Shop, 80_000, gamma=0.95, epsilon=0.8)
AGENTS: dict[str, dict[str, Agent | list[str] | None]] = {
    "cue_recall": {
        "full": _CUE,
        "zero_start": replace(_CUE, stored_state=False),
        "no_lstm": replace(_CUE, lstm=False),
    },
    "chain": {
        "full": _CHAIN,
        "one_step": replace(_CHAIN, n_step=1),
        "zero_start": replace(_CHAIN, stored_state=False),
        "no_lstm": replace(_CHAIN, lstm=False),
        "table": None,
    },
    "plates": {"full": _PLATES, "no_lstm": replace(_PLATES, lstm=False)},
    "shop": {"full": _SHOP, "no_mask": replace(_SHOP, masked=False)},
    # Overrides of configs/sprout.yaml; None in a chain stands for the table.
    "starter": {
        "full": [],
        "no_archive": ["curriculum.enabled=false"],
        "epsilon_greedy": ["collector.exploration=epsilon_greedy"],
        "one_step": ["loss.n_step=1"],
        "uniform_replay": ["replay.alpha=0"],
    },
}
#: Agent steps of a run of ``starter``, those of its episodes, and the episodes whose share of successes is taken.
STARTER_STEPS, STARTER_EPISODE_STEPS, STARTER_WINDOW = 40_000, 256, 16


def train(world: str, variant: str, seed: int, *, max_steps: int | None = None) -> dict[str, Any]:
    """Train one agent; return the steps to its goal (None if not reached), its last success and its curve."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    agent = AGENTS[world][variant]
    started = os.times()
    if isinstance(agent, list):
        goal, curve = 0.5, _play_sprout(agent, seed, max_steps or STARTER_STEPS)
    else:
        full = AGENTS[world]["full"]
        limit = max_steps or full.max_steps
        goal, curve = full.goal, _learn_table(full, limit) if agent is None else _learn(agent, seed, limit)
    ended = os.times()
    return {
        "steps_to_goal": next((steps for steps, success in curve if success >= goal), None),
        "success": round(curve[-1][1], 3),
        "steps": curve[-1][0],
        "cpu_seconds": round(sum(ended[:4]) - sum(started[:4])),
        "curve": [[steps, round(success, 2)] for steps, success in curve],
    }


def _learn(agent: Agent, seed: int, max_steps: int) -> list[tuple[int, float]]:
    layout = SequenceLayout(burn_in_steps=agent.burn_in_steps, unroll_steps=agent.unroll_steps, n_step=agent.n_step)
    size = agent.world.size + agent.world.actions
    network = RecurrentQuantileNetwork(
        encoder=MLP(in_features=size, out_features=32, num_cells=[], activate_last_layer=True),
        observation_keys=["observation"], num_features=32, num_actions=agent.world.actions, num_quantiles=5,
        hidden_size=agent.hidden_size, head_size=32, core=LSTMCore if agent.lstm else MemorylessCore, noise_std=0.0,
    )  # fmt: skip
    policy = R2D2Policy(network, max_hold_steps=agent.max_hold_steps)
    epsilons = emulator_epsilons(agent.num_envs, base=agent.epsilon, alpha=3.0)
    env = TransformedEnv(agent.world(agent.num_envs, masked=agent.masked), policy.make_primers(epsilon=epsilons))
    judged = TransformedEnv(agent.world(EVALUATED, masked=agent.masked), policy.make_primers(epsilon=0.0))
    for each in (env, judged):
        each.append_transform(InitTracker())
    loss = R2D2Loss(network, burn_in_steps=agent.burn_in_steps, n_step=agent.n_step, gamma=agent.gamma)
    target, optimizer = SoftUpdate(loss, tau=0.02), torch.optim.Adam(loss.parameters(), lr=agent.learning_rate)
    builder = SequenceBuilder(
        layout=layout, observation_keys=["observation", "action_mask"], state_keys=network.state_keys, gamma=agent.gamma
    )
    frames = agent.num_envs * agent.steps_per_batch
    curve: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        replay = make_replay(
            scratch_dir=folder, capacity_transitions=100_000, layout=layout, batch_size=agent.batch_size, seed=seed
        )
        collector = Collector(env, policy, frames_per_batch=frames, total_frames=max_steps, trust_policy=True)
        for number, batch in enumerate(collector, 1):
            replay.extend(builder.extend(batch))
            for _ in range(agent.updates_per_batch if len(replay) >= agent.batch_size else 0):
                sequences = replay.sample()
                if not agent.stored_state:
                    sequences.update({key: torch.zeros_like(sequences[key]) for key in network.state_keys})
                optimizer.zero_grad()
                loss(sequences)["loss_quantile"].backward()
                torch.nn.utils.clip_grad_norm_(loss.parameters(), 40.0)
                optimizer.step()
                target.step()
                replay.update_tensordict_priority(sequences)
            if number % agent.evaluate_every == 0 or number * frames >= max_steps:
                curve.append((number * frames, evaluate(judged, policy, agent.world.limit)))
                if min(success for _, success in curve[-2:]) >= SOLVED and len(curve) > 1:
                    break
        collector.shutdown()
    return curve


@torch.no_grad()
def evaluate(env: EnvBase, policy: Callable[[TensorDictBase], TensorDictBase], limit: int) -> float:
    """Act greedily in one episode of each environment; return the share of successes among the outcomes."""
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        played = env.rollout(limit, policy, break_when_any_done=False)
    outcome, done = played["next", "outcome"].squeeze(-1), played["next", "done"].squeeze(-1).long()
    first_episode = done.cumsum(-1) - done == 0
    return outcome[first_episode & ~outcome.isnan()].mean().item()


@torch.no_grad()
def _learn_table(agent: Agent, max_steps: int) -> list[tuple[int, float]]:
    """Learn the chain's values by 1-step Q-learning in a table of place and cue; nothing is random but the agent."""
    env, judged = Chain(agent.num_envs), Chain(EVALUATED)
    values = torch.zeros(Chain.length + 1, 2, Chain.actions)
    epsilons = emulator_epsilons(agent.num_envs, base=agent.epsilon, alpha=3.0)

    def greedy(world: Chain) -> Tensor:
        value = values[world.place, world.cue]
        return (value + 1e-6 * torch.rand_like(value)).argmax(-1)

    policy = TensorDictModule(lambda _: greedy(judged), in_keys=["observation"], out_keys=["action"])

    curve: list[tuple[int, float]] = []
    env.begin(torch.ones(agent.num_envs, dtype=torch.bool))
    every = agent.steps_per_batch * agent.evaluate_every
    for step in range(1, max_steps // agent.num_envs + 1):
        place, cue = env.place, env.cue
        explore = torch.rand(agent.num_envs) < epsilons
        action = torch.where(explore, torch.randint(0, Chain.actions, place.shape), greedy(env))
        env.now += 1
        reward, ended, _ = env.advance(action)
        bootstrap = agent.gamma * values[env.place, env.cue].amax(-1) * ~ended
        values[place, cue, action] = reward + bootstrap
        again = ended | (env.now >= Chain.limit)
        env.begin(again)
        env.now[again] = 0
        if step % every == 0 or step == max_steps // agent.num_envs:
            curve.append((step * agent.num_envs, evaluate(judged, policy, Chain.limit)))
            if min(success for _, success in curve[-2:]) >= SOLVED and len(curve) > 1:
                break
    return curve


def _play_sprout(overrides: list[str], seed: int, max_steps: int) -> list[tuple[int, float]]:
    """Train on Sprout from ``leave_home``; return the share of successes in windows of the episodes from there."""
    from pokered_rl.emulator import start_states
    from pokered_rl.envs.rewards import REWARD_TERMS

    with tempfile.TemporaryDirectory() as folder:
        options = {
            "run.folder": folder,
            "run.name": "run",
            "run.seed": seed,
            "run.target_total_steps": max_steps,
            "env.start_states": f"[{start_states('sprout')['leave_home']}]",
            "env.max_episode_steps": STARTER_EPISODE_STEPS,
            **{f"++reward.weights.{name}": float(name == "goals") for name in REWARD_TERMS},
            "reward.goals": "[{name: starter, event: GOT_STARTER}]",
            "collector.backend": "inline",
            "collector.warmup_steps": 0,
            "curriculum.power_on_patience_steps": "null",
            "evaluation.every_steps": 0,
            "replay.capacity_transitions": 100_000,
            "replay.min_fill_sequences": 64,
            "logging.tensorboard": "false",
        }
        command = [sys.executable, "-m", "pokered_rl", "train", "--config-name", "sprout"]
        command += [*(f"{key}={value}" for key, value in options.items()), *overrides]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        with Path(folder, "run", "metrics", "episodes.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["start"] == "power-on"]  # not the archive
    reached = [(int(row["steps"]), "starter:" in row["milestone_steps"]) for row in rows]
    windows = [reached[end - STARTER_WINDOW : end] for end in range(STARTER_WINDOW, len(reached) + 1)]
    return [(window[-1][0], statistics.fmean(success for _, success in window)) for window in windows]


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each variant, runs that reached the goal, median and range of their steps, and the last successes."""
    result: dict[str, Any] = {}
    for run in runs:
        result.setdefault(run["world"], {}).setdefault(run["variant"], []).append(run)
    for variants in result.values():
        for name, group in variants.items():
            reached = [run["steps_to_goal"] for run in group if run["steps_to_goal"] is not None]
            # A run that did not reach the goal counts as later than all others: no median if these are half of them.
            ordered = sorted(reached) + [None] * (len(group) - len(reached))
            success = [run["success"] for run in group]
            variants[name] = {
                "runs": len(group),
                "reached": len(reached),
                "median_steps": ordered[len(group) // 2],
                "low_steps": min(reached, default=None),
                "high_steps": max(reached, default=None),
                "most_steps": max(run["steps"] for run in group),
                "median_cpu_seconds": statistics.median(run["cpu_seconds"] for run in group),
                "median_success": statistics.median(success),
                "low_success": min(success),
                "high_success": max(success),
            }
    return result


def main() -> None:
    """Run what is asked for, one after the other, and write each run as it ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", choices=list(AGENTS), default=list(AGENTS))
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="those of the worlds that have them (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, beside those it has")
    arguments = parser.parse_args()
    jobs = [
        (world, variant, seed)
        for world in arguments.worlds
        for seed in arguments.seeds
        for variant in AGENTS[world]
        if not arguments.variants or variant in arguments.variants
    ]
    for job in jobs:
        if job in {_key(run) for run in _read(arguments.json)["samples"]}:
            continue
        run = dict(zip(("world", "variant", "seed"), job, strict=True)) | train(*job)
        curve = run.pop("curve")
        print(run, flush=True)
        _write(arguments.json, run | {"commit": provenance()["commit"]}, curve[:: -(-len(curve) // POINTS)])


def _read(file: Path | None) -> dict[str, Any]:
    return json.loads(file.read_text()) if file and file.is_file() else {"samples": [], "curves": {}}


def _key(run: dict[str, Any]) -> tuple[str, str, int]:
    return run["world"], run["variant"], run["seed"]


def _write(file: Path | None, run: dict[str, Any], curve: list[list[float]]) -> None:
    """Put a run and its curve, steps and success in turns, into the results."""
    if file is None:
        return
    found = _read(file)
    runs = [*(other for other in found["samples"] if _key(other) != _key(run)), run]
    order = [(world, variant) for world, variants in AGENTS.items() for variant in variants]
    runs.sort(key=lambda each: (order.index(_key(each)[:2]), each["seed"]))
    curves = found["curves"] | {"/".join(map(str, _key(run))): [value for point in curve for value in point]}
    write_json(file, provenance() | {"worlds": summary(runs), "samples": runs, "curves": dict(sorted(curves.items()))})


if __name__ == "__main__":
    main()
