"""Find a ROM file and identify its game.

The retail game is not part of this library: its owner puts the file at ``roms/pokemon_red.gb``. Without it,
Sprout is used, a freely licensed miniature RPG that ships with the package and keeps its state at the same addresses.
"""

import errno
import functools
import hashlib
import multiprocessing
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pokered_rl.bundled import CHECKOUT, bundled_path
from pokered_rl.errors import CartridgeError
from pokered_rl.game.profiles import CartridgeProfile
from pokered_rl.plain_files import read_plain_file

__all__ = ["ROM_VARIABLE", "Cartridge", "CartridgeKind"]

#: Game that a cartridge was identified as.
CartridgeKind = Literal["red", "blue", "sprout", "unknown"]

#: Environment variable that names the ROM to use.
ROM_VARIABLE = "POKERED_ROM"

_DEFAULT_ROM = Path("roms") / "pokemon_red.gb"
#: Folders whose ``roms/`` may hold the ROM, beside the working directory.
_FOLDERS: tuple[Path, ...] = (CHECKOUT,)
_SPROUT_TITLE = "SPROUT"
_BANK_BYTES = 16 * 1024
#: Largest ROM that the Game Boy's controllers address (MBC5, 512 banks).
_MAX_BYTES = 512 * _BANK_BYTES
_RETAIL: tuple[Literal["red", "blue"], ...] = ("red", "blue")
_RETAIL_BYTES = 64 * _BANK_BYTES
#: Header byte: 0 Japan, 1 everywhere else.
_DESTINATION = 0x14A
#: Global checksum in the header of the English Red.
_RED_CHECKSUM = 0x91E6


@dataclass(frozen=True, kw_only=True)
class Cartridge:
    """A ROM file that was read and identified.

    The bytes are not kept, so a cartridge can be sent to worker processes; :meth:`rom` reads the file again and
    refuses it when it has changed.

    Attributes:
        path: The file.
        sha1: SHA-1 of the whole file, lower-case hex.
        title: Title from the header (0x134-0x143).
        kind: ``"red"`` and ``"blue"`` are the English retail files, recognised by SHA-1. ``"sprout"`` is any build
            of Sprout: title ``SPROUT``, header and global checksum right and size as the header says; its hash is
            not fixed, because it is built from source in this repository. ``"unknown"`` is everything else.
        size: Bytes in the file.
    """

    path: Path
    sha1: str
    title: str
    kind: CartridgeKind
    size: int

    @classmethod
    def find(cls, path: str | os.PathLike[str] | None = None, *, allow_unknown: bool = False) -> "Cartridge":
        """Find the ROM to play and identify it.

        The first of these that is given or exists is used; a file that is found but wrong is an error: ``path``; the
        variable ``POKERED_ROM``; ``roms/pokemon_red.gb`` under the working directory, then under the checkout; the
        bundled Sprout, with one line on stderr that says so (once a process, not in workers).

        Args:
            path: A ROM file.
            allow_unknown: Accept hacks of Red and Blue whose header is in order. One line on stderr warns of a file
                that may be a translation.

        Raises:
            CartridgeError: The file is missing, damaged, truncated, Yellow or Japanese, or (without
                ``allow_unknown``) not one of the known games. The message names what was found and expected.
        """
        if path is not None:
            return cls._identify(Path(path), allow_unknown=allow_unknown)
        named = os.environ.get(ROM_VARIABLE)
        if named:
            return cls._identify(Path(named), allow_unknown=allow_unknown, named_by=ROM_VARIABLE)
        for folder in (Path.cwd(), *_FOLDERS):
            candidate = folder / _DEFAULT_ROM
            if candidate.exists():
                return cls._identify(candidate, allow_unknown=allow_unknown)
        bundled = cls.bundled()
        if multiprocessing.parent_process() is None:
            _say_once(f"no {_DEFAULT_ROM} and no {ROM_VARIABLE}: playing the bundled cartridge Sprout.")
        return bundled

    @classmethod
    def bundled(cls) -> "Cartridge":
        """Return Sprout, the cartridge that ships with the package.

        Raises:
            ConfigError: The installation lacks it.
            CartridgeError: The file is damaged.
        """
        return cls._identify(bundled_path("sprout.gb"), allow_unknown=False)

    @property
    def profile(self) -> CartridgeProfile:
        """Maps, events and tables of this game; those of Red for an unknown cartridge."""
        return CartridgeProfile.get(self.kind)

    def rom(self) -> bytes:
        """Return the bytes of the file.

        Raises:
            CartridgeError: The file changed or vanished since it was identified.
        """
        data = _read(self.path)
        sha1 = hashlib.sha1(data).hexdigest()
        if sha1 != self.sha1:
            raise CartridgeError(
                f"{self.path} changed while it was in use: SHA-1 {sha1}, identified as {self.sha1}. "
                f"Start again with the file you want to play."
            )
        return data

    @classmethod
    def _identify(cls, path: Path, *, allow_unknown: bool, named_by: str | None = None) -> "Cartridge":
        data = _read(path, named_by=named_by)
        sha1 = hashlib.sha1(data).hexdigest()
        title = data[0x134:0x144].split(b"\0")[0].decode("ascii", errors="replace").strip()
        found = cls(path=path.absolute(), sha1=sha1, title=title, kind="unknown", size=len(data))
        for kind in _RETAIL:
            if sha1 == CartridgeProfile.get(kind).sha1:
                return replace(found, kind=kind)
        faults = _header_faults(data)
        if title == _SPROUT_TITLE and not faults:
            return replace(found, kind="sprout")
        if allow_unknown and not faults:
            _refuse_other_ram(found, data)
            return found
        raise CartridgeError(_refusal(found, faults, named_by=named_by))


