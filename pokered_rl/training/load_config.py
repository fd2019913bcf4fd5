"""From command-line overrides to a checked :class:`~pokered_rl.training.config.Config`.

Hydra composes; this module turns its errors into messages with the nearest names, and translates the key names of the
first version's JSON configs.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_type_hints

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pokered_rl.bundled import bundled_path
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.plain_files import read_plain_file
from pokered_rl.training.config import Config, known_keys, validate

__all__ = [
    "LEGACY_KEYS",
    "add_config_arguments",
    "config_folder",
    "config_from",
    "expand",
    "legacy_overrides",
    "load_config",
    "read_config",
    "read_plain_yaml",
    "register_schema",
]

#: Key names of the first version's JSON configs, and where the option lives now.
LEGACY_KEYS: dict[str, str] = {
    "target_total_steps": "run.target_total_steps",
    "max_runtime_seconds": "run.max_runtime_seconds",
    "total_episodes": "run.total_episodes",
    "run_name": "run.name",
    "seed": "run.seed",
    "num_actors": "collector.num_workers",
    "epsilon_base": "collector.epsilon_base",
    "epsilon_alpha": "collector.epsilon_alpha",
    "rom_path": "env.cartridge",
    "frame_skip": "env.frames_per_action",
    "max_episode_steps": "env.max_episode_steps",
    "occupancy_crop_radius": "env.map_memory_radius",
    "replay_capacity_transitions": "replay.capacity_transitions",
    "burn_in": "replay.burn_in_steps",
    "unroll_length": "replay.unroll_steps",
    "n_step": "loss.n_step",
    "gamma": "loss.gamma",
    "batch_size": "learner.batch_size",
    "learning_rate": "learner.learning_rate",
    "target_sync_interval": "learner.target_update_interval",
    "lstm_hidden_size": "network.hidden_size",
    "num_quantiles": "network.num_quantiles",
}

#: Options of runs that were begun with an earlier version, and where they are now.
_MOVED_KEYS = {"run.evaluation_epsilon": "evaluation.epsilon"}
#: Options of such runs that are gone, and the value with which nothing is lost.
_GONE_KEYS = {"curriculum.novelty_epsilon": 0.0}


def register_schema() -> None:
    """Make the dataclasses known to Hydra as ``pokered_rl_schema``, the base of every YAML file.

    A YAML file may write ``${bundled:NAME}`` for the path of what ships with the package.
    """
    ConfigStore.instance().store(name="pokered_rl_schema", node=Config)
    OmegaConf.register_new_resolver("bundled", lambda name: str(bundled_path(name)), replace=True)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments by which a program is told its config: ``overrides``, ``--config-name``, ``--config-dir``."""
    parser.add_argument("overrides", nargs="*", metavar="section.option=value", help="changes to the config")
    parser.add_argument("--config-name", "-cn", default="r2d2", help="a YAML file without its suffix (%(default)s)")
    parser.add_argument("--config-dir", "-cd", type=Path, help="folder of the YAML files (those of the package)")


def config_folder() -> Path:
    """Return the folder of the YAML files: in the wheel, or ``configs/`` of the checkout."""
    return bundled_path("configs")


def _nearest(key: str) -> list[str]:
    keys = known_keys()
    by_leaf = {known.rpartition(".")[2]: known for known in reversed(keys)}
    whole = difflib.get_close_matches(key, keys, n=3, cutoff=0.6)
    leaf = difflib.get_close_matches(key.rpartition(".")[2], by_leaf, n=3, cutoff=0.6)
    return list(dict.fromkeys([*(by_leaf[name] for name in leaf), *whole]))[:3]


def _unknown_key(key: str, where: str) -> ConfigError:
    near = _nearest(key)
    hint = f"did you mean {', or '.join(near)}?" if near else f"the sections are {', '.join(_sections())}"
    return ConfigError(f"there is no config key {key!r} ({where}); {hint}")


def _sections() -> list[str]:
    return [section.name for section in dataclasses.fields(Config)]


def legacy_overrides(path: str | Path) -> list[str]:
    """Translate a JSON config of the first version, a flat object, into overrides.

    Returns:
        Overrides such as ``loss.gamma=0.997``, in the file's order.

    Raises:
        ConfigError: The file is missing, is no JSON object, or has a key that has no counterpart here.
    """
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"legacy_config: there is no file {path}; give the path of a JSON config") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"legacy_config: {path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"legacy_config: {path} must hold a JSON object, got {type(content).__name__}")
    overrides = []
    for key, value in content.items():
        if key not in LEGACY_KEYS:
            near = difflib.get_close_matches(key, LEGACY_KEYS, n=3)
            hint = f"did you mean {', or '.join(near)}?" if near else f"known are {', '.join(LEGACY_KEYS)}"
            raise ConfigError(f"legacy_config: {path} has the unknown key {key!r}; {hint}")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ConfigError(f"legacy_config: {key} in {path} must be a number or a string, got {value!r}")
        overrides.append(f"{LEGACY_KEYS[key]}={json.dumps(value)}")
        if key == "unroll_length":
            # The first version had no period of its own: sequences followed each other without overlap.
            overrides.append(f"replay.sequence_period_steps={value}")
    return overrides


