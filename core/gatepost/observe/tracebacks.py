"""Where an exception was raised, as text and without any text of the exception, which may quote private values.

Nothing here calls code of the exception: a plugin's ``__str__`` may do anything.
"""

import errno
import traceback

_MAX_EXCEPTIONS = 8
"""Exceptions that are shown of one that was raised because of others."""

_MAX_FRAMES = 20
"""Frames that are shown of each exception, the innermost ones."""


def format_traceback(error: BaseException) -> str:
    """Return the types of an exception and of its causes, and where they were raised; never their texts."""
    parts: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting and len(parts) < _MAX_EXCEPTIONS:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts.append("".join([*traceback.format_tb(one.__traceback__, -_MAX_FRAMES), _type_of(one)]))
        waiting += [one.__context__] if one.__cause__ is None and not one.__suppress_context__ else []
        waiting.append(one.__cause__)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions[:_MAX_EXCEPTIONS]
    return "\n\nfrom\n\n".join(parts)


def error_location(error: BaseException, package: str) -> str:
    """Return the innermost file and line in the code of ``package`` that an exception passed; empty for none."""
    # The outermost frame is the one that caught the exception.
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))[1:]):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            return f"{frame.f_code.co_filename}:{line}"
    return ""


def _type_of(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, OSError) and type(error.errno) is int and error.errno in errno.errorcode:
        return f"{name} [{errno.errorcode[error.errno]}]"
    return name
