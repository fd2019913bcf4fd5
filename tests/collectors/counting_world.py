"""A small environment and policy whose numbers tell where they come from; importable by worker processes."""

import os
import signal
import time

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import nn
from torchrl.data import Binary, Categorical, Composite, Unbounded, UnboundedDiscrete
from torchrl.envs import Compose, EnvBase, InitTracker, TensorDictPrimer, TransformedEnv

from pokered_rl.data import SequenceCodec
from pokered_rl.errors import ConfigError, SaveStateError

HIDDEN = 3
ACTIONS = 4


class ListReplay:
    """Keeps the sequences that it is given, unpacked."""

    def __init__(self, codec=None):
        self.items = []
        self.codec = codec or SequenceCodec()

    def extend(self, sequences):
        self.items += list(self.codec(sequences).unbind(0))
        return torch.arange(len(sequences))


class CountingEnv(EnvBase):
    """E counters: the observation is [emulator, episode, step]; episodes end after 5 + 3 e steps (odd ones terminate).

    With `fault=(kind, path, after_steps)` it raises, hangs or kills its process once, as long as `path` does not exist.
    """

    def __init__(self, num_emulators=2, *, seed=None, fault=None, delay=0.0):
        super().__init__(batch_size=[num_emulators])
        e = num_emulators
        self.observation_spec = Composite(
            pixels=Unbounded(shape=(e, 3)),
            ram=UnboundedDiscrete(shape=(e, 50), dtype=torch.uint8),
            action_mask=Binary(ACTIONS, shape=(e, ACTIONS), dtype=torch.bool),
            step_count=UnboundedDiscrete(shape=(e, 1), dtype=torch.int64),
            shape=(e,),
        )
        self.action_spec = Categorical(ACTIONS, shape=(e,))
        self.reward_spec = Unbounded(shape=(e, 1))
        self.full_done_spec = Composite(
            {key: Binary(1, shape=(e, 1), dtype=torch.bool) for key in ("done", "terminated", "truncated")}, shape=(e,)
        )
        self.lengths = 5 + 3 * torch.arange(e)
        self.episode = torch.zeros(e, dtype=torch.int64)
        self.t = torch.zeros(e, dtype=torch.int64)
        self.fault = fault
        self.delay = delay
        self.total = 0
        self._set_seed(seed)

    def _set_seed(self, seed):
        self.generator = torch.Generator().manual_seed(seed or 0)
        self.offset = torch.rand(1, generator=self.generator).item()

    def _observe(self):
        e = self.batch_size[0]
        mask = torch.ones(e, ACTIONS, dtype=torch.bool)
        mask[:, 3] = False
        return {
            "pixels": torch.stack([torch.arange(e), self.episode, self.t], -1).float(),
            "ram": torch.zeros(e, 50, dtype=torch.uint8),
            "action_mask": mask,
            "step_count": self.t.unsqueeze(-1).clone(),
        }

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs):
        mask = None if tensordict is None else tensordict.get("_reset", None)
        rows = torch.ones(self.batch_size, dtype=torch.bool) if mask is None else mask.squeeze(-1)
        self.episode = self.episode + rows * (self.total > 0)
        self.t = torch.where(rows, 0, self.t)
        false = torch.zeros(*self.batch_size, 1, dtype=torch.bool)
        return TensorDict(
            {**self._observe(), "done": false, "terminated": false.clone(), "truncated": false.clone()},
            batch_size=self.batch_size,
        )

    def _step(self, tensordict):
        self.total += 1
        self._maybe_fail()
        if self.delay:
            time.sleep(self.delay)
        self.t = self.t + 1
        end = (self.t >= self.lengths).unsqueeze(-1)
        terminated = end & (self.episode % 2 == 1).unsqueeze(-1)
        return TensorDict(
            {
                **self._observe(),
                "reward": tensordict["action"].unsqueeze(-1).float(),
                "done": end,
                "terminated": terminated,
                "truncated": end & ~terminated,
            },
            batch_size=self.batch_size,
        )

    def _maybe_fail(self):
        if self.fault is None:
            return
        kind, path, after = self.fault
        if self.total < after or os.path.exists(path):  # noqa: PTH110
            return
        with open(path, "w"):  # noqa: PTH123
            pass
        if kind == "raise":
            raise RuntimeError("the emulator is on fire")
        if kind == "poison":
            raise SaveStateError("this start state is poisoned")
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            time.sleep(1000)
        if kind == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)

    def episode_state(self):
        return {"episode": self.episode, "t": self.t, "total": self.total, "generator": self.generator.get_state()}

    def load_episode_state(self, state):
        self.episode, self.t, self.total = state["episode"].clone(), state["t"].clone(), state["total"]
        self.generator.set_state(state["generator"])


def make_counting_env(*, seed=None, **options):
    return TransformedEnv(
        CountingEnv(seed=seed, **options),
        Compose(
            InitTracker(),
            TensorDictPrimer(
                Composite(recurrent_state_h=Unbounded(shape=(HIDDEN,)), recurrent_state_c=Unbounded(shape=(HIDDEN,))),
                default_value=0.0,
                expand_specs=True,
            ),
        ),
    )


class CountingPolicy(TensorDictModuleBase):
    """Epsilon-greedy under the mask; the state counts steps, the value of an action is weight * action + step."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.network.weight, 1.0)
        self.in_keys = ["pixels", "recurrent_state_h", "recurrent_state_c", "epsilon", "action_mask"]
        self.out_keys = ["action", "action_value", ("next", "recurrent_state_h"), ("next", "recurrent_state_c")]

    def forward(self, tensordict):
        mask = tensordict["action_mask"]
        allowed = mask | ~mask.any(-1, keepdim=True)
        step = tensordict["recurrent_state_h"][..., :1]
        value = self.network.weight.detach() * torch.arange(ACTIONS) + step
        greedy = value.masked_fill(~allowed, -torch.inf).argmax(-1)
        random = torch.multinomial(allowed.float(), 1).squeeze(-1)
        explore = torch.rand(greedy.shape) < tensordict["epsilon"].squeeze(-1)
        tensordict["action"] = torch.where(explore, random, greedy)
        tensordict["action_value"] = value
        tensordict["next", "recurrent_state_h"] = tensordict["recurrent_state_h"] + 1
        tensordict["next", "recurrent_state_c"] = tensordict["recurrent_state_c"] - 1
        return tensordict


def build_wrongly(*, seed):
    raise ConfigError("no such button")


def build_never(*, seed):
    raise RuntimeError("no display")
