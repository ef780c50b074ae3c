"""Find the kind of content of a file, by its first bytes and its name.

The content decides where it can: compression, Parquet, Arrow, tar archives and formats that are not read are
known by their first bytes, whatever the name of the file says. The name decides between kinds of text, which
look alike. In a file named ``.json``, the content decides between JSON lines, an array and one document.
"""

from __future__ import annotations

import io
import json
import tarfile

from .compression import PieceReader, Readable, codec_of, open_compressed, split_suffix
from .encodings import AUTO, Transcoded, text_encoding
from .files import UNREADABLE, InputFile, Kind
from .own_files import own_output

__all__ = ["FORMATS", "HEAD", "Peekable", "detect", "find_kind", "kind_by_name"]

#: What a caller may say about the format of all files.
FORMATS = ("auto", "text", "jsonl", "json", "csv", "tsv", "parquet", "arrow")
#: Bytes at the beginning of a file that show its kind.
HEAD = 1 << 16
#: Bytes of the longest first line of a file named ``.json`` that may be recognised as JSON lines.
LONG_HEAD = 16 << 20

_SUFFIXES: dict[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".tar": "tar",
}
#: How files begin that are read by pyarrow.
_TABLES: tuple[tuple[bytes, Kind], ...] = ((b"PAR1", "parquet"), (b"ARROW1\0\0", "arrow"))
#: The name of a file in a Parquet data set that describes the row groups of all other files, and has none.
_SUMMARY = "_metadata"
#: How files begin that are not read.
_UNREAD = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"%PDF-", "a PDF file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "an ELF program"),
    (b"\x93NUMPY", "a NumPy array"),
    *((bytes([0x80, version]), "a pickle of Python") for version in range(2, 6)),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    (b"Obj\x01", "an Avro file"),
    (b"WARC/1.", "a WARC archive"),
    (b"FEA1", "a Feather file of version 1"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
    (b"\x1f\x9d", "a file of the old program compress"),
    (b"\xff\x06\x00\x00sNaPpY", "a Snappy file"),
)
_UNREAD_MAGICS = tuple(magic for magic, _ in _UNREAD)
#: Encodings whose texts have null bytes.
_WITH_NULLS = ("utf-16", "utf-32")
_UTF8_MARK = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
#: A decoder that recognises integers without reading them: Python refuses more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=lambda _: 0)


class Peekable(PieceReader):
    """An opened file whose first bytes can be looked at before they are read."""

    def __init__(self, opened: Readable) -> None:
        self._opened = opened
        self._kept = b""
        self._is_ended = False

    def head(self, n: int) -> bytes:
        """Return the next n bytes, or all that there are, without reading them."""
        parts, size = [self._kept], len(self._kept)
        while size < n and not self._is_ended:
            part = self._opened.read(n - size)
            self._is_ended = not part
            parts.append(part)
            size += len(part)
        self._kept = b"".join(parts)
        return self._kept[:n]

    def read(self, n: int = -1) -> bytes:
        if n < 0:
            return self.readall()
        if self._kept:
            piece, self._kept = self._kept[:n], self._kept[n:]
            return piece
        return self._opened.read(n)


def kind_by_name(stem: str) -> Kind:
    """Return the kind that a name promises, in lower case and without the suffix of a codec."""
    return _SUFFIXES.get(stem[stem.rfind(".") :], "text")


def detect(file: InputFile, form: str = "auto", encoding: str = AUTO) -> InputFile:
    """Return a listed file with its compression and kind, which are found by its content.

    Parameters
    ----------
    file : InputFile
    form : str
        One of `FORMATS`. Compressed files and tar archives are recognised in any case.
    encoding : str
        What the caller says about texts: "auto" or the name of an encoding.

    Raises
    ------
    DocumentError
        If a package for the compression is missing.
    """
    stem, promised = split_suffix(file.path)
    kind: Kind = kind_by_name(stem) if form == "auto" else form  # type: ignore[assignment]
    codec, reason, found = promised, "", ""
    try:
        with file.open_stored() as stored:
            opened = Peekable(stored)
            codec = codec_of(opened.head(HEAD)) or promised
            if codec is not None:
                opened = Peekable(open_compressed(file.path, opened, codec))
            kind, reason, found = find_kind(stem, opened, form, encoding)
    except UNREADABLE:
        pass  # The error is reported when the file is read.
    return InputFile(file.path, kind, codec, file.size, reason, file.place, found)


