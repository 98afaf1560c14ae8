"""The charsets text may come in: those of the web and of mail.

Python knows many more codecs by name. Some are not charsets at all, and some take a time that
grows with the square of the text (``punycode``): a stranger must not be the one to choose.
"""

from __future__ import annotations

import codecs

_CHARSETS = frozenset(
    {"ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"}
    | {"utf-32-be", "koi8-r", "koi8-u", "tis-620", "cp866", "cp874", "mac-roman"}
    | {"big5", "big5hkscs", "gb2312", "gbk", "gb18030", "euc_jp", "euc_kr", "shift_jis", "cp932"}
    | {"cp949", "iso2022_jp"}
    | {f"iso8859-{part}" for part in range(1, 17)}
    | {f"cp{page}" for page in range(1250, 1259)}
)


def decode(text: bytes, charset: str) -> str:
    """The text.

    :raises LookupError: no such charset, or none that is taken.
    :raises UnicodeError: the bytes are not in it.
    """
    codec = codecs.lookup(charset)
    if codec.name not in _CHARSETS:
        raise LookupError(charset)
    return codec.decode(text)[0]
