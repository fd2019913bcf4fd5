"""The rows of `examples/benchmark.py`, by name."""

from .acting import collector_base, collector_tiny
from .emulation import emulator, env
from .learning import learner, replay
from .peers import peer
from .rendering import render

ROWS = {
    "emulator": emulator,
    "env": env,
    "collector_tiny": collector_tiny,
    "collector_base": collector_base,
    "peer": peer,
    "replay": replay,
    "learner": learner,
    "render": render,
}
