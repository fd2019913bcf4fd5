"""Play Sprout with the shipped agent, a random policy and the scripted expert, and write a proof of how far each came.

    PYTHONPATH=roms/sprout:tests/roms python docs/benchmarks/board.py docs/reference/proofs
    pokered_rl leaderboard docs/reference/proofs --json docs/benchmarks/results/board.json --out board.html
    python -m docs._ext.figures --write

Of each player the furthest milestone of the story counts, and of several episodes the one with the fewest steps to it;
a player that reaches none of the story proves a map that it came to. The expert's logs can be given (`--expert-logs`)
instead of being played.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from torchrl.envs import ExplorationType, set_exploration_type

from pokered_rl.data.proofs import make_proof
from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog, find_logs
from pokered_rl.training import load_policy

_AGENT = Path(__file__).parents[2] / "examples" / "assets" / "sprout"


def _furthest(logs: list[EpisodeLog], story: tuple[str, ...]) -> tuple[str, list[EpisodeLog]]:
    """Return the furthest milestone that a log reaches from power-on, and the log that needs the fewest steps to it."""
    reached = [(each.name, each.step, log) for log in logs for each in log.milestones]
    rank = {name: place for place, name in enumerate(story)}
    name, _, log = max(reached, key=lambda found: (rank.get(found[0], -1), -found[1]))
    return name, [log]


def _played(folder: Path, acting: str, *, epsilon: float, episodes: int, steps: int) -> list[EpisodeLog]:
    torch.manual_seed(0)
    trained = load_policy(_AGENT)
    recorder = {
        "folder": folder,
        "run_name": "shipped agent" if acting == "policy" else "random policy",
        "acting": acting,
        "weights_sha256": trained.weights_sha256 if acting == "policy" else "",
    }
    env = trained.make_env(num_emulators=episodes, epsilon=epsilon, seed=0, max_episode_steps=steps, recorder=recorder)
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        env.rollout(steps, trained.policy, break_when_any_done=False)
    env.close()
    return [EpisodeLog.load(path) for path in find_logs([folder])]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the proofs")
    parser.add_argument("--expert-logs", type=Path, help="logs of tests/roms/sprout_expert.py; played by default")
    parser.add_argument("--episodes", type=int, default=8, help="of agent and random policy (%(default)s)")
    parser.add_argument("--random-steps", type=int, default=2048, help="length of a random episode (%(default)s)")
    options = parser.parse_args()
    cartridge = Cartridge.bundled()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        expert = options.expert_logs
        if expert is None:
            from sprout_expert import play

            expert = Path(folder) / "expert"
            for seed in range(2):
                play(expert, noise=0.02, seed=seed)
        players = {
            "agent": _played(Path(folder) / "agent", "policy", epsilon=0.01, episodes=options.episodes, steps=256),
            "random": _played(
                Path(folder) / "random", "random", epsilon=1.0, episodes=options.episodes, steps=options.random_steps
            ),
            "expert": [EpisodeLog.load(path) for path in find_logs([expert])],
        }
        for name, logs in players.items():
            milestone, chosen = _furthest(logs, cartridge.profile.milestones.names)
            said = {"helpers": "action mask"}  # all three play under the environment's mask
            proof = make_proof(chosen, milestone, cartridge=cartridge, claims=lambda _, said=said: said)
            path = proof.save(options.out / f"{name}.proof")
            sys.stdout.write(f"{path}: {milestone} after {proof.steps} steps\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
