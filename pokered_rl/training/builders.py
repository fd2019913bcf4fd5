"""Build the components of a run from its config and from a program's own parts; each function builds one."""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torchrl.envs import EnvBase, Transform
from torchrl.objectives import LossModule

from pokered_rl import data
from pokered_rl.collectors import InlinePool, ProcessPool, RayPool, WorkerPool
from pokered_rl.data import RateLimiter, SequenceBuilder, SequenceLayout, SequenceReplay
from pokered_rl.data.demonstrations import MixedReplay
from pokered_rl.emulator import Cartridge
from pokered_rl.envs import ArchiveStates, EpisodeMeter, StateArchive, default_transforms, make_env
from pokered_rl.envs.rewards import RewardTerm
from pokered_rl.errors import ConfigError
from pokered_rl.modules import (
    LSTMCore,
    MemorylessCore,
    R2D2Network,
    R2D2Policy,
    RandomShift,
    RecurrentQuantileNetwork,
    diagnose,
)
from pokered_rl.objectives import R2D2Loss
from pokered_rl.resources import available_cpus, worker_count
from pokered_rl.training.config import Backend, Config, Exploration, Send, TargetUpdate
from pokered_rl.training.learner import Learner, make_target_updater
from pokered_rl.training.parts import Parts, import_term, qualified_name
from pokered_rl.training.run_folder import RunFolder, config_sha256, replay_folder

__all__ = [
    "Probe",
    "choose_device",
    "describe_learner",
    "describe_workers",
    "env_factory",
    "granted_gpu",
    "make_layout",
    "make_learner",
    "make_loss",
    "make_network",
    "make_policy",
    "make_replay",
    "make_sequence_builder",
    "make_workers",
    "probe",
    "transform_factory",
]

_NO_PARTS = Parts()


def env_factory(
    config: Config, cartridge: Cartridge, *, num_emulators: int, parts: Parts = _NO_PARTS, **changes: Any
) -> Callable[..., EnvBase]:
    """Return a picklable function that builds an environment; workers call it with their seed.

    Args:
        config: The whole tree; ``env`` and ``reward`` are read.
        cartridge: What is played.
        num_emulators: E.
        parts: Own ``make_env``, reward terms and transforms.
        **changes: Further arguments of :func:`~pokered_rl.envs.make_env`, such as ``recorder``; they win over the
            config.
    """
    env = config.env
    arguments: dict[str, Any] = {
        "num_emulators": num_emulators,
        "actions": tuple(env.actions),
        "frames_per_action": env.frames_per_action,
        "hold_frames": env.hold_frames,
        "screen": env.screen.value,
        "start_states": env.start_states or None,
        "max_episode_steps": env.max_episode_steps or None,
        "terminate_at_hall_of_fame": env.terminate_at_hall_of_fame,
        "wait_while_busy": env.wait_while_busy,
        "max_wait_frames": env.max_wait_frames,
        **_transform_options(config, parts),
    }
    return partial(_build_env, parts, parts.term_makers(config), cartridge, arguments | changes)


def _build_env(
    parts: Parts,
    term_makers: Sequence[Callable[[], RewardTerm]],
    cartridge: Cartridge,
    arguments: Mapping[str, Any],
    *,
    extra_transforms: Sequence[Transform] = (),
    **changes: Any,
) -> EnvBase:
    merged = {**arguments, **changes}
    merged["reward"] = {**merged["reward"], "extra_terms": [make() for make in term_makers]}
    primers = [*merged.pop("extra_transforms", ()), *extra_transforms]
    env = (parts.make_env or make_env)(cartridge, extra_transforms=[*parts.make_transforms(), *primers], **merged)
    if not isinstance(env, EnvBase):
        raise ConfigError(f"make_env must return a TorchRL environment, got {type(env).__name__}")
    return env


def _transform_options(config: Config, parts: Parts) -> dict[str, Any]:
    reward, env = config.reward, config.env
    own = {term.name for term in (*map(import_term, reward.extra), *parts.reward_terms)}
    return {
        "mask": {"persistent": env.persistent_action_mask},
        "map_memory": {"radius": env.map_memory_radius, "persistent": env.persistent_map_memory},
        "reward": {
            "weights": {name: weight for name, weight in reward.weights.items() if name not in own},
            "options": {name: options for name, options in reward.options.items() if name not in own},
            "goals": reward.goals,
            "write_terms": False,
        },
        **({"helpers": tuple(env.helpers)} if env.helpers else {}),
        **({"renew_visits": True} if env.renew_visits else {}),
    }


