"""Play Sprout with the shipped agents, a random policy and the scripted expert, and write a proof of how far each came.

    PYTHONPATH=roms/sprout:tests/roms python docs/benchmarks/board.py docs/reference/proofs
    pokered_rl leaderboard docs/reference/proofs --json docs/benchmarks/results/board.json --out board.html
    python -m docs._ext.figures --write

Of each player the episode with most milestones of the story counts, of several the one with the fewest steps; a player
that reaches none proves a map that it came to. The expert's logs can be given (`--expert-logs`)
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

_ASSETS = Path(__file__).parents[2] / "examples" / "assets"
#: Folder of each shipped agent, the name of its run, and the length of its episodes.
_AGENTS = {
    "agent": ("sprout", "quick start's agent", 256),
    "story": ("sprout_story", "agent of configs/sprout.yaml", 256),
    "demonstrations": ("sprout_taught", "sprout_taught", 8_192),
}


def _furthest(logs: list[EpisodeLog], story: tuple[str, ...]) -> tuple[str, list[EpisodeLog]]:
    """Return the log from power-on with most milestones of the story, in the fewest steps, and the last of them."""

    def reached(log: EpisodeLog) -> list[tuple[int, str]]:
        found = [(each.step, each.name) for each in log.milestones]
        return sorted((step, name) for step, name in found if name in story) or sorted(found)

    chosen = max(logs, key=lambda log: (len(reached(log)), -reached(log)[-1][0]))
    return reached(chosen)[-1][1], [chosen]


def _played(folder: Path, agent: str, *, acting: str, epsilon: float, episodes: int, steps: int) -> list[EpisodeLog]:
    torch.manual_seed(0)
    asset, name, _ = _AGENTS[agent]
    trained = load_policy(_ASSETS / asset)
    recorder = {
        "folder": folder,
        "run_name": name if acting == "policy" else "random policy",
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
            **{
                agent: _played(
                    Path(folder) / agent, agent, acting="policy", epsilon=0.01, episodes=options.episodes, steps=steps
                )
                for agent, (_, _, steps) in _AGENTS.items()
            },
            "random": _played(
                *(Path(folder) / "random", "agent"),
                acting="random",
                epsilon=1.0,
                episodes=options.episodes,
                steps=options.random_steps,
            ),
            "expert": [EpisodeLog.load(path) for path in find_logs([expert])],
        }
        for name, logs in players.items():
            milestone, chosen = _furthest(logs, cartridge.profile.milestones.names)
            said = {"helpers": "action mask"}  # all play under the environment's mask
            proof = make_proof(chosen, milestone, cartridge=cartridge, claims=lambda _, said=said: said)
            path = proof.save(options.out / f"{name}.proof")
            sys.stdout.write(f"{path}: {milestone} after {proof.steps} steps\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
