"""Compute what a job with a config takes of its machine, before it starts."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import NamedTuple

from pokered_rl.collectors.control import shared_bytes
from pokered_rl.resources import available_cpus, worker_count
from pokered_rl.training.builders import make_layout, make_policy, make_replay, make_sequence_builder, probe
from pokered_rl.training.config import Backend, Config

__all__ = ["StorageNeeds", "local_workers", "storage_needs"]


class StorageNeeds(NamedTuple):
    """Sizes of the replay and of the memory that processes share."""

    #: Sequences that the replay will hold.
    sequences: int
    #: Bytes of disk that their files need; those of compressed sequences are estimated.
    replay_bytes: int
    #: Bytes of shared memory; 0 without worker processes on this machine.
    shared_bytes: int


def local_workers(config: Config) -> int:
    """Return the number of worker processes on this machine, 0 if the workers run elsewhere or in the learner."""
    on_this_machine = config.collector.backend is Backend.processes
    return worker_count(config.collector.num_workers, available_cpus()) if on_this_machine else 0


def storage_needs(config: Config) -> StorageNeeds:
    """Return what replay and shared memory will take; nothing is written.

    Raises:
        PokeredError: The cartridge, a start state or a reward term is invalid.
    """
    with probe(config) as probed:
        network, example = probed.network, probed.example()
    layout = make_layout(config, network)
    sequences = -(-config.replay.capacity_transitions // layout.period_steps)
    smallest = dataclasses.replace(config.replay, capacity_transitions=layout.period_steps, scratch_folder=None)
    with tempfile.TemporaryDirectory() as scratch:
        one = make_replay(dataclasses.replace(config, replay=smallest), Path(scratch), layout, network, example)
        bytes_of_one = one.bytes_needed(make_sequence_builder(config, layout, network).example(example))
    workers = local_workers(config)
    shared = shared_bytes(make_policy(config, network), num_workers=workers) if workers else 0
    return StorageNeeds(sequences, sequences * bytes_of_one, shared)
