"""TorchRL's loggers, beside the CSV files: TensorBoard on this machine, and Weights & Biases only when asked for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from torchrl.record.loggers import Logger, TensorboardLogger, WandbLogger

from pokered_rl.atomic import write_atomically
from pokered_rl.errors import ConfigError

__all__ = ["make_loggers", "tensorboard_logger", "wandb_logger"]

_WANDB_SERVER = "https://api.wandb.ai"


def make_loggers(
    folder: Path,
    *,
    run_name: str,
    tensorboard: bool = True,
    wandb: str = "off",
    wandb_project: str = "pokered_rl",
    resume_step: int = 0,
    say: Callable[[str], None],
) -> list[Logger]:
    """The loggers of one job.

    Args:
        folder: The run's ``metrics`` folder.
        run_name: Name of the run.
        tensorboard: Write event files under ``tensorboard/``.
        wandb: ``off``, ``offline`` (files under ``wandb/``, nothing is sent) or ``online``.
        wandb_project: Project that the run belongs to there.
        resume_step: Step count at which this job starts.
        say: Told where metrics are sent before the first of them leaves this machine.

    Raises:
        ConfigError: Weights & Biases is not installed, or does not let us in.
    """
    loggers: list[Logger] = []
    if tensorboard:
        loggers.append(tensorboard_logger(folder, resume_step=resume_step))
    if wandb != "off":
        server = os.environ.get("WANDB_BASE_URL", _WANDB_SERVER)
        if wandb == "online":
            say(f"metrics and facts about this machine are sent to {server} (Weights & Biases, {wandb_project})")
        else:
            say(f"Weights & Biases offline: nothing is sent; `wandb sync {folder}/wandb/*` would send it to {server}")
        loggers.append(wandb_logger(folder, run_name=run_name, project=wandb_project, offline=wandb == "offline"))
    return loggers


def tensorboard_logger(folder: Path, *, resume_step: int = 0) -> TensorboardLogger:
    """TensorBoard files under ``folder/tensorboard``; what an earlier job wrote past ``resume_step`` is hidden."""
    logger = TensorboardLogger("tensorboard", log_dir=str(folder))
    if resume_step:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        # What SummaryWriter(purge_step=...) writes; TorchRL's logger does not pass it on. It hides that step, too, but
        # what the earlier job wrote at `resume_step` itself, its last row and episodes, belongs to the run.
        start = Event(session_log=SessionLog(status=SessionLog.START))
        logger.experiment._get_file_writer().add_event(start, resume_step + 1)
    return logger


def wandb_logger(folder: Path, *, run_name: str, project: str, offline: bool) -> WandbLogger:
    """Weights & Biases; later jobs of a run go on with the same run there, by the id in ``wandb_id.txt``.

    Raises:
        ConfigError: It is not installed, or does not let us in.
    """
    try:
        from wandb.errors import Error
    except ImportError as error:
        raise ConfigError(
            "logging.wandb needs the package wandb, which is not installed; pip install 'pokered_rl[wandb]', or set "
            "logging.wandb=off"
        ) from error
    known = folder / "wandb_id.txt"
    if not known.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(known, secrets.token_hex(8).encode())
    try:
        return WandbLogger(
            run_name, offline=offline, save_dir=str(folder), id=known.read_text().strip(), project=project
        )
    except Error as error:
        raise ConfigError(
            f"logging.wandb=online: Weights & Biases says: {str(error).splitlines()[0]}; run `wandb login` or set "
            "WANDB_API_KEY, or set logging.wandb=offline"
        ) from error
