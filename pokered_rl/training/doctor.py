"""``python -m pokered_rl doctor``: whether this machine can do what a config asks for, and what to do where it cannot.

Every check gets the facts that it judges as arguments, so that a test can hand it others.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pokered_rl.errors import PokeredError
from pokered_rl.resources import available_cpus, available_memory_bytes, worker_count
from pokered_rl.training.config import Backend, Config
from pokered_rl.training.load_config import add_config_arguments, load_config
from pokered_rl.training.plan import measured_costs, memory_needs
from pokered_rl.training.run_folder import replay_folder

__all__ = [
    "Finding",
    "Verdict",
    "check_cartridge",
    "check_cpu",
    "check_disk",
    "check_emulator",
    "check_gpu",
    "check_memory",
    "check_shared_memory",
    "check_versions",
    "check_writing",
    "diagnose",
    "main",
]

#: Releases that the library is built on: distribution, first release that works, first that does not.
_SUPPORTED = (
    ("torch", "2.13", "2.15"),
    ("torchrl", "0.14", "0.15"),
    ("tensordict", "0.14", "0.15"),
    ("pyboy", "2.8", "3"),
    ("gymnasium", "1.0", None),
)
#: Checkpoints, weights, metrics and episode logs of a run, besides the replay.
_RUN_BYTES = 2_000_000_000
#: TorchRL hands batches between processes through /dev/shm; Docker's default of 64 MB is not enough.
_SHARED_BYTES = 256_000_000


class Verdict(StrEnum):
    """How bad a finding is."""

    ok = "ok"
    #: Works, but slower or otherwise than one may think.
    note = "note"
    #: Training with this config would fail.
    error = "error"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        name: what was looked at.
        verdict: how bad it is.
        text: what was found.
        remedy: what to do; empty where all is well.
    """

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""


