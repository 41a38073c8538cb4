import pytest


@pytest.fixture(scope="session", params=[False, True], ids=["asyncio", "uvloop"])
def either_loop(request):
    """Return a backend of each kind: a gateway runs on uvloop, and on asyncio's own loop where there is none."""
    return "asyncio", {"use_uvloop": request.param}
