import dataclasses
import hashlib
import pickle

import pytest

from pokered_rl.emulator import Cartridge
from pokered_rl.emulator import cartridge as cartridge_module
from pokered_rl.errors import CartridgeError


def make_rom(
    *,
    title: str = "OTHER GAME",
    size_code: int = 0,
    size: int | None = None,
    mend: bool = True,
    destination: int = 1,
    checksum: int | None = None,
) -> bytes:
    """A ROM of zeros with a header: 32 KiB << size_code, MBC3 with battery; ``checksum``: the global one."""
    rom = bytearray(32 * 1024 << size_code if size is None else size)
    rom[0x134 : 0x134 + len(title)] = title.encode()
    rom[0x147], rom[0x148], rom[0x149], rom[0x14A] = 0x13, size_code, 3, destination
    if mend:
        # Pan Docs: x = 0; for each byte of 0x134-0x14C: x = x - byte - 1.
        header = 0
        for byte in rom[0x134:0x14D]:
            header = (header - byte - 1) & 0xFF
        rom[0x14D] = header
        total = sum(rom) & 0xFFFF if checksum is None else checksum
        rom[0x14E], rom[0x14F] = total >> 8, total & 0xFF
    return bytes(rom)


def make_retail(title: str) -> bytes:
    return make_rom(title=title, size_code=5)


def test_bundled_cartridge_is_sprout_and_carries_its_identity():
    sprout = Cartridge.bundled()
    data = sprout.path.read_bytes()
    assert (sprout.kind, sprout.title, sprout.size) == ("sprout", "SPROUT", len(data))
    assert sprout.sha1 == hashlib.sha1(data).hexdigest()
    assert sprout.rom() == data
    assert sprout.profile.name == "sprout"


def test_cartridge_travels_to_a_worker():
    sprout = Cartridge.bundled()
    assert pickle.loads(pickle.dumps(sprout)) == sprout


@pytest.mark.parametrize(("kind", "title"), [("red", "POKEMON RED"), ("blue", "POKEMON BLUE")])
def test_retail_files_are_known_by_their_hash(monkeypatch, tmp_path, kind, title):
    rom = make_retail(title)
    get = cartridge_module.CartridgeProfile.get

    class Profiles:
        @staticmethod
        def get(name):
            return dataclasses.replace(get(name), sha1=hashlib.sha1(rom).hexdigest() if name == kind else None)

    monkeypatch.setattr(cartridge_module, "CartridgeProfile", Profiles)
    (tmp_path / "mine.gb").write_bytes(rom)
    found = Cartridge.find(tmp_path / "mine.gb")
    assert found.kind == kind
    assert found.profile.name == kind


def test_wrong_revision_is_refused_with_found_and_expected(tmp_path):
    rom = make_retail("POKEMON RED")
    path = tmp_path / "red.gb"
    path.write_bytes(rom)
    with pytest.raises(CartridgeError) as refusal:
        Cartridge.find(path)
    message = str(refusal.value)
    for part in (
        str(path),
        hashlib.sha1(rom).hexdigest(),
        "ea9bcae617fdf159b045185467ae58b2e4a48b9a",
        "1048576 bytes",
        "'POKEMON RED'",
        "allow_unknown",
    ):
        assert part in message
    assert "BLUE" not in message


def test_truncated_file_is_refused_even_when_unknown_games_are_allowed(tmp_path):
    path = tmp_path / "red.gb"
    path.write_bytes(make_retail("POKEMON RED")[:-1])
    with pytest.raises(CartridgeError, match=r"1048575 bytes where the header says 1048576"):
        Cartridge.find(path, allow_unknown=True)


@pytest.mark.parametrize("size", [0, 100, 0x150])
def test_tiny_file_is_refused(tmp_path, size):
    path = tmp_path / "tiny.gb"
    path.write_bytes(bytes(size))
    with pytest.raises(CartridgeError, match=f"only {size} bytes"):
        Cartridge.find(path, allow_unknown=True)


def test_hack_is_refused_by_default_and_without_retail_return_addresses_when_allowed(tmp_path):
    path = tmp_path / "hack.gb"
    path.write_bytes(make_rom(title="HACK"))
    with pytest.raises(CartridgeError, match="allow_unknown=True"):
        Cartridge.find(path)
    hack = Cartridge.find(path, allow_unknown=True)
    assert not hack.profile.stack_words
    assert (hack.kind, hack.title, hack.profile.name) == ("unknown", "HACK", "unknown")


def test_bad_header_checksum_is_refused_even_when_unknown_games_are_allowed(tmp_path):
    path = tmp_path / "bad.gb"
    path.write_bytes(make_rom(title="HACK", mend=False))
    with pytest.raises(CartridgeError, match="header checksum"):
        Cartridge.find(path, allow_unknown=True)


def test_damaged_sprout_is_refused_and_the_bundled_one_named(tmp_path):
    sprout = Cartridge.bundled()
    rom = bytearray(sprout.rom())
    rom[0x1000] ^= 1
    path = tmp_path / "sprout.gb"
    path.write_bytes(rom)
    with pytest.raises(CartridgeError, match="global checksum") as refusal:
        Cartridge.find(path)
    assert sprout.sha1 in str(refusal.value)


