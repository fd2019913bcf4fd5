"""Open TorchRL's loggers, beside the CSV files: TensorBoard on this machine, and others only when asked for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torchrl.record.loggers import Logger, TensorboardLogger, WandbLogger, get_logger

from pokered_rl.atomic import write_atomically
from pokered_rl.errors import ConfigError

__all__ = ["log_picture", "log_video", "make_loggers", "takes_pictures", "tensorboard_logger", "wandb_logger"]

#: Loggers of TorchRL that need no settings; each job is a run of its own there.
_OTHERS = ("mlflow", "trackio")
_WANDB_SERVER = "https://api.wandb.ai"


def make_loggers(
    folder: Path,
    *,
    run_name: str,
    tensorboard: bool = True,
    wandb: str = "off",
    wandb_project: str = "pokered_rl",
    others: Sequence[str] = (),
    hparams: Mapping[str, Any] | None = None,
    resume_step: int = 0,
    say: Callable[[str], None],
) -> list[Logger]:
    """Open the loggers of one job.

    Args:
        folder: The run's ``metrics`` folder.
        run_name: Name of the run.
        tensorboard: Write event files under ``tensorboard/``.
        wandb: ``off``, ``offline`` (files under ``wandb/``, nothing is sent) or ``online``.
        wandb_project: Project that the run belongs to there, and at Trackio.
        others: Further loggers, ``mlflow`` or ``trackio``, with files in a folder of that name.
        hparams: Options of the run, by key, for the loggers' tables of hyperparameters.
        resume_step: Step count at which this job starts.
        say: Told where metrics are sent before the first of them leaves this machine.

    Raises:
        ConfigError: A logger is unknown or not installed, or does not let us in.
    """
    loggers: list[Logger] = []
    if tensorboard:
        loggers.append(tensorboard_logger(folder, resume_step=resume_step, hparams=hparams))
    if wandb != "off":
        server = os.environ.get("WANDB_BASE_URL", _WANDB_SERVER)
        if wandb == "online":
            say(f"metrics and facts about this machine are sent to {server} (Weights & Biases, {wandb_project})")
        else:
            say(f"Weights & Biases offline: nothing is sent; `wandb sync {folder}/wandb/*` would send it to {server}")
        loggers.append(wandb_logger(folder, run_name=run_name, project=wandb_project, offline=wandb == "offline"))
        loggers[-1].log_hparams(dict(hparams or {}))
    for name in others:
        loggers.append(_other_logger(name, folder, run_name=run_name, project=wandb_project))
        loggers[-1].log_hparams(dict(hparams or {}))
    return loggers


def takes_pictures(logger: Logger) -> bool:
    """Return whether :func:`log_picture` can send pictures to a logger."""
    return isinstance(logger, TensorboardLogger | WandbLogger)


def log_picture(logger: Logger, name: str, picture: npt.NDArray[np.uint8], *, step: int) -> None:
    """Send a picture, uint8 [height, width, 3]; loggers that take none are left out."""
    if isinstance(logger, TensorboardLogger):
        logger.experiment.add_image(name, picture, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        from wandb import Image

        logger.experiment.log({name: Image(picture)})


def log_video(logger: Logger, name: str, path: Path, *, step: int) -> None:
    """Send an MP4 file, to TensorBoard as an animated picture; loggers that take none are left out.

    TorchRL's ``log_video`` would need MoviePy, and the pictures in memory.
    """
    if isinstance(logger, TensorboardLogger):
        from tensorboard.compat.proto.summary_pb2 import Summary

        from pokered_rl.training.film import as_gif

        gif, (width, height) = as_gif(path)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        logger.experiment._get_file_writer().add_summary(summary, step)
    elif isinstance(logger, WandbLogger):
        from wandb import Video

        logger.experiment.log({name: Video(str(path), format="mp4")})


def _other_logger(name: str, folder: Path, *, run_name: str, project: str) -> Logger:
    if name not in _OTHERS:
        raise ConfigError(f"logging.loggers must name {' or '.join(_OTHERS)}, got {name!r}")
    try:
        logger = get_logger(name, str(folder / name), run_name, trackio_kwargs={"project": project})
    except ImportError as error:
        raise ConfigError(f"logging.loggers: {name} is not installed ({error}); pip install {name}") from error
    assert logger is not None
    return logger


def tensorboard_logger(
    folder: Path, *, resume_step: int = 0, hparams: Mapping[str, Any] | None = None
) -> TensorboardLogger:
    """Open TensorBoard files under ``folder/tensorboard``; hide what an earlier job wrote past ``resume_step``.

    The first job also writes ``hparams``: numbers, truth values and texts, everything else as text.
    """
    logger = get_logger("tensorboard", str(folder), "tensorboard")
    assert isinstance(logger, TensorboardLogger)
    if resume_step:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        # What SummaryWriter(purge_step=...) writes; TorchRL's logger does not pass it on. It hides that step, too, but
        # what the earlier job wrote at `resume_step` itself, its last row and episodes, belongs to the run.
        start = Event(session_log=SessionLog(status=SessionLog.START))
        logger.experiment._get_file_writer().add_event(start, resume_step + 1)
    elif hparams:
        from torch.utils.tensorboard.summary import hparams as summarise

        # SummaryWriter.add_hparams would write a run of its own into a folder beside this one.
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in hparams.items()
        }
        for summary in summarise(plain, {"episode/return": 0.0}):
            logger.experiment._get_file_writer().add_summary(summary)
    return logger


def wandb_logger(folder: Path, *, run_name: str, project: str, offline: bool) -> WandbLogger:
    """Open Weights & Biases; later jobs of a run continue the same run there, by the id in ``wandb_id.txt``.

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
