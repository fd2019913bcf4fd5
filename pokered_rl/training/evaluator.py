"""Evaluate a run beside its training and at its end, and keep its best weights."""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import os
import pickle
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from torch import nn

from pokered_rl.atomic import write_atomically
from pokered_rl.collectors.worker import prepare_process
from pokered_rl.errors import PokeredError
from pokered_rl.terminal import make_console
from pokered_rl.training.callbacks import Callback
from pokered_rl.training.checkpoint import save_tensors
from pokered_rl.training.evaluation import Evaluation, evaluate_policies, given_lines, rate_text, table
from pokered_rl.training.learner import snapshot
from pokered_rl.training.parts import Parts
from pokered_rl.training.policy import TrainedPolicy
from pokered_rl.training.run_folder import RunFolder
from pokered_rl.training.runtime import StopReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pokered_rl.emulator import Cartridge
    from pokered_rl.training.config import Config
    from pokered_rl.training.trainer import Trainer

__all__ = ["EvaluationPlan", "Evaluator"]

_POLL_SECONDS = 0.2
#: Added to the process's niceness: it takes a quarter of a core that the run needs itself.
_NICENESS = 5
_MOST_WAITING = 3
#: Evaluations in the table at the end.
_SHOWN = 8


@dataclass(frozen=True)
class EvaluationPlan:
    """How the weights of a run are evaluated; picklable where the parts of the run are."""

    config: Config
    cartridge: Cartridge
    parts: Parts
    num_episodes: int
    max_steps: int
    epsilon: float
    seed: int

    @classmethod
    def of(cls, config: Config, cartridge: Cartridge, parts: Parts) -> EvaluationPlan:
        """Return the plan of a run's config."""
        settings = config.evaluation
        network = parts.network
        if isinstance(network, nn.Module):
            network = copy.deepcopy(network).cpu()
        longest = config.env.max_episode_steps or config.env.log_segment_steps
        return cls(
            config=config,
            cartridge=cartridge,
            parts=Parts(network, None, parts.make_env, parts.reward_terms, parts.transforms),
            num_episodes=settings.episodes,
            max_steps=settings.episode_steps or min(longest, 8192),
            epsilon=settings.epsilon,
            seed=config.run.seed + 1,
        )

    def play(
        self, weights: Path, policies: Sequence[str], *, stopped: Callable[[], object] = lambda: None
    ) -> dict[str, Evaluation]:
        """Evaluate a file of weights.

        Raises:
            PokeredError: The weights or a part cannot be used.
        """
        trained = TrainedPolicy(weights=weights, config=self.config, cartridge=self.cartridge, parts=self.parts)
        return evaluate_policies(
            trained,
            policies=policies,
            num_episodes=self.num_episodes,
            max_steps=self.max_steps,
            epsilon=self.epsilon,
            seed=self.seed,
            stopped=stopped,
        )

    def film(self, weights: Path, video: Path) -> None:
        """Play an episode with a file of weights and render it.

        Raises:
            PokeredError: The weights or a part cannot be used, or the video cannot be made.
        """
        from pokered_rl.training.film import film_episode  # PyAV; most runs film nothing

        trained = TrainedPolicy(weights=weights, config=self.config, cartridge=self.cartridge, parts=self.parts)
        film_episode(trained, video, max_steps=self.max_steps, epsilon=self.epsilon, seed=self.seed)


class _Process:
    """One evaluation in a process of its own."""

    def __init__(self, plan: EvaluationPlan, weights: Path, policies: Sequence[str], video: Path | None = None) -> None:
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self.weights = weights
        self._receiver, sender = context.Pipe(duplex=False)
        arguments = (sender, plan, weights, tuple(policies), video)
        self._process = context.Process(target=_play_in_process, args=arguments, name="evaluation", daemon=True)
        self._process.start()
        sender.close()

    def poll(self) -> dict[str, Evaluation] | None:
        """Return the results, or None while they are not there.

        Raises:
            PokeredError: The process has failed.
        """
        if not self._receiver.poll() and self._process.is_alive():
            return None
        try:
            results, problem = self._receiver.recv()
        except EOFError:
            self._process.join()
            results, problem = None, f"its process ended with status {self._process.exitcode}"
        self.close()
        if results is None:
            raise PokeredError(problem)
        found: dict[str, Evaluation] = results
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._receiver.close()


