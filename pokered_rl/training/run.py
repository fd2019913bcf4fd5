"""One job of a run, from the lock to the exit status."""

from __future__ import annotations

import json
import logging
import math
import traceback
from pathlib import Path

from rich.console import Console

from pokered_rl.atomic import write_atomically
from pokered_rl.collectors import SupervisedPool
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.resources import available_memory_bytes
from pokered_rl.training.build import Parts, build
from pokered_rl.training.checkpoint import CheckpointStore, load_tensors
from pokered_rl.training.config import Backend, Config, OnReplayLoss, TargetUpdate
from pokered_rl.training.costs import measured_costs, memory_needs
from pokered_rl.training.display import Display, RunView
from pokered_rl.training.evaluation import RandomPolicy, evaluate, table
from pokered_rl.training.loggers import make_loggers
from pokered_rl.training.metrics import MetricsWriter
from pokered_rl.training.policy import load_policy
from pokered_rl.training.report import Reporter
from pokered_rl.training.run_folder import Progress, RunFolder, config_sha256, provenance
from pokered_rl.training.run_lock import RunLock
from pokered_rl.training.runtime import Deadline, ExitStatus, SaveTimer, StopReason, StopSignals
from pokered_rl.training.scratch import ScratchReplay
from pokered_rl.training.trainer import Trainer

__all__ = ["train"]

#: Workers get this long to hand in their last batch and state: Ctrl-C has to end everything within ten seconds, and a
#: scheduler gives half a minute between its signal and the end.
_HALT_SECONDS, _HALT_INTERRUPTED_SECONDS = 15.0, 4.0


def train(config: Config, signals: StopSignals) -> ExitStatus:
    """Work on a run until it is complete, the time is up, or a signal comes.

    Args:
        config: The checked config.
        signals: Listening since the process began.

    Returns:
        The status to exit with.

    Raises:
        PokeredError: Something that the user can act on; the last checkpoint stands.
    """
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    folder = RunFolder(Path(config.run.folder) / config.run.name)
    folder.check_resume(config.run.resume)
    changes = folder.check_config(config)
    with RunLock(folder.path, heartbeat_seconds=config.runtime.heartbeat_seconds), build(config, folder) as parts:
        signals.end_now = parts.workers.kill
        return _Job(config, folder, parts, signals).work(changes)


