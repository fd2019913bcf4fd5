"""Evaluate the agent of a run: play episodes, report coverage, return and milestones reached.

    pokered_rl evaluate runs/quickstart
    pokered_rl evaluate runs/quickstart --episodes 50 --epsilon 0 0.01 0.05 --random --json evaluation.json
    pokered_rl evaluate runs/quickstart --epsilon 0.01 --logs evaluated; pokered_rl render evaluated --best 1

With epsilon 0 the agent is greedy on mean weights; the game is deterministic, so from one start state all such episodes
are the same and one of them is played. With any other epsilon it acts as the workers do, including the network's noise.
Intervals are 95 % and describe other episodes of this agent, not agents trained with other seeds.

Exit status: 0 evaluated, 1 the run or its weights cannot be used, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pokered_rl.cli.measurement import command_line, provenance, write_json
from pokered_rl.disk import check_writable
from pokered_rl.failures import check_source, command
from pokered_rl.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from pokered_rl.training import TrainedPolicy
    from pokered_rl.training.evaluation import Evaluation

__all__ = ["main"]


def _parse(argv: Sequence[str] | None, program: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="run folder, online_params.pt with config.yaml beside it, checkpoint")
    parser.add_argument("--episodes", type=int, default=20, metavar="N", help="episodes of each epsilon (%(default)s)")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.0, 0.01], help="random actions (0 0.01)")
    parser.add_argument("--random", action="store_true", help="a random policy with the same mask beside the agent")
    parser.add_argument("--steps", type=int, metavar="N", help="agent steps in an episode (as in the run)")
    parser.add_argument("--seed", type=int, default=1, help="of random actions, noise and start states (%(default)s)")
    parser.add_argument("--rom", help="the ROM to play (as in the run)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument(
        "--logs", type=Path, metavar="FOLDER", help="keep a log of each episode there, to render or prove"
    )
    options = parser.parse_args(argv)
    if options.episodes < 1 or not all(0 <= epsilon <= 1 for epsilon in options.epsilon):
        parser.error("--episodes must be 1 or more, and every --epsilon in 0..1")
    return options


def _play(
    trained: TrainedPolicy, *, episodes: int, epsilon: float | None, steps: int, seed: int, logs: Path | None
) -> Evaluation:
    """Play episodes with the agent, or with a random policy where ``epsilon`` is None."""
    from pokered_rl.training.evaluation import GAME_FIELDS, RandomPolicy, evaluate

    states = trained.config.env.start_states or ()
    acting = {"acting": "random"} if epsilon is None else {"acting": "policy", "weights_sha256": trained.weights_sha256}
    only_one = epsilon == 0 and (isinstance(states, str) or len(states) < 2)
    env = trained.make_env(
        num_emulators=1 if only_one else episodes,
        epsilon=epsilon or 0.0,
        seed=seed,
        max_episode_steps=steps,
        game_fields=GAME_FIELDS,
        recorder=None if logs is None else {"folder": logs, "run_name": trained.config.run.name, **acting},
    )
    policy = RandomPolicy(seed=seed) if epsilon is None else trained.policy
    milestones = trained.cartridge.profile.milestones
    try:
        return evaluate(env, policy, max_steps=steps, milestones=milestones, explore=epsilon != 0, seed=seed)
    finally:
        env.close()


def _show(console: Console, results: dict[str, dict[str, Any]]) -> None:
    """Print a table with one column for each policy."""
    table = Table(title="means and rates with their 95 % intervals", title_justify="left")
    table.add_column("")
    for name, result in results.items():
        table.add_column(f"{name}\nepisodes: {result['episodes']}", justify="right")
    for key in ("coverage", "return", "length"):
        table.add_row(key, *(_cell(result[key]["mean"], result[key]["interval"], ".1f") for result in results.values()))
    for name in next(iter(results.values()))["milestones"]:
        found = [result["milestones"][name] for result in results.values()]
        if any(each["rate"] for each in found):
            table.add_row(name, *(_cell(each["rate"], each["interval"], ".0%") for each in found))
    console.print(table)


def _cell(value: float, interval: tuple[float, float] | None, form: str) -> str:
    return f"{value:{form}}" + (f" ({interval[0]:{form}} to {interval[1]:{form}})" if interval else "")


@command(remedy="give another run")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Evaluate an agent; arguments and result as for :func:`pokered_rl.cli.main`."""
    arguments = _parse(argv, program)
    check_source(arguments.source)
    if arguments.json is not None:
        check_writable(arguments.json, option="--json", is_file=True)
    if arguments.logs is not None:
        check_writable(arguments.logs, option="--logs")

    from pokered_rl.training import load_policy
    from pokered_rl.training.evaluation import given_lines, given_logs

    trained = load_policy(arguments.source, cartridge=arguments.rom)
    env = trained.config.env
    steps = arguments.steps or env.max_episode_steps or env.log_segment_steps
    names = trained.cartridge.profile.milestones.names
    results, samples = {}, {}
    for epsilon in [*dict.fromkeys(arguments.epsilon), *([None] if arguments.random else [])]:
        name = "random" if epsilon is None else f"epsilon {epsilon:g}"
        played = _play(
            trained, episodes=arguments.episodes, epsilon=epsilon, steps=steps, seed=arguments.seed, logs=arguments.logs
        )
        results[name], samples[name] = played.summary(names), played.as_dict()
    console = make_console()
    _show(console, results)
    for line in given_lines(trained.config):
        console.print(line, highlight=False, markup=False)
    if arguments.json is not None:
        measured = {
            "agent": {"steps": trained.steps, "updates": trained.updates, "given_logs": given_logs(trained.config)},
            "cartridge": {"title": trained.cartridge.title, "sha1": trained.cartridge.sha1},
            "results": results,
            "samples": samples,
        }
        write_json(arguments.json, provenance(command_line(program, argv)) | measured)
    return 0
