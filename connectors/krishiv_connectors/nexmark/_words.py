"""The texts that Nexmark rows are made of: pools, from which rows take by number.

Pools are made once per seed; a row's text is then a vectorised take instead of string building.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import pyarrow as pa

from krishiv_connectors.nexmark._draws import letters

__all__ = ["COLD_CHANNELS", "HOT_CHANNELS", "pool"]

HOT_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
"""The channels that half of all bids come through."""


COLD_CHANNELS = 10_000
"""How many other channels there are."""

_FIRST_NAMES = ("Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter")
_LAST_NAMES = ("Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris")
_CITIES = (
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
)
_STATES = ("AZ", "CA", "ID", "OR", "WA", "WY")
_WORDS = 8_192
_EXTRA = {"bid": (54, 81), "auction": (306, 458), "person": (107, 160)}
"""Letters in `extra`, so that a bid has about 100 bytes, an auction 500 and a person 200."""


@cache
def pool(field: str, seed: int) -> pa.Array:
    """Return all texts that column `field` may have; `extra` comes as ``"extra bid"`` and so on."""
    if field.startswith("extra "):
        return pa.array(letters(seed, field, _WORDS // 4, *_EXTRA[field.removeprefix("extra ")]))
    match field:
        case "channel":
            texts = [*HOT_CHANNELS, *(f"channel-{number}" for number in range(COLD_CHANNELS))]
        case "url":
            texts = _urls(seed)
        case "name":
            texts = [f"{first} {last}" for first, last in product(_FIRST_NAMES, _LAST_NAMES)]
        case "email_address":
            users, hosts = letters(seed, "user", _WORDS, 3, 7), letters(seed, "host", _WORDS, 3, 5)
            texts = [f"{user}@{host}.com" for user, host in zip(users, hosts, strict=True)]
        case "credit_card":
            texts = [_card(word) for word in letters(seed, "card", _WORDS, 16, 16)]
        case "city":
            texts = list(_CITIES)
        case "state":
            texts = list(_STATES)
        case "item_name":
            texts = letters(seed, field, _WORDS, 3, 20)
        case "description":
            texts = letters(seed, field, _WORDS, 3, 100)
        case _:
            raise KeyError(field)
    return pa.array(texts)


def _urls(seed: int) -> list[str]:
    """Return one address per channel; nine in ten of the cold ones carry their channel's number, bits reversed."""
    count = len(HOT_CHANNELS) + COLD_CHANNELS
    paths = [letters(seed, f"path {part}", count, 3, 5) for part in range(3)]
    chance = letters(seed, "with channel", count, 1, 1)
    urls = [f"https://www.nexmark.com/{a}/{b}/{c}/item.htm?query=1" for a, b, c in zip(*paths, strict=True)]
    for number in range(COLD_CHANNELS):
        index = len(HOT_CHANNELS) + number
        if chance[index] > "b":
            urls[index] += f"&channel_id={int(f'{number:032b}'[::-1], 2) & 0x7FFFFFFF}"
    return urls


def _card(word: str) -> str:
    digits = "".join(str(ord(letter) % 10) for letter in word)
    return " ".join(digits[start : start + 4] for start in range(0, 16, 4))
