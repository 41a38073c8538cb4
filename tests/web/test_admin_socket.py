"""The admin socket's file: who can use it, what it replaces, and which paths it can have."""

import os
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from gatepost.config.toml_file import read_settings
from gatepost.web.admin import socket_file
from gatepost.web.admin.socket_file import NoSocket, SocketUnavailable, admin_socket, gateway_address


def settings_in(folder: Path, name: str = "gatepost.toml", url: str = "postgresql://nobody.example/none"):
    path = folder / name
    path.write_text(f'[store]\nurl = "{url}"\n')
    settings, _ = read_settings(path, lambda _use: None)
    return settings


@pytest.fixture
def settings(tmp_path):
    """Return a configuration with PostgreSQL, whose gateways may share a folder."""
    return settings_in(tmp_path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gatepost.toml.sock"


@pytest.fixture
def warnings(monkeypatch):
    """Return the problems that the log names."""
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(socket_file, "_log", log)

    def problems():
        assert {call.args for call in log.calls} <= {("admin_socket_not_created",)}
        return [call.kwargs["problem"] for call in log.calls]

    return problems


def leave_stale_socket(path):
    """Create a socket as a gateway that was killed leaves it: nobody listens at it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()


def reaches(address, listener):
    """Return whether a connection to the address arrives at the listener."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        client.sendall(b"x")
        listener.settimeout(60)
        # Earlier connections are those of the checks whether it listens.
        while True:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(1) == b"x":
                    return True


def test_the_socket_lies_beside_the_store_or_the_configuration(tmp_path):
    sqlite = settings_in(tmp_path, url="sqlite:///data/gatepost.db")
    postgresql = settings_in(tmp_path)

    assert socket_file.socket_paths(sqlite)[0] == tmp_path / "data" / "gatepost.db.sock"
    assert socket_file.socket_paths(postgresql)[0] == tmp_path / "gatepost.toml.sock"


@pytest.mark.parametrize("name", ["run/gatepost.sock", "run/gatepost"])
def test_the_socket_lies_where_the_configuration_says(tmp_path, name):
    """A service may be forbidden to write the folder of its configuration."""
    path = tmp_path / "gatepost.toml"
    path.write_text(f'[server]\nadmin_socket = "{name}"\n[store]\nurl = "postgresql://nobody.example/none"\n')
    settings, _ = read_settings(path, lambda _use: None)
    (tmp_path / "run").mkdir()

    first, second = socket_file.socket_paths(settings)[:2]
    assert first == tmp_path / "run" / "gatepost.sock"
    assert second == tmp_path / "run" / "gatepost.2.sock"
    with admin_socket(settings) as listener:
        assert listener.getsockname() == str(first)


@pytest.fixture
def open_umask():
    """Create files with every permission that their creator gives them."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_can_use_the_socket(settings, path, umask):
    before = os.umask(umask)
    try:
        with admin_socket(settings):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_the_socket_has_its_mode_before_anyone_can_connect(settings, path, monkeypatch):
    """The file is created with the mode; nothing changes it later."""
    modes = []
    bind = socket.socket.bind

    class Recording(socket.socket):
        def bind(self, address):
            bind(self, address)
            modes.append(stat.S_IMODE(path.stat().st_mode))

    monkeypatch.setattr(socket_file.socket, "socket", Recording)
    with admin_socket(settings):
        pass

    assert modes == [0o600]


def test_a_command_finds_the_socket_and_it_is_removed_at_the_end(settings, path):
    with admin_socket(settings) as listener, gateway_address(settings) as address:
        assert reaches(address, listener)
    assert not path.exists()
    with pytest.raises(NoSocket, match=f"no gateway is running .*{path}"), gateway_address(settings):
        pass


def test_the_socket_of_a_dead_gateway_is_replaced(settings, path, warnings):
    leave_stale_socket(path)
    with pytest.raises(NoSocket), gateway_address(settings):
        pass

    with admin_socket(settings) as listener, gateway_address(settings) as address:
        assert address == str(path)
        assert reaches(address, listener)
    assert not path.exists()
    assert warnings() == []


def test_two_gateways_beside_one_configuration_have_a_socket_each(settings, path, tmp_path):
    second = tmp_path / "gatepost.toml.2.sock"
    with ExitStack() as first:
        one = first.enter_context(admin_socket(settings))
        with admin_socket(settings) as other:
            assert second.exists()
            with gateway_address(settings) as address:
                assert reaches(address, one)
            # When the first one has stopped, commands reach the other.
            one.close()
            first.close()
            assert not path.exists()
            with gateway_address(settings) as address:
                assert address == str(second)
                assert reaches(address, other)
            with admin_socket(settings), gateway_address(settings) as address:
                assert address == str(path)


def test_there_is_a_limit_to_the_gateways_in_one_folder(settings, warnings):
    with ExitStack() as stack:
        for _ in range(socket_file.MAX_GATEWAYS):
            assert stack.enter_context(admin_socket(settings))
        assert stack.enter_context(admin_socket(settings)) is None
    (problem,) = warnings()
    assert "64 gateways already listen beside this configuration" in problem


def test_gateways_that_start_at_once_take_different_sockets(tmp_path, settings):
    """They find the same stale socket; without the lock two would replace it, and one would lose its own."""
    leave_stale_socket(tmp_path / "gatepost.toml.sock")
    code = """if True:
        import sys
        from pathlib import Path
        from gatepost.config.toml_file import read_settings
        from gatepost.web.admin.socket_file import admin_socket
        settings, _ = read_settings(Path(sys.argv[1]), lambda _use: None)
        print("ready", flush=True)
        sys.stdin.readline()
        with admin_socket(settings) as listener:
            print(listener.getsockname(), flush=True)
            sys.stdin.readline()
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(settings.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        names = [process.stdout.readline().strip() for process in processes]
        assert sorted(names) == sorted(str(one) for one in socket_file.socket_paths(settings)[:4])
        assert all(socket_file._is_live(name) for name in names)
    finally:
        for process in processes:
            process.communicate("\n\n")
    assert list(tmp_path.glob("*.sock")) == []


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "folder", "fifo"])
def test_what_is_not_a_socket_stays(settings, path, tmp_path, warnings, kind):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    match kind:
        case "link":
            path.symlink_to(precious)
        case "dangling link":
            path.symlink_to(tmp_path / "nothing")
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
    before = path.lstat()

    with admin_socket(settings) as listener:
        assert listener is None

    assert path.lstat() == before
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    (problem,) = warnings()
    assert problem.startswith(
        f"{path} is not a socket, so move it away: no command can reach this gateway, so "
    )


