"""Finding a ROM file and saying which game it is.

The retail game is never part of this library: its owner puts the file at ``roms/pokemon_red.gb``. Without it,
Sprout is used, a freely licensed miniature RPG that travels with the package and keeps its state at the same
addresses.
"""

import functools
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

from pokered_rl.errors import CartridgeError
from pokered_rl.game.profiles import CartridgeProfile

__all__ = ["ROM_VARIABLE", "Cartridge", "CartridgeKind"]

#: What a cartridge was identified as.
CartridgeKind = Literal["red", "blue", "sprout", "unknown"]

#: Environment variable that names the ROM to use.
ROM_VARIABLE = "POKERED_ROM"

_DEFAULT_ROM = Path("roms") / "pokemon_red.gb"
_CHECKOUT = Path(__file__).resolve().parents[2]
_SPROUT_TITLE = "SPROUT"
_BANK_BYTES = 16 * 1024
#: Largest ROM that the Game Boy's controllers address (MBC5, 512 banks).
_MAX_BYTES = 512 * _BANK_BYTES
_RETAIL: tuple[Literal["red", "blue"], ...] = ("red", "blue")
_RETAIL_BYTES = 64 * _BANK_BYTES


@dataclass(frozen=True, kw_only=True)
class Cartridge:
    """A ROM file that was read and identified.

    Only the identity is kept, not the bytes, so that a cartridge can be sent to worker processes; :meth:`rom` reads
    the file again and refuses it when it is no longer the same.

    Attributes:
        path: Where the file is.
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

        The first of these that is given or exists is used, and a file that is found but wrong is an error, never
        passed over: ``path``; the variable ``POKERED_ROM``; ``roms/pokemon_red.gb`` under the working directory, then
        under the checkout; the bundled Sprout, with one line on stderr that says so (once a process, not in workers).

        Args:
            path: A ROM file.
            allow_unknown: Accept other games and hacks whose header is in order.

        Raises:
            CartridgeError: The file is missing, damaged, truncated, or (without ``allow_unknown``) not one of the
                known games. The message names what was found and what was expected.
        """
        if path is not None:
            return cls._identify(Path(path), allow_unknown=allow_unknown)
        named = os.environ.get(ROM_VARIABLE)
        if named:
            return cls._identify(Path(named), allow_unknown=allow_unknown, named_by=ROM_VARIABLE)
        for folder in (Path.cwd(), _CHECKOUT):
            candidate = folder / _DEFAULT_ROM
            if candidate.exists():
                return cls._identify(candidate, allow_unknown=allow_unknown)
        bundled = cls.bundled()
        if multiprocessing.parent_process() is None:
            _say_bundled_once()
        return bundled

    @classmethod
    def bundled(cls) -> "Cartridge":
        """Sprout, the cartridge that travels with the package.

        Raises:
            CartridgeError: The installation is damaged: no bundled cartridge, or not a sound one.
        """
        with _bundled_path() as path:
            return cls._identify(path, allow_unknown=False)

    @property
    def profile(self) -> CartridgeProfile:
        """Maps, events and tables of this game; an unknown cartridge is taken for a hack of Red."""
        return CartridgeProfile.get(self.kind)

    def rom(self) -> bytes:
        """The bytes of the file.

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
            return found
        raise CartridgeError(_refusal(found, faults, named_by=named_by))


def _read(path: Path, *, named_by: str | None = None) -> bytes:
    origin = f" (named by {named_by})" if named_by else ""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise CartridgeError(
                f"{path}{origin} is no Game Boy ROM: {size} bytes, the largest cartridge has {_MAX_BYTES}."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise CartridgeError(
            f"No ROM at {path}{origin}. Put your own copy of Pokémon Red there, or leave the path away to play the "
            f"bundled cartridge Sprout."
        ) from None
    except OSError as error:
        raise CartridgeError(f"Cannot read the ROM {path}{origin}: {error.strerror or error}.") from error


def _header_faults(data: bytes) -> list[str]:
    """What is wrong with a ROM's header; empty when it is in order (Pan Docs, "The Cartridge Header")."""
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
        # Only Sprout's builds must have it right: the console never checks it, and many hacks do not mend it.
        faults.append(f"global checksum 0x{stored:04x}, computed 0x{computed:04x}: damaged")
    return faults


def _refusal(found: Cartridge, faults: list[str], *, named_by: str | None) -> str:
    """The whole story for somebody whose file does not work: what it is, and what would work."""
    origin = f" (named by {named_by})" if named_by else ""
    lines = [
        f"{found.path}{origin} is not a cartridge this library knows.",
        f"  found:    SHA-1 {found.sha1}, {found.size} bytes, title {found.title!r}",
    ]
    lines += [f"            {fault}" for fault in faults]
    # The file's own title tells which of the known games it was meant to be.
    retail = [CartridgeProfile.get(kind) for kind in _RETAIL]
    meant = [profile for profile in retail if profile.title == found.title] or retail
    if found.title == _SPROUT_TITLE:
        with _bundled_path() as path:
            known = Cartridge.bundled() if path.absolute() != found.path else None
        if known is not None:
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


@contextmanager
def _bundled_path() -> Iterator[Path]:
    checkout = _CHECKOUT / "roms" / "sprout.gb"
    if checkout.exists():
        yield checkout
        return
    resource = resources.files("pokered_rl") / "_bundled" / "sprout.gb"
    if not resource.is_file():
        raise CartridgeError(
            f"The bundled cartridge is missing: neither {checkout} nor {resource} exists. Reinstall pokered_rl."
        )
    with resources.as_file(resource) as path:
        yield path


@functools.cache
def _say_bundled_once() -> None:
    sys.stderr.write(f"pokered_rl: no {_DEFAULT_ROM} and no {ROM_VARIABLE}: playing the bundled cartridge Sprout.\n")
    sys.stderr.flush()