def transform_factory(
    config: Config, parts: Parts = _NO_PARTS, *, own_terms: bool = False
) -> Callable[..., list[Transform]]:
    """Return a picklable function of ``profile`` and ``action_set`` that makes the transforms of the environment.

    Args:
        config: The whole tree.
        parts: Own reward terms and transforms.
        own_terms: Include the reward terms of ``parts``.
    """
    makers = parts.term_makers(config) if own_terms else []
    return partial(_build_transforms, parts, _transform_options(config, parts), makers)


def _build_transforms(
    parts: Parts, options: Mapping[str, Any], term_makers: Sequence[Callable[[], RewardTerm]], **keywords: Any
) -> list[Transform]:
    reward = {**options["reward"], "extra_terms": [make() for make in term_makers]}
    return [*default_transforms(**{**options, "reward": reward}, **keywords), *parts.make_transforms()]


@dataclasses.dataclass
class Probe:
    """Cartridge, environment (one emulator) and network of a config, to read shapes from."""

    cartridge: Cartridge
    #: The environment; its specs say what the network reads.
    env: EnvBase
    #: The network for its observations, with fresh weights, on the CPU.
    network: RecurrentQuantileNetwork

    def example(self) -> TensorDictBase:
        """Play two steps [1, 2] without a button, with the entries that a worker adds to those of the environment."""
        network = self.network

        def idle(tensordict: TensorDictBase) -> TensorDictBase:
            num_emulators = tensordict.batch_size[0]
            tensordict["action"] = torch.zeros(num_emulators, dtype=torch.int64)
            tensordict["action_value"] = torch.zeros(num_emulators, network.num_actions)
            for key in network.state_keys:
                tensordict[key] = torch.zeros(num_emulators, network.hidden_size)
            return tensordict

        return self.env.rollout(2, idle)


@contextmanager
def probe(
    config: Config,
    cartridge: Cartridge | None = None,
    *,
    parts: Parts = _NO_PARTS,
    max_network_bytes: int | None = None,
) -> Iterator[Probe]:
    """Find the cartridge, unless it is given, and make the probe; its emulator ends with the context.

    Args:
        config: The config.
        cartridge: What is played.
        parts: Own parts of the run.
        max_network_bytes: Refuse a larger network before memory is taken for it.

    Raises:
        ConfigError: The network is larger.
        PokeredError: The cartridge, a start state or a reward term is invalid.
    """
    cartridge = cartridge or Cartridge.find(config.env.cartridge, allow_unknown=config.env.allow_unknown)
    env = env_factory(config, cartridge, num_emulators=1, parts=parts)(seed=config.run.seed)
    try:
        network = parts.network
        if not isinstance(network, RecurrentQuantileNetwork):
            if network is None and max_network_bytes is not None:
                _check_size(config, env, max_network_bytes)
            network = (network or make_network)(config, env)
        if not isinstance(network, RecurrentQuantileNetwork):
            raise ConfigError(f"network must return a RecurrentQuantileNetwork, got {type(network).__name__}")
        yield Probe(cartridge, env, network)
    finally:
        env.close()


def _check_size(config: Config, env: EnvBase, max_bytes: int) -> None:
    assert env.observation_spec is not None  # made and kept now: it holds numbers
    with torch.device("meta"):  # shapes without memory
        network = make_network(config, env)
    size = sum(each.numel() * each.element_size() for each in network.parameters())
    if size > max_bytes:
        raise ConfigError(
            f"the network of the config has {size / 1e6:,.1f} MB of weights, the file has room for "
            f"{max_bytes / 1e6:,.1f} MB: they do not belong together"
        )


