"""Items: names and ids, key items, prices."""

from __future__ import annotations

from dataclasses import dataclass

from pokered_rl.game._data import load_json
from pokered_rl.game.name_table import NameTable

__all__ = ["ITEMS", "Item", "load_items"]


@dataclass(frozen=True)
class Item:
    """An item.

    Attributes:
        id: Number in the bag.
        name: Name in the disassembly; machines carry the name of their move.
        key_item: Whether it is a key item, which cannot be sold or tossed.
        price: Price in shops; 0 where it is not for sale.
        machine: ``HM01``, ``TM24``; empty for all others.
    """

    id: int
    name: str
    key_item: bool
    price: int
    machine: str = ""


def load_items(file: str) -> NameTable[Item]:
    """Return the items of the package's ``data/<file>``."""
    return NameTable(
        Item(int(id), item["name"], item["key_item"], item["price"], item.get("short", ""))
        for id, item in load_json(file)["items"].items()
    )


#: All items of the retail game.
ITEMS = load_items("items.json")
