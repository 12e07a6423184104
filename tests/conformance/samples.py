"""The user of all requests, and the smallest image and sound."""

import base64
import struct
import zlib

USER = "00000000-0000-4000-8000-000000000001"


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _png() -> bytes:
    """One red pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    chunks = (b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _wav() -> bytes:
    """One sample of silence."""
    sound = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(sound)) + sound + b"data" + struct.pack("<I", 1)
    return b"RIFF" + struct.pack("<I", len(body) + 1) + body + b"\x80"


PNG = base64.b64encode(_png()).decode()
WAV = base64.b64encode(_wav()).decode()