def choose_device(name: str, environment: Mapping[str, str] = os.environ) -> torch.device:
    """Return the device that ``runtime.device`` names.

    Args:
        name: The option.
        environment: Where a scheduler says which GPUs it has granted.

    Raises:
        ConfigError: PyTorch does not see the device, or, with ``auto``, cannot use a GPU that was granted.
    """
    if name == "auto":
        granted = granted_gpu(environment)
        if granted is not None and not torch.cuda.is_available():
            raise ConfigError(
                f"{granted} grants a GPU that PyTorch {torch.__version__} cannot use: {_gpu_problem()}; set"
                " runtime.device=cpu to learn on the CPU"
            )
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count() or "no"
        raise ConfigError(f"runtime.device={name}, but PyTorch sees {seen} GPU here; use runtime.device=auto")
    return device


def granted_gpu(environment: Mapping[str, str]) -> str | None:
    """Return the variable, as ``NAME=value``, by which a scheduler or the user grants a GPU; None where none does."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return f"CUDA_VISIBLE_DEVICES={visible}" if visible.strip() not in ("", "-1", "NoDevFiles") else None
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE"):
        if environment.get(name, "0") not in ("", "0") or (name != "SLURM_GPUS_ON_NODE" and environment.get(name)):
            return f"{name}={environment[name]}"
    return None


def _gpu_problem() -> str:
    """Describe why PyTorch sees no GPU, and what to install."""
    built_for = torch.version.cuda
    if built_for is None:
        return "it was built without CUDA; install the wheel of https://pytorch.org/get-started/locally for your driver"
    try:
        driver = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except OSError:
        return f"it was built for CUDA {built_for}, and no NVIDIA driver is loaded here"
    found = re.search(r"\d+\.\d+(\.\d+)?", driver)
    version = found.group() if found else driver
    return (
        f"it was built for CUDA {built_for}, the driver is {version}; install a newer driver, or the wheel of"
        " https://pytorch.org/get-started/locally for this one"
    )


def describe_learner(config: Config, device: torch.device) -> str:
    """Return device, memory and precision of the learner for the first lines of a run."""
    if device.type != "cuda":
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' if threads != 1 else ''}"
    properties = torch.cuda.get_device_properties(device)
    precision = "bfloat16" if config.runtime.autocast else "float32"
    index = device.index if device.index is not None else torch.cuda.current_device()
    return f"cuda:{index} {properties.name}, {properties.total_memory / 1e9:.0f} GB, {precision}"


def describe_workers(config: Config, workers: WorkerPool) -> str:
    """Return number and kind of the workers for the first lines of a run."""
    emulators = f"{workers.emulators_per_worker} emulator{'s' if workers.emulators_per_worker != 1 else ''}"
    if config.collector.backend is Backend.inline:
        return f"none, {emulators} in the learner's process"
    where = "over Ray" if config.collector.backend is Backend.ray else "on this machine"
    processes = f"{workers.num_workers} process{'es' if workers.num_workers != 1 else ''}"
    return f"{processes} {where}, {emulators} in each"


def make_network(config: Config, env: EnvBase) -> RecurrentQuantileNetwork:
    """Build the network for the observations of an environment."""
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


def make_policy(config: Config, network: RecurrentQuantileNetwork, *, training: bool = True) -> R2D2Policy:
    """Build the policy around a network; outside of training a random action lasts one step."""
    collector = config.collector
    holds = training and collector.exploration is Exploration.epsilon_z
    return R2D2Policy(
        network,
        max_hold_steps=collector.epsilon_z_max_steps if holds else 1,
        action_mask_key="action_mask" if config.env.action_mask else None,
    )


def make_layout(config: Config, network: RecurrentQuantileNetwork) -> SequenceLayout:
    """Return the lengths of the stored sequences."""
    return SequenceLayout(
        burn_in_steps=config.replay.burn_in_steps,
        unroll_steps=config.replay.unroll_steps,
        n_step=config.loss.n_step,
        period_steps=config.replay.sequence_period_steps,
        unroll_state=_logs_delta_q(config, network),
    )


def _logs_delta_q(config: Config, network: RecurrentQuantileNetwork) -> bool:
    return config.loss.log_delta_q and bool(network.state_keys)


def _two_bit_keys(network: RecurrentQuantileNetwork) -> tuple[str, ...]:
    return tuple({"map_memory"} & set(network.observation_keys))


def make_sequence_builder(config: Config, layout: SequenceLayout, network: RecurrentQuantileNetwork) -> SequenceBuilder:
    """Build what cuts the workers' batches into sequences."""
    return SequenceBuilder(**sequence_options(config, layout, network))


