"""Send the steps of the emulators to a live page while one is open, and start its server with a run."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pokered_rl.collectors.control import WatchRequest
from pokered_rl.collectors.worker import WorkerMessage
from pokered_rl.errors import RunLostError
from pokered_rl.record.live.feed import FeedWriter, WatchFile
from pokered_rl.training.callbacks import Callback
from pokered_rl.training.runtime import StopReason
from pokered_rl.training.trainer import Trainer

__all__ = ["LiveFeed", "LiveServer"]

_LOOK_SECONDS = 0.5
#: Records that wait to be written; more are dropped.
_MOST_WAITING = 64


class LiveFeed(Callback):
    """Ask the workers for steps while a page is open, and write what arrives into ``<run>/live/``.

    Without a page it looks at one file twice a second.

    Args:
        run: The run folder.
        facts: What a page must know of the run: actions, cartridge, and so on.
    """

    def __init__(self, run: Path, facts: Mapping[str, Any]) -> None:
        self._run, self._facts = run, dict(facts)
        self._watch = WatchFile(run)
        self._looked_at = -_LOOK_SECONDS
        self._waiting: queue.Queue[WorkerMessage | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Complete the facts."""
        workers = trainer.workers
        epsilons = workers.epsilons
        self._facts |= {
            "num_workers": workers.num_workers,
            "emulators_per_worker": workers.emulators_per_worker,
            "epsilons": [] if epsilons is None else [round(float(rate), 5) for rate in epsilons],
            "replay_capacity": trainer.replay.capacity_sequences,
        }
        workers.sink.on_watched = self._take

    def on_batch(self, trainer: Trainer, num_steps: int) -> None:
        """Look whether a page is open."""
        self._look(trainer)

    def on_update(self, trainer: Trainer) -> None:
        """Look whether a page is open."""
        self._look(trainer)

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Write what is left."""
        trainer.workers.sink.on_watched = None
        self._stop()

    def _look(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        asked = self._watch.read()
        trainer.workers.control.watch = 0 if asked is None else WatchRequest(*asked).to_number()
        if asked is None and self._thread is not None:
            self._stop()
        if asked is not None and self._thread is None:
            self._thread = threading.Thread(target=self._write, name="live-feed", daemon=True)
            self._thread.start()

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(timeout=5)

    def _take(self, message: WorkerMessage) -> None:
        """Keep a message for the writing thread; called where it arrives, with the sink locked."""
        if self._thread is None or self._waiting.qsize() >= _MOST_WAITING - 1:
            return
        self._waiting.put_nowait(message)

    def _write(self) -> None:
        writer = FeedWriter(self._run, self._facts)
        try:
            while (message := self._waiting.get()) is not None:
                writer.append({"worker": message.worker, "time": time.time(), **(message.watched or {})})
        except (OSError, RunLostError):
            return  # a full disk, or a run that was lost: the run itself will say so
        finally:
            writer.close()


class LiveServer(Callback):
    """Run ``pokered_rl live`` on the run in a process of its own while the job lasts.

    Args:
        run: The run folder.
        port: Its port on the loopback.
        say: Prints a line for the user.
    """

    def __init__(self, run: Path, *, port: int) -> None:
        self._run, self._port = run, port
        self._process: subprocess.Popen[bytes] | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Start the server."""
        command = [sys.executable, "-m", "pokered_rl", "live", str(self._run), "--port", str(self._port), "--with-job"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )
        trainer.say(f"live page: http://127.0.0.1:{self._port}")

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Let the server tell its pages that the job has ended, and end it."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()  # it ends by itself a few seconds after that, or when this process is killed
            threading.Thread(target=process.wait, name="live-server", daemon=True).start()
