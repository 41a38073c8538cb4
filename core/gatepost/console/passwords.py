"""Passwords of the console's users, as Argon2 hashes (RFC 9106)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gatepost.errors import StoreBusy

MIN_LENGTH = 12
"""Characters of a password (NIST SP 800-63B-4 asks for 15 where there is no second factor, and for at least 8)."""

MAX_LENGTH = 128

MAX_WAITING = 8
"""Passwords that may wait for their check; each takes 64 MiB and a tenth of a second of CPU."""

# A thread for each check, and not four: the sends have the other cores.
_hasher = PasswordHasher(parallelism=1)


def hash_password(password: str) -> str:
    """Return the hash of a password, with its salt and parameters. Takes a tenth of a second."""
    return _hasher.hash(password)


def password_problem(password: str) -> str:
    """Return why this can't be a password; empty where it can."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        return f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters; several words are fine"
    return ""


class PasswordCheck:
    """Checks passwords, one at a time, in a thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "argon2")
        self._waiting = 0
        # Compared with where there is no such user, so that the time of the answer does not tell.
        self._nobody = hash_password("nobody has this password")

    async def matches(self, password_hash: str, password: str) -> bool:
        """Return whether this is the password; False with an empty hash. Raises StoreBusy when too many wait."""
        if self._waiting >= MAX_WAITING:
            raise StoreBusy("too many people sign in at this moment")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(
                self._thread, _verify, password_hash or self._nobody, password[: MAX_LENGTH + 1]
            )
        finally:
            self._waiting -= 1
        return found and bool(password_hash)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
