"""From a config to the parts of a run. Nothing else in the library reads a config."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torchrl.envs import EnvBase, Transform, TransformedEnv

from pokered_rl.collectors import InlinePool, ProcessPool, RayPool, WorkerPool
from pokered_rl.data import (
    RateLimiter,
    SequenceBuilder,
    SequenceLayout,
    SequenceReplay,
    bytes_per_sequence,
    make_replay,
)
from pokered_rl.emulator import Cartridge
from pokered_rl.envs import default_transforms, make_env
from pokered_rl.errors import ConfigError
from pokered_rl.modules import (
    LSTMCore,
    MemorylessCore,
    NetworkCost,
    R2D2Network,
    R2D2Policy,
    RandomShift,
    network_cost,
)
from pokered_rl.objectives import R2D2Loss
from pokered_rl.resources import available_cpus, worker_count
from pokered_rl.training.config import Backend, Config, Send, TargetUpdate
from pokered_rl.training.learner import Learner, make_target_updater
from pokered_rl.training.run_folder import RunFolder, config_sha256, replay_folder

__all__ = [
    "Parts",
    "Probe",
    "build",
    "env_factory",
    "make_policy",
    "network_needs",
    "probe",
    "replay_needs",
    "transform_factory",
]


@dataclasses.dataclass
class Parts:
    """Everything that the training loop works with."""

    #: The cartridge that is played.
    cartridge: Cartridge
    #: The online network; the learner's loss shares its parameters.
    network: R2D2Network
    #: The policy around the network.
    policy: R2D2Policy
    #: Workers, exploration, sequences on their way into the replay.
    workers: WorkerPool
    #: The sequences.
    replay: SequenceReplay
    #: Samples per insert.
    limiter: RateLimiter
    #: Takes the optimizer steps.
    learner: Learner
    #: Bytes of the replay's rows on disk when it is full.
    replay_bytes: int
    #: Makes room for the first sequences: called when it is known that no earlier rows can be reopened.
    allocate: Callable[[], int]


def env_factory(
    config: Config, cartridge: Cartridge, *, num_emulators: int, **changes: Any
) -> Callable[..., TransformedEnv]:
    """A picklable function that builds an environment; workers call it with their seed.

    Args:
        config: The whole tree; `env` and `reward` are read.
        cartridge: What is played.
        num_emulators: E.
        changes: Further arguments of :func:`~pokered_rl.envs.make_env`, such as ``recorder``; they win over the config.
    """
    env = config.env
    arguments: dict[str, Any] = {
        "num_emulators": num_emulators,
        "actions": tuple(env.actions),
        "frames_per_action": env.frames_per_action,
        "hold_frames": env.hold_frames,
        "screen": env.screen.value,
        "start_states": tuple(env.start_states) or None,
        "max_episode_steps": env.max_episode_steps or None,
        "wait_while_busy": env.wait_while_busy,
        "max_wait_frames": env.max_wait_frames,
        **_transform_options(config),
    }
    return partial(make_env, cartridge, **(arguments | changes))


def _transform_options(config: Config) -> dict[str, Any]:
    reward = config.reward
    return {
        "mask": {"persistent": config.env.persistent_action_mask},
        "map_memory": {"radius": config.env.map_memory_radius, "persistent": config.env.persistent_map_memory},
        "reward": {
            "weights": reward.weights,
            "options": reward.options,
            "goals": reward.goals,
            "write_terms": False,
        },
    }


def transform_factory(config: Config) -> Callable[..., list[Transform]]:
    """A picklable function of ``profile`` and ``action_set`` that makes the transforms of the environment."""
    return partial(default_transforms, **_transform_options(config))


@dataclasses.dataclass
class Probe:
    """What a config plays, sees and thinks with, on one emulator: enough to know every shape."""

    cartridge: Cartridge
    #: The environment; its specs say what the network reads.
    env: TransformedEnv
    #: The network for its observations, with fresh weights, on the CPU.
    network: R2D2Network

    def example(self) -> TensorDictBase:
        """Two steps [1, 2] without a press, with the entries that a worker's batch has beside the environment's."""
        network = self.network

        def idle(tensordict: TensorDictBase) -> TensorDictBase:
            rows = tensordict.batch_size[0]
            tensordict["action"] = torch.zeros(rows, dtype=torch.int64)
            tensordict["action_value"] = torch.zeros(rows, network.num_actions)
            for key in network.state_keys:
                tensordict[key] = torch.zeros(rows, network.hidden_size)
            return tensordict

        return self.env.rollout(2, idle)


@contextmanager
def probe(config: Config, cartridge: Cartridge | None = None) -> Iterator[Probe]:
    """Find the cartridge, unless it is given, and make the probe; its emulator ends with the context.

    Raises:
        PokeredError: Cartridge, start state or reward term is not as it should be.
    """
    cartridge = cartridge or Cartridge.find(config.env.cartridge, allow_unknown=config.env.allow_unknown)
    env = env_factory(config, cartridge, num_emulators=1)(seed=config.run.seed)
    try:
        yield Probe(cartridge, env, _network(config, env))
    finally:
        env.close()


@contextmanager
def build(config: Config, folder: RunFolder) -> Iterator[Parts]:
    """Build all parts; workers are ended when the context is left, whatever happened.

    Raises:
        PokeredError: Cartridge, start state, reward term or disk is not as it should be.
    """
    torch.manual_seed(config.run.seed)
    if config.runtime.learner_threads:
        torch.set_num_threads(config.runtime.learner_threads)
    if config.runtime.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    device = _device(config.runtime.device)
    with probe(config) as probed:
        cartridge, network, example = probed.cartridge, probed.network.to(device), probed.example()
    policy = make_policy(config, network)
    layout = _layout(config)
    builder = _builder(config, layout, network)
    replay = _replay(config, folder, layout, network, example)
    limiter = RateLimiter(
        samples_per_insert=config.replay.samples_per_insert,
        min_fill_sequences=config.replay.min_fill_sequences,
        slack_sequences=config.replay.samples_per_insert_slack_batches * config.learner.batch_size,
    )
    workers = _workers(config, folder, cartridge, policy, builder, replay, limiter)
    sequence = builder.example(example)
    try:
        yield Parts(
            cartridge=cartridge,
            network=network,
            policy=policy,
            workers=workers,
            replay=replay,
            limiter=limiter,
            learner=_learner(config, network, replay, device),
            replay_bytes=replay.capacity_sequences * bytes_per_sequence(replay.codec.inv(sequence.clone())),
            allocate=lambda: replay.allocate(sequence),
        )
    finally:
        workers.close()


def replay_needs(config: Config) -> tuple[int, int]:
    """What the replay will hold: its sequences, and the bytes of their rows on disk. Nothing is written.

    Raises:
        PokeredError: As for :func:`build`.
    """
    with probe(config) as probed:
        network, example = probed.network, probed.example()
    layout = _layout(config)
    sequences = -(-config.replay.capacity_transitions // layout.period_steps)
    smallest = dataclasses.replace(config.replay, capacity_transitions=layout.period_steps, scratch_folder=None)
    with tempfile.TemporaryDirectory() as scratch:
        one = _replay(dataclasses.replace(config, replay=smallest), RunFolder(Path(scratch)), layout, network, example)
        stored = one.codec.inv(_builder(config, layout, network).example(example))
    return sequences, sequences * bytes_per_sequence(stored)


def network_needs(config: Config) -> NetworkCost:
    """Parameters and multiplications of the network.

    Raises:
        PokeredError: As for :func:`build`.
    """
    with probe(config) as probed:
        return network_cost(probed.network, probed.env.reset().select(*probed.network.observation_keys))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count() or "no"
        raise ConfigError(f"runtime.device={name}, but PyTorch sees {seen} GPU here; use runtime.device=auto")
    return device


def _network(config: Config, env: EnvBase) -> R2D2Network:
    spec, network = env.observation_spec, config.network
    return R2D2Network(
        num_actions=len(config.env.actions),
        size=network.size.value,
        num_quantiles=network.num_quantiles,
        hidden_size=network.hidden_size,
        pixel_shape=tuple(spec["pixels"].shape[1:]),
        map_shape=tuple(spec["map_memory"].shape[1:]),
        context_size=spec["context"].shape[-1],
        core=LSTMCore if network.recurrent else MemorylessCore,
        noise_std=network.noise_std,
        dueling=network.dueling,
        spatial_attention=network.spatial_attention,
        initialisation=network.initialisation.value,
        layer_norm=network.layer_norm,
        reconstruct_context=config.loss.reconstruction_weight > 0,
        reconstruct_map=network.reconstruct_map,
    )


def make_policy(config: Config, network: R2D2Network) -> R2D2Policy:
    """The policy around a network."""
    return R2D2Policy(network, action_mask_key="action_mask" if config.env.action_mask else None)


def _layout(config: Config) -> SequenceLayout:
    return SequenceLayout(
        burn_in_steps=config.replay.burn_in_steps,
        unroll_steps=config.replay.unroll_steps,
        n_step=config.loss.n_step,
        period_steps=config.replay.sequence_period_steps,
        unroll_state=_logs_delta_q(config),
    )


def _logs_delta_q(config: Config) -> bool:
    return config.loss.log_delta_q and config.network.recurrent


def _builder(config: Config, layout: SequenceLayout, network: R2D2Network) -> SequenceBuilder:
    return SequenceBuilder(
        layout=layout,
        observation_keys=_stored_observations(config, network),
        state_keys=tuple(network.state_keys),
        gamma=config.loss.gamma,
        eta=config.loss.eta,
        rescale_eps=config.loss.rescale_epsilon,
        state_dtype=torch.float16 if config.replay.half_precision_state else torch.float32,
        send="episodes" if config.collector.send is Send.episodes else "sequences",
    )


def _stored_observations(config: Config, network: R2D2Network) -> tuple[str, ...]:
    mask = ("action_mask",) if config.env.action_mask else ()
    return (*network.observation_keys, *mask)


def _two_bit_shapes(example: Any) -> dict[str, tuple[int, ...]]:
    return {"map_memory": tuple(example["map_memory"].shape[2:])}


def _replay(
    config: Config, folder: RunFolder, layout: SequenceLayout, network: R2D2Network, example: Any
) -> SequenceReplay:
    replay = config.replay
    try:
        return make_replay(
            scratch_dir=replay_folder(config, folder.path),
            capacity_transitions=replay.capacity_transitions,
            layout=layout,
            batch_size=config.learner.batch_size,
            alpha=replay.alpha,
            beta=replay.beta,
            new_priority=replay.new_priority.value,
            two_bit_shapes=_two_bit_shapes(example),
            num_actions=len(config.env.actions),
            half_keys=tuple(network.state_keys) if replay.half_precision_state else (),
            prefetch=0 if config.runtime.deterministic else replay.prefetch_batches,
            seed=config.run.seed,
        )
    except MemoryError as error:
        raise ConfigError(
            f"replay.capacity_transitions={replay.capacity_transitions:,}: there is not enough memory for the"
            " priorities of so many sequences; lower it"
        ) from error


def _workers(
    config: Config,
    folder: RunFolder,
    cartridge: Cartridge,
    policy: R2D2Policy,
    builder: SequenceBuilder,
    replay: SequenceReplay,
    limiter: RateLimiter,
) -> WorkerPool:
    collector = config.collector
    inline = collector.backend is Backend.inline
    num_workers = 1 if inline else worker_count(collector.num_workers, available_cpus())
    common: dict[str, Any] = {
        "make_envs": [
            env_factory(
                config,
                cartridge,
                num_emulators=collector.emulators_per_worker,
                num_threads=collector.threads_per_worker,
                extra_transforms=(policy.make_primers(),),
                recorder={
                    "folder": str(folder.episode_logs.resolve()),
                    "run_name": config.run.name,
                    "worker": worker,
                    "num_workers": num_workers,
                    "config_sha256": config_sha256(config),
                    "seeds": {"run": config.run.seed},
                    "every_episodes": config.env.log_every_episodes,
                    "segment_steps": None if config.env.max_episode_steps else config.env.log_segment_steps,
                },
            )
            for worker in range(num_workers)
        ],
        "policy": policy,
        "emulators_per_worker": collector.emulators_per_worker,
        "steps_per_batch": collector.steps_per_batch,
        "builder": builder,
        "replay": replay,
        "limiter": limiter,
        "two_bit_keys": ("map_memory",),
        "epsilon_base": collector.epsilon_base,
        "epsilon_alpha": collector.epsilon_alpha,
        "warmup_steps": collector.warmup_steps,
        "seed": config.run.seed,
    }
    if inline:
        return InlinePool(**common)
    common |= {
        "worker_timeout_seconds": collector.worker_timeout_seconds,
        "max_restarts_per_hour": collector.max_restarts_per_hour,
    }
    if collector.backend is Backend.ray:
        return RayPool(
            address=collector.ray_address, worker_resources={"num_cpus": collector.threads_per_worker}, **common
        )
    return ProcessPool(**common)


def _learner(config: Config, network: R2D2Network, replay: SequenceReplay, device: torch.device) -> Learner:
    settings, loss = config.learner, config.loss
    module = R2D2Loss(
        network,
        burn_in_steps=config.replay.burn_in_steps,
        n_step=loss.n_step,
        gamma=loss.gamma,
        eta=loss.eta,
        kappa=loss.kappa,
        rescale_eps=loss.rescale_epsilon,
        reconstruction_weight=loss.reconstruction_weight,
        map_reconstruction_weight=loss.map_reconstruction_weight,
        augmentation=RandomShift(settings.random_shift_pixels) if settings.random_shift_pixels else None,
        step_reduction=loss.step_reduction.value,
        reconstruct_next=loss.reconstruct_next,
        selection_noise=loss.selection_noise,
        log_delta_q=_logs_delta_q(config),
        compile_terms=config.runtime.compile,
    )
    if config.runtime.compile:
        # The loss shares these modules. WorkerPool step through `forward`, and a copy for a worker is not compiled.
        network.compile_parts()
    hard = settings.target_update is TargetUpdate.hard
    return Learner(
        loss=module,
        optimizer=torch.optim.Adam(
            module.parameters(), lr=settings.learning_rate, eps=settings.adam_epsilon, fused=device.type == "cuda"
        ),
        target_updater=make_target_updater(
            module,
            hard_interval=settings.target_update_interval if hard else None,
            tau=settings.target_update_tau,
        ),
        replay=replay,
        batch_size=settings.batch_size,
        max_grad_norm=settings.max_grad_norm,
        device=device,
        autocast=config.runtime.autocast,
    )
