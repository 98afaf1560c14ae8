"""The settings about tokens, and what verifies them.

What checks a key is imported when there is one: it brings cryptography.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notifier.auth.keyset import Keyset
    from notifier.auth.tokens import TokenRules
    from notifier.config.settings import Settings

_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)  # RFC 6265 §4.1.1
_MAX_FILE_BYTES = 256 * 1024


class TokenKeysError(Exception):
    """The file of keys can't be used; one sentence."""


class TokenKeysUnreadable(TokenKeysError):
    """The system did not let us; it may, the next time."""


def verifies_tokens(settings: Settings) -> bool:
    """Whether there is something to verify tokens with."""
    return bool(settings.token_secret or settings.token_keys_file or settings.token_jwks_url)


def token_rules(settings: Settings) -> TokenRules:
    """What is asked of a token besides its signature."""
    from notifier.auth.tokens import TokenRules

    return TokenRules(
        settings.token_audience or None, settings.token_issuer or None, settings.max_token_life
    )


def static_keys(settings: Settings) -> Keyset:
    """The keys that are here: the secret, and those of the file.

    :raises TokenKeysError: the file can't be read, or is not what it should be.
    """
    from notifier.auth.keyset import Keyset, parse_keys, secret_key

    keys = Keyset([secret_key(settings.token_secret)] if settings.token_secret else [])
    if not settings.token_keys_file:
        return keys
    try:
        # Without waiting, should it be a pipe; what is open is what is checked.
        descriptor = os.open(settings.token_keys_file, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is not a file")
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ValueError(f"it is longer than {_MAX_FILE_BYTES} bytes")
        return keys | parse_keys(content.decode(errors="surrogateescape"))
    except OSError as error:
        raise TokenKeysUnreadable(
            f"token_keys_file {settings.token_keys_file}: {error.strerror or error}"
        ) from None
    except ValueError as error:
        raise TokenKeysError(f"token_keys_file {settings.token_keys_file}: {error}") from None


def check_secret(secret: str) -> str:
    """The secret itself, when it is none or a good one.

    :raises ValueError: it could be guessed.
    """
    if secret:
        from notifier.auth.keyset import secret_key

        secret_key(secret)
    return secret


def check_url(url: str) -> str:
    """The URL itself, when it is none or one that keys may come from.

    :raises ValueError: it is not, or the keys could not be used.
    """
    if url:
        from jwt.algorithms import has_crypto

        from notifier.auth.jwks import check_jwks_url
        from notifier.auth.keyset import NEEDS_EXTRA

        check_jwks_url(url)
        if not has_crypto:
            raise ValueError(NEEDS_EXTRA)
    return url


def check_cookie(name: str) -> str:
    """The name itself, when it is none or that of a cookie.

    :raises ValueError: it is not.
    """
    if name and not _COOKIE.fullmatch(name):
        raise ValueError("it is no name of a cookie: write letters, digits and - _ .")
    return name
