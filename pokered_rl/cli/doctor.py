"""Check whether this machine can train with a config, and estimate how fast; say how to correct what is wrong.

A check gets the facts that it judges as arguments, so that tests can pass others.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from rich.table import Table

from pokered_rl.disk import existing_parent
from pokered_rl.errors import ConfigError, PokeredError
from pokered_rl.failures import command
from pokered_rl.resources import available_cpus, available_memory_bytes
from pokered_rl.terminal import make_console
from pokered_rl.training.config import Config
from pokered_rl.training.costs import Costs, ExpectedSpeed, expected_speed, measured_costs, memory_needs
from pokered_rl.training.load_config import add_config_arguments, load_config
from pokered_rl.training.run_lock import RunLock

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
    "describe_speed",
    "diagnose",
    "main",
]

#: Releases that the library is built on: distribution, first release that works, first that does not.
_SUPPORTED = (
    ("torch", "2.13", "2.15"),
    ("torchrl", "0.14", "0.15"),
    ("tensordict", "0.14", "0.15"),
    ("pyboy", "2.8.1", "2.9"),
    ("gymnasium", "1.0", None),
)
#: Checkpoints, weights, metrics and episode logs of a run, besides the replay.
_RUN_BYTES = 2_000_000_000


class Verdict(StrEnum):
    """Severity of a finding."""

    ok = "ok"
    #: Works, but slower than expected or with other settings.
    note = "note"
    #: Training with this config would fail.
    error = "error"


@dataclass(frozen=True)
class Finding:
    """Result of a check."""

    #: What was checked.
    name: str
    #: Its severity.
    verdict: Verdict
    #: What was found.
    text: str
    #: What to do; empty with the verdict ok.
    remedy: str = ""


def check_versions(installed: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """Check Python and the libraries of which only some releases work."""
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
    """Return the leading numbers of a version: ``2.14.1+cu130`` is (2, 14, 1)."""
    numbers = []
    for part in version.partition("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def check_cpu(*, usable: int, host: int, workers: int | None) -> Finding:
    """Check the CPU cores of this job against its processes.

    Args:
        usable: Cores by affinity, control group and SLURM.
        host: Cores of the machine.
        workers: Worker processes on this machine; None for none.
    """
    text = f"{usable} of the machine's {host} cores can be used" if usable < host else f"{usable} cores"
    if workers is not None:
        text += f", {workers} worker{'s' if workers > 1 else ''} and the learner"
        if workers + 1 > 2 * usable:
            remedy = "set collector.num_workers=auto, or ask for more cores"
            return Finding("cpu", Verdict.note, f"{text}: several processes to a core", remedy)
    if usable == 1:
        return Finding("cpu", Verdict.note, f"{text}: workers and learner share it", "ask for two cores or more")
    return Finding("cpu", Verdict.ok, text)


def check_gpu(*, wanted: str, name: str | None, memory_bytes: int = 0, driver: bool = False) -> Finding:
    """Check the learner's device.

    Args:
        wanted: ``runtime.device``.
        name: The GPU that PyTorch sees under that name; None for none.
        memory_bytes: Its memory.
        driver: Whether the machine has an NVIDIA driver.
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
    """Check the cartridge."""
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
    """Run a second of the cartridge, without window and SDL."""
    from pokered_rl.emulator import Cartridge, Emulator

    try:
        with Emulator(Cartridge.find(path, allow_unknown=allow_unknown)) as emulator:
            emulator.tick(60, render=True)
    except (PokeredError, OSError, RuntimeError) as error:
        remedy = "python -m pip install --force-reinstall pyboy"
        return Finding("emulator", Verdict.error, f"{type(error).__name__}: {error}", remedy)
    return Finding("emulator", Verdict.ok, "runs headless: it needs neither a display nor SDL")


