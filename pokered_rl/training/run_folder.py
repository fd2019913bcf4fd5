"""The folder of a run: paths, config, progress and the record of its jobs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from pokered_rl.atomic import check_lock, write_atomically
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.training.config import Config, Resume, fixed_options
from pokered_rl.training.load_config import read_plain_yaml

if TYPE_CHECKING:
    from pokered_rl.emulator import Cartridge

__all__ = ["Progress", "RunFolder", "begin_job", "config_sha256", "provenance", "replay_folder"]


@dataclasses.dataclass
class Progress:
    """Content of ``progress.json``, written atomically every few seconds.

    A job that resumes takes ``steps``, ``updates`` and ``episodes`` from its checkpoint, everything else from here.
    """

    #: Name of the run.
    run: str
    #: Version of this file's format.
    format: int = 1
    #: Whether the target was reached.
    complete: bool = False
    #: Jobs that have worked on it.
    jobs: int = 0
    #: SHA-1 of the ROM that is played.
    cartridge_sha1: str = ""
    #: Agent steps over all jobs, and when the run is complete.
    steps: int = 0
    target_total_steps: int = 0
    #: Learner updates over all jobs.
    updates: int = 0
    #: Finished episodes over all jobs.
    episodes: int = 0
    #: Rates over the last minute.
    steps_per_second: float = 0.0
    updates_per_second: float = 0.0
    #: Seconds of work over all jobs.
    wall_seconds: float = 0.0
    #: Highest return and length of an episode that began at power-on; most milestones of the story reached in one, and
    #: the furthest of them.
    best: dict[str, float | str] = dataclasses.field(default_factory=dict)
    #: Steps of the newest checkpoint; a crash goes back to it.
    checkpoint_steps: int = 0
    #: Sequences in the replay.
    replay_sequences: int = 0
    #: Workers that were replaced, and the steps that went with them.
    worker_restarts: int = 0
    steps_lost: int = 0
    #: Why the last job ended: a reason, or "running".
    last_stop: str = "running"
    #: Unix time of writing.
    written_at: float = 0.0


class RunFolder:
    """Paths inside ``<run.folder>/<run.name>``.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.parts = path / "parts.json"
        self.progress = path / "progress.json"
        self.jobs = path / "jobs.jsonl"
        self.online_params = path / "online_params.pt"
        self.checkpoints = path / "checkpoints"
        self.episode_logs = path / "episode_logs"
        self.metrics = path / "metrics"
        self.replay = path / "replay"
        self.curriculum = path / "curriculum"
        self.demonstrations = path / "demonstrations"
        self.evaluation = path / "evaluation"
        self.best = path / "best"
        self.videos = path / "videos"

    def evaluation_video(self, steps: int) -> Path:
        """Return the path of the video of the evaluation at so many agent steps."""
        return self.videos / f"evaluation_{steps:012d}.mp4"

    def read_progress(self) -> Progress | None:
        """Read ``progress.json``; None where there is none.

        Raises:
            CheckpointError: The file is damaged.
        """
        try:
            content = json.loads(self.progress.read_text())
            known = {field.name for field in dataclasses.fields(Progress)}
            return Progress(**{name: value for name, value in content.items() if name in known})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.progress} is damaged ({error}); remove it, the counters are in checkpoints/"
            ) from error

    def write_progress(self, progress: Progress) -> None:
        """Replace ``progress.json``."""
        progress.written_at = time.time()
        content = json.dumps(dataclasses.asdict(progress), indent=1)
        write_atomically(self.progress, content.encode())

    def check_resume(self, resume: Resume) -> None:
        """Check that this job may work here.

        Raises:
            ConfigError: ``resume=must`` without a run, or ``resume=never`` with one; or something in the folder is a
                symbolic link, through which the job would write elsewhere.
        """
        for path in vars(self).values():
            if path != self.path and path.is_symlink():
                raise ConfigError(
                    f"{path} is a symbolic link, and a job writes into its own folder only: put what it names in its"
                    " place (another disk for the replay is replay.scratch_folder, for the whole run run.folder)"
                )
        exists = self.config.is_file()
        if resume is Resume.must and not exists:
            raise ConfigError(f"run.resume=must, but there is no run in {self.path}; check run.name and run.folder")
        if resume is Resume.never and exists:
            raise ConfigError(f"run.resume=never, but {self.path} holds a run; choose another run.name")

    def identity(self) -> str:
        """Return the id of the run in this folder; a new one where there is no run, or one without an id."""
        saved = OmegaConf.select(read_plain_yaml(self.config), "run.id") if self.config.is_file() else None
        return str(saved or uuid.uuid4().hex[:16])

    def check_config(self, config: Config) -> list[str]:
        """Compare a config with the one that the run was started with.

        Returns:
            The changes, as ``key: old -> new``; none of them touches a fixed key.

        Raises:
            ConfigError: An option that is fixed for the life of a run differs.
        """
        if not self.config.is_file():
            return []
        before = _flat(OmegaConf.to_container(read_plain_yaml(self.config)))
        after = _flat(_plain(config))
        changes = {key: (before[key], value) for key, value in after.items() if key in before and before[key] != value}
        changes.pop("run.id", None)
        for key, what in fixed_options().items():
            if key in changes:
                old, new = changes[key]
                raise ConfigError(
                    f"{key} was {old!r} when the run in {self.path} began and cannot become {new!r}: it fixes {what};"
                    f" set it back, or start another run.name with run.init_from={self.path}"
                )
        return [f"{key}: {old} -> {new}" for key, (old, new) in changes.items()]

    def write_config(self, config: Config) -> None:
        """Save the resolved config of this job."""
        write_atomically(self.config, _yaml(config))

    def append_job(self, entry: Mapping[str, Any]) -> None:
        """Add a line to ``jobs.jsonl``: one when a job begins, one when it ends."""
        check_lock(self.jobs, now=True)
        with self.jobs.open("a") as file:
            file.write(json.dumps({"time": time.time(), **entry}) + "\n")


