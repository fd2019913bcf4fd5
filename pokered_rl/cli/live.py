"""Serve a page that follows a run while it trains, or shows the logs of a finished one.

    pokered_rl live runs/quickstart                    # http://127.0.0.1:8721
    pokered_rl live runs/big --host 0.0.0.0            # for other machines, which need the token that is printed

The page asks the run for the steps of its emulators; a run that nobody looks at sends nothing. It needs the extra
`live` (pip install 'pokered_rl[live]'). Ctrl-C ends it.

Exit status: 0 ended with its job, 1 the run cannot be shown, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokered_rl.errors import ConfigError
from pokered_rl.failures import check_source, command

if TYPE_CHECKING:
    from pokered_rl.emulator import Cartridge

__all__ = ["main"]

#: The server ends this long after its job, so that pages hear of the end.
_END_SECONDS = 4.0


@command(remedy="give another port with --port")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Serve the page; arguments and result as for :func:`pokered_rl.cli.main`."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve (%(default)s, this machine only)")
    parser.add_argument("--port", type=int, default=8721, help="port (%(default)s)")
    parser.add_argument("--token", help="what browsers must give where HOST is no loopback; drawn by default")
    parser.add_argument("--logs", type=int, default=12, metavar="N", help="logs replayed at once (%(default)s)")
    parser.add_argument("--rom", help="the ROM that is played (as in the run)")
    parser.add_argument("--with-job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535 or options.logs < 0:
        parser.error("--port must be in 0..65535, --logs 0 or more")
    check_source(options.run)

    try:
        import uvicorn

        from pokered_rl.record.live.app import is_loopback, make_app
    except ImportError as error:
        raise ConfigError(f"the live page needs {error.name}: pip install 'pokered_rl[live]'") from error
    from pokered_rl.record.live.follower import RunFollower, lower_priority

    token = None if is_loopback(options.host) else options.token or secrets.token_urlsafe(16)
    listening = _listen(options.host, options.port)
    lower_priority()
    follower = RunFollower(
        options.run, _cartridge(options.run, options.rom), tracks=options.logs, action_values=_values_of(options.run)
    )
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(follower, token=token), log_level="warning", server_header=False, timeout_graceful_shutdown=1
        )
    )
    port = listening.getsockname()[1]
    name = f"[{options.host}]" if ":" in options.host else options.host
    sys.stdout.write(f"http://{name}:{port}" + (f"/?token={token}" if token else "") + "\n")
    sys.stdout.flush()
    if options.with_job:
        threading.Thread(target=_end_with_job, args=(server,), daemon=True).start()
    server.run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(found[0], socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
        listening.listen(64)
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port} cannot be served: {error.strerror or error}; choose others"
        ) from error
    return listening


def _end_with_job(server: Any) -> None:
    """End the server when the job that started it has closed the pipe, or is gone."""
    sys.stdin.buffer.read()
    time.sleep(_END_SECONDS)
    server.should_exit = True


def _cartridge(run: Path, rom: str | None) -> Cartridge:
    """Return what the run plays: by its config, else by its first log."""
    from pokered_rl.emulator import Cartridge
    from pokered_rl.episodes import EpisodeLog, cartridge_for, find_logs
    from pokered_rl.training.load_config import read_config
    from pokered_rl.training.run_folder import RunFolder

    folder = RunFolder(run)
    if not folder.config.is_file():
        return cartridge_for(EpisodeLog.load(find_logs([run])[0]), rom)
    config = read_config(folder.config)
    return Cartridge.find(rom if rom is not None else config.env.cartridge, allow_unknown=config.env.allow_unknown)


def _values_of(run: Path) -> Callable[..., Any]:
    """Return a function that values the actions of a log by the run's weights; they are loaded when it is called."""
    policies: list[Any] = []

    def values(log: Any) -> Any:
        from pokered_rl.training import load_policy

        if not policies:
            policies.append(load_policy(run))
        return policies[0].action_values(log)

    return values
