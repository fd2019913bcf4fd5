"""Compose a training run from a config and from parts of your own, and run it."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress as ProgressBar
from torchrl.envs import EnvBase

from pokered_rl.data import RateLimiter
from pokered_rl.data.demonstrations import DemonstrationReplay
from pokered_rl.disk import NewFolders
from pokered_rl.emulator import Cartridge
from pokered_rl.errors import ConfigError
from pokered_rl.resources import available_cpus, available_memory_bytes, keep_freed_memory
from pokered_rl.terminal import make_console
from pokered_rl.training import builders
from pokered_rl.training.callbacks import Callback, CallbackList
from pokered_rl.training.checkpoint import CheckpointStore
from pokered_rl.training.checkpointing import Checkpointing
from pokered_rl.training.config import Backend, Config, OnReplayLoss, Resume, TargetUpdate, validate
from pokered_rl.training.costs import measured_costs, memory_needs
from pokered_rl.training.display import Display
from pokered_rl.training.evaluator import EvaluationPlan, Evaluator
from pokered_rl.training.given_logs import begin_archive, leave_out_bundled, make_demonstrations
from pokered_rl.training.live import LiveFeed, LiveServer
from pokered_rl.training.load_config import load_config, read_config
from pokered_rl.training.loggers import make_loggers
from pokered_rl.training.metrics import Metrics
from pokered_rl.training.options import options_of
from pokered_rl.training.parts import (
    LossPart,
    NetworkPart,
    Parts,
    TermPart,
    TransformPart,
    check_parts,
    describe_parts,
)
from pokered_rl.training.progress import ProgressRecord
from pokered_rl.training.run_folder import Progress, RunFolder, begin_job, replay_folder
from pokered_rl.training.run_lock import RunLock
from pokered_rl.training.runtime import Deadline, ExitStatus, StopReason, StopSignals, Target
from pokered_rl.training.scratch import ScratchReplay
from pokered_rl.training.statistics import EpisodeStatistics
from pokered_rl.training.trainer import Trainer

__all__ = ["Experiment"]


class Experiment:
    """A training run: a config, and whatever you put in the place of the library's parts.

    A part that workers need (environment, reward terms, transforms, network) is pickled: define it at the top level of
    a module, not in a function. The run folder keeps the names of the parts in ``parts.json``; a job that continues the
    run with another part is refused.

    Args:
        config: A :class:`~pokered_rl.training.Config`; the name of a YAML file (``"quickstart"``); or the folder of a
            run, which is continued.
        overrides: Changes to a named or continued config, such as ``["run.name=a", "learner.batch_size=32"]``.
        network: A :class:`~pokered_rl.modules.RecurrentQuantileNetwork`, or a function of ``(config, env)`` that
            returns one for the specs of ``env``.
        loss: A TorchRL ``LossModule`` with target parameters, or a function of ``(config, network)`` that returns one.
            It takes a batch of sequences [B], returns ``loss_*`` terms and writes the priorities ``td_error`` [B].
        make_env: Builds the environment of a worker. Called with the cartridge and the keywords of
            :func:`pokered_rl.envs.make_env`, which it may pass on.
        reward_terms: :class:`~pokered_rl.envs.rewards.RewardTerm` classes or objects, added to those of the config.
        transforms: TorchRL transforms, or functions that make one, put behind those of the environment.
        callbacks: :class:`~pokered_rl.training.Callback` objects, called after the library's own.

    Raises:
        ConfigError: An argument is of a wrong kind, or the config is not valid.

    Example:
        >>> Experiment("quickstart", overrides=["run.name=a"]).run()  # doctest: +SKIP
        >>> Experiment("runs/a", overrides=["run.target_total_steps=500_000"]).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        config: Config | str | Path,
        *,
        overrides: Sequence[str] = (),
        network: NetworkPart | None = None,
        loss: LossPart | None = None,
        make_env: Callable[..., EnvBase] | None = None,
        reward_terms: Sequence[TermPart] = (),
        transforms: Sequence[TransformPart] = (),
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.config = _config_of(config, overrides)
        self.parts = Parts(network, loss, make_env, reward_terms, transforms)
        self._left_out = leave_out_bundled(self.config, self.parts)
        self.folder = RunFolder(Path(self.config.run.folder) / self.config.run.name)
        self._console = make_console()
        self._callbacks = tuple(CallbackList(callbacks))

    def run(self, signals: StopSignals | None = None) -> ExitStatus:
        """Work on the run until it is complete, the time is up, a signal comes or a callback stops it.

        Args:
            signals: Listening already, for a program that does so before its imports.

        Returns:
            The status that a program should exit with.

        Raises:
            PokeredError: Something that the user can act on; what was learned is saved.
        """
        if signals is None:
            with StopSignals() as signals:
                return self.run(signals)
        logging.getLogger("torchrl").setLevel(logging.WARNING)
        config, folder = self.config, self.folder
        folder.check_resume(config.run.resume)
        changes = folder.check_config(config)
        # A job that is refused leaves no folder behind.
        new = NewFolders(folder.path, replay_folder(config, folder.path))
        lock = RunLock(folder.path, heartbeat_seconds=config.runtime.heartbeat_seconds)
        with new, lock, new.emptied_if_refused(keep="run.lock"), self.build() as trainer:
            lock.token.guard(trainer.replay.scratch_dir)
            trainer.workers.lock = lock.token
            signals.end_now = trainer.workers.kill
            description = describe_parts(config, self.parts, network=trainer.network, loss=trainer.learner.loss)
            check_parts(folder.parts, description)
            self._begin_archive(signals)
            progress = begin_job(folder, config, self._cartridge, changes)
            for change in changes:
                self._say(f"changed since the last job: {change}")
            self._announce_needs(trainer)
            if self._left_out is not None:
                self._say(self._left_out)
            if trainer.mixed is not None:
                self._prepare(trainer.mixed.demonstrations, signals)

            store = CheckpointStore(folder.checkpoints, keep=config.runtime.keep_checkpoints, run_id=config.run.id)
            try:
                checkpointing = self._connect_callbacks(trainer, store, progress, signals, lock)
                init_from = Path(config.run.init_from) if config.run.init_from else None
                checkpoint = checkpointing.restore(trainer, init_from=init_from)
                progress.checkpoint_steps = checkpoint.steps if checkpoint is not None else 0
                first_step, first_update = trainer.steps, trainer.updates
                new.forget()
                signals.has_work_to_save = True
                reason = trainer.run()
            finally:
                store.close()
            if reason.complete:
                self._say(f"{reason.value}; saved in {folder.path}")
            else:
                target = config.run.target_total_steps
                self._say(
                    f"stopped at {trainer.steps:,} of {target:,} steps; run the same command to go on ({reason.value};"
                    f" saved in {folder.path})"
                )
            if signals.reason is StopReason.interrupted:
                return ExitStatus.interrupted  # in the evaluation, or while the replay was copied
            pretrained = first_update < min(trainer.updates, trainer.pretrain_updates)
            return reason.exit_status(advanced=pretrained or trainer.steps > first_step)

    @contextmanager
    def build(self) -> Iterator[Trainer]:
        """Build network, workers, replay and learner; workers are ended with the context, whatever happened.

        Raises:
            PokeredError: Cartridge, start state, reward term, part or disk is not as it should be.
        """
        config, parts = self.config, self.parts
        config.run.id = self.folder.identity()
        keep_freed_memory()
        torch.manual_seed(config.run.seed)
        # PyTorch's own choice knows neither control groups nor SLURM.
        torch.set_num_threads(config.runtime.learner_threads or min(torch.get_num_threads(), available_cpus()))
        if config.runtime.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
        device = builders.choose_device(config.runtime.device)
        with builders.probe(config, parts=parts) as probed:
            self._cartridge: Cartridge = probed.cartridge
            network, example = probed.network.to(device), probed.example()
        if config.collector.backend is Backend.processes:
            parts.check_picklable(network)
        policy = builders.make_policy(config, network)
        layout = builders.make_layout(config, network)
        sequences = builders.make_sequence_builder(config, layout, network)
        replay = builders.make_replay(config, self.folder.path, layout, network, example)
        limiter = RateLimiter(
            samples_per_insert=config.replay.samples_per_insert,
            min_fill_sequences=config.replay.min_fill_sequences,
            slack_sequences=config.replay.samples_per_insert_slack_batches * config.learner.batch_size,
        )
        workers = builders.make_workers(
            config,
            self.folder,
            self._cartridge,
            policy,
            builder=sequences,
            replay=replay,
            limiter=limiter,
            parts=parts,
        )
        try:
            sequence = sequences.example(example)
            mixed = make_demonstrations(config, self.folder, self._cartridge, network, example, replay, parts)
            yield Trainer(
                learner=builders.make_learner(config, network, mixed or replay, device, parts),
                network=network,
                workers=workers,
                replay=replay,
                mixed=mixed,
                limiter=limiter,
                sync_every_updates=config.collector.sync_every_updates,
                folder=self.folder.path,
                example=sequence,
                say=self._say,
            )
        finally:
            workers.close()

    def _connect_callbacks(
        self, trainer: Trainer, store: CheckpointStore, progress: Progress, signals: StopSignals, lock: RunLock
    ) -> Checkpointing:
        """Give the trainer the library's callbacks and the user's, in the order in which they are called."""
        config, folder = self.config, self.folder
        run, learner = config.run, config.learner
        deadline = Deadline(
            max_runtime_seconds=run.max_runtime_seconds,
            start=signals.started_at,
            margin_seconds=config.runtime.deadline_margin_seconds,
        )
        scratch = None
        if config.replay.scratch_folder is not None:
            scratch = ScratchReplay(
                trainer.replay,
                home=folder.replay,
                max_seconds=config.replay.copy_back_max_seconds,
                deadline=deadline,
                signals=signals,
            )
        hard = learner.target_update is TargetUpdate.hard
        checkpointing = Checkpointing(
            store,
            folder.online_params,
            every_seconds=config.runtime.checkpoint_every_seconds,
            publish_every_updates=learner.target_update_interval if hard else learner.publish_every_updates,
            scratch=scratch,
            refill_lost_replay=config.replay.on_loss is OnReplayLoss.refill,
        )
        deadline.needs = [checkpointing.seconds_needed, *([scratch.seconds_needed] if scratch else [])]
        statistics = EpisodeStatistics(self._cartridge.profile.milestones.names)
        metrics = Metrics(
            folder.metrics,
            progress,
            every_seconds=config.logging.every_seconds,
            statistics=statistics,
            draw_coverage=self._draw_coverage,
            coverage_every_seconds=config.logging.coverage_every_seconds,
            evaluation_video=folder.evaluation_video,
            open_loggers=partial(
                make_loggers,
                folder.metrics,
                run_name=run.name,
                tensorboard=config.logging.tensorboard,
                wandb=config.logging.wandb.value,
                wandb_project=config.logging.wandb_project,
                others=config.logging.loggers,
                hparams={key: value for key, value, _ in options_of(config)},
                say=self._say,
            ),
        )
        callbacks: list[Callback | None] = [
            lock,
            signals,
            Target(steps=run.target_total_steps, episodes=run.total_episodes),
            deadline,
            checkpointing,
            scratch,
            ProgressRecord(folder, progress, every_seconds=config.logging.every_seconds),
            statistics,
            self._evaluator(signals),
            metrics,
            Display(
                progress,
                deadline=deadline,
                statistics=statistics,
                metrics=metrics,
                refresh_seconds=config.logging.display_every_seconds,
                line_seconds=config.logging.line_every_seconds,
                console=self._console,
            ),
            self._live_feed(),
            LiveServer(folder.path, port=config.logging.live_port) if config.logging.live else None,
            *self._callbacks,
        ]
        trainer.callbacks = CallbackList([each for each in callbacks if each is not None], say=self._say)
        return checkpointing

    @contextmanager
    def _replays_logs(self, what: str, signals: StopSignals) -> Iterator[dict[str, Callable[..., Any]]]:
        """Yield ``on_progress`` and ``stopped`` of something that replays logs; a bar shows how far it is."""
        with ProgressBar(console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task(what, total=None, visible=False)
            yield {
                "on_progress": lambda done, total: bar.update(task, completed=done, total=total, visible=True),
                "stopped": lambda: signals.reason is not None,
            }

    def _begin_archive(self, signals: StopSignals) -> None:
        """Fill the archive of a new run where the config says so."""
        config = self.config.curriculum
        with self._replays_logs("putting states along logs into the archive", signals) as options:
            states, problems = begin_archive(self.config, self.folder, self._cartridge, self.parts, **options)
        for problem in problems:
            self._say(f"curriculum.from_logs: left out: {problem}")
        if states:
            self._say(f"the archive begins with {states:,} states of {config.source or ', '.join(config.from_logs)}")

    def _prepare(self, demonstrations: DemonstrationReplay, signals: StopSignals) -> None:
        """Replay the demonstrations unless that was done before, and say what they are."""
        with self._replays_logs("replaying demonstrations", signals) as options:
            demonstrations.prepare(**options)
        for problem in demonstrations.summary.left_out.values():
            self._say(f"demonstrations.logs: left out: {problem}")
        self._say(f"demonstrations: {demonstrations.summary}")

    def _evaluator(self, signals: StopSignals) -> Evaluator | None:
        config, story = self.config, self._cartridge.profile.milestones.names
        settings, final_episodes = config.evaluation, config.run.evaluation_episodes
        if settings.stop_milestone is not None and settings.stop_milestone not in story:
            near = difflib.get_close_matches(settings.stop_milestone, story, n=3, cutoff=0.3) or list(story[:3])
            raise ConfigError(
                f"evaluation.stop_milestone must be a milestone of {self._cartridge.title}, got"
                f" {settings.stop_milestone!r}; did you mean {', or '.join(near)}?"
            )
        if not settings.every_steps and not final_episodes:
            return None
        return Evaluator(
            EvaluationPlan.of(config, self._cartridge, self.parts),
            self.folder,
            every_steps=settings.every_steps,
            final_episodes=final_episodes,
            patience=settings.patience,
            stop_without_progress=settings.stop_without_progress,
            stop_milestone=settings.stop_milestone,
            stop_rate=settings.stop_rate,
            video_every=config.logging.video_every_evaluations,
            stopped=lambda: signals.reason,
            console=self._console,
        )

    def _live_feed(self) -> LiveFeed:
        cartridge = self._cartridge
        facts = {
            "run": self.config.run.name,
            "actions": list(self.config.env.actions),
            "kind": cartridge.kind,
            "cartridge": cartridge.title,
            "cartridge_sha1": cartridge.sha1,
        }
        return LiveFeed(self.folder.path, facts)

    def _draw_coverage(self, visits: Mapping[int, int]) -> npt.NDArray[np.uint8]:
        from pokered_rl.record.maps import coverage_picture  # Matplotlib takes a second to import

        return coverage_picture(visits, maps=self._cartridge.profile.maps)

    def _announce_needs(self, trainer: Trainer) -> None:
        """Say what learns and plays, and what memory and disk it takes; restoring refuses a disk that is too small."""
        workers, replay = trainer.workers, trainer.replay
        cartridge = self._cartridge
        self._say(f"learner: {builders.describe_learner(self.config, trainer.learner.device)}")
        self._say(f"cartridge: {cartridge.title}, {cartridge.path} (SHA-1 {cartridge.sha1[:8]})")
        self._say(f"workers: {builders.describe_workers(self.config, workers)}")
        processes = workers.num_workers if self.config.collector.backend is Backend.processes else 0
        memory = memory_needs(self.config, measured_costs(), workers=processes, sequences=replay.capacity_sequences)
        self._say(
            f"memory: about {memory.total / 1e9:.1f} GB (learner {memory.learner / 1e9:.1f} GB, {processes} workers of"
            f" {memory.worker / 1e9:.2f} GB), {available_memory_bytes() / 1e9:.1f} GB available; disk:"
            f" {trainer.replay_bytes / 1e9:.2f} GB for the replay in {replay.scratch_dir}"
        )

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def _config_of(config: Any, overrides: Any) -> Config:
    if isinstance(overrides, str) or not all(isinstance(override, str) for override in overrides):
        raise ConfigError(f"overrides must be a list of texts such as 'run.name=a', got {overrides!r}")
    if isinstance(config, Config):
        if overrides:
            raise ConfigError("overrides change a named or a continued config; set the attributes of a Config itself")
        return validate(config)
    if not isinstance(config, str | Path):
        kinds = "a Config, the name of a config or the folder of a run"
        raise ConfigError(f"config must be {kinds}, got {type(config).__name__} {config!r:.200}")
    folder = Path(config)
    if not RunFolder(folder).config.is_file():
        if isinstance(config, Path) or folder.is_dir():
            raise ConfigError(f"config: there is no run in {folder} (it has no config.yaml)")
        return load_config(config, overrides)
    changed = read_config(RunFolder(folder).config, overrides)
    # The folder may have been moved since.
    changed.run.folder, changed.run.name, changed.run.resume = str(folder.parent), folder.name, Resume.must
    return changed