def sequence_options(config: Config, layout: SequenceLayout, network: RecurrentQuantileNetwork) -> dict[str, Any]:
    """Return the options of :class:`~pokered_rl.data.SequenceBuilder`."""
    return {
        "layout": layout,
        "observation_keys": (*network.observation_keys, *(("action_mask",) if config.env.action_mask else ())),
        "state_keys": tuple(network.state_keys),
        "gamma": config.loss.gamma,
        "eta": config.loss.eta,
        "rescale_eps": config.loss.rescale_epsilon,
        "state_dtype": torch.float16 if config.replay.half_precision_state else torch.float32,
        "send": "episodes" if config.collector.send is Send.episodes else "sequences",
    }


def replay_options(
    config: Config, layout: SequenceLayout, network: RecurrentQuantileNetwork, example: TensorDictBase
) -> dict[str, Any]:
    """Return the options of :func:`~pokered_rl.data.make_replay` that the replays of a run have in common."""
    replay = config.replay
    return {
        "layout": layout,
        "alpha": replay.alpha,
        "beta": replay.beta,
        "two_bit_shapes": {key: tuple(example[key].shape[2:]) for key in _two_bit_keys(network)},
        "num_actions": len(config.env.actions),
        "half_keys": tuple(network.state_keys) if replay.half_precision_state else (),
        "compression_level": replay.compression_level,
        "run_id": config.run.id,
    }


def prefetch_options(config: Config) -> dict[str, Any]:
    """Return how many batches are drawn ahead, and whether into memory from which a GPU copies by itself."""
    prefetch = 0 if config.runtime.deterministic else config.replay.prefetch_batches
    on_gpu = config.runtime.device != "cpu" and torch.cuda.is_available()
    return {"prefetch": prefetch, "pin_memory": prefetch > 0 and on_gpu}


def make_replay(
    config: Config,
    folder: Path,
    layout: SequenceLayout,
    network: RecurrentQuantileNetwork,
    example: TensorDictBase,
) -> SequenceReplay:
    """Build the replay of a run in its folder; its files are made by ``allocate`` or opened by ``load``.

    Raises:
        ConfigError: There is not enough memory for the priorities.
    """
    replay = config.replay
    mixed = bool(config.demonstrations.logs)  # then a MixedReplay draws ahead
    try:
        return data.make_replay(
            scratch_dir=replay_folder(config, folder),
            capacity_transitions=replay.capacity_transitions,
            batch_size=None if mixed else config.learner.batch_size,
            new_priority=replay.new_priority.value,
            seed=config.run.seed,
            **({} if mixed else prefetch_options(config)),
            **replay_options(config, layout, network, example),
        )
    except MemoryError as error:
        raise ConfigError(
            f"replay.capacity_transitions={replay.capacity_transitions:,}: there is not enough memory for the"
            " priorities of so many sequences; lower it"
        ) from error


def archive_transforms(config: Config, folder: Path, *, writer: str, **changes: Any) -> list[Transform]:
    """Return what fills the archive of states in a folder and draws from it in one worker.

    Args:
        config: The whole tree; ``curriculum`` is read.
        folder: Of the archive.
        writer: Name of the worker in it.
        **changes: Options of :class:`~pokered_rl.envs.ArchiveStates` that win over the config.
    """
    settings = config.curriculum
    if not settings.enabled:
        return []
    archive = StateArchive(
        folder=folder.resolve(),
        writer=writer,
        bottleneck_share=settings.bottleneck_share,
        states_per_cell=settings.states_per_cell,
        max_states=settings.max_states,
        max_bytes=settings.max_megabytes << 20,
    )
    options: dict[str, Any] = {
        "power_on_share": settings.power_on_share,
        "patience_steps": settings.patience_steps,
        "power_on_patience_steps": settings.power_on_patience_steps,
        "capture_every_steps": settings.capture_every_steps,
        "tile_size": settings.tile_size,
    }
    return [ArchiveStates(archive, **options | changes)]


