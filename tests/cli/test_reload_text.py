"""What ``gatepost reload`` says when several gateways run with one configuration and not all of them take it over."""

from gatepost.cli.reload import refusal_text
from gatepost.web.admin.requests import Reload, ReloadProblem

TAKEN = Reload(changes=[], problems=[], environment=[])
REFUSED = Reload(changes=[], problems=[ReloadProblem("plugins.users.path", "can't be read")], environment=[])


def test_a_reload_that_each_gateway_refuses_changes_nothing():
    assert "Nothing was taken over" in refusal_text([REFUSED, REFUSED], dry=False)


def test_a_reload_that_some_gateways_took_over_says_so():
    assert "2 of 3 gateways have taken it over" in refusal_text([TAKEN, REFUSED, TAKEN], dry=False)


def test_a_question_changes_nothing():
    assert "Nothing was taken over" in refusal_text([TAKEN, REFUSED], dry=True)