def check_disk(*, folder: Path, needed_bytes: int, free_bytes: int, filesystem: str) -> Finding:
    """Check whether a file system has room for the replay and the run.

    Args:
        folder: Folder of the files.
        needed_bytes: Their size.
        free_bytes: Free space, including what an earlier job of the run has taken already.
        filesystem: Its type, as /proc/mounts names it; empty if unknown.
    """
    text = f"{needed_bytes / 1e9:.1f} GB for {folder}, {free_bytes / 1e9:.1f} GB free"
    if needed_bytes > free_bytes:
        remedy = "lower replay.capacity_transitions, or set replay.scratch_folder (or run.folder) to a larger disk"
        return Finding("disk", Verdict.error, text, remedy)
    if filesystem in ("tmpfs", "ramfs"):
        return Finding("disk", Verdict.note, f"{text}, but it is {filesystem}: in memory", "choose a folder on a disk")
    return Finding("disk", Verdict.ok, text)


def check_memory(*, needed_bytes: int, available_bytes: int) -> Finding:
    """Check whether the processes fit into the memory of this job."""
    text = f"about {needed_bytes / 1e9:.1f} GB for the processes, {available_bytes / 1e9:.1f} GB available"
    if needed_bytes > available_bytes:
        remedy = "lower collector.num_workers, or ask for more memory"
        return Finding("memory", Verdict.error, text, remedy)
    return Finding("memory", Verdict.ok, text)


def check_shared_memory(*, needed_bytes: int, free_bytes: int | None) -> Finding:
    """Check whether the weights that learner and workers share fit into /dev/shm.

    Args:
        needed_bytes: Their size.
        free_bytes: Room there; None where there is no such folder.
    """
    if free_bytes is None:
        return Finding("shared memory", Verdict.ok, "no /dev/shm on this system")
    text = f"{needed_bytes / 1e6:,.1f} MB for the processes, {free_bytes / 1e6:,.1f} MB free in /dev/shm"
    if needed_bytes > free_bytes:
        remedy = "docker run --shm-size=1g (or --ipc=host), a smaller network.size, or collector.backend=inline"
        return Finding("shared memory", Verdict.error, text, remedy)
    return Finding("shared memory", Verdict.ok, text)


