"""What a run is given to learn from: logged episodes as demonstrations, and an archive of states to begin with."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from pokered_rl.atomic import write_atomically
from pokered_rl.bundled import bundled_path
from pokered_rl.data import SequenceBuilder, SequenceReplay, make_replay
from pokered_rl.data.demonstrations import DemonstrationReplay, LogSequences, MixedReplay, check_log, map_logs
from pokered_rl.data.episode_logs import LogReplay, action_numbers
from pokered_rl.emulator import ActionSet, ActionTiming, Cartridge
from pokered_rl.envs import StateArchive, make_env
from pokered_rl.episodes import EpisodeLog, find_logs, load_start_state, verify
from pokered_rl.errors import ConfigError, EpisodeLogError, PokeredError
from pokered_rl.modules import RecurrentQuantileNetwork
from pokered_rl.plain_files import read_plain_file
from pokered_rl.resources import available_cpus
from pokered_rl.training import builders
from pokered_rl.training.config import Backend, Config
from pokered_rl.training.parts import Parts, qualified_name
from pokered_rl.training.run_folder import RunFolder

__all__ = ["LogStates", "begin_archive", "leave_out_bundled", "make_demonstrations"]

#: Options of ``env`` that change nothing in the steps of a log.
_NOT_OF_A_STEP = frozenset(
    {"cartridge", "allow_unknown", "max_episode_steps", "start_states", "log_every_episodes", "log_segment_steps"}
)
#: Steps of a log for each state that it puts into the archive, on average.
_STATE_EVERY_STEPS = 20
#: In the folder of an archive: the logs that its states are from.
FROM_LOGS = "from_logs.json"


def leave_out_bundled(config: Config, parts: Parts) -> str | None:
    """Take the bundled logs out of ``demonstrations.logs`` where they do not fit; return why, None where they stay.

    They are of Sprout, played in the library's environment.
    """
    bundled, logs = str(bundled_path("expert_logs")), config.demonstrations.logs
    if bundled not in logs:
        return None
    if parts.make_env in (None, make_env):
        try:
            cartridge = Cartridge.find(config.env.cartridge, allow_unknown=config.env.allow_unknown)
        except PokeredError:
            return None  # raised again where the run opens it
        if cartridge.sha1 == Cartridge.bundled().sha1:
            return None
        why = f"are of Sprout, this is {cartridge.title}"
    else:
        why = "are of the library's environment, this run brings its own make_env"
    config.demonstrations.logs = [log for log in logs if log != bundled]
    return f"demonstrations.logs: left out: the bundled logs {why}"


def make_demonstrations(
    config: Config,
    folder: RunFolder,
    cartridge: Cartridge,
    network: RecurrentQuantileNetwork,
    example: TensorDictBase,
    replay: SequenceReplay,
    parts: Parts,
) -> MixedReplay | None:
    """Build what draws from the run's replay and from ``demonstrations.logs``; None where there are none.

    Its demonstrations have to be prepared.

    Args:
        config: The whole tree.
        folder: The run.
        cartridge: What is played.
        network: Says what of a step is stored.
        example: See :meth:`Probe.example`.
        replay: The run's replay.
        parts: Own reward terms and transforms.

    Raises:
        ConfigError: There are no such logs, or the environment is not the library's.
    """
    settings, env = config.demonstrations, config.env
    if not settings.logs:
        return None
    if parts.make_env not in (None, make_env):
        raise ConfigError(
            "demonstrations.logs: logs are replayed in the library's environment, this run brings its own make_env; set"
            " demonstrations.logs=[]"
        )
    layout = builders.make_layout(config, network)
    sequence_options = builders.sequence_options(config, layout, network) | {"send": "sequences"}
    sections = dataclasses.asdict(config)
    demonstrations = DemonstrationReplay(
        _logs_of(settings.logs, "demonstrations.logs"),
        folder=folder.demonstrations,
        make_replay=partial(
            make_replay,
            new_priority="maximum",
            seed=config.run.seed + 1,
            **builders.replay_options(config, layout, network, example),
        ),
        sequences=LogSequences(
            replay=LogReplay(
                builders.transform_factory(config, parts, own_terms=True),
                rescore=True,
                screen=env.screen.value,
                cartridge=cartridge,
                actions=ActionSet(tuple(env.actions)),
            ),
            make_builder=partial(SequenceBuilder, **sequence_options),
            state_sizes=dict.fromkeys(network.state_keys, network.hidden_size),
            timing=_timing(config),
            wait_limit=_wait_limit(config),
        ),
        settings={
            "cartridge": cartridge.sha1,
            "env": {name: value for name, value in sections["env"].items() if name not in _NOT_OF_A_STEP},
            "reward": sections["reward"],
            "network": [network.observation_keys, network.state_keys, network.hidden_size],
            "replay": {**vars(layout), "half": config.replay.half_precision_state},
            "parts": [qualified_name(part) for part in (*parts.reward_terms, *parts.transforms)],
        },
        num_processes=_num_processes(config),
    )
    return MixedReplay(
        replay,
        demonstrations,
        ratio=settings.ratio,
        final_ratio=settings.final_ratio,
        fall_updates=settings.fall_updates,
        pretrain_updates=settings.pretrain_updates,
        seed=config.run.seed,
        **builders.prefetch_options(config),
    )


def _timing(config: Config) -> ActionTiming:
    return ActionTiming(frames_per_action=config.env.frames_per_action, hold_frames=config.env.hold_frames)


def _wait_limit(config: Config) -> int:
    return config.env.max_wait_frames if config.env.wait_while_busy else 0


def _num_processes(config: Config) -> int:
    """Return how many processes replay logs: one where the parts of a run need not be picklable."""
    return 1 if config.collector.backend is Backend.inline else available_cpus()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogStates:
    """Put states along a log into an archive; it can be pickled.

    The log is verified, and played again in the environment of the run, so that each state carries what the run's
    transforms remember there.

    Args:
        make_env: Builds the environment; called with ``extra_transforms``, ``start_states`` and others.
        make_transforms: Makes the transforms that fill the archive; called with ``writer``.
        cartridge: What is played.
        actions: Of the run.
        timing: Frames of the run's step.
        wait_limit: Most frames that the run's step waits for the game.
    """

    make_env: Callable[..., EnvBase]
    make_transforms: Callable[..., Sequence[Any]]
    cartridge: Cartridge
    actions: ActionSet
    timing: ActionTiming
    wait_limit: int

    def __call__(self, path: Path) -> str | None:
        """Add the states of a log.

        Raises:
            EpisodeLogError: The log cannot be played, diverges, or was not played like the run plays.
        """
        log = EpisodeLog.load(path)
        check_log(log, cartridge_sha1=self.cartridge.sha1, timing=self.timing, wait_limit=self.wait_limit)
        actions = action_numbers(log, self.actions)
        verify(log, cartridge=self.cartridge)
        env = self.make_env(
            extra_transforms=self.make_transforms(writer=path.stem),
            start_states=[load_start_state(log)],
            max_episode_steps=log.steps + 1,
            terminate_at_hall_of_fame=False,
            seed=0,
        )
        try:
            step: TensorDictBase = env.reset()
            for action in actions:
                step = env.step(step.set("action", action.reshape(1)))["next"]
        finally:
            env.close()
        return None


def begin_archive(
    config: Config,
    folder: RunFolder,
    cartridge: Cartridge,
    parts: Parts,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[int, list[str]]:
    """Give a run without an archive that of ``curriculum.source``, or states along ``curriculum.from_logs``.

    Args:
        config: The whole tree.
        folder: The run.
        cartridge: What is played.
        parts: Own parts of the run.
        on_progress: Called with the number of logs replayed and their total.
        stopped: Whether to give up; the archive is then begun the next time.

    Returns:
        How many states it has then, and the message of each log that was left out.

    Raises:
        ConfigError: That run has no archive, or no log can be used.
        CheckpointError: The run's own archive is another run's, or the other one holds what no archive writes.
    """
    settings, states, problems = config.curriculum, 0, list[str]()
    if not settings.enabled:
        return 0, []
    if not folder.curriculum.is_dir():
        if settings.source is not None:
            states = _copy_archive(config, folder)
        elif settings.from_logs:
            states, problems = _archive_of_logs(config, folder, cartridge, parts, on_progress, stopped)
    if not stopped():
        StateArchive(folder=folder.curriculum).claim(config.run.id)
    return states, problems


def _copy_archive(config: Config, folder: RunFolder) -> int:
    """Copy the archive of ``curriculum.source``; return its states."""
    settings = config.curriculum
    source = RunFolder(Path(str(settings.source))).curriculum
    archive = StateArchive(folder=source, max_states=settings.max_states, max_bytes=settings.max_megabytes << 20)
    try:
        states = archive.copy_to(folder.curriculum)
    except FileNotFoundError as error:
        raise ConfigError(
            f"curriculum.source={settings.source}: there is no archive of states in {error.filename}"
        ) from error
    if (source / FROM_LOGS).is_file():
        write_atomically(folder.curriculum / FROM_LOGS, read_plain_file(source / FROM_LOGS, max_bytes=1 << 20))
    return states


def _archive_of_logs(
    config: Config,
    folder: RunFolder,
    cartridge: Cartridge,
    parts: Parts,
    on_progress: Callable[[int, int], None],
    stopped: Callable[[], bool],
) -> tuple[int, list[str]]:
    """Put states along ``curriculum.from_logs`` into a new archive; return their number and the logs' problems."""
    settings = config.curriculum
    logs, problems = _logs_of(settings.from_logs, "curriculum.from_logs"), list[str]()
    staging = folder.curriculum.with_name(".curriculum_from_logs")
    shutil.rmtree(staging, ignore_errors=True)
    add_states = LogStates(
        make_env=builders.env_factory(config, cartridge, num_emulators=1, parts=parts),
        make_transforms=partial(
            builders.archive_transforms,
            config,
            staging,
            power_on_share=1.0,
            power_on_patience_steps=None,
            capture_every_steps=_STATE_EVERY_STEPS,
        ),
        cartridge=cartridge,
        actions=ActionSet(tuple(config.env.actions)),
        timing=_timing(config),
        wait_limit=_wait_limit(config),
    )
    try:
        with map_logs(add_states, logs, num_processes=_num_processes(config)) as results:
            for number, problem in enumerate(results):
                if stopped():
                    return 0, problems
                problems += [problem] if problem is not None else []
                on_progress(number + 1, len(logs))
        if len(problems) == len(logs):
            raise ConfigError(
                f"curriculum.from_logs: none of the {len(logs)} logs can be used; the first: {problems[0]};"
                " set curriculum.from_logs=[] to go on without them"
            )
        archive = StateArchive(folder=staging, max_states=settings.max_states, max_bytes=settings.max_megabytes << 20)
        states = archive.copy_to(folder.curriculum)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    text = f"an archive of {states:,} states along {len(logs) - len(problems)} logs"
    content = {"text": text, "logs": [path.name for path in logs], "left_out": problems}
    write_atomically(folder.curriculum / FROM_LOGS, json.dumps(content, indent=1).encode())
    return states, problems


def _logs_of(sources: Sequence[str], key: str) -> list[Path]:
    """Return the log files that an option names.

    Raises:
        ConfigError: There are none.
    """
    try:
        return find_logs(sources)
    except EpisodeLogError as error:
        raise ConfigError(f"{key}: {error}; name their new place, or set {key}=[] to go on without them") from error
