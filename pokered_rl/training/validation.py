"""Checks of a whole config before anything is started: ranges, and values that contradict each other."""

from __future__ import annotations

import re
from typing import Any

from pokered_rl.errors import ConfigError
from pokered_rl.training.config import Backend, Config, Send

__all__ = ["validate"]

# The tables below give each bounded key its smallest and largest value.
_AT_LEAST: dict[str, float] = {
    "run.target_total_steps": 1,
    "run.total_episodes": 0,
    "run.max_requeues": 0,
    "run.evaluation_episodes": 0,
    "env.hold_frames": 1,
    "env.max_episode_steps": 0,
    "env.max_wait_frames": 0,
    "env.map_memory_radius": 1,
    "env.log_every_episodes": 1,
    "env.log_segment_steps": 1,
    "collector.emulators_per_worker": 1,
    "collector.threads_per_worker": 1,
    "collector.steps_per_batch": 1,
    "collector.epsilon_alpha": 0,
    "collector.warmup_steps": 0,
    "collector.sync_every_updates": 1,
    "collector.max_restarts_per_hour": 0,
    "network.hidden_size": 1,
    "network.num_quantiles": 1,
    "network.noise_std": 0,
    "loss.n_step": 1,
    "loss.reconstruction_weight": 0,
    "loss.map_reconstruction_weight": 0,
    "replay.burn_in_steps": 0,
    "replay.unroll_steps": 1,
    "replay.sequence_period_steps": 1,
    "replay.alpha": 0,
    "replay.beta": 0,
    "replay.min_fill_sequences": 1,
    "replay.samples_per_insert_slack_batches": 1,
    "replay.prefetch_batches": 0,
    "replay.copy_back_max_seconds": 0,
    "learner.batch_size": 1,
    "learner.random_shift_pixels": 0,
    "learner.target_update_interval": 1,
    "learner.publish_every_updates": 1,
    "runtime.learner_threads": 0,
    "runtime.keep_checkpoints": 1,
    "runtime.deadline_margin_seconds": 0,
}
_ABOVE_ZERO = (
    "run.max_runtime_seconds",
    "collector.worker_timeout_seconds",
    "loss.kappa",
    "loss.rescale_epsilon",
    "replay.samples_per_insert",
    "learner.learning_rate",
    "learner.adam_epsilon",
    "learner.max_grad_norm",
    "logging.every_seconds",
    "logging.display_every_seconds",
    "logging.line_every_seconds",
    "runtime.checkpoint_every_seconds",
    "runtime.heartbeat_seconds",
)
_UNIT_INTERVAL = (
    "run.evaluation_epsilon",
    "collector.epsilon_base",
    "loss.gamma",
    "loss.eta",
    "learner.target_update_tau",
)


def _value(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def _require(condition: bool, config: Config, key: str, requirement: str, remedy: str) -> None:
    if not condition:
        value = _value(config, key)
        shown = getattr(value, "value", value)
        raise ConfigError(f"{key} must be {requirement}, got {shown!r}; {remedy}")


def _check_ranges(config: Config) -> None:
    for key, least in _AT_LEAST.items():
        _require(_value(config, key) >= least, config, key, f">= {least:g}", f"set {key}={least:g} or more")
    for key in _ABOVE_ZERO:
        _require(_value(config, key) > 0, config, key, "> 0", f"leave {key} out to use its default")
    for key in _UNIT_INTERVAL:
        _require(0 <= _value(config, key) <= 1, config, key, "between 0 and 1", f"leave {key} out to use its default")


def _check_combinations(config: Config) -> None:
    run, env, collector, replay, learner = (
        config.run,
        config.env,
        config.collector,
        config.replay,
        config.learner,
    )
    name_is_plain = bool(run.name) and not set(run.name) & set("/\\\0") and run.name not in {".", ".."}
    _require(name_is_plain, config, "run.name", "a plain folder name", "use run.folder for the folder above it")
    _require(
        env.frames_per_action >= env.hold_frames,
        config,
        "env.frames_per_action",
        f">= env.hold_frames ({env.hold_frames})",
        "a button cannot be held for longer than its action lasts; lower env.hold_frames, too",
    )
    _require(
        env.max_episode_steps != 1,
        config,
        "env.max_episode_steps",
        "0 or >= 2",
        "0 never ends an episode",
    )
    _require(
        bool(env.max_episode_steps) or collector.send is not Send.episodes,
        config,
        "collector.send",
        "'segments' with env.max_episode_steps=0",
        "an episode that never ends would never be sent",
    )
    _require(len(env.actions) >= 2, config, "env.actions", "a list of two or more actions", "name more buttons")
    _require(
        len(set(env.actions)) == len(env.actions), config, "env.actions", "free of repetitions", "name each one once"
    )
    _require(
        collector.num_workers == "auto" or (isinstance(collector.num_workers, int) and collector.num_workers >= 1),
        config,
        "collector.num_workers",
        "'auto' or a whole number >= 1",
        "'auto' uses the CPU cores of this job",
    )
    _require(
        collector.backend is not Backend.ray or collector.num_workers != "auto",
        config,
        "collector.num_workers",
        "a number with collector.backend=ray",
        "'auto' counts the cores of this machine, not those of the cluster",
    )
    _require(
        replay.sequence_period_steps <= replay.unroll_steps,
        config,
        "replay.sequence_period_steps",
        f"<= replay.unroll_steps ({replay.unroll_steps})",
        "with a longer period some steps would never be learned from",
    )
    capacity_sequences = replay.capacity_transitions // replay.sequence_period_steps
    _require(
        capacity_sequences >= max(replay.min_fill_sequences, learner.batch_size),
        config,
        "replay.capacity_transitions",
        f">= {max(replay.min_fill_sequences, learner.batch_size) * replay.sequence_period_steps}"
        " (replay.min_fill_sequences or learner.batch_size, times replay.sequence_period_steps)",
        "raise the capacity, or lower replay.min_fill_sequences",
    )
    _require(
        replay.min_fill_sequences >= learner.batch_size,
        config,
        "replay.min_fill_sequences",
        f">= learner.batch_size ({learner.batch_size})",
        "a batch cannot hold more sequences than the replay",
    )
    _require(
        not config.runtime.deterministic or collector.backend is Backend.inline,
        config,
        "collector.backend",
        "'inline' with runtime.deterministic=true",
        "processes deliver their batches in an order of their own",
    )
    _require(
        re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.runtime.device) is not None,
        config,
        "runtime.device",
        "auto, cpu, cuda or cuda:N",
        "'auto' takes a GPU if there is one",
    )
    _require(
        run.init_from is None or bool(run.init_from),
        config,
        "run.init_from",
        "a path",
        "give a run folder or an online_params.pt",
    )


def validate(config: Config) -> Config:
    """Check a config and hand it back.

    Args:
        config: The whole tree, as dataclasses.

    Returns:
        The same object.

    Raises:
        ConfigError: A value is out of range or contradicts another; the message names key, value and remedy.
    """
    _check_ranges(config)
    _check_combinations(config)
    return config
