"""`pokered_rl live`: the server as a program."""

import socket
import subprocess
import sys
import urllib.request

import pytest

from pokered_rl.cli import main
from pokered_rl.cli.live import _END_SECONDS
from pokered_rl.training.load_config import load_config

pytest.importorskip("uvicorn", reason="the extra `live` is not installed")


def test_it_serves_a_run_and_ends_some_seconds_after_its_job(trained):
    command = [sys.executable, "-m", "pokered_rl", "live", str(trained), "--port", "0", "--with-job"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = next(line.strip() for line in server.stdout if line.startswith("http"))
        assert address.startswith("http://127.0.0.1:")
        assert b"<title>live</title>" in urllib.request.urlopen(address).read()
        server.stdin.close()  # as when the job ends, or is killed
        assert server.wait(timeout=60 + _END_SECONDS) == 0


def test_another_address_gets_a_token(trained):
    command = [
        sys.executable,
        "-m",
        "pokered_rl",
        "live",
        str(trained),
        "--port",
        "0",
        "--host",
        "0.0.0.0",
        "--with-job",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = next(line.strip() for line in server.stdout if line.startswith("http"))
        assert "/?token=" in address
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(address.partition("?")[0].replace("0.0.0.0", "127.0.0.1"))
        server.kill()


def test_what_cannot_be_served_ends_in_one_line(trained, tmp_path, capsys):
    assert main(["live", str(tmp_path / "gone")]) == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["live", str(trained), "--port", str(taken.getsockname()[1])]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 2
    assert "cannot be served: Address already in use" in err


def test_live_is_short_for_its_option():
    assert load_config("quickstart").logging.live is False
    assert load_config("quickstart", ["live=true"]).logging.live is True
