"""HDF5 as Keras and h5py write it by default -> a tree of groups and arrays.

Only the first generation of the format is read (superblock 0 and 1, symbol tables, plain arrays):
all that Keras's files use. It is read here, in Python, since the format's own C library hangs or
crashes on files whose bytes are damaged. Nothing is allocated by what a file claims: arrays are
views of its bytes, and every structure is met at most once.

Layout as published: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t11.html
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from radstart.core.errors import RadstartError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH = 16  # groups inside groups
MAX_NAME = 1000  # bytes
_NOWHERE = 2**64 - 1  # the address of what was never written
_NEWER = "is of a newer generation of HDF5 than Keras writes"
_REFUSED = {
    0x02: _NEWER,
    0x06: _NEWER,
    0x07: "keeps its numbers in other files",
    0x0B: "holds compressed numbers",
    0x15: _NEWER,
}
"""Messages of an object header that are not read, and why."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Group:
    """A group: its members by name, and its attributes.

    Attributes:
        members: groups and arrays.
        attributes: the text of single strings, "" for everything else.
    """

    members: dict[str, "Group | Array"]
    attributes: dict[str, str]


@dataclass(frozen=True, eq=False)
class _File:
    data: memoryview
    where: str
    seen: set[int] = field(default_factory=set)
    heaps: dict[int, dict[int, bytes]] = field(default_factory=dict)


def read_tree(data: npt.NDArray[np.uint8], where: str) -> Group:
    """Return the root group of an HDF5 file; its arrays are views of `data`.

    Args:
        data: the whole file.
        where: its name, for errors.

    Raises:
        RadstartError: damaged, or anything but groups, hard links and plain arrays of numbers:
            soft links, references, external, virtual, chunked or compressed data, more numbers
            declared than stored, one object under two names.
    """
    file = _File(data.data, where)
    if bytes(file.data[:8]) != SIGNATURE:
        raise RadstartError("not an HDF5 file", where, remedy="name a weights file")
    version = _number(file, 8, 1)
    if version not in (0, 1):
        raise _refused(file, _NEWER, f"superblock {version}")
    start = 24 + 4 * version
    if (_number(file, 13, 1), _number(file, 14, 1), _number(file, start)) != (8, 8, 0):
        raise _refused(file, "has addresses of an unusual size", "")
    stated = _number(file, start + 16)
    if stated > len(data):
        raise RadstartError(
            "the file is cut short", where, f"{len(data)} of {stated} bytes", "fetch it again"
        )
    root = _object(file, _number(file, start + 40), ())
    if not isinstance(root, Group):
        raise _damaged(file, "no root group")
    return root


def _damaged(file: _File, got: str) -> RadstartError:
    return RadstartError("damaged HDF5 file", file.where, got, "fetch it again")


def _refused(file: _File, what: str, got: str) -> RadstartError:
    return RadstartError(f"HDF5: {what}", file.where, got, "load it in Keras and save it anew")


def _take(file: _File, start: int, count: int) -> memoryview:
    """Return bytes of the file, all of them or none."""
    if start + count > len(file.data):
        raise _damaged(file, f"byte {start + count} of {len(file.data)}")
    return file.data[start : start + count]


def _number(file: _File, start: int, size: int = 8) -> int:
    return int.from_bytes(_take(file, start, size), "little")


def _once(file: _File, address: int) -> None:
    if address in file.seen:
        raise _damaged(file, f"two ways to byte {address}")
    file.seen.add(address)


def _object(file: _File, address: int, place: tuple[str, ...]) -> Group | Array:
    """Return a group with everything below it, or an array."""
    name = "/".join(place)
    if len(place) > MAX_DEPTH:
        raise _refused(file, "groups too deep", name[:MAX_NAME])
    _once(file, address)
    found: dict[int, memoryview] = {}
    attributes: dict[str, str] = {}
    for kind, shared, body in _messages(file, address):
        if kind in _REFUSED or shared:
            raise _refused(file, _REFUSED.get(kind, "shares a type"), name)
        if kind == 0x0C:
            attributes.update([_attribute(file, body)])
        else:
            found[kind] = body
    if 0x11 in found:
        tree, heap = (_inside(file, found[0x11], at, 8) for at in (0, 8))
        members = {
            inner: _object(file, header, (*place, inner))
            for inner, header in _symbols(file, tree, heap)
        }
        return Group(members, attributes)
    if {0x01, 0x03, 0x08} <= found.keys():
        return _array(file, found, name)
    raise _refused(file, "neither a group nor an array", name)


