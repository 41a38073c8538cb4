"""Types of the numbers in gatepost.toml, with limits that only rule out mistakes."""

from typing import Annotated

from msgspec import Meta

MAX_SECONDS = 315_360_000
"""Ten years. A longer time is a mistake, and clocks and databases can't compute with an infinite one."""

MAX_PER_SECOND = 315_360_000
"""The highest rate. It only rules out an infinite one."""

MAX_LIMIT = 1_000_000_000
"""The highest limit of a number of messages. A higher one is a mistake."""

Seconds = Annotated[float, Meta(ge=0.001, le=MAX_SECONDS)]

Limit = Annotated[int, Meta(ge=0, le=MAX_LIMIT)]
"""The largest number of messages that is allowed; 0: no limit."""
