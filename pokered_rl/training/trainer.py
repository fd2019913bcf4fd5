"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tensordict import TensorDictBase
from torch import nn

from pokered_rl.collectors import WorkerPool
from pokered_rl.data import RateLimiter, SequenceReplay
from pokered_rl.data.demonstrations import MixedReplay
from pokered_rl.errors import RunLostError
from pokered_rl.training.callbacks import Callback, CallbackList
from pokered_rl.training.learner import Learner
from pokered_rl.training.runtime import StopReason

__all__ = ["Trainer"]


class Trainer:
    """Learn while the workers play, until a callback gives a reason to stop.

    Args:
        learner: Takes the optimizer steps.
        network: The online network, whose weights go to the workers.
        workers: Play, and put what they played into the replay.
        replay: The sequences.
        mixed: What the learner draws from where there are demonstrations, too.
        limiter: Keeps drawing in proportion to inserting.
        sync_every_updates: Updates between two weight copies to the workers.
        folder: The run's folder.
        example: A batch of sequences [1], from which the files of the replay are allocated.
        callbacks: Called in their order.
        say: Prints a line for the user.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        network: nn.Module,
        workers: WorkerPool,
        replay: SequenceReplay,
        limiter: RateLimiter,
        sync_every_updates: int,
        folder: Path,
        example: TensorDictBase,
        mixed: MixedReplay | None = None,
        callbacks: Sequence[Callback] = (),
        say: Callable[[str], None] = print,
    ) -> None:
        self.learner = learner
        self.network = network
        self.workers = workers
        self.replay = replay
        self.mixed = mixed
        self.limiter = limiter
        self.sync_every_updates = sync_every_updates
        self.folder = folder
        self.example = example
        self.say = say
        self.callbacks = CallbackList(callbacks, say=say)
        self._announced_steps = self._announced_episodes = 0

    @property
    def replay_bytes(self) -> int:
        """Bytes of disk that the full replay needs."""
        return self.replay.bytes_needed(self.example)

    @property
    def steps(self) -> int:
        """Agent steps over all jobs and emulators."""
        return self.workers.steps

    @property
    def updates(self) -> int:
        """Learner updates over all jobs."""
        return self.learner.updates

    @property
    def pretrain_updates(self) -> int:
        """Updates with demonstrations alone, before anything is played."""
        return self.mixed.pretrain_updates if self.mixed is not None else 0

    @property
    def episodes(self) -> int:
        """Finished episodes over all jobs."""
        return self.workers.episodes

    def run(self) -> StopReason:
        """Train until there is a reason to stop; the callbacks save and report, whatever ended the loop.

        Raises:
            PokeredError: The learner, the workers or a callback cannot go on.
        """
        try:
            reason = self._learn_while_workers_play()
        except RunLostError:
            raise  # what callbacks do at the end of a job is to write
        except Exception as error:
            self.callbacks.end(self, error)
            raise
        self.callbacks.end(self, reason)
        return reason

    def _learn_while_workers_play(self) -> StopReason:
        self._announced_steps, self._announced_episodes = self.steps, self.episodes
        self.callbacks.call("on_start", self)
        # In-process workers that were restored keep the weights that acted.
        self.workers.set_weights(self.network, version=self.updates)
        if (reason := self.callbacks.should_stop(self)) is not None:
            return reason
        while (reason := self.callbacks.should_stop(self)) is None:
            pretrains = self.updates < self.pretrain_updates
            if not (pretrains and self.workers.acts_by_itself):
                self.workers.start()
            self.workers.check()
            learns = pretrains or self.limiter.can_sample(self.learner.batch_size)
            if learns:
                self.learner.step()
                if not pretrains:
                    self.limiter.sampled(self.learner.batch_size)
                if self.updates % self.sync_every_updates == 0 or self.updates == self.pretrain_updates:
                    self.workers.set_weights(self.network, version=self.updates)
                self.callbacks.call("on_update", self)
            else:
                self.workers.collect()
            self.announce(waited=not learns)
        return reason

    def announce(self, *, waited: bool = False) -> None:
        """Tell the callbacks what arrived since the last call; ``waited`` calls ``on_batch`` without a step, too."""
        num_steps = self.steps - self._announced_steps
        self._announced_steps += num_steps
        if num_steps or waited:
            self.callbacks.call("on_batch", self, num_steps)
        if self.episodes == self._announced_episodes:
            return
        with self.workers.sink.lock:  # the threads of the workers count episodes: list and number must agree
            finished = self.workers.sink.finished_since(self._announced_episodes)
            self._announced_episodes = self.episodes
        for episode in finished:
            self.callbacks.call("on_episode", self, episode)
