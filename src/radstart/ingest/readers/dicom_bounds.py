"""A file that pydicom may read a header from: what is claimed is not believed."""

from typing import BinaryIO

from radstart.ingest.frames import Unreadable

HEADER_BYTES = 64 * 2**20
"""The most that is read or inflated of a file before its pixels."""
HEADER_READS = 3_000_000
"""The most reads of it: every element, also inside of sequences, takes one at least."""
_AGAIN = "export it again"


class Bounded:
    """A file that gives no more than HEADER_BYTES in HEADER_READS, and never all at once."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.bytes = self.reads = 0

    def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes; what a header claims is not allocated before it is there."""
        if count < 0:
            raise Unreadable("a header without end", _AGAIN)
        if count > 2**16:  # small ones end with the file by themselves
            count = min(count, max(0, self.size - self.file.tell()))
        given = self.file.read(count)
        self.bytes += len(given)
        self.reads += 1
        if self.bytes > HEADER_BYTES:
            raise Unreadable(f"a header of more than {HEADER_BYTES >> 20} MB", _AGAIN)
        if self.reads > HEADER_READS:
            raise Unreadable("a header of too many elements", _AGAIN)
        return given

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as files do."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self.file.tell()