def _messages(file: _File, address: int) -> Iterator[tuple[int, bool, memoryview]]:
    """Yield (kind, whether it stands elsewhere, body) of an object header's messages."""
    if _number(file, address, 1) != 1:
        newer = bytes(_take(file, address, 4)) == b"OHDR"
        raise _refused(file, _NEWER, "") if newer else _damaged(file, f"no header at {address}")
    blocks = [(address + 16, _number(file, address + 8, 4))]
    for start, length in blocks:  # grows
        block = _take(file, start, length)
        at = 0
        while at + 8 <= length:
            kind, size = _inside(file, block, at, 2), _inside(file, block, at + 2, 2)
            if at + 8 + size > length:
                raise _damaged(file, f"a message beyond its block at {start + at}")
            body = block[at + 8 : at + 8 + size]
            if kind == 0x10:
                further = _inside(file, body, 0, 8)
                _once(file, further)
                blocks.append((further, _inside(file, body, 8, 8)))
            else:
                yield kind, bool(block[at + 4] & 2), body
            at += 8 + size


def _inside(file: _File, body: memoryview, at: int, size: int) -> int:
    """Return a number inside a structure."""
    if at + size > len(body):
        raise _damaged(file, "a structure cut short")
    return int.from_bytes(body[at : at + size], "little")


def _symbols(file: _File, tree: int, heap: int) -> Iterator[tuple[str, int]]:
    """Yield (name, address of the object header) of a group's members."""
    if bytes(_take(file, heap, 4)) != b"HEAP":
        raise _damaged(file, f"no names at {heap}")
    names = _take(file, _number(file, heap + 24), _number(file, heap + 8))
    nodes, met = [tree], set()  # the last is the next
    while nodes:
        node = nodes.pop()
        _once(file, node)
        kind, used = bytes(_take(file, node, 4)), _number(file, node + 6, 2)
        if kind == b"TREE" and _number(file, node + 4, 1) == 0:
            nodes += [_number(file, node + 32 + 16 * k) for k in reversed(range(used))]
        elif kind == b"SNOD":
            for at in range(node + 8, node + 8 + 40 * used, 40):
                name = _name(file, names, _number(file, at))
                if _number(file, at + 16, 4) > 1 or _number(file, at + 8) == _NOWHERE:
                    raise _refused(file, "links to another place", name)
                if name in met:
                    raise _damaged(file, f"two members {name}")
                met.add(name)
                yield name, _number(file, at + 8)
        else:
            raise _damaged(file, f"no members at {node}")


def _name(file: _File, names: memoryview, at: int) -> str:
    raw, end, _ = bytes(names[at : at + MAX_NAME]).partition(b"\0")
    if not end or not raw:
        raise _damaged(file, "a name without an end")
    return raw.decode("utf-8", "replace")