def check_versions(installed: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """Python and the libraries whose releases matter."""
    yield Finding("python", Verdict.ok, f"{platform.python_version()} ({sys.executable})")
    for name, first, end in _SUPPORTED:
        wanted = f"{name}>={first}" + (f",<{end}" if end else "")
        try:
            found = installed(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, Verdict.error, "not installed", f"python -m pip install '{wanted}'")
            continue
        fits = _release(first) <= _release(found) and (end is None or _release(found) < _release(end))
        verdict = Verdict.ok if fits else Verdict.error
        yield Finding(name, verdict, found, "" if fits else f"python -m pip install '{wanted}'")


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``2.14.1+cu130`` is (2, 14, 1)."""
    numbers = []
    for part in version.partition("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def check_cpu(*, usable: int, host: int, workers: int | None) -> Finding:
    """CPU cores that this job may use, and the worker processes that want one each.

    Args:
        usable: cores by affinity, control group and SLURM.
        host: cores of the machine.
        workers: worker processes on this machine; None where there are none.
    """
    text = f"{usable} of the machine's {host} cores are ours" if usable < host else f"{usable} cores"
    if workers is not None:
        text += f", {workers} worker{'s' if workers > 1 else ''} and the learner"
        if workers + 1 > 2 * usable:
            remedy = "set collector.num_workers=auto, or ask for more cores"
            return Finding("cpu", Verdict.note, f"{text}: several processes to a core", remedy)
    if usable == 1:
        return Finding("cpu", Verdict.note, f"{text}: workers and learner take turns", "ask for two cores or more")
    return Finding("cpu", Verdict.ok, text)


def check_gpu(*, wanted: str, name: str | None, memory_bytes: int = 0, driver: bool = False) -> Finding:
    """The learner's device.

    Args:
        wanted: ``runtime.device``.
        name: the GPU that PyTorch sees under that name; None for none.
        memory_bytes: its memory.
        driver: whether the machine has an NVIDIA driver.
    """
    if name is not None and wanted == "cpu":
        return Finding("gpu", Verdict.note, f"{name} is not used: runtime.device=cpu", "set runtime.device=auto")
    if name is not None:
        return Finding("gpu", Verdict.ok, f"{name}, {memory_bytes / 1e9:.0f} GB")
    if wanted.startswith("cuda"):
        remedy = "set runtime.device=auto, or install a PyTorch with CUDA and ask the scheduler for a GPU"
        return Finding("gpu", Verdict.error, f"runtime.device={wanted}, but PyTorch sees no such GPU", remedy)
    if driver:
        remedy = "install a PyTorch built for your driver: https://pytorch.org/get-started/locally/"
        return Finding("gpu", Verdict.note, "there is an NVIDIA driver, but PyTorch sees no GPU", remedy)
    return Finding("gpu", Verdict.ok, "none: the learner runs on the CPU")


def check_cartridge(path: str | None, *, allow_unknown: bool) -> Finding:
    """Which cartridge would be played."""
    from pokered_rl.emulator import Cartridge

    try:
        cartridge = Cartridge.find(path, allow_unknown=allow_unknown)
        text = f"{cartridge.title}, SHA-1 {cartridge.sha1[:12]}, {cartridge.path}"
    except PokeredError as error:
        return Finding("cartridge", Verdict.error, str(error), "see 'Use your own ROM' in the docs")
    if cartridge.profile.name == "sprout":
        return Finding("cartridge", Verdict.ok, f"{text} (for the retail game: roms/pokemon_red.gb)")
    return Finding("cartridge", Verdict.ok, text)


def check_emulator(path: str | None, *, allow_unknown: bool) -> Finding:
    """Whether the emulator runs a second of the cartridge, without window and SDL."""
    from pokered_rl.emulator import Cartridge, Emulator

    try:
        with Emulator(Cartridge.find(path, allow_unknown=allow_unknown)) as emulator:
            emulator.tick(60, render=True)
    except (PokeredError, OSError, RuntimeError) as error:
        remedy = "python -m pip install --force-reinstall pyboy"
        return Finding("emulator", Verdict.error, f"{type(error).__name__}: {error}", remedy)
    return Finding("emulator", Verdict.ok, "runs headless: it needs neither a display nor SDL")


def check_disk(*, folder: Path, needed_bytes: int, free_bytes: int, filesystem: str) -> Finding:
    """Whether a file system has room for the replay and the run.

    Args:
        folder: where the files will lie.
        needed_bytes: what they take.
        free_bytes: what is free there, what an earlier job of the run has taken already included.
        filesystem: its type, as /proc/mounts names it; empty if unknown.
    """
    text = f"{needed_bytes / 1e9:.1f} GB for {folder}, {free_bytes / 1e9:.1f} GB free"
    if needed_bytes > free_bytes:
        remedy = "lower replay.capacity_transitions, or set replay.scratch_folder (or run.folder) to a larger disk"
        return Finding("disk", Verdict.error, text, remedy)
    if filesystem in ("tmpfs", "ramfs"):
        return Finding("disk", Verdict.note, f"{text}, but it is {filesystem}: in memory", "choose a folder on a disk")
    return Finding("disk", Verdict.ok, text)


def check_memory(*, needed_bytes: int, available_bytes: int) -> Finding:
    """Whether the processes fit into the memory of this job."""
    text = f"about {needed_bytes / 1e9:.1f} GB for the processes, {available_bytes / 1e9:.1f} GB available"
    if needed_bytes > available_bytes:
        remedy = "lower collector.num_workers, or ask for more memory"
        return Finding("memory", Verdict.error, text, remedy)
    return Finding("memory", Verdict.ok, text)


def check_shared_memory(*, size_bytes: int | None) -> Finding:
    """Room under /dev/shm, through which processes hand over tensors; None where there is no such folder."""
    if size_bytes is None:
        return Finding("shared memory", Verdict.ok, "no /dev/shm on this system")
    text = f"{size_bytes / 1e6:,.0f} MB free in /dev/shm"
    if size_bytes < _SHARED_BYTES:
        remedy = "docker run --shm-size=1g (or --ipc=host); on a cluster ask for more memory"
        return Finding("shared memory", Verdict.error, text, remedy)
    return Finding("shared memory", Verdict.ok, text)


def check_writing(folder: Path) -> Finding:
    """Whether files can be written and replaced where the run will lie; nothing is left behind."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=_existing(folder)) as scratch:
            first, second = Path(scratch) / "a", Path(scratch) / "b"
            first.write_bytes(b"a")
            first.replace(second)
    except OSError as error:
        remedy = "set run.folder to a folder that you may write to"
        return Finding("run folder", Verdict.error, f"{folder} cannot be written: {error.strerror}", remedy)
    return Finding("run folder", Verdict.ok, f"{folder} can be written")


def diagnose(config: Config) -> Iterator[Finding]:
    """All findings about this machine for a config, in the order in which they matter."""
    import torch

    yield from check_versions()
    cpus = available_cpus()
    on_this_machine = config.collector.backend is Backend.processes
    workers = worker_count(config.collector.num_workers, cpus) if on_this_machine else 0
    yield check_cpu(usable=cpus, host=os.cpu_count() or cpus, workers=workers or None)
    wanted = config.runtime.device
    gpu = int(wanted.partition(":")[2] or 0)
    found = gpu < torch.cuda.device_count()
    yield check_gpu(
        wanted=wanted,
        name=torch.cuda.get_device_name(gpu) if found else None,
        memory_bytes=torch.cuda.get_device_properties(gpu).total_memory if found else 0,
        driver=Path("/proc/driver/nvidia/version").exists(),
    )
    cartridge = check_cartridge(config.env.cartridge, allow_unknown=config.env.allow_unknown)
    yield cartridge
    run = Path(config.run.folder) / config.run.name
    yield check_writing(run)
    yield check_shared_memory(size_bytes=shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else None)
    if cartridge.verdict is Verdict.error:
        return
    yield check_emulator(config.env.cartridge, allow_unknown=config.env.allow_unknown)
    yield from _check_needs(config, run, workers)


def _check_needs(config: Config, run: Path, workers: int) -> Iterator[Finding]:
    from pokered_rl.training.build import replay_needs

    try:
        sequences, replay_bytes = replay_needs(config)
    except PokeredError as error:
        yield Finding("config", Verdict.error, str(error), "see the configuration reference in the docs")
        return
    rows = replay_folder(config, run)
    yield check_disk(
        folder=rows,
        needed_bytes=replay_bytes + (0 if config.replay.scratch_folder else _RUN_BYTES),
        free_bytes=_free_bytes(rows),
        filesystem=_filesystem(rows),
    )
    if config.replay.scratch_folder:
        yield check_disk(folder=run, needed_bytes=_RUN_BYTES, free_bytes=_free_bytes(run), filesystem=_filesystem(run))
    yield check_memory(
        needed_bytes=int(memory_needs(config, measured_costs(), workers=workers, sequences=sequences).total),
        available_bytes=available_memory_bytes(),
    )


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def _free_bytes(folder: Path) -> int:
    """Free space, and what the run's rows take there already."""
    taken = sum(file.stat().st_blocks * 512 for file in folder.glob("**/*.memmap")) if folder.is_dir() else 0
    return shutil.disk_usage(_existing(folder)).free + taken


def _filesystem(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system that holds a folder."""
    if not mounts.is_file():
        return ""
    place, best, kind = _existing(folder), -1, ""
    for line in mounts.read_text().splitlines():
        _, mounted, name, *_ = line.split()
        if place.is_relative_to(mounted) and len(mounted) >= best:
            best, kind = len(mounted), name
    return kind


def main(argv: Sequence[str] | None = None, *, program: str = "python -m pokered_rl doctor") -> int:
    """Prints all findings.

    Returns:
        0 when training with this config can start, 1 when a finding says that it cannot; wrong arguments end in 2.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Look whether this machine can train with a config: versions, CPU, GPU, ROM, disk, memory.",
        epilog="exit status: 0 training can start, 1 at least one error was found, 2 wrong arguments",
    )
    add_config_arguments(parser)
    arguments = parser.parse_intermixed_args(argv)
    console = Console()
    try:
        config = load_config(arguments.config_name, arguments.overrides, folder=arguments.config_dir)
    except PokeredError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    table = Table(box=None, show_header=False, pad_edge=False)
    colours = {Verdict.ok: "green", Verdict.note: "yellow", Verdict.error: "red"}
    errors = 0
    for finding in diagnose(config):
        errors += finding.verdict is Verdict.error
        colour = colours[finding.verdict]
        table.add_row(f"[{colour}]{finding.verdict}[/]", finding.name, finding.text)
        if finding.remedy:
            table.add_row("", "", f"[{colour}]-> {finding.remedy}[/]")
    console.print(table)
    console.print(f"{errors} error{'s' if errors != 1 else ''}" if errors else "training can start")
    return 1 if errors else 0