def _read(path: Path, *, named_by: str | None = None) -> bytes:
    origin = f" (named by {named_by})" if named_by else ""
    try:
        return read_plain_file(path, max_bytes=_MAX_BYTES, follow=True)
    except FileNotFoundError:
        raise CartridgeError(
            f"No ROM at {path}{origin}. Put your own copy of Pokémon Red there, or leave the path away to play the "
            f"bundled cartridge Sprout."
        ) from None
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise CartridgeError(
                f"{path}{origin} is not a Game Boy ROM: it {error.strerror}, the largest cartridge."
            ) from None
        raise CartridgeError(f"Cannot read the ROM {path}{origin}: {error.strerror or error}.") from error


def _header_faults(data: bytes) -> list[str]:
    """Return what is wrong with a ROM's header; empty when it is in order (Pan Docs, "The Cartridge Header")."""
    if len(data) < 2 * _BANK_BYTES:
        return [f"only {len(data)} bytes, the smallest cartridge has {2 * _BANK_BYTES}"]
    faults = []
    checksum = 0
    for byte in data[0x134:0x14D]:
        checksum = (checksum - byte - 1) & 0xFF
    if checksum != data[0x14D]:
        faults.append(f"header checksum 0x{data[0x14D]:02x}, computed 0x{checksum:02x}")
    code = data[0x148]
    if code > 8:
        faults.append(f"ROM size code 0x{code:02x} does not exist")
    elif len(data) != 2 * _BANK_BYTES << code:
        faults.append(f"{len(data)} bytes where the header says {2 * _BANK_BYTES << code}: truncated or padded")
    stored = data[0x14E] << 8 | data[0x14F]
    computed = (sum(data) - data[0x14E] - data[0x14F]) & 0xFFFF
    if not faults and stored != computed and data[0x134:0x13A] == _SPROUT_TITLE.encode():
        # Only required of Sprout: the console never checks it, and many hacks do not update it.
        faults.append(f"global checksum 0x{stored:04x}, computed 0x{computed:04x}: damaged")
    return faults


def _refusal(found: Cartridge, faults: list[str], *, named_by: str | None) -> str:
    """Compose the message for a refused file: what was found, and what would be accepted."""
    origin = f" (named by {named_by})" if named_by else ""
    lines = [
        f"{found.path}{origin} is not a cartridge this library knows.",
        f"  found:    SHA-1 {found.sha1}, {found.size} bytes, title {found.title!r}",
    ]
    lines += [f"            {fault}" for fault in faults]
    # The title tells which of the known games is expected.
    retail = [CartridgeProfile.get(kind) for kind in _RETAIL]
    meant = [profile for profile in retail if profile.title == found.title] or retail
    if found.title == _SPROUT_TITLE:
        if bundled_path("sprout.gb").absolute() != found.path:
            known = Cartridge.bundled()
            lines.append(f"  expected: SHA-1 {known.sha1}, {known.size} bytes, title {known.title!r} (bundled)")
    else:
        lines += [
            f"  expected: SHA-1 {profile.sha1}, {_RETAIL_BYTES} bytes, title {profile.title!r} (English retail)"
            for profile in meant
        ]
    advice = "Dump your own English cartridge again"
    if not faults:
        advice += ", or pass allow_unknown=True (env.allow_unknown=true) if it is a hack that keeps Red's RAM addresses"
    lines.append(f"{advice}.")
    return "\n".join(lines)


def _refuse_other_ram(found: Cartridge, data: bytes) -> None:
    """Refuse games of the series that keep their state at other addresses; warn of what may be one.

    The header does not name a translation (its title and destination are those of the English file), but its global
    checksum differs; hacks often keep Red's.

    Raises:
        CartridgeError: Yellow, or a Japanese cartridge.
    """
    misread = "position, party, bag, events and screens"
    if found.title.startswith("POKEMON YELLOW"):
        raise CartridgeError(
            f"{found.path} is Pokémon Yellow ({found.title!r}), which keeps most of its state one byte lower than Red "
            f"and Blue: {misread} would be misread."
        )
    if not found.title.startswith("POKEMON "):
        return
    if data[_DESTINATION] == 0:
        raise CartridgeError(
            f"{found.path} ({found.title!r}) is a Japanese cartridge (destination 0x00 in its header), which keeps its "
            f"state at other addresses: {misread} would be misread."
        )
    checksum = data[0x14E] << 8 | data[0x14F]
    titles = [CartridgeProfile.get(kind).title for kind in _RETAIL]
    if found.title in titles and checksum != _RED_CHECKSUM:
        _say_once(
            f"{found.path} has the title {found.title!r} but global checksum 0x{checksum:04x}: if it is a translation, "
            f"{misread} are misread."
        )


@functools.cache
def _say_once(text: str) -> None:
    sys.stderr.write(f"pokered_rl: {text}\n")
    sys.stderr.flush()
