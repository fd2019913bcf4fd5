"""Train an agent, or continue a run.

One run is composed and checked here; Hydra and its launchers run sweeps (``--multirun``).
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from pokered_rl.disk import check_writable
from pokered_rl.errors import ConfigError, PokeredError
from pokered_rl.failures import command
from pokered_rl.signals import raise_on_ctrl_c
from pokered_rl.training.config import Config
from pokered_rl.training.load_config import (
    add_config_arguments,
    config_folder,
    config_from,
    expand,
    load_config,
    register_schema,
)
from pokered_rl.training.run_folder import RunFolder
from pokered_rl.training.runtime import ExitStatus, StopSignals

if TYPE_CHECKING:
    from pokered_rl.training.experiment import Experiment

__all__ = ["figure_of_merit", "main"]


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Train an R2D2 agent. Options are Hydra overrides, such as run.name=a collector.num_workers=8.",
        epilog="exit status: 0 target reached, 75 run again, 130 interrupted, other: error",
    )
    add_config_arguments(parser)
    parser.add_argument("--multirun", "-m", action="store_true", help="sweep over comma-separated values (Hydra)")
    parser.add_argument("--print-config", action="store_true", help="show the whole config and end")
    return parser


def _library_experiment(config: Config) -> Experiment:
    from pokered_rl.training.experiment import Experiment

    return Experiment(config)


def _sweep(arguments: argparse.Namespace, folder: Path, make_experiment: Callable[[Config], Experiment]) -> int:
    import hydra
    from hydra.core.hydra_config import HydraConfig

    register_schema()

    overrides = expand(arguments.overrides, sweep=True)
    statuses: list[ExitStatus] = []

    @hydra.main(config_path=str(folder.resolve()), config_name=arguments.config_name, version_base="1.3")
    def job(tree: DictConfig) -> float:
        hydra_config = HydraConfig.get()
        status, figure = ExitStatus.error, math.nan
        try:
            config = config_from(tree)
            config.run.name = _name_of_point(config.run.name, overrides, hydra_config.overrides.task)
            status = _train(config, make_experiment)
            figure = figure_of_merit(RunFolder(Path(config.run.folder) / config.run.name))
        except PokeredError as error:
            sys.stderr.write(f"error: {error}\n")
        # One after the other in this process, the next point is worked on; a job of a cluster has a status of its own.
        here = hydra_config.launcher._target_.endswith("BasicLauncher")
        if status is ExitStatus.interrupted or (status is not ExitStatus.complete and not here):
            raise SystemExit(status)
        statuses.append(status)
        return figure

    sys.argv = [sys.argv[0], "--multirun", "hydra.output_subdir=null", *overrides]
    job()
    failed = [status for status in statuses if status is not ExitStatus.complete]
    return ExitStatus.error if ExitStatus.error in failed else failed[0] if failed else ExitStatus.complete


def _name_of_point(name: str, given: Sequence[str], overrides: Sequence[str]) -> str:
    """Return the name of the run at one point of a sweep: what was swept is added unless the name says it already."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if any(override.partition("=")[0] == "run.name" and "${" in override for override in given):
        return name
    # What was given without several values is the same at every point.
    parsed = OverridesParser.create().parse_overrides(list(given))
    fixed = {override.key_or_group for override in parsed if not override.is_sweep_override()}
    point = [override.lstrip("+").split("=", 1) for override in overrides if "=" in override]
    swept = [(key, value) for key, value in point if key not in fixed]
    if any(key == "run.name" for key, _ in swept):
        return name
    points = [f"{key.rpartition('.')[2]}={value}" for key, value in swept]
    return re.sub(r"[^\w.=+-]+", "_", "-".join([name, *points]))


def figure_of_merit(folder: RunFolder) -> float:
    """Return what an optimiser of the config maximises, for sweeps.

    That is the mean return of the trained agent's evaluation (``run.evaluation_episodes``); without one the most
    milestones reached in an episode; without any the best return.

    Args:
        folder: The run.
    """
    evaluation = folder.path / "evaluation.json"
    if evaluation.is_file():
        return float(mean(json.loads(evaluation.read_text())["trained"]["returns"]))
    progress = folder.read_progress()
    best = progress.best if progress is not None else {}
    return float(best.get("milestones", best.get("return", math.nan)))


def _train(config: Config, make_experiment: Callable[[Config], Experiment], *, until_exit: bool = False) -> ExitStatus:
    check_writable(Path(config.run.folder) / config.run.name, option="run.folder")
    if config.replay.scratch_folder:
        check_writable(Path(config.replay.scratch_folder), option="replay.scratch_folder")
    # Before the imports of the experiment, which take seconds: a Ctrl-C during them is handled, too.
    with StopSignals(until_exit=until_exit) as signals:
        experiment = make_experiment(config)
        if until_exit:
            # Move imported modules out of the collector's generations: shutdown is a second faster.
            gc.freeze()
        return experiment.run(signals)


@command(remedy="set run.folder to another place")
def main(
    argv: Sequence[str] | None = None,
    *,
    program: str = "train_r2d2.py",
    make_experiment: Callable[[Config], Experiment] = _library_experiment,
) -> int:
    """Train with the given config.

    Args:
        argv: Arguments without the program's name. None takes those of this process, which then keeps its signal
            handlers until it ends.
        program: Name shown in the help.
        make_experiment: Composes the run of a config, for programs with parts of their own. It imports what it needs
            itself: until then the process is quick to start and listens to signals.

    Returns:
        The exit status: see :class:`~pokered_rl.training.runtime.ExitStatus`.
    """
    raise_on_ctrl_c()
    arguments = _parser(program).parse_intermixed_args(argv)
    folder = arguments.config_dir or config_folder()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir: there is no folder {folder}")
    if arguments.multirun:
        return _sweep(arguments, folder, make_experiment)
    config = load_config(arguments.config_name, arguments.overrides, folder=folder)
    if arguments.print_config:
        from omegaconf import OmegaConf

        sys.stdout.write(OmegaConf.to_yaml(OmegaConf.structured(config)))
        return ExitStatus.complete
    return _train(config, make_experiment, until_exit=argv is None)
