"""From a run on disk to its agent: the trained policy and the environment that it was trained in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import DictConfig, OmegaConf
from torchrl.envs import Transform, TransformedEnv
from yaml import YAMLError

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.modules import R2D2Network, R2D2Policy
from pokered_rl.record.values import action_values
from pokered_rl.training.build import env_factory, make_policy, probe, transform_factory
from pokered_rl.training.checkpoint import STATE_FILE, load_tensors, sha256_of
from pokered_rl.training.config import Config
from pokered_rl.training.load_config import config_from
from pokered_rl.training.run_folder import RunFolder

__all__ = ["TrainedPolicy", "load_policy"]

_LOSS_PREFIX = "network_params."


class TrainedPolicy:
    """The agent of a run, as `load_policy` finds it.

    Attributes:
        weights: file that the weights are read from.
        config: config of the run's last job.
        cartridge: what the run plays.
        network: the network, on the CPU.
        policy: the policy around the network; call it on the tensordicts of `make_env`. It explores only under
            ``set_exploration_type(ExplorationType.RANDOM)``, a collector's default; otherwise it acts greedily on mean
            weights.
        weights_sha256: hash (hex) of that file when it was read.
        steps: environment steps of the run when the weights were written.
        updates: learner updates then.
    """

    def __init__(self, *, weights: Path, config: Config, cartridge: Cartridge) -> None:
        self.weights = weights
        self.config = config
        self.cartridge = cartridge
        with probe(config, cartridge) as probed:
            self.network: R2D2Network = probed.network
        self.policy: R2D2Policy = make_policy(config, self.network)
        self.weights_sha256 = ""
        self.steps = self.updates = 0
        self._read_at: tuple[int, int] | None = None
        self.reload()

    def make_env(
        self, *, num_emulators: int = 1, epsilon: float = 0.0, seed: int | None = None, **changes: Any
    ) -> TransformedEnv:
        """Builds the run's environment, with the entries that the policy reads; it records nothing by default.

        Args:
            num_emulators: E.
            epsilon: rate of random actions, used where exploration is on (see ``policy``).
            seed: decides which start states are drawn; None takes a fresh one.
            changes: further arguments of `pokered_rl.envs.make_env`, such as ``max_episode_steps``, ``screen`` (which
                the network cannot read unless it is the run's), ``game_fields`` or ``recorder``.
        """
        make = env_factory(self.config, self.cartridge, num_emulators=num_emulators, **changes)
        return make(seed=seed, extra_transforms=[self.policy.make_primers(epsilon=epsilon)])

    @property
    def make_transforms(self) -> Callable[..., list[Transform]]:
        """Builds the run's transforms from the keywords ``profile`` and ``action_set``, for logs that are replayed.

        `pokered_rl.data.from_episode_logs` and `pokered_rl.record.values.action_values` show a network what it saw.
        """
        return transform_factory(self.config)

    def action_values(self, log: EpisodeLog) -> npt.NDArray[np.float32]:
        """What these weights think of each action at each step of a log, float32 [T, A].

        Raises:
            EpisodeLogError: the log cannot be played, or its replay is not the recorded episode.
            ConfigError: it was played with other actions than the run's.
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
        """Reads the weights again if the file was replaced; returns whether it was.

        Raises:
            CheckpointError: the file is gone, damaged, or of another network.
        """
        stamp = self._stamp()
        if stamp == self._read_at:
            return False
        read_at = None
        while read_at != stamp:  # once more if a run has replaced the file: weights and hash must belong together
            read_at = stamp
            tree, weights_sha256 = load_tensors(self.weights), sha256_of(self.weights)
            stamp = self._stamp()
        try:
            if "learner" in tree:  # a checkpoint's state, online and target network in one
                params = {
                    name.removeprefix(_LOSS_PREFIX): value
                    for name, value in tree["learner"]["loss"].items()
                    if name.startswith(_LOSS_PREFIX)
                }
                steps, updates = tree["workers"]["sink"]["steps"], tree["learner"]["updates"]
            else:
                params, steps, updates = tree["params"], tree["steps"], tree["updates"]
            self.network.load_state_dict(params)
        except (KeyError, TypeError, RuntimeError) as error:
            problem = str(error).splitlines()[0]
            raise CheckpointError(
                f"the weights in {self.weights} do not fit the network of its config.yaml: {problem}"
            ) from error
        self.weights_sha256 = weights_sha256
        self.steps, self.updates, self._read_at = int(steps), int(updates), stamp
        return True

    def _stamp(self) -> tuple[int, int]:
        """Time of writing in nanoseconds and inode of the weights: another file, another stamp."""
        try:
            status = self.weights.stat()
        except OSError as error:
            raise CheckpointError(f"there is no file {self.weights}") from error
        return status.st_mtime_ns, status.st_ino


def load_policy(
    source: str | os.PathLike[str], *, cartridge: Cartridge | str | os.PathLike[str] | None = None
) -> TrainedPolicy:
    """Loads the agent of a run.

    The run may be finished or still running: ``online_params.pt`` is replaced as a whole while it learns, and
    `TrainedPolicy.reload` takes up the newer weights.

    Args:
        source: a run folder, its ``online_params.pt`` (a copy elsewhere needs the run's ``config.yaml`` beside it), or
            one of the folders in ``checkpoints/``.
        cartridge: what to play, as `Cartridge` or ROM file; that of the run's config by default.

    Raises:
        CheckpointError: weights or config are not there or damaged, or do not fit each other.
        CartridgeError: the ROM cannot be found.
        ConfigError: the config is not valid, or the cartridge is another one than the run played.

    Example:
        >>> policy = load_policy("runs/quickstart")  # doctest: +SKIP
        >>> env = policy.make_env(num_emulators=4, max_episode_steps=100)  # doctest: +SKIP
        >>> env.rollout(100, policy.policy)["next", "reward"].sum(1)  # doctest: +SKIP
    """
    weights, folder = _find(Path(source))
    config = _read_config(folder)
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
    return TrainedPolicy(weights=weights, config=config, cartridge=cartridge)


def _find(source: Path) -> tuple[Path, RunFolder]:
    """The file of the weights, and the folder that has the config."""
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


def _read_config(folder: RunFolder) -> Config:
    try:
        tree = OmegaConf.load(folder.config)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"there is no {folder.config}: the weights alone do not say what network they belong to; "
            "copy the run's config.yaml beside them"
        ) from error
    except (OSError, ValueError, YAMLError) as error:
        raise CheckpointError(f"{folder.config} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, DictConfig):
        raise CheckpointError(f"{folder.config} must hold the sections of a config, got a list")
    return config_from(tree)