def begin_job(folder: RunFolder, config: Config, cartridge: Cartridge, changes: list[str]) -> Progress:
    """Record the beginning of a job in a locked folder: config, progress and a line in ``jobs.jsonl``.

    Returns:
        The progress of all jobs.

    Raises:
        ConfigError: The run was played on another cartridge.
    """
    progress = folder.read_progress() or Progress(run=config.run.name)
    if progress.cartridge_sha1 not in ("", cartridge.sha1):
        raise ConfigError(
            f"the run in {folder.path} was played on another cartridge (SHA-1 {progress.cartridge_sha1}) than"
            f" {cartridge.path} (SHA-1 {cartridge.sha1}); set env.cartridge to it, or choose another run.name"
        )
    progress.cartridge_sha1 = cartridge.sha1
    progress.jobs += 1
    progress.target_total_steps = config.run.target_total_steps
    progress.complete, progress.last_stop = False, "running"
    progress.steps_per_second = progress.updates_per_second = 0.0
    folder.write_config(config)
    folder.append_job(
        {
            "job": progress.jobs,
            "event": "begin",
            "changes": changes,
            "config_sha256": config_sha256(config),
            "cartridge": {"title": cartridge.title, "sha1": cartridge.sha1},
            **provenance(),
        }
    )
    return progress


def replay_folder(config: Config, run: Path) -> Path:
    """Return the folder of the replay's files: in the folder ``run``, or one of its own on the scratch disk.

    Runs of one name in different folders do not meet there.
    """
    if not config.replay.scratch_folder:
        return run / "replay"
    place = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:8]
    return Path(config.replay.scratch_folder) / f"{config.run.name}-{place}"


def config_sha256(config: Config) -> str:
    """Return the SHA-256 (hex) of the ``config.yaml`` that is written for a config."""
    return hashlib.sha256(_yaml(config)).hexdigest()


def _yaml(config: Config) -> bytes:
    return OmegaConf.to_yaml(OmegaConf.create(_plain(config))).encode()


def _plain(config: Config) -> dict[str, Any]:
    plain = OmegaConf.to_container(OmegaConf.structured(config), resolve=True, enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _git_state() -> dict[str, str | bool]:
    """Return commit and state of the checkout that this package lies in; empty for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "changed": bool(changed)}


def provenance() -> dict[str, Any]:
    """Return package versions, git state and machine of this job."""
    packages = ("pokered_rl", "torch", "torchrl", "tensordict", "pyboy", "numpy", "hydra-core")
    return {
        "packages": {name: metadata.version(name) for name in packages},
        "python": sys.version.split()[0],
        "git": _git_state(),
        "machine": {"host": socket.gethostname(), "platform": platform.platform(), "cpus": os.cpu_count()},
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