def find_kind(stem: str, opened: Peekable, form: str = "auto", encoding: str = AUTO) -> tuple[Kind, str, str]:
    """Return the kind of an uncompressed content, the reason if it is not read, and its encoding.

    Nothing is read. The encoding is empty for UTF-8 and for contents that are no texts; of an archive, it is
    the one of its files, or empty for "auto".

    Parameters
    ----------
    stem : str
        The name of the file in lower case, without the suffix of a codec.
    opened : Peekable
    form : str
    encoding : str
    """
    head = opened.head(HEAD)
    if _is_tar(head):
        return "tar", "", "" if encoding == AUTO else encoding
    found = text_encoding(head, encoding)
    if form != "auto":
        kind: Kind = form  # type: ignore[assignment]
        return kind, "", "" if kind in ("parquet", "arrow") else found
    written = own_output(head)
    if written:
        return "unread", written, ""
    for magic, kind in _TABLES:
        if head.startswith(magic):
            if kind == "parquet" and stem.rpartition("/")[2] == _SUMMARY:
                return "unread", "the summary of a Parquet data set is not read", ""
            return kind, "", ""
    if _is_arrow_stream(head):
        return "arrow", "", ""
    name = _unread(head)
    if name:
        return "unread", f"{name} is not read", ""
    kind = kind_by_name(stem)
    if kind in ("parquet", "arrow"):
        return kind, "", ""
    if stem.endswith(".json") or stem == "-":  # The standard input has no name.
        kind = _kind_of_json(opened if not found else _decoded_head(opened, found))
    if kind in ("text", "csv", "tsv") and b"\0" in head and not found.startswith(_WITH_NULLS):
        return "unread", "binary data is not read: it has null bytes", ""
    return kind, "", found


def _decoded_head(opened: Peekable, encoding: str) -> Peekable:
    """Return the beginning of a text in UTF-8, without reading it."""
    return Peekable(Transcoded(io.BytesIO(opened.head(LONG_HEAD)), encoding))


def _unread(head: bytes) -> str:
    """Return the name of a format that is not read, or an empty string."""
    if not head.startswith(_UNREAD_MAGICS):
        return ""
    for magic, name in _UNREAD:
        # Letters may begin a text too; the two formats whose mark is just letters have null bytes.
        if head.startswith(magic) and (not magic.isalnum() or b"\0" in head):
            return name
    return ""


def _is_tar(head: bytes) -> bool:
    """Return True for the header of a member, which has a checksum."""
    # The header has a name and, in these places, the digits of its checksum.
    if len(head) < tarfile.BLOCKSIZE or not head[0] or not head[148:156].strip(b" \0").isdigit():
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _is_arrow_stream(head: bytes) -> bool:
    """Return True for a message of an Arrow stream: a mark, a length that 8 divides, and a flatbuffer."""
    length = int.from_bytes(head[4:8], "little")
    return head[:4] == b"\xff\xff\xff\xff" and len(head) > 8 and 0 < length < LONG_HEAD and length % 8 == 0


def _kind_of_json(opened: Peekable) -> Kind:
    """Return the kind of a content that may be JSON: lines, one array of objects, or a text."""
    head = opened.head(HEAD).removeprefix(_UTF8_MARK).lstrip(_SPACE)
    if head[:1] == b"[":
        return "json" if head[1:].lstrip(_SPACE)[:1] == b"{" else "text"
    if head[:1] != b"{":
        return "text"
    first, second, is_whole = _first_lines(opened)
    is_second = _is_object(second) if is_whole else second[:1] == b"{"
    return "jsonl" if is_second and _is_object(first) else "text"


def _first_lines(opened: Peekable) -> tuple[bytes, bytes, bool]:
    """Return the first two lines that are not blank, and if the second one is there to its end."""
    size = HEAD
    while True:
        head = opened.head(size)
        first, _, rest = head.removeprefix(_UTF8_MARK).lstrip(_SPACE).partition(b"\n")
        second, end, _ = rest.lstrip(_SPACE).partition(b"\n")
        if second or len(head) < size or size >= LONG_HEAD:
            return first, second, bool(end) or len(head) < size
        size *= 4


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(_DECODER.decode(line.decode()), dict)
    except (ValueError, RecursionError):
        return False
