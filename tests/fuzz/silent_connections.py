"""Connections that send nothing, held against a gateway."""

import selectors
import socket
import time

from fuzz import gateway
from fuzz.driver import Connection
from gatepost.testing.process import GatewayProcess


def hold_silent_connections(process: GatewayProcess, count: int) -> tuple[int, float]:
    """Open ``count`` connections that send nothing, and wait until the gateway has closed all of them.

    Asserts that a request on another connection is answered meanwhile. Returns the gateway's memory in bytes
    while all are open, and the seconds until the last one was closed.
    """
    address = gateway.address(process)
    silent = selectors.DefaultSelector()
    try:
        for _ in range(count):
            silent.register(socket.create_connection(address), selectors.EVENT_READ)
        begin = time.monotonic()
        connection = Connection(address)
        connection.send(gateway.request(body=gateway.message()))
        answer = connection.receive()
        connection.close()
        assert answer is not None
        assert answer.code == 1
        memory = gateway.memory(process.pid)
        while silent.get_map():
            for key, _ in silent.select(30):
                silent.unregister(key.fileobj)
                key.fileobj.close()
        return memory, time.monotonic() - begin
    finally:
        for key in list(silent.get_map().values()):
            key.fileobj.close()
        silent.close()