def test_another_build_of_sprout_is_sprout(tmp_path):
    path = tmp_path / "sprout.gb"
    path.write_bytes(make_rom(title="SPROUT"))
    assert Cartridge.find(path).kind == "sprout"


@pytest.mark.usefixtures("bare_environment")
def test_search_order_is_path_variable_working_directory_bundled(monkeypatch, tmp_path, capfd):
    cartridge_module._say_once.cache_clear()
    assert Cartridge.find().kind == "sprout"
    assert capfd.readouterr().err.count("bundled cartridge Sprout") == 1
    assert Cartridge.find().kind == "sprout"
    assert capfd.readouterr().err == ""  # once a process

    names = {}
    for name in ("explicit", "variable", "working"):
        names[name] = make_rom(title="SPROUT", size_code=len(names) + 1)  # three sizes
    (tmp_path / "roms").mkdir()
    (tmp_path / "roms" / "pokemon_red.gb").write_bytes(names["working"])
    assert Cartridge.find().sha1 == hashlib.sha1(names["working"]).hexdigest()
    (tmp_path / "variable.gb").write_bytes(names["variable"])
    monkeypatch.setenv("POKERED_ROM", str(tmp_path / "variable.gb"))
    assert Cartridge.find().sha1 == hashlib.sha1(names["variable"]).hexdigest()
    (tmp_path / "explicit.gb").write_bytes(names["explicit"])
    assert Cartridge.find(tmp_path / "explicit.gb").sha1 == hashlib.sha1(names["explicit"]).hexdigest()


@pytest.mark.usefixtures("bare_environment")
def test_wrong_file_at_the_usual_place_is_an_error_and_not_passed_over(tmp_path):
    (tmp_path / "roms").mkdir()
    (tmp_path / "roms" / "pokemon_red.gb").write_bytes(make_retail("POKEMON RED"))
    with pytest.raises(CartridgeError, match=r"pokemon_red\.gb is not a cartridge"):
        Cartridge.find()


def test_missing_file_named_by_the_variable_says_who_named_it(monkeypatch, tmp_path):
    monkeypatch.setenv("POKERED_ROM", str(tmp_path / "gone.gb"))
    with pytest.raises(CartridgeError, match=r"No ROM at .*gone\.gb \(named by POKERED_ROM\)"):
        Cartridge.find()


def test_folder_in_place_of_a_rom_is_refused(tmp_path):
    with pytest.raises(CartridgeError, match="Cannot read the ROM"):
        Cartridge.find(tmp_path)


def test_rom_that_changes_after_identification_is_refused(tmp_path):
    path = tmp_path / "sprout.gb"
    path.write_bytes(make_rom(title="SPROUT"))
    found = Cartridge.find(path)
    path.write_bytes(make_rom(title="SPROUT", size_code=1))
    with pytest.raises(CartridgeError, match="changed while it was in use"):
        found.rom()


@pytest.mark.parametrize(
    ("title", "destination", "words"),
    [("POKEMON YELLOW", 1, "one byte lower"), ("POKEMON RED", 0, "Japanese"), ("POKEMON GREEN", 0, "Japanese")],
)
def test_games_with_their_state_elsewhere_are_refused_even_when_unknown_games_are_allowed(
    tmp_path, title, destination, words
):
    path = tmp_path / "other.gb"
    path.write_bytes(make_rom(title=title, size_code=5, destination=destination))
    with pytest.raises(CartridgeError, match=f"{words}.*position, party, bag, events and screens would be misread"):
        Cartridge.find(path, allow_unknown=True)


@pytest.mark.parametrize(
    ("title", "checksum", "lines"),
    [
        ("POKEMON RED", 0x1234, 1),  # a translation has the English title and header, and another global checksum
        ("POKEMON RED", 0x91E6, 0),  # a hack that kept the English file's
        ("POKEMON BLUE", 0x1234, 1),
        ("HACK", 0x1234, 0),
    ],
)
def test_possible_translation_is_allowed_with_one_line_of_warning(tmp_path, capfd, title, checksum, lines):
    path = tmp_path / "maybe.gb"
    path.write_bytes(make_rom(title=title, size_code=5, checksum=checksum))
    assert Cartridge.find(path, allow_unknown=True).kind == "unknown"
    warned = capfd.readouterr().err
    assert warned.count("\n") == lines
    assert ("if it is a translation" in warned) == bool(lines)


@pytest.mark.parametrize(("title", "header_checksum"), [("POKEMON RED", 0x20), ("POKEMON BLUE", 0xD3)])
def test_header_of_the_retail_games_as_published_is_in_order(tmp_path, title, header_checksum):
    # As pret/pokered builds it: licensee 01, SGB, MBC3 with battery, 1 MiB, 32 KiB, destination 1, old licensee 33.
    rom = bytearray(make_retail(title))
    rom[0x144:0x147], rom[0x14B], rom[0x14D] = b"01\x03", 0x33, header_checksum
    path = tmp_path / "retail.gb"
    path.write_bytes(rom)
    assert Cartridge.find(path, allow_unknown=True).title == title
    rom[0x14D] ^= 1
    path.write_bytes(rom)
    with pytest.raises(CartridgeError, match="header checksum"):
        Cartridge.find(path, allow_unknown=True)
