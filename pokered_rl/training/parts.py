"""Parts of a run that a program replaces: their kinds, their names in the run folder, and whether workers get them."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn
from torchrl.envs import EnvBase, Transform
from torchrl.objectives import LossModule

from pokered_rl.atomic import write_atomically
from pokered_rl.envs import make_env
from pokered_rl.envs.rewards import RewardTerm
from pokered_rl.errors import ConfigError
from pokered_rl.modules import R2D2Network, RecurrentQuantileNetwork
from pokered_rl.training.config import Config

__all__ = ["Parts", "check_acting_parts", "check_parts", "describe_parts", "import_term", "qualified_name"]


NetworkPart: TypeAlias = RecurrentQuantileNetwork | Callable[[Config, EnvBase], RecurrentQuantileNetwork]
LossPart: TypeAlias = LossModule | Callable[[Config, RecurrentQuantileNetwork], LossModule]
TermPart: TypeAlias = RewardTerm | type[RewardTerm]
TransformPart: TypeAlias = Transform | Callable[[], Transform]


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, nn.Module)


def _is_class_of(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind)


@dataclass(frozen=True)
class Parts:
    """The replaced parts of a run; :class:`~pokered_rl.training.Experiment` describes each.

    Raises:
        ConfigError: A part is of a wrong kind.
    """

    network: NetworkPart | None = None
    loss: LossPart | None = None
    make_env: Callable[..., EnvBase] | None = None
    reward_terms: Sequence[TermPart] = ()
    transforms: Sequence[TransformPart] = ()

    def __post_init__(self) -> None:
        network, loss = self.network, self.loss
        _require(
            network is None or isinstance(network, RecurrentQuantileNetwork) or _is_function(network),
            "network",
            "a RecurrentQuantileNetwork, or a function of (config, env) that returns one",
            network,
        )
        _require(
            loss is None or isinstance(loss, LossModule) or _is_function(loss),
            "loss",
            "a LossModule, or a function of (config, network) that returns one",
            loss,
        )
        _require(
            not isinstance(loss, LossModule) or isinstance(network, nn.Module),
            "loss",
            "a function of (config, network) unless `network` is the object that the loss was made for",
            loss,
        )
        _require(
            self.make_env is None or _is_function(self.make_env),
            "make_env",
            "a function that takes the arguments of pokered_rl.envs.make_env and returns an environment",
            self.make_env,
        )
        for name, value in (("reward_terms", self.reward_terms), ("transforms", self.transforms)):
            _require(isinstance(value, Sequence) and not isinstance(value, str), name, "a list", value)
        for term in self.reward_terms:
            _require(
                isinstance(term, RewardTerm) or _is_class_of(term, RewardTerm),
                "reward_terms",
                "a list of RewardTerm objects or classes",
                term,
            )
        for transform in self.transforms:
            _require(
                isinstance(transform, Transform) or _is_function(transform),
                "transforms",
                "a list of Transform objects, or of functions without arguments that return one",
                transform,
            )

    def term_makers(self, config: Config) -> list[Callable[[], RewardTerm]]:
        """Return a function for each own reward term, those of ``reward.extra`` first.

        Weights and options of the config reach the terms that are given as classes.

        Raises:
            ConfigError: An entry of ``reward.extra`` is no reward term that Python can import.
        """
        makers: list[Callable[[], RewardTerm]] = []
        for term in (*map(import_term, config.reward.extra), *self.reward_terms):
            if isinstance(term, RewardTerm):
                makers.append(partial(copy.deepcopy, term))
            else:
                options = dict(config.reward.options.get(term.name, {}))
                makers.append(partial(term, weight=config.reward.weights.get(term.name), **options))
        return makers

    def make_transforms(self) -> list[Transform]:
        """Make the own transforms of one environment."""
        return [copy.deepcopy(each) if isinstance(each, Transform) else each() for each in self.transforms]

    def check_picklable(self, network: nn.Module) -> None:
        """Check that worker processes can be given the parts, and the network that was built.

        Raises:
            ConfigError: One cannot be pickled, or was defined where a worker cannot import it.
        """
        sent: list[tuple[str, Any]] = [
            ("make_env", self.make_env),
            ("network", None if self.network is None else network),
        ]
        sent += [("reward_terms", term) for term in self.reward_terms]
        sent += [("transforms", transform) for transform in self.transforms]
        for name, part in sent:
            if part is None:
                continue
            try:
                pickle.dumps(part)
                problem = ""
            except Exception as error:  # noqa: BLE001 - an object may raise anything here
                problem = str(error).partition("\n")[0]
            if not problem and _defined_interactively(part):
                problem = "it is defined in an interactive session"
            if problem:
                raise ConfigError(
                    f"{name}: {qualified_name(part)} cannot be sent to worker processes ({problem}); define it at the"
                    " top level of a module, or set collector.backend=inline"
                )


def _require(condition: bool, name: str, need: str, got: Any) -> None:
    if not condition:
        raise ConfigError(f"{name} must be {need}; got {type(got).__name__} {got!r:.200}")


def import_term(name: str) -> type[RewardTerm]:
    """Import a reward term named ``module:Class`` (``reward.extra``).

    Raises:
        ConfigError: There is no such module or class, or it is no reward term.
    """
    module, _, attribute = name.partition(":")
    remedy = "write module:Class, with the module's folder on PYTHONPATH"
    try:
        term = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"reward.extra: {name!r} cannot be imported ({error}); {remedy}") from error
    if not _is_class_of(term, RewardTerm) or not isinstance(getattr(term, "name", None), str):
        raise ConfigError(f"reward.extra: {name!r} must be a subclass of RewardTerm with a `name`, got {term!r}")
    checked: type[RewardTerm] = term
    return checked


def _definition(part: Any) -> Any:
    """Return the function or class that a part is, or is an object of."""
    while isinstance(part, partial):
        part = part.func
    return part if isinstance(part, type) or hasattr(part, "__qualname__") else type(part)


def _defined_interactively(part: Any) -> bool:
    file = getattr(sys.modules["__main__"], "__file__", None)
    return _definition(part).__module__ == "__main__" and (file is None or not Path(file).is_file())


def qualified_name(part: Any) -> str:
    """Name a function, a class, or the class of an object: ``module.name``, the same in a script and on import.

    Numbers and texts that a ``partial`` gives to its function stand behind the name.
    """
    definition = _definition(part)
    module = definition.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        module = spec.name if spec is not None else Path(getattr(main, "__file__", "__main__")).stem
    given = part.keywords if isinstance(part, partial) else {}
    plain = [f"{name}={value!r}" for name, value in given.items() if isinstance(value, int | float | str)]
    return f"{module}.{definition.__qualname__}" + (f"({', '.join(plain)})" if plain else "")


def _fingerprint(network: nn.Module) -> str:
    """Hash the names and shapes of the parameters and buffers."""
    shapes = [[name, list(value.shape)] for name, value in network.state_dict().items()]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:12]


def describe_parts(config: Config, parts: Parts, *, network: nn.Module, loss: LossModule) -> dict[str, str]:
    """Describe what a run is made of, for :func:`check_parts`."""
    terms = (*map(import_term, config.reward.extra), *parts.reward_terms)
    return {
        "network": f"{qualified_name(network)} ({_fingerprint(network)})",
        "loss": qualified_name(loss),
        "make_env": qualified_name(parts.make_env or make_env),
        "reward_terms": _names(terms),
        "transforms": _names(parts.transforms),
    }


def _names(parts: Sequence[Any]) -> str:
    return ", ".join(map(qualified_name, parts)) or "none"


def _read_parts(path: Path) -> dict[str, str]:
    try:
        content: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); remove it to continue the run with the parts given") from error
    return content


def check_parts(path: Path, description: Mapping[str, str]) -> None:
    """Write to ``parts.json`` what a run is made of when it begins, and refuse other parts later.

    Raises:
        ConfigError: A part is another one than the run began with.
    """
    before = _read_parts(path)
    for name, now in description.items():
        if before.get(name, now) != now:
            raise ConfigError(
                f"{name}: the run in {path.parent} began with {before[name]}, this job brings {now}; give it the same"
                " part, or start another run.name"
            )
    if not before:
        write_atomically(path, json.dumps(dict(description), indent=1).encode())


def check_acting_parts(path: Path, parts: Parts) -> None:
    """Check that the parts by which a policy acts are those of its run.

    Raises:
        ConfigError: The run was trained with another one.
    """
    before = _read_parts(path)
    given = {"make_env": qualified_name(parts.make_env or make_env), "transforms": _names(parts.transforms)}
    if parts.network is None:
        given["network"] = qualified_name(R2D2Network)
    for name, now in given.items():
        trained = before.get(name, now).partition(" (")[0]
        if trained != now:
            raise ConfigError(
                f"the run in {path.parent} was trained with the {name} {trained}, not {now}; give it to"
                f" load_policy({name}=...)"
            )