def _attribute(file: _File, body: memoryview) -> tuple[str, str]:
    """Return an attribute's name and, where it is one string, its text."""
    version = _inside(file, body, 0, 1)
    sizes = [_inside(file, body, at, 2) for at in (2, 4, 6)]
    if version not in (1, 2, 3):
        raise _refused(file, _NEWER, f"attribute {version}")
    at, parts = 8 + (version == 3), []
    for size in sizes:
        if at + size > len(body):
            raise _damaged(file, "an attribute cut short")
        parts.append(body[at : at + size])
        at += -(-size // 8) * 8 if version == 1 else size
    name = bytes(parts[0]).rstrip(b"\0").decode("utf-8", "replace")
    shares = version > 1 and _inside(file, body, 1, 1)
    if shares or len(parts[1]) < 8 or _shape(file, parts[2]) != ():
        return name, ""
    kind, value = parts[1][0] & 15, body[at:]
    if kind == 3:
        text = bytes(value[: _inside(file, parts[1], 4, 4)]).partition(b"\0")[0]
    elif kind == 9 and parts[1][1] & 15 == 1 and len(value) >= 16:
        heap, index = _inside(file, value, 4, 8), _inside(file, value, 12, 4)
        text = _heap(file, heap).get(index, b"")[: _inside(file, value, 0, 4)]
    else:
        text = b""
    return name, text[:MAX_NAME].decode("utf-8", "replace")


def _heap(file: _File, address: int) -> dict[int, bytes]:
    """Return the beginnings of the strings of one collection, by number."""
    if address in file.heaps:
        return file.heaps[address]
    if bytes(_take(file, address, 4)) != b"GCOL":
        raise _damaged(file, f"no strings at {address}")
    heap = _take(file, address, _number(file, address + 8))
    texts: dict[int, bytes] = {}
    at = 16
    while at + 16 <= len(heap) and (index := _inside(file, heap, at, 2)):
        size = _inside(file, heap, at + 8, 8)
        texts[index] = bytes(heap[at + 16 : at + 16 + min(size, MAX_NAME)])
        at += 16 + -(-size // 8) * 8
    file.heaps[address] = texts
    return texts


def _shape(file: _File, body: memoryview) -> tuple[int, ...] | None:
    """Return an array's sizes, None where there is no array."""
    version, rank = _inside(file, body, 0, 1), _inside(file, body, 1, 1)
    if version not in (1, 2) or rank > 32:
        raise _damaged(file, f"an array of {rank} axes")
    if version == 2 and _inside(file, body, 3, 1) == 2:
        return None
    first = 8 if version == 1 else 4
    return tuple(_inside(file, body, first + 8 * k, 8) for k in range(rank))


_FLOATS: dict[int, tuple[int, ...]] = {
    2: (0, 16, 10, 5, 0, 10, 15),
    4: (0, 32, 23, 8, 0, 23, 127),
    8: (0, 64, 52, 11, 0, 52, 1023),
}
"""Bytes -> IEEE's first bit, bits, first and number of the exponent's and mantissa's bits, bias."""


def _dtype(file: _File, body: memoryview, name: str) -> np.dtype[np.generic]:
    kind, flags, size = (_inside(file, body, *at) for at in ((0, 1), (1, 1), (4, 4)))
    kind &= 15
    places = ((8, 2), (10, 2), (12, 1), (13, 1), (14, 1), (15, 1), (16, 4))
    expected: tuple[int, ...] = (0, 8 * size)
    sign = "i" if flags & 8 else "u"
    if kind == 1 and not flags & 0x40:
        expected, sign = _FLOATS.get(size, ()), "f"
    known = kind == 1 or (kind == 0 and size in (1, 2, 4, 8))
    stated = tuple(_inside(file, body, *at) for at in places[: len(expected)]) if known else None
    if not expected or stated != expected:
        raise _refused(file, "holds something other than numbers", name)
    return np.dtype(f"{'>' if flags & 1 else '<'}{sign}{size}")


def _array(file: _File, found: dict[int, memoryview], name: str) -> Array:
    """Return a view of the numbers, which are stored in one piece and in full."""
    shape, dtype = _shape(file, found[0x01]), _dtype(file, found[0x03], name)
    layout = found[0x08]
    version, kind = _inside(file, layout, 0, 1), _inside(file, layout, 1, 1)
    if shape is None or version not in (3, 4) or kind > 1:
        raise _refused(file, "does not store its numbers in one piece", name)
    count = math.prod(shape)
    if kind == 0:
        held = layout[4 : 4 + _inside(file, layout, 2, 2)]
    else:
        start, length = _inside(file, layout, 2, 8), _inside(file, layout, 10, 8)
        held = _take(file, start, length) if start != _NOWHERE else file.data[:0]
    if count * dtype.itemsize > len(held):
        declared = " x ".join(map(str, shape))
        raise _refused(file, "declares more numbers than it holds", f"{name}: {declared}")
    return np.frombuffer(held, dtype, count).reshape(shape)