#: Bounds of the config of a run, many times what one has.
_MAX_CONFIG_BYTES, _MAX_CONFIG_DEPTH, _MAX_CONFIG_ENTRIES = 2**20, 16, 20_000
_OPEN_MAPPINGS = ("reward.weights.", "reward.options.")


def _as_typed(override: str, *, sweep: bool) -> str:
    """Quote the value of a text option, so that Hydra keeps what was typed.

    Unquoted, ``run.name=1e3`` is a number, and a file name with blanks, brackets or commas is a mistake. A value that
    is quoted already stays; in a sweep, commas separate values unless there is a file of that name. Entries of a list
    are texts, too.
    """
    key, equals, value = override.partition("=")
    kind = _text_options().get(key.lstrip("+"))
    if not equals or kind is None or value == "null":
        return override
    if kind is list:
        entries = value[1:-1] if value[:1] == "[" and value[-1:] == "]" else None
        if not entries or any(sign in entries for sign in "[]{}'\""):
            return override
        return f"{key}=[{','.join(_quoted(entry.strip()) for entry in entries.split(','))}]"
    # A sweep may choose, range over or draw from values: choice(a,b), glob(*), interval(0,1).
    if sweep and re.fullmatch(r"\w+\(.*\)", value):
        return override
    values = value.split(",") if sweep and not _is_file(value) else [value]
    return f"{key}={','.join(map(_quoted, values))}"


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _quoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text
    return QuotedString(text, Quote.single).with_quotes()


@functools.cache
def _text_options() -> dict[str, type]:
    """Return the options whose value is a text (str) or a list of texts (list), by key."""
    kinds = {str: str, str | None: str, list[str]: list}
    return {"env.start_states": list} | {
        f"{section.name}.{name}": kinds[hint]
        for section in dataclasses.fields(Config)
        for name, hint in get_type_hints(section.default_factory).items()
        if hint in kinds
    }


def expand(overrides: Sequence[str], *, sweep: bool = False) -> list[str]:
    """Prepare overrides for Hydra.

    ``live=true`` is short for ``logging.live=true``. ``+legacy_config=path`` is replaced by what the file says; the
    other overrides come after it and win. Text options keep what was typed. Reward weights and options are open
    mappings, to which Hydra would want ``++`` to add a name.

    Args:
        overrides: As typed.
        sweep: Commas separate values (``--multirun``).
    """
    legacy: list[str] = []
    others: list[str] = []
    for override in overrides:
        name, _, value = override.partition("=")
        if name == "live":
            others.append(f"logging.{override}")
        elif name.lstrip("+") == "legacy_config":
            legacy += legacy_overrides(value.strip("'\""))
        elif name.startswith(_OPEN_MAPPINGS):
            others.append(f"++{override}")
        elif name == "+reward.extra":
            others.append(_as_typed(override[1:], sweep=sweep))  # part of the schema: Hydra's + is for what is not
        else:
            others.append(_as_typed(override, sweep=sweep))
    return legacy + others


_OVERRIDE = re.compile(r"^(?P<prefix>\+\+|\+|~)?(?P<key>[\w./@:]+)(=|$)")


def _check_keys(overrides: Sequence[str], groups: Sequence[str]) -> None:
    known = set(known_keys())
    for override in overrides:
        match = _OVERRIDE.match(override)
        if match is None:
            raise ConfigError(f"{override!r} is no override; write section.option=value, such as run.name=a")
        key = match["key"]
        open_mapping = key.startswith(_OPEN_MAPPINGS)
        if key in known or key in groups or open_mapping or key.startswith(("hydra.", "hydra/")):
            continue
        raise _unknown_key(key, "given on the command line")


def load_config(
    config_name: str = "r2d2", overrides: Sequence[str] = (), *, folder: str | Path | None = None
) -> Config:
    """Compose, convert and check a config.

    Args:
        config_name: Name of a YAML file in ``folder``, without its suffix.
        overrides: Hydra overrides; ``+legacy_config=path`` is understood.
        folder: Where the YAML files lie; default :func:`config_folder`.

    Returns:
        The checked tree.

    Raises:
        ConfigError: A key does not exist, a value has the wrong type or range, or the YAML file is missing.
    """
    where = Path(folder) if folder is not None else config_folder()
    overrides = expand(overrides)
    groups = [entry.name for entry in where.iterdir() if entry.is_dir()] if where.is_dir() else []
    _check_keys(overrides, groups)
    register_schema()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(where.resolve()), version_base="1.3"):
            tree = compose(config_name, list(overrides))
    except MissingConfigException as error:
        raise _missing_config(config_name, where, error) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _rewritten(error) from error
    return config_from(tree)