def make_workers(
    config: Config,
    folder: RunFolder,
    cartridge: Cartridge,
    policy: R2D2Policy,
    *,
    builder: SequenceBuilder,
    replay: SequenceReplay,
    limiter: RateLimiter,
    parts: Parts = _NO_PARTS,
) -> WorkerPool:
    """Build the workers of ``collector.backend``; they start when they are first asked for a batch."""
    collector = config.collector
    inline = collector.backend is Backend.inline
    num_workers = 1 if inline else worker_count(collector.num_workers, available_cpus())
    progress = folder.read_progress()
    common: dict[str, Any] = {
        "make_envs": [
            env_factory(
                config,
                cartridge,
                num_emulators=collector.emulators_per_worker,
                parts=parts,
                num_threads=collector.threads_per_worker,
                extra_transforms=(
                    *archive_transforms(config, folder.curriculum, writer=f"worker-{worker:03d}"),
                    EpisodeMeter(),
                    policy.make_primers(),
                ),
                recorder={
                    "folder": str(folder.episode_logs.resolve()),
                    "run_name": config.run.name,
                    "worker": worker,
                    "num_workers": num_workers,
                    "config_sha256": config_sha256(config),
                    "seeds": {"run": config.run.seed},
                    "job": 1 + (progress.jobs if progress is not None else 0),
                    "acting": "policy",
                    "run_id": config.run.id,
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


def make_loss(config: Config, network: RecurrentQuantileNetwork) -> LossModule:
    """Build the R2D2 loss of a network."""
    loss = config.loss
    shift = config.learner.random_shift_pixels
    return R2D2Loss(
        network,
        burn_in_steps=config.replay.burn_in_steps,
        n_step=loss.n_step,
        gamma=loss.gamma,
        eta=loss.eta,
        kappa=loss.kappa,
        rescale_eps=loss.rescale_epsilon,
        reconstruction_weight=loss.reconstruction_weight,
        map_reconstruction_weight=loss.map_reconstruction_weight,
        augmentation=RandomShift(shift) if shift else None,
        step_reduction=loss.step_reduction.value,
        reconstruct_next=loss.reconstruct_next,
        selection_noise=loss.selection_noise,
        margin_weight=config.demonstrations.margin_weight,
        margin=config.demonstrations.margin,
        log_delta_q=_logs_delta_q(config, network),
        compile_terms=config.runtime.compile,
    )


def make_learner(
    config: Config,
    network: RecurrentQuantileNetwork,
    replay: SequenceReplay | MixedReplay,
    device: torch.device,
    parts: Parts = _NO_PARTS,
) -> Learner:
    """Build loss, optimizer and target updater.

    Raises:
        ConfigError: An own loss is no loss module with target parameters.
    """
    settings = config.learner
    module = parts.loss if isinstance(parts.loss, LossModule) else (parts.loss or make_loss)(config, network)
    if not isinstance(module, LossModule):
        raise ConfigError(f"loss must return a LossModule, got {type(module).__name__}")
    module = module.to(device)
    if device.type == "cuda":
        # The loss swaps weights in and out; cuDNN then packs them at each call, as it should.
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
    if config.runtime.compile:
        # The loss shares these modules. Workers step through `forward`, and a copy for a worker is not compiled.
        network.compile_parts()
    hard = settings.target_update is TargetUpdate.hard
    try:
        updater = make_target_updater(
            module,
            hard_interval=settings.target_update_interval if hard else None,
            tau=settings.target_update_tau,
        )
    except (RuntimeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"loss: {qualified_name(module)} must have target parameters, made by convert_to_functional(network,"
            f' "network", create_target_params=True) ({error})'
        ) from error
    # Fused takes a third of the time on the CPU, too.
    optimizer = torch.optim.Adam(
        module.parameters(),
        lr=settings.learning_rate,
        eps=settings.adam_epsilon,
        fused=True,
        capturable=device.type == "cuda",
    )
    return Learner(
        loss=module,
        optimizer=optimizer,
        target_updater=updater,
        replay=replay,
        batch_size=settings.batch_size,
        max_grad_norm=settings.max_grad_norm,
        device=device,
        autocast=config.runtime.autocast,
        cuda_graph=config.runtime.cuda_graphs,
        schedule=_schedule(config),
        diagnose=partial(diagnose, network, optimizer, first_step=config.replay.burn_in_steps),
    )


def _schedule(config: Config) -> Callable[[int], float] | None:
    settings = config.learner
    first, last, fall = settings.learning_rate, settings.final_learning_rate, settings.fall_updates
    return None if last is None else lambda updates: first + (last - first) * min(updates / fall, 1.0)