class _Job:
    """What the stages of one job share."""

    def __init__(self, config: Config, folder: RunFolder, parts: Parts, signals: StopSignals) -> None:
        self.config, self.folder, self.parts, self.signals = config, folder, parts, signals
        self.console = Console()
        self.progress = folder.read_progress() or Progress(run=config.run.name)
        self.save_timer = SaveTimer()
        self.scratch = None
        if config.replay.scratch_folder is not None:
            self.scratch = ScratchReplay(
                scratch=parts.replay.scratch_dir,
                home=folder.replay,
                max_seconds=config.replay.copy_back_max_seconds,
            )
        self.deadline = Deadline(
            max_runtime_seconds=config.run.max_runtime_seconds,
            start=signals.started_at,
            margin_seconds=config.runtime.deadline_margin_seconds,
            save_timer=self.save_timer,
            also_needed=lambda: 0.0 if self.scratch is None else self.scratch.seconds_needed(self.filled_share),
        )
        self.view = RunView(config.run.name, self.progress.jobs + 1, target_steps=config.run.target_total_steps)
        self.display = Display(
            self.view,
            refresh_seconds=config.logging.display_every_seconds,
            line_seconds=config.logging.line_every_seconds,
            console=self.console,
        )

    def work(self, changes: list[str]) -> ExitStatus:
        """All stages in their order."""
        config, progress, cartridge = self.config, self.progress, self.parts.cartridge
        if progress.cartridge_sha1 not in ("", cartridge.sha1):
            raise ConfigError(
                f"the run in {self.folder.path} was played on another cartridge (SHA-1 {progress.cartridge_sha1}) than"
                f" {cartridge.path} (SHA-1 {cartridge.sha1}); set env.cartridge to it, or choose another run.name"
            )
        progress.cartridge_sha1 = cartridge.sha1
        progress.jobs += 1
        progress.target_total_steps = config.run.target_total_steps
        progress.complete, progress.last_stop = False, "running"
        self.folder.write_config(config)
        played = {"title": cartridge.title, "sha1": cartridge.sha1}
        self.folder.append_job(
            {
                "job": progress.jobs,
                "event": "begin",
                "changes": changes,
                "config_sha256": config_sha256(config),
                "cartridge": played,
                **provenance(),
            }
        )
        for change in changes:
            self.say(f"changed since the last job: {change}")

        self.announce_needs()
        trainer = self.make_trainer()
        self.restore(trainer)
        progress.steps, progress.updates = trainer.workers.steps, trainer.learner.updates
        progress.episodes = trainer.workers.episodes
        first_step = progress.steps
        if self.scratch is not None:
            self.scratch.measure()
        reason = self.train(trainer)
        if self.scratch is not None and reason is not StopReason.interrupted:
            seconds = self.deadline.seconds_until_killed
            self.say(self.scratch.bring_back(share=self.filled_share, seconds_left=seconds))
        finished = reason in (StopReason.target, StopReason.episodes)
        # At a scheduler's deadline there is no time left for it.
        if reason is StopReason.deadline and math.isinf(self.deadline.seconds_until_killed):
            finished = True
        if config.run.evaluation_episodes and finished:
            self.compare()
        status = reason.exit_status(advanced=trainer.workers.steps > first_step)
        self.folder.append_job(
            {
                "job": progress.jobs,
                "event": "end",
                "reason": reason.value,
                "status": int(status),
                "steps": progress.steps,
            }
        )
        return status

    @property
    def filled_share(self) -> float:
        """Part of the replay's rows that is filled."""
        replay = self.parts.replay
        return len(replay) / replay.capacity_sequences

    def say(self, text: str) -> None:
        """Print a line."""
        self.display.say(text)

    def announce_needs(self) -> None:
        """Say what memory and disk the run will take; :meth:`restore` refuses when the disk cannot hold it."""
        workers, replay = self.parts.workers, self.parts.replay
        processes = workers.num_workers if self.config.collector.backend is Backend.processes else 0
        memory = memory_needs(self.config, measured_costs(), workers=processes, sequences=replay.capacity_sequences)
        self.say(
            f"memory: about {memory.total / 1e9:.1f} GB (learner {memory.learner / 1e9:.1f} GB, {processes} workers of"
            f" {memory.worker / 1e9:.2f} GB), {available_memory_bytes() / 1e9:.1f} GB available; disk:"
            f" {self.parts.replay_bytes / 1e9:.2f} GB for the replay in {replay.scratch_dir}"
        )

    def make_trainer(self) -> Trainer:
        """The training loop over the parts."""
        config, parts = self.config, self.parts
        learner = config.learner
        hard = learner.target_update is TargetUpdate.hard
        return Trainer(
            learner=parts.learner,
            network=parts.network,
            workers=parts.workers,
            replay=parts.replay,
            limiter=parts.limiter,
            checkpoints=CheckpointStore(self.folder.checkpoints, keep=config.runtime.keep_checkpoints),
            online_params=self.folder.online_params,
            stop_reason=self.stop_reason,
            report=lambda trainer: self.reporter.tick(trainer),
            sync_every_updates=config.collector.sync_every_updates,
            publish_every_updates=learner.target_update_interval if hard else learner.publish_every_updates,
            checkpoint_every_seconds=config.runtime.checkpoint_every_seconds,
            save_timer=self.save_timer,
        )

    def stop_reason(self) -> StopReason | None:
        """Why the loop should end now, or None."""
        run, workers = self.config.run, self.parts.workers
        if self.signals.reason is not None:
            return self.signals.reason
        if workers.steps >= run.target_total_steps:
            return StopReason.target
        if run.total_episodes and workers.episodes >= run.total_episodes:
            return StopReason.episodes
        return StopReason.deadline if self.deadline.passed else None

    def restore(self, trainer: Trainer) -> None:
        """Take up the run where its last job left it, or start it."""
        run, parts = self.config.run, self.parts
        checkpoint = trainer.checkpoints.newest()
        if checkpoint is not None:
            trainer.restore(checkpoint, load_replay=self.load_replay)
            self.say(f"continuing {self.folder.path} at step {checkpoint.steps:,}, update {checkpoint.updates:,}")
            return
        parts.allocate()
        source = self.folder.online_params
        if not source.is_file() and run.init_from is not None:
            source = Path(run.init_from)
            source = source / "online_params.pt" if source.is_dir() else source
            if not source.is_file():
                raise CheckpointError(f"run.init_from={run.init_from}: there is no file {source}")
        if source.is_file():
            self.load_params(source)

    def load_params(self, source: Path) -> None:
        """Start from published weights; the target network follows them."""
        try:
            self.parts.network.load_state_dict(load_tensors(source)["params"])
        except (KeyError, RuntimeError) as error:
            problem = str(error).splitlines()[0]
            raise CheckpointError(f"the weights in {source} do not fit this network: {problem}") from error
        updater = self.parts.learner.target_updater
        updater.initialized = False  # once more: the target follows the weights just loaded
        updater.init_()
        self.say(f"starting with the weights of {source}")

    def load_replay(self, folder: Path) -> int:
        """Open the replay's rows again, or accept that they are gone."""
        replay = self.parts.replay
        if self.scratch is not None and (fetched := self.scratch.fetch(folder)):
            self.say(f"{fetched:,} sequences were fetched from {self.folder.replay} to {replay.scratch_dir}")
        try:
            newer = replay.load(folder)
        except CheckpointError as error:
            if self.config.replay.on_loss is not OnReplayLoss.refill:
                raise CheckpointError(f"{error}; set replay.on_loss=refill to go on with an empty replay") from error
            self.parts.allocate()
            self.parts.limiter.require_refill()
            least = self.config.replay.min_fill_sequences
            self.say(f"the replay is lost ({error}); the learner waits until {least:,} sequences are there")
            return 0
        replay.reserve()
        if newer:
            self.say(f"{newer:,} sequences are not those of the checkpoint (newer, or an older copy) and are left out")
        return len(replay)

    def train(self, trainer: Trainer) -> StopReason:
        """Run the loop and save, whatever ended it."""
        config, progress = self.config, self.progress
        loggers = make_loggers(
            self.folder.metrics,
            run_name=config.run.name,
            tensorboard=config.logging.tensorboard,
            wandb=config.logging.wandb.value,
            wandb_project=config.logging.wandb_project,
            resume_step=progress.steps,
            say=self.say,
        )
        metrics = MetricsWriter(self.folder.metrics, loggers=loggers)
        self.reporter = Reporter(
            folder=self.folder,
            progress=progress,
            metrics=metrics,
            display=self.display,
            view=self.view,
            every_seconds=config.logging.every_seconds,
            seconds_left=lambda: self.deadline.seconds_left,
            replay_capacity=trainer.replay.capacity_sequences,
        )
        try:
            with self.display:
                reason = self.run_and_save(trainer)
                self.reporter.tick(trainer)
                self.reporter.write(trainer)
        finally:
            metrics.close()
            trainer.checkpoints.close()
            trainer.workers.close()
        self.say(f"{reason.value}; saved in {self.folder.path}")
        return reason

    def run_and_save(self, trainer: Trainer) -> StopReason:
        """Run the loop; save also when it fails, since what the learner has is good until its last step."""
        try:
            reason = trainer.run()
        except Exception as error:
            self.progress.last_stop = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            try:
                self.save(trainer)
            except Exception:  # noqa: BLE001 - the first error is raised; this one is shown beside it
                self.say(f"saving failed, too; the last checkpoint stands\n{traceback.format_exc()}")
            self.reporter.write(trainer)
            raise
        self.progress.last_stop = reason.value
        self.progress.complete = reason in (StopReason.target, StopReason.episodes)
        self.save(trainer)
        return reason

    def save(self, trainer: Trainer) -> None:
        """Let the workers hand in their last batch and state, then write checkpoint and weights."""
        workers = trainer.workers
        if isinstance(workers, SupervisedPool):
            interrupted = self.signals.reason is StopReason.interrupted
            patience = _HALT_INTERRUPTED_SECONDS if interrupted else _HALT_SECONDS
            workers.worker_timeout_seconds = min(workers.worker_timeout_seconds, patience)
        workers.halt()
        trainer.save()
        trainer.publish()

    def compare(self) -> None:
        """Play the evaluation episodes of the trained agent and of a random policy, and show both."""
        config, run = self.config, self.config.run
        trained = load_policy(self.folder.path, cartridge=self.parts.cartridge)
        max_steps = config.env.max_episode_steps or config.env.log_segment_steps
        results = {}
        for name, epsilon in (("trained", run.evaluation_epsilon), ("random", 1.0)):
            env = trained.make_env(
                num_emulators=run.evaluation_episodes,
                epsilon=epsilon,
                seed=run.seed + 1,
                game_fields=("map_id", "x", "y"),
            )
            policy = trained.policy if name == "trained" else RandomPolicy(seed=run.seed + 1)
            try:
                results[name] = evaluate(env, policy, max_steps=max_steps)
            finally:
                env.close()
        content = {name: result.as_dict() for name, result in results.items()}
        write_atomically(self.folder.path / "evaluation.json", json.dumps(content, indent=1).encode())
        self.console.print(table(results["trained"], results["random"]))