def test_a_link_to_a_stale_socket_is_not_followed(settings, path, tmp_path, warnings):
    leave_stale_socket(tmp_path / "other.sock")
    path.symlink_to(tmp_path / "other.sock")

    with admin_socket(settings) as listener:
        assert listener is None

    assert (tmp_path / "other.sock").exists()
    assert path.is_symlink()
    assert len(warnings()) == 1


def test_a_socket_of_another_kind_stays(settings, path, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))

        with admin_socket(settings):
            assert (tmp_path / "gatepost.toml.2.sock").exists()

        assert path.exists()


def test_a_socket_that_another_gateway_has_put_in_its_place_is_not_removed(settings, path):
    with admin_socket(settings):
        path.unlink()
        leave_stale_socket(path)

    assert path.exists()


def test_a_folder_without_write_access_is_named_in_one_warning(settings, path, warnings, monkeypatch):
    """The gateway runs without its socket. Root may write everywhere, so the system's refusal is simulated."""

    class Refusing(socket.socket):
        def bind(self, _address):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket_file.socket, "socket", Refusing)

    with admin_socket(settings) as listener:
        assert listener is None

    assert warnings() == [
        "Permission denied: no command can reach this gateway, so send won't work, and with SQLite no command that changes something"
    ]
    assert not path.exists()


def test_a_folder_that_another_process_has_locked_delays_no_start_for_ever(
    settings, tmp_path, warnings, monkeypatch
):
    monkeypatch.setattr(socket_file, "_LOCK_TRIES", 2)
    with socket_file._locked(tmp_path), admin_socket(settings) as listener:
        assert listener is None
    assert "another process has locked the folder" in warnings()[0]


def test_a_long_path_is_reached_through_its_folder(tmp_path, warnings):
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    settings = settings_in(folder)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))

    with admin_socket(settings) as listener:
        assert stat.S_IMODE((folder / "gatepost.toml.sock").stat().st_mode) == 0o600
        with gateway_address(settings) as address:
            assert reaches(address, listener)
        with admin_socket(settings) as other:
            assert other is not None
            assert (folder / "gatepost.toml.2.sock").exists()

    assert list(folder.glob("*.sock")) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert warnings() == []


def test_a_long_name_is_refused_with_its_cure(tmp_path, warnings):
    settings = settings_in(tmp_path, name=f"{'x' * 120}.toml")

    with admin_socket(settings) as listener:
        assert listener is None
    with pytest.raises(SocketUnavailable, match="use a shorter one"), gateway_address(settings):
        pass

    assert "is too long for a socket, so use a shorter one" in warnings()[0]


def test_a_missing_folder_has_no_socket(tmp_path, warnings):
    settings = settings_in(tmp_path, url=f"sqlite:///{'y' * 120}/gatepost.db")

    with pytest.raises(NoSocket), gateway_address(settings):
        pass


def test_a_command_without_permission_names_the_user_to_be(settings, path, monkeypatch):
    leave_stale_socket(path)

    def refuse(_address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket_file, "_is_live", refuse)

    with pytest.raises(SocketUnavailable, match=f"{path}: permission denied; .*sudo -u '#{os.geteuid()}'"):
        gateway_address(settings).__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect(settings, tmp_path, open_umask):
    # Only the mode of the socket itself may keep the other user out.
    tmp_path.chmod(0o755)
    code = """if True:
        import os, socket
        os.setuid(65534)
        socket.socket(socket.AF_UNIX).connect("gatepost.toml.sock")
    """
    with admin_socket(settings):
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert "PermissionError" in result.stderr
