"""Profiles are read, and divided by part."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "parts.py"

CHECKOUT = "/srv/gatepost"
LIBRARY = f"{CHECKOUT}/.venv/lib/python3.11/site-packages"
PYTHON = "/home/gatepost/python/lib/python3.11"
LOOP = f"thread (7): MainThread;main ({CHECKOUT}/core/gatepost/cli/__init__.py);run ({PYTHON}/asyncio/runners.py)"
WRITER = f"thread (9): outbox_0;Thread._bootstrap ({PYTHON}/threading.py)"


@pytest.fixture(scope="module")
def parts():
    spec = importlib.util.spec_from_file_location("benchmarks_parts", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("frame", "part"),
    [
        (f"Worker._send ({CHECKOUT}/core/gatepost/delivery/worker.py)", "gatepost.delivery"),
        (f"decode_content ({CHECKOUT}/core/gatepost/content.py)", "gatepost.content"),
        (f"Worker._send ({LIBRARY}/gatepost/delivery/worker.py)", "gatepost.delivery"),
        (f"mail_body ({CHECKOUT}/plugins/sendgrid/gatepost_sendgrid/messages.py)", "plugin sendgrid"),
        (f"mail_body ({LIBRARY}/gatepost_sendgrid/messages.py)", "plugin sendgrid"),
        (f"CursorFetchStrategy.fetchall ({LIBRARY}/sqlalchemy/engine/cursor.py)", "sqlalchemy"),
        (f"Label.<lambda> ({LIBRARY}/structlog.py)", "structlog"),
        (f"DefaultDialect.do_commit ({LIBRARY}/sqlalchemy/engine/default.py)", "SQLite"),
    ],
)
def test_a_sample_belongs_to_the_part_of_its_innermost_frame(parts, frame, part):
    assert parts.parse(f"{LOOP};{frame} 3\n") == {7: {part: 3}}


def test_pythons_own_library_belongs_to_its_caller(parts):
    outer = f"Trail.write ({CHECKOUT}/core/gatepost/observe/trail.py)"

    assert parts.parse(f"{LOOP};{outer};dumps ({PYTHON}/json/__init__.py);<lambda> (<string>) 2") == {
        7: {"gatepost.observe": 2}
    }


def test_what_no_frame_tells_is_the_loops_or_pythons(parts):
    samples = parts.parse(f"{LOOP} 5\n{WRITER} 1\n{LOOP};run ({CHECKOUT}/core/gatepost/cli/serve.py) 2\n")

    assert samples == {7: {parts.EVENT_LOOP: 7}, 9: {parts.STANDARD_LIBRARY: 1}}


def test_threads_that_wait_are_left_out(parts):
    raw = f"{WRITER};_worker ({PYTHON}/concurrent/futures/thread.py) 8\n{WRITER};Condition.wait ({PYTHON}/threading.py) 8\n"

    assert parts.parse(raw) == {}


def test_another_format_is_refused(parts):
    with pytest.raises(ValueError, match="does not begin with a thread: main"):
        parts.parse("main (a.py) 1\n")


def test_the_cpu_of_a_thread_is_divided_by_its_samples(parts):
    samples = {7: parts.Counter({"a": 1, "b": 3}), 9: parts.Counter({"b": 90})}

    shares = parts.shares(samples, {7: 8.0, 9: 2.0, 11: 5.0})

    assert shares == pytest.approx({"a": 0.2, "b": 0.8})


def test_a_process_without_samples_has_no_shares(parts):
    with pytest.raises(ValueError, match="no samples"):
        parts.shares({}, {7: 8.0})


def test_the_table_has_the_largest_first_and_the_small_ones_together(parts):
    columns = {"accept": {"a": 0.3, "b": 0.695, "c": 0.005}, "drain": {"a": 1.0}}

    assert list(parts.table(columns, {"accept": 0.2, "drain": 0.25})) == [
        "| share of the CPU | accept | drain |",
        "| --- | --- | --- |",
        "| a | 30 % | 100 % |",
        "| b | 70 % | 0 % |",
        "| others | 0 % | 0 % |",
        "| of all this, in the kernel | 20 % | 25 % |",
    ]
