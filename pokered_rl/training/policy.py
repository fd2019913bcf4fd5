"""Load the policy of a run, and the environment that it was trained in."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torchrl.envs import EnvBase, Transform

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.modules import R2D2Policy, RecurrentQuantileNetwork
from pokered_rl.record.values import action_values
from pokered_rl.training.builders import env_factory, make_policy, probe, transform_factory
from pokered_rl.training.checkpoint import STATE_FILE, load_tensors, misfit, online_weights, sha256_of
from pokered_rl.training.config import Config
from pokered_rl.training.load_config import read_config
from pokered_rl.training.parts import NetworkPart, Parts, TransformPart, check_acting_parts
from pokered_rl.training.run_folder import RunFolder

__all__ = ["TrainedPolicy", "load_policy"]


class TrainedPolicy:
    """The policy of a run, as :func:`load_policy` finds it.

    Args:
        weights: File that the weights are read from.
        config: Config of the run's last job.
        cartridge: What the run plays.
        parts: Own parts of the run.

    Attributes:
        network: The network, on the CPU.
        policy: The policy around the network; call it on the tensordicts of :meth:`make_env`. It explores only under
            ``set_exploration_type(ExplorationType.RANDOM)``, a collector's default; otherwise it acts greedily on mean
            weights.
        weights_sha256: Hash (hex) of that file when it was read.
        steps: Agent steps of the run when the weights were written.
        updates: Learner updates then.
    """

    def __init__(self, *, weights: Path, config: Config, cartridge: Cartridge, parts: Parts | None = None) -> None:
        self.weights = weights
        self.config = config
        self.cartridge = cartridge
        self._parts = parts or Parts()
        load_tensors(weights)  # damaged ones are named before their size is looked at
        # Weights may be stored at half or a quarter of their size in memory, not smaller.
        room = 4 * weights.stat().st_size
        with probe(config, cartridge, parts=self._parts, max_network_bytes=room) as probed:
            self.network: RecurrentQuantileNetwork = copy.deepcopy(probed.network).cpu()
        self.policy: R2D2Policy = make_policy(config, self.network, training=False)
        self.weights_sha256 = ""
        self.steps = self.updates = 0
        self._read_at: tuple[int, int] | None = None
        self.reload()

    def make_env(
        self, *, num_emulators: int = 1, epsilon: float = 0.0, seed: int | None = None, **changes: Any
    ) -> EnvBase:
        """Build the run's environment, with the entries that the policy reads; it records nothing by default.

        Args:
            num_emulators: E.
            epsilon: Rate of random actions, used where exploration is on (see ``policy``).
            seed: Decides which start states are drawn; None takes a fresh one.
            **changes: Further arguments of :func:`pokered_rl.envs.make_env`, such as ``max_episode_steps``, ``screen``
                (which the network cannot read unless it is the run's), ``game_fields`` or ``recorder``.
        """
        make = env_factory(self.config, self.cartridge, num_emulators=num_emulators, parts=self._parts, **changes)
        return make(seed=seed, extra_transforms=[self.policy.make_primers(epsilon=epsilon)])

    @property
    def make_transforms(self) -> Callable[..., list[Transform]]:
        """Build the run's transforms from the keywords ``profile`` and ``action_set``, for logs that are replayed.

        :func:`pokered_rl.data.from_episode_logs` and :func:`pokered_rl.record.values.action_values` show a network what
        it saw.
        """
        return transform_factory(self.config, self._parts)

    def action_values(self, log: EpisodeLog) -> npt.NDArray[np.float32]:
        """Return the value of each action at each step of a log with these weights, float32 [T, A].

        Raises:
            EpisodeLogError: The log cannot be played, or its replay is not the recorded episode.
            ConfigError: It was played with other actions than the run's.
        """
        if log.header.actions != tuple(self.config.env.actions):
            raise ConfigError(
                f"{log.path}: played with the actions {', '.join(log.header.actions)}; the network in {self.weights} "
                f"knows {', '.join(self.config.env.actions)}"
            )
        return action_values(
            log,
            self.network,
            transforms=self.make_transforms,
            screen=self.config.env.screen.value,
            cartridge=self.cartridge,
        )

    def reload(self) -> bool:
        """Read the weights again if the file was replaced; return whether it was.

        Raises:
            CheckpointError: The file is gone, damaged, or of another network.
        """
        stamp = self._stamp()
        if stamp == self._read_at:
            return False
        read_at = None
        while read_at != stamp:  # once more if a run has replaced the file: weights and hash must belong together
            read_at = stamp
            tree, weights_sha256 = load_tensors(self.weights), sha256_of(self.weights)
            stamp = self._stamp()
        params: dict[str, Any] = {}
        try:
            if "learner" in tree:  # a checkpoint's state, online and target network in one
                params = online_weights(tree["learner"]["loss"])
                steps, updates = tree["workers"]["sink"]["steps"], tree["learner"]["updates"]
            else:
                params, steps, updates = tree["params"], tree["steps"], tree["updates"]
            self.network.load_state_dict(params)
        except (KeyError, TypeError, RuntimeError) as error:
            problem = misfit(error, params, self.network.state_dict())
            raise CheckpointError(
                f"the weights in {self.weights} do not fit the network of its config.yaml: {problem}"
            ) from error
        self.weights_sha256 = weights_sha256
        self.steps, self.updates, self._read_at = int(steps), int(updates), stamp
        return True

    def _stamp(self) -> tuple[int, int]:
        """Return time of writing (ns) and inode of the weights, which tell two files apart."""
        try:
            status = self.weights.stat()
        except OSError as error:
            raise CheckpointError(f"there is no file {self.weights}") from error
        return status.st_mtime_ns, status.st_ino


def load_policy(
    source: str | os.PathLike[str],
    *,
    cartridge: Cartridge | str | os.PathLike[str] | None = None,
    network: NetworkPart | None = None,
    make_env: Callable[..., EnvBase] | None = None,
    transforms: Sequence[TransformPart] = (),
) -> TrainedPolicy:
    """Load the policy of a run with the cartridge, actions and observations that it was trained on.

    Args:
        source: A run folder, its ``online_params.pt`` (a copy elsewhere needs the run's ``config.yaml`` beside it), or
            one of the folders in ``checkpoints/``.
        cartridge: What to play, as :class:`~pokered_rl.emulator.Cartridge` or ROM file; that of the run's config by
            default.
        network: The network that the run was given, if it was not the library's.
        make_env: The environment function that the run was given.
        transforms: The transforms that the run was given.

    Raises:
        CheckpointError: Weights or config are not there or damaged, or do not fit each other.
        CartridgeError: The ROM cannot be found.
        ConfigError: The config is not valid, the run was trained with another part or played another cartridge.

    Example:
        >>> policy = load_policy("runs/quickstart")  # doctest: +SKIP
        >>> env = policy.make_env(num_emulators=4, max_episode_steps=100)  # doctest: +SKIP
        >>> env.rollout(100, policy.policy)["next", "reward"].sum(1)  # doctest: +SKIP
    """
    weights, folder = _find(Path(source))
    config = read_config(folder.config)
    if not isinstance(cartridge, Cartridge):
        cartridge = Cartridge.find(
            cartridge if cartridge is not None else config.env.cartridge, allow_unknown=config.env.allow_unknown
        )
    progress = folder.read_progress()
    if progress is not None and progress.cartridge_sha1 not in ("", cartridge.sha1):
        raise ConfigError(
            f"the run in {folder.path} was played on another cartridge (SHA-1 {progress.cartridge_sha1}) than "
            f"{cartridge.path} (SHA-1 {cartridge.sha1}); name the ROM that was played"
        )
    parts = Parts(network=network, make_env=make_env, transforms=transforms)
    check_acting_parts(folder.parts, parts)
    return TrainedPolicy(weights=weights, config=config, cartridge=cartridge, parts=parts)


def _find(source: Path) -> tuple[Path, RunFolder]:
    """Find the file of the weights, and the folder that has the config."""
    if source.is_file():
        beside = source.resolve().parent
        return source, RunFolder(beside.parents[1] if source.name == STATE_FILE else beside)
    if (source / STATE_FILE).is_file():
        return source / STATE_FILE, RunFolder(source.resolve().parents[1])
    folder = RunFolder(source)
    if folder.online_params.is_file():
        return folder.online_params, folder
    if not source.is_dir():
        raise CheckpointError(f"there is no {source}; give a run folder, an online_params.pt or a checkpoint's folder")
    raise CheckpointError(
        f"{source} holds no {folder.online_params.name}: a run writes it after its first updates; give a run folder "
        "that has one, or a folder in checkpoints/"
    )