def config_from(tree: DictConfig) -> Config:
    """The checked dataclasses of a composed tree.

    Raises:
        ConfigError: A value has the wrong type or range.
    """
    unknown = [str(key) for key in tree if key not in _sections() and key != "hydra"]
    if unknown:
        raise _unknown_key(unknown[0], "not part of the tree")
    try:
        config = OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.masked_copy(tree, _sections()))
        )
    except OmegaConfBaseException as error:
        raise _rewritten(error) from error
    assert isinstance(config, Config)
    return validate(config)


def read_plain_yaml(path: Path) -> DictConfig:
    """Read the sections of a ``config.yaml`` that a run has written.

    A run writes its config resolved: interpolations, which could read environment variables, aliases, and more or
    deeper entries than a config has are refused.

    Raises:
        CheckpointError: It is missing, damaged, or more than a run writes.
    """
    try:
        text = read_plain_file(path, max_bytes=_MAX_CONFIG_BYTES).decode()
        _check_plain(text)
        tree = OmegaConf.create(text)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"there is no {path}: the weights alone do not say what network they belong to; "
            "copy the run's config.yaml beside them"
        ) from error
    except (ValueError, YAMLError, OmegaConfBaseException, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {(str(error) or 'too deep').splitlines()[0]}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if not isinstance(tree, DictConfig):
        raise CheckpointError(f"{path} must hold the sections of a config, got a list")
    return tree


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read the ``config.yaml`` of a run, which may be a stranger's: see :func:`read_plain_yaml`.

    Args:
        path: The file.
        overrides: Changes, such as ``learner.batch_size=32``.

    Raises:
        CheckpointError: It is missing or damaged.
        ConfigError: A key is unknown, or a value has the wrong type or range.
    """
    tree = read_plain_yaml(path)
    for old, new in _MOVED_KEYS.items():
        if (value := OmegaConf.select(tree, old)) is not None:
            section, _, name = old.partition(".")
            del tree[section][name]
            OmegaConf.update(tree, new, value)
    for gone, harmless in _GONE_KEYS.items():
        if (value := OmegaConf.select(tree, gone)) is not None:
            if value != harmless:
                raise ConfigError(
                    f"{path} sets {gone}={value}, an option that is gone: go on with the version of pokered_rl that"
                    " began the run, or begin a new one"
                )
            section, _, name = gone.partition(".")
            del tree[section][name]
    known = set(known_keys())
    for head in _sections():
        options = tree.get(head)
        for key in [f"{head}.{name!s}" for name in options] if isinstance(options, DictConfig) else ():
            if key not in known:
                raise _unknown_key(key, f"in {path}")
    changes = [override.lstrip("+") for override in overrides]
    _check_keys(changes, groups=())
    changed = OmegaConf.from_dotlist([_as_yaml(change) for change in changes])
    return config_from(cast(DictConfig, OmegaConf.merge(tree, changed)))


def _as_yaml(override: str) -> str:
    """Quote the value of a text option for YAML, unless it is quoted already."""
    key, equals, value = override.partition("=")
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if not equals or _text_options().get(key) is not str or value == "null" or quoted:
        return override
    return f"{key}={json.dumps(value)}"


def _check_plain(text: str) -> None:
    """Raise ValueError for YAML that is more than the plain entries that a run writes."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it holds anchors or aliases, which a run does not write")
        if isinstance(event, yaml.ScalarEvent) and "${" in event.value:
            raise ValueError(
                f"it holds an interpolation ({event.value[:40]!r} in line {event.start_mark.line + 1}): a run writes "
                "its config resolved; write the value itself"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_CONFIG_DEPTH or number > _MAX_CONFIG_ENTRIES:
            raise ValueError(f"more than {_MAX_CONFIG_DEPTH} levels or {_MAX_CONFIG_ENTRIES} entries")


def _missing_config(name: str, folder: Path, error: MissingConfigException) -> ConfigError:
    missing = (error.missing_cfg_file or name).removesuffix(".yaml")
    names = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    near = difflib.get_close_matches(missing, names, n=3)
    hint = f"did you mean {', or '.join(near)}?" if near else f"there are {', '.join(names) or 'none'}"
    return ConfigError(f"there is no config {missing!r} in {folder}; {hint}")


def _rewritten(error: Exception) -> ConfigError:
    """Hydra's and OmegaConf's messages, as one line with the key's full name."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__
    text = "\n".join(str(entry) for entry in causes)
    full_key = re.search(r"full_key: (\S+)", text)
    key = full_key[1] if full_key else None
    if key and re.search(r"Key '[^']+' (is )?not in", text):
        in_file = re.search(r"In '([^']+)'", text)
        return _unknown_key(key, f"in {in_file[1]}.yaml" if in_file else "given on the command line")
    # OmegaConf's own message; under a debugger it also shows what that was made of, without names or values.
    told = next((entry for entry in causes if isinstance(entry, OmegaConfBaseException)), causes[-1])
    last = str(told).splitlines()[0]
    return ConfigError(f"{key}: {last}" if key else last)
