"""Which statuses `delivery.suppress` names, by their codes."""

import pytest

from gatepost.model import Status
from gatepost.outbox.suppressions import status_reason


@pytest.mark.parametrize(
    "code", ["550 5.1.1", "5.1.10", "550", "551", "553", "556", "bounce 550 5.1.1", "bounce 550", "550 5.2.1"]
)
def test_a_failure_is_permanent_if_its_code_says_that_there_is_no_mailbox(code):
    assert status_reason(Status.FAILED, code) == "failed:permanent"


@pytest.mark.parametrize(
    "code",
    [
        "",
        "bounce",
        "blocked 550 5.1.1",
        "Blocked 550",
        "espblock 550",
        "soft_bounce 550",
        "SoftBounce 550 5.1.1",
        "SpamNotification 550",
        "VirusNotification 550",
        "DMARCPolicy 550",
        "expired",
        "450 4.2.1",
        "4.1.1",
        "552 5.2.2",
        "550 5.7.1",
        "554",
        "bounce 554 5.7.26",
        "1300",
        "5501",
        "5.1.1234",
        "٥.1.1",
    ],
)
def test_other_failures_are_not_permanent(code):
    assert status_reason(Status.FAILED, code) == "failed"


@pytest.mark.parametrize("status", [Status.COMPLAINED, Status.UNSUBSCRIBED, Status.REJECTED])
def test_other_statuses_have_their_name(status):
    assert status_reason(status, "550 5.1.1") == status.value
