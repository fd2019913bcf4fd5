"""Serve a page that follows a run while it trains, or shows the logs of a finished one.

    pokered_rl live runs/quickstart                    # http://127.0.0.1:8721
    pokered_rl live runs/big --host 0.0.0.0            # for other machines, which need the token that is printed

The page asks the run for the steps of its emulators; a run that nobody looks at sends nothing. In the page a person
may take over an episode: a copy of it is played on here, and kept as a log in the folder of --log. It needs the extra
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

from pokered_rl.disk import check_writable
from pokered_rl.errors import ConfigError, EpisodeLogError, PokeredError
from pokered_rl.failures import check_source, command

if TYPE_CHECKING:
    from pokered_rl.emulator import Cartridge
    from pokered_rl.episodes import EpisodeLog
    from pokered_rl.record.live.take_over import TakeOver

__all__ = ["main"]

#: The server ends this long after its job, so that pages hear of the end.
_END_SECONDS = 4.0
#: Where episodes that were taken over are kept, beside the run: not among its own.
_KEPT = Path("by_hand", "episode_logs")


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
    parser.add_argument(
        "--log", type=Path, metavar="FOLDER", help="keeps what was taken over (by_hand/episode_logs beside the run)"
    )
    parser.add_argument("--rom", help="the ROM that is played (as in the run)")
    parser.add_argument("--with-job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535 or options.logs < 0:
        parser.error("--port must be in 0..65535, --logs 0 or more")
    check_source(options.run)
    if options.log is not None:
        check_writable(options.log, option="--log")

    try:
        import uvicorn

        from pokered_rl.record.live.app import is_loopback, make_app
    except ImportError as error:
        raise ConfigError(f"the live page needs {error.name}: pip install 'pokered_rl[live]'") from error
    from pokered_rl.record.live.follower import RunFollower, lower_priority

    token = None if is_loopback(options.host) else options.token or secrets.token_urlsafe(16)
    listening = _listen(options.host, options.port)
    lower_priority()
    cartridge = _cartridge(options.run, options.rom)
    follower = RunFollower(
        options.run,
        cartridge,
        tracks=options.logs,
        action_values=_values_of(options.run, cartridge),
        play_on=_play_on(options.run, cartridge, options.log or options.run.absolute().parent / _KEPT),
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


def _values_of(run: Path, cartridge: Cartridge) -> Callable[..., Any]:
    """Return a function that values the actions of a log by the run's weights; they are loaded when it is called."""
    policies: list[Any] = []

    def values(log: Any) -> Any:
        from pokered_rl.training import load_policy

        if not policies:
            policies.append(load_policy(run, cartridge=cartridge))
        return policies[0].action_values(log)

    return values


def _play_on(run: Path, cartridge: Cartridge, folder: Path) -> Callable[[EpisodeLog, int, TakeOver], str]:
    """Return a function that plays a log on for the page, with the run's newest weights and twice as fast as a console.

    A log in which nothing was added is not kept.
    """

    def play_on(log: EpisodeLog, steps: int, page: TakeOver) -> str:
        from pokered_rl.cli.watch import watch
        from pokered_rl.episodes import EpisodeFolder
        from pokered_rl.training import load_policy

        logs = EpisodeFolder(folder)
        before = set(logs.logs())
        options: dict[str, Any] = {"epsilon": log.header.epsilon or 0.0, "speed": 2.0, "every": 1, "max_episodes": 1}
        try:
            policy = load_policy(run, cartridge=cartridge)
            played = watch(policy, page, continued=(log, steps), on_step=page.stepped, log=folder, **options)
        except PokeredError as error:
            raise EpisodeLogError(str(error).replace(str(run), run.name)) from error  # no path for the page
        for path in set(logs.logs()) - before:
            if not played:
                path.unlink()
                continue
            sys.stdout.write(f"{path}\n")
            sys.stdout.flush()
            return f"The episode has ended; it is kept as {path.name}."
        return "Nothing was played."

    return play_on
