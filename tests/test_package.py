"""Importing the library has no side effects and takes little time; what it exports is documented."""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pokered_rl

#: What others do at import (TorchRL chooses a start method, PyBoy's bindings look for SDL) is done beforehand.
_REPORT = """
import json, multiprocessing, signal, sys, threading, time
import pyboy, torch, torchrl.data, torchrl.envs, torchrl.modules, torchrl.objectives

def look():
    return {
        "threads": threading.active_count(), "start method": multiprocessing.get_start_method(allow_none=True),
        "torch threads": torch.get_num_threads(), "seed": torch.initial_seed(),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "gpu": torch.cuda.is_initialized(),
    }

written, displays = [], {"av", "hydra", "matplotlib", "omegaconf", "rich", "tensorboard"}
sys.addaudithook(lambda event, what: written.append(str(what[0])) if event == "open" and "r" not in str(what[1]) else 0)
before, start = look(), time.process_time()
import pokered_rl
alone = time.process_time() - start
for name in pokered_rl.__all__:
    if name != "Experiment":  # training reads configs and has a display
        getattr(pokered_rl, name)
whole = time.process_time() - start
heavy = sorted({name.partition(".")[0] for name in sys.modules} & displays)
found = {"before": before, "after": look(), "written": written, "alone": alone, "whole": whole, "heavy": heavy}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def report() -> dict:
    done = subprocess.run([sys.executable, "-B", "-c", _REPORT], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_starts_no_thread_writes_no_file_and_changes_no_setting(report):
    assert report["after"] == report["before"]
    assert report["written"] == []


def test_importing_takes_less_than_two_seconds_after_torch_torchrl_and_pyboy(report):
    # CPU time of this process, so that a busy machine does not count.
    assert report["whole"] < 2.0
    assert report["alone"] < 0.5


def test_importing_leaves_video_plots_configs_and_displays_alone(report):
    assert report["heavy"] == []


def _modules() -> list[str]:
    found = pkgutil.walk_packages(pokered_rl.__path__, "pokered_rl.")
    return ["pokered_rl", *(entry.name for entry in found if not entry.name.endswith("__main__"))]


@pytest.mark.parametrize("name", _modules())
def test_every_name_in_all_is_there_once(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


_ROOMS = sorted(name for name in _modules() if name.count(".") == 1)


def _is_documented(room: str, name: str) -> bool:
    """Whether a class or function has a docstring of its own, or a constant a ``#:`` comment where it is assigned."""
    value = getattr(importlib.import_module(room), name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return not re.fullmatch(rf"|{name}\(.*\)", value.__doc__ or "")  # a dataclass writes its signature itself
    comment = re.compile(rf"#:.*\n(?:#.*\n)*{name}\b.*=", re.MULTILINE)
    modules = [module for module in _modules() if module == room or module.startswith(f"{room}.")]
    return any(comment.search(Path(importlib.import_module(each).__file__).read_text()) for each in modules)


@pytest.mark.parametrize("room", _ROOMS)
def test_what_a_room_exports_is_documented_on_its_api_page(room):
    module = importlib.import_module(room)
    assert [name for name in module.__all__ if not _is_documented(room, name)] == []
    page = Path(__file__).parents[1] / "docs" / "api" / f"{room.partition('.')[2]}.md"
    assert f".. room:: {room}\n" in page.read_text()
    assert f"\n{page.stem}\n" in (page.parent / "index.md").read_text()


def test_root_exports_what_its_rooms_export_under_the_same_names():
    for name in set(pokered_rl.__all__) - {"GYMNASIUM_ID"}:
        value = getattr(pokered_rl, name)
        room = importlib.import_module(".".join(value.__module__.split(".")[:2]))
        assert getattr(room, name) is value
    assert set(pokered_rl.__all__) <= set(dir(pokered_rl))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'PokemonBlueEnv'"):
        _ = pokered_rl.PokemonBlueEnv
