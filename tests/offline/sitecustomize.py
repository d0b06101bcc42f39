"""No Python process of the suite reaches beyond this machine.

`conftest.py` loads this file and puts its folder on PYTHONPATH, so that child processes load it at their start.
An audit hook sees every connection and look-up of the interpreter, asyncio's included. A refused one is also
written to a file: the suite fails even when the code under test swallows the error.
"""

import ipaddress
import os
import platform
import sys
from pathlib import Path

HOST_FIRST = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
ADDRESS_SECOND = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOCAL_NAMES = {"", "localhost", "0.0.0.0", "::", platform.node()}  # noqa: S104 - not bound here


def is_local(host):
    """Whether a host, by name or address, is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if not isinstance(name, str) or name in LOCAL_NAMES:  # None; numbers of a kernel socket
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False


def refuse_network(event, args):
    """Audit hook: raise where a connection or look-up would leave the machine."""
    if event in HOST_FIRST:
        host = args[0]
    elif event in ADDRESS_SECOND:
        host = args[1][0] if isinstance(args[1], tuple) else None  # a path: a Unix socket
    else:
        return
    if not is_local(host):
        message = f"the suite runs without a network, but {event} was called for {host!r}"
        if log := os.environ.get("MOIRAI_REFUSED_CONNECTIONS"):
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(message + "\n")
        raise RuntimeError(message)


sys.addaudithook(refuse_network)
