import os

import pytest

from pokered_rl.errors import EpisodeLogError
from pokered_rl.plain_files import read_plain_file
from pokered_rl.plain_text import printable


def test_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    assert read_plain_file(tmp_path / "a", max_bytes=7) == b"content"
    with pytest.raises(OSError, match="has 7 bytes, at most 6"):
        read_plain_file(tmp_path / "a", max_bytes=6)


def test_link_is_refused_unless_it_may_be_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic link"):
        read_plain_file(tmp_path / "b", max_bytes=100)
    assert read_plain_file(tmp_path / "b", max_bytes=100, follow=True) == b"content"


@pytest.mark.parametrize("follow", [False, True])
def test_pipes_devices_and_folders_are_refused_without_waiting(tmp_path, follow):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read_plain_file(path, max_bytes=100, follow=follow)


def test_text_that_controls_a_terminal_is_shown_as_marks():
    assert printable("a\x1b[2J\r\x07\u202eb\ud800\nc") == "a\ufffd[2J\ufffd\ufffd\ufffdb\ufffd\nc"
    assert printable("Pokémon \N{SPARKLES} $x$ <b>") == "Pokémon \N{SPARKLES} $x$ <b>"
    assert str(EpisodeLogError("played on \x1b]0;owned\x07")) == "played on \ufffd]0;owned\ufffd"
