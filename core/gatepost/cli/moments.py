"""Moments in options: ISO 8601, or a duration from now or until now."""

import time
from typing import Any

import rich_click as click

from gatepost.outbox.moments import parse_moment


class FutureMoment(click.ParamType[float]):
    """A moment in the future, as seconds since the epoch: ``2027-01-31T09:00Z``, ``2027-01-31``, ``12h`` or ``7d``.

    A time without an offset is in UTC.
    """

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the moment; fail for another text, and for a moment that has passed."""
        now = time.time()
        moment = value if isinstance(value, float) else parse_moment(str(value), now)
        if moment is None:
            self.fail(
                "give a date, a time such as 2027-01-31T09:00Z, or a duration such as 12h or 7d", param, ctx
            )
        if moment <= now:
            self.fail("this moment has passed", param, ctx)
        return moment


class PastMoment(click.ParamType[float]):
    """A moment as FutureMoment reads it, but in the past: ``12h`` is twelve hours ago."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the moment, also one in the future; fail for another text."""
        moment = value if isinstance(value, float) else parse_moment(str(value), time.time(), direction=-1)
        if moment is None:
            problem = "give a date, a time such as 2027-01-31T09:00Z, or how long ago, such as 12h or 7d"
            self.fail(problem, param, ctx)
        return moment