def check_writing(folder: Path) -> Finding:
    """Check whether files can be written, replaced and locked in the run folder; nothing is left behind."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=existing_parent(folder.resolve())) as scratch:
            first, second = Path(scratch) / "a", Path(scratch) / "b"
            first.write_bytes(b"a")
            first.replace(second)
            with RunLock(Path(scratch), heartbeat_seconds=0.05) as lock:
                time.sleep(0.2)  # some heartbeats
                lock.check()
    except PokeredError as error:
        remedy = "set run.folder to another disk: on this one two jobs could work on one run"
        return Finding("run folder", Verdict.error, f"{folder} cannot hold a lock: {error}", remedy)
    except OSError as error:
        remedy = "set run.folder to a folder that you may write to"
        return Finding("run folder", Verdict.error, f"{folder} cannot be written: {error.strerror}", remedy)
    return Finding("run folder", Verdict.ok, f"{folder} can be written; the run's lock is made by {lock.made_by}")


def diagnose(config: Config) -> Iterator[Finding]:
    """Run all checks of this machine for a config."""
    import torch

    from pokered_rl.training.resources import local_workers

    yield from check_versions()
    cpus = available_cpus()
    workers = local_workers(config)
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
    if cartridge.verdict is Verdict.error:
        return
    yield check_emulator(config.env.cartridge, allow_unknown=config.env.allow_unknown)
    yield from _check_needs(config, run, workers, on_gpu=found and wanted != "cpu")


def _check_needs(config: Config, run: Path, workers: int, *, on_gpu: bool) -> Iterator[Finding]:
    from pokered_rl.training.resources import storage_needs
    from pokered_rl.training.run_folder import replay_folder

    try:
        needs = storage_needs(config)
    except PokeredError as error:
        yield Finding("config", Verdict.error, str(error), "see the configuration reference in the docs")
        return
    replay = replay_folder(config, run)
    yield check_disk(
        folder=replay,
        needed_bytes=needs.replay_bytes + (0 if config.replay.scratch_folder else _RUN_BYTES),
        free_bytes=_free_bytes(replay),
        filesystem=_filesystem(replay),
    )
    if config.replay.scratch_folder:
        yield check_disk(folder=run, needed_bytes=_RUN_BYTES, free_bytes=_free_bytes(run), filesystem=_filesystem(run))
    shared = Path("/dev/shm")
    free_bytes = shutil.disk_usage(shared).free if shared.is_dir() else None
    yield check_shared_memory(needed_bytes=needs.shared_bytes, free_bytes=free_bytes)
    costs = measured_costs()
    memory = memory_needs(config, costs, workers=workers, sequences=needs.sequences)
    yield check_memory(needed_bytes=int(memory.total), available_bytes=available_memory_bytes())
    cores = available_cpus()
    costs, scale = _costs_here(costs, processes=min(cores, workers + 1))
    try:
        speed = expected_speed(config, costs, cores=cores, on_gpu=on_gpu)
    except ConfigError as error:
        yield Finding("speed", Verdict.ok, f"not estimated: {error}")
    else:
        yield describe_speed(speed, target_steps=config.run.target_total_steps, scale=scale)


def _costs_here(costs: Costs, *, processes: int) -> tuple[Costs, str]:
    """Return the costs scaled to this machine with so many busy processes, and what they are scaled by."""
    from pokered_rl.emulator import measure_frame_us

    try:
        frame_us = measure_frame_us(processes=processes)
    except (EOFError, OSError) as error:
        return costs, f"not scaled to this machine: emulating failed ({str(error) or type(error).__name__})"
    busy = f"{processes} core{'s' if processes > 1 else ''} busy"
    frames = f"a frame takes {frame_us:.0f} us here with {busy}, {costs.frame_us:.0f} where they were measured"
    return costs.scaled(frame_us / costs.frame_us), f"scaled to this machine: {frames}"


def describe_speed(speed: ExpectedSpeed, *, target_steps: int, scale: str) -> Finding:
    """Say the expected steps and updates per second, the slowest part and the time to the target.

    Args:
        speed: Estimate for this machine.
        target_steps: ``run.target_total_steps``.
        scale: What the costs are scaled by.
    """
    hours = target_steps / speed.steps / 3600
    duration = f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    limits = ", ".join(f"{name} {limit:,.0f}" for name, limit in speed.limits.items())
    learning = "; updates on the GPU are not estimated" if speed.learning is None else ""
    return Finding(
        "speed",
        Verdict.ok,
        f"about {speed.steps:,.0f} steps/s and {speed.steps / speed.steps_per_update:.2g} updates/s, limited by "
        f"{speed.bound_by} (each part alone, steps/s: {limits}{learning}; costs measured on Sprout, {scale}); "
        f"run.target_total_steps in {duration}",
    )


def _free_bytes(folder: Path) -> int:
    """Return the free space, and what the run's replay takes there already."""
    taken = sum(file.stat().st_blocks * 512 for file in folder.glob("**/*.memmap")) if folder.is_dir() else 0
    return shutil.disk_usage(existing_parent(folder.resolve())).free + taken


def _filesystem(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the type of the file system that holds a folder."""
    if not mounts.is_file():
        return ""
    place, best, kind = existing_parent(folder.resolve()), -1, ""
    for line in mounts.read_text().splitlines():
        _, mounted, name, *_ = line.split()
        if place.is_relative_to(mounted) and len(mounted) >= best:
            best, kind = len(mounted), name
    return kind


@command(remedy="choose another place")
def main(argv: Sequence[str] | None = None, *, program: str = "pokered_rl doctor") -> int:
    """Print all findings; the result is 1 when one says that training with this config cannot start."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Check whether this machine can train with a config: versions, CPU, GPU, ROM, disk, memory, speed.",
        epilog="exit status: 0 training can start, 1 at least one error was found, 2 wrong arguments",
    )
    add_config_arguments(parser)
    arguments = parser.parse_intermixed_args(argv)
    console = make_console()
    config = load_config(arguments.config_name, arguments.overrides, folder=arguments.config_dir)
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