def _play_in_process(
    sender: Any, plan: EvaluationPlan, weights: Path, policies: tuple[str, ...], video: Path | None
) -> None:
    prepare_process()
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    try:
        answer: tuple[Any, str] = plan.play(weights, policies), ""
        if video is not None:
            plan.film(weights, video)
    except PokeredError as error:
        answer = None, str(error)
    except Exception:  # noqa: BLE001 - sent to the learner, which says it
        answer = None, traceback.format_exc()
    sender.send(answer)
    sender.close()


class Evaluator(Callback):
    """Evaluate the newest weights every so many steps, beside training, and compare with a random policy at the end.

    The weights are copied at the step; a process plays with them while training goes on, and its results come in
    :meth:`~pokered_rl.training.Callback.on_evaluation`. Weights whose turn comes while others are evaluated wait, at
    most three; those of a job that ended are evaluated by the next one. Nothing that training depends on is touched, so
    that a deterministic run stays the same.

    The weights of the best evaluation (most milestones an episode, then the highest return) stay in ``best/``, for
    :func:`~pokered_rl.training.load_policy`.

    Args:
        plan: How weights are evaluated.
        folder: The run's folder.
        every_steps: Agent steps between two evaluations; 0 evaluates at the end only.
        final_episodes: Episodes of each policy in the comparison at the end of a complete run; 0 compares nothing.
        patience: Evaluations without a better one after which the run is said not to progress; 0 for never.
        stop_without_progress: End the run then.
        stop_milestone: End the run when this milestone is reached ...
        stop_rate: ... in this share of an evaluation's episodes.
        video_every: Film an episode in every so many evaluations; 0 films none.
        stopped: The reason of a signal that has come, or None: it ends the comparison at the end, too.
        console: Where results are shown.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        folder: RunFolder,
        *,
        every_steps: int,
        final_episodes: int = 0,
        patience: int = 0,
        stop_without_progress: bool = False,
        stop_milestone: str | None = None,
        stop_rate: float = 1.0,
        video_every: int = 0,
        stopped: Callable[[], StopReason | None] = lambda: None,
        console: Console | None = None,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._every_steps = every_steps
        self._final_episodes = final_episodes
        self._patience = patience
        self._stop_without_progress = stop_without_progress
        self._stop_milestone = stop_milestone
        self._stop_rate = stop_rate
        self._video_every = video_every
        self._stopped = stopped
        self._console = console if console is not None else make_console()
        self._story = plan.cartridge.profile.milestones.names
        self._process: _Process | None = None
        self._waiting: deque[Path] = deque()
        self._next_steps = 0
        self._polled_at = 0.0
        self._since_best = 0
        self._stop: StopReason | None = None
        #: The evaluations of the trained policy so far.
        self._curve: list[Evaluation] = []
        self._random: Evaluation | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Take up what an earlier job left to be evaluated."""
        if not self._every_steps:
            return
        try:
            pickle.dumps(self._plan)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self._say(f"no evaluation beside training: a part of the run cannot be pickled ({error})")
            self._every_steps = 0
            return
        self._folder.evaluation.mkdir(parents=True, exist_ok=True)
        self._next_steps = (trainer.steps // self._every_steps + 1) * self._every_steps
        for path in sorted(self._folder.evaluation.glob("*.pt")):
            if path.stem.isdigit() and int(path.stem) <= trainer.steps:
                self._wait_with(path)
            else:
                path.unlink()

    def on_batch(self, trainer: Trainer, num_steps: int) -> None:
        """Begin or finish an evaluation when it is time to."""
        self._advance(trainer)

    def on_update(self, trainer: Trainer) -> None:
        """Begin or finish an evaluation when it is time to."""
        self._advance(trainer)

    def should_stop(self, trainer: Trainer) -> StopReason | None:
        """Return the reason when an evaluation gave one."""
        return self._stop

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Finish what is being evaluated and compare, if the run is complete; else leave it to the next job."""
        try:
            if not isinstance(stop, StopReason) or not stop.complete:
                return
            trainer.workers.close()  # their memory and cores are needed
            if self._final_episodes:
                self._leave_to_comparison(trainer)
            if self._process is not None or self._waiting:
                self._say(f"{stop.value}; finishing {len(self._waiting) + (self._process is not None)} evaluations")
            while (self._process is not None or self._waiting) and self._stopped() is None:
                self._advance(trainer, begin=False)
                time.sleep(_POLL_SECONDS / 4)
            if self._final_episodes and self._stopped() is None:
                self._say(f"{stop.value}; comparing with a random policy, {self._final_episodes} episodes of each")
                self._compare(trainer)
        finally:
            if self._process is not None:
                self._process.close()
                self._process = None

    def state_dict(self) -> dict[str, Any]:
        """Return the results so far."""
        return {
            "since_best": self._since_best,
            "stop": [] if self._stop is None else [self._stop.name, *self._stop_condition],
            "curve": [asdict(each) for each in self._curve],
            "random": None if self._random is None else asdict(self._random),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; a reason to stop holds as long as its condition is the same."""
        self._since_best = state["since_best"]
        if state["stop"] and list(state["stop"][1:]) == self._stop_condition:
            self._stop = StopReason[state["stop"][0]]
        self._curve = [Evaluation(**each) for each in state["curve"]]
        self._random = None if state["random"] is None else Evaluation(**state["random"])

    @property
    def _stop_condition(self) -> list[Any]:
        return [self._stop_milestone or "", self._stop_rate, self._stop_without_progress, self._patience]

    def _advance(self, trainer: Trainer, *, begin: bool = True) -> None:
        if not self._every_steps:
            return
        if begin and trainer.steps >= self._next_steps:
            self._next_steps = (trainer.steps // self._every_steps + 1) * self._every_steps
            weights = self._folder.evaluation / f"{trainer.steps:012d}.pt"
            params = snapshot(trainer.network.state_dict())
            save_tensors(weights, {"params": params, "steps": trainer.steps, "updates": trainer.updates})
            self._wait_with(weights)
        now = time.monotonic()
        if self._process is not None and now - self._polled_at >= _POLL_SECONDS:
            self._polled_at = now
            self._poll(trainer, self._process)
        if self._process is None and self._waiting:
            policies = ("trained",) if self._random is not None else ("trained", "random")
            weights = self._waiting.popleft()
            self._process = _Process(self._plan, weights, policies, self._video(int(weights.stem)))

    def _video(self, steps: int) -> Path | None:
        """Return where an episode of the next evaluation is filmed, or None if it is not."""
        is_due = self._video_every and (len(self._curve) + 1) % self._video_every == 0
        return self._folder.evaluation_video(steps) if is_due else None

    def _wait_with(self, weights: Path) -> None:
        """Evaluate these weights when those before them have been; where too many wait, the oldest are left out."""
        self._waiting.append(weights)
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().unlink(missing_ok=True)

    def _leave_to_comparison(self, trainer: Trainer) -> None:
        """Drop weights that hardly differ from the last ones, which are compared at the end."""
        recent = trainer.steps - self._every_steps // 4
        while self._waiting and int(self._waiting[-1].stem) > recent:
            self._waiting.pop().unlink(missing_ok=True)
        if self._process is not None and int(self._process.weights.stem) > recent:
            self._process.close()
            self._process.weights.unlink(missing_ok=True)
            self._process = None

    def _poll(self, trainer: Trainer, process: _Process) -> None:
        try:
            results = process.poll()
        except PokeredError as error:
            self._process = None
            self._say(f"the evaluation of {process.weights.name} failed: {error}")
            process.weights.unlink(missing_ok=True)
            return
        if results is None:
            return
        self._process = None
        self._take(trainer, results, process.weights)
        process.weights.unlink(missing_ok=True)

    def _take(self, trainer: Trainer, results: dict[str, Evaluation], weights: Path) -> None:
        """Show results, keep the best weights, and see whether the run can end."""
        self._random = results.get("random", self._random)
        trained = results["trained"]
        self._curve.append(trained)
        for name, result in results.items():
            self._say(f"evaluation at {trained.at_steps:,} steps, {name}: {self._line(result)}")
        if self._is_best(trained):
            self._since_best = 0
            self._keep_best(trained, weights)
        else:
            self._since_best += 1
            if self._patience and self._since_best == self._patience:
                self._say(f"not progressing: the last {self._patience} evaluations were no better than an earlier one")
                if self._stop_without_progress:
                    self._stop = StopReason.stuck
        if self._stop_milestone is not None:
            reached = sum(self._stop_milestone in each for each in trained.milestones)
            if reached >= self._stop_rate * len(trained.coverage):
                self._stop = StopReason.learned
        trainer.callbacks.call("on_evaluation", trainer, results)

    def _line(self, result: Evaluation) -> str:
        furthest = result.furthest(self._story)
        story = "" if furthest is None else f", {furthest[0]} {rate_text(furthest[1], result)}"
        return f"{result.mean_coverage:.1f} tiles, return {result.mean_return:.2f}{story}"

    def _is_best(self, result: Evaluation) -> bool:
        try:
            best = json.loads((self._folder.best / "evaluation.json").read_text())
            before = (float(best["mean_milestones"]), float(best["mean_return"]))
        except (OSError, ValueError, KeyError, TypeError):
            return True
        return (result.mean_milestones, result.mean_return) > before

    def _keep_best(self, result: Evaluation, weights: Path) -> None:
        """Copy the weights to ``best/``, with what they need to be loaded; the result last, which names them best."""
        best = self._folder.best
        best.mkdir(exist_ok=True)
        for source, name in (
            (weights, self._folder.online_params.name),
            (self._folder.config, self._folder.config.name),
            (self._folder.parts, self._folder.parts.name),
        ):
            if source.is_file():
                write_atomically(best / name, source.read_bytes())
        content = {"mean_milestones": result.mean_milestones, **result.as_dict()}
        write_atomically(best / "evaluation.json", json.dumps(content, indent=1).encode())

    def _compare(self, trainer: Trainer) -> None:
        """Evaluate the last weights and a random policy, write ``evaluation.json`` and show the course."""
        plan = replace(self._plan, num_episodes=self._final_episodes)
        results = plan.play(self._folder.online_params, ("trained", "random"), stopped=self._stopped)
        if not results:
            return
        content = {name: result.as_dict() for name, result in results.items()}
        write_atomically(self._folder.path / "evaluation.json", json.dumps(content, indent=1).encode())
        trained = results["trained"]
        if video := self._video(trained.at_steps):
            self._say("rendering an episode")
            plan.film(self._folder.online_params, video)
        if self._every_steps and self._is_best(trained):
            self._keep_best(trained, self._folder.online_params)
        rows = [("random", results["random"])]
        rows += [(f"at {each.at_steps:,} steps", each) for each in self._curve[-_SHOWN:]]
        rows += [(f"at {trained.at_steps:,} steps", trained)]
        self._console.print(table(rows, self._story))
        for line in given_lines(self._plan.config):
            self._say(line)
        trainer.callbacks.call("on_evaluation", trainer, results)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
