"""WebSocket on both sides of a balancer, by Debian's python3-websockets: `serve`, or `ask URL [CA]`.

`serve` says its port, then how each connection ended. `ask` goes through the story and says what it saw.
"""

import asyncio
import os
import socket
import ssl
import struct
import sys

from websockets.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.server import serve


def say(*words):
    print(*words, flush=True)


def reset(connection):
    """Hangs up so that the kernel sends RST."""
    end = connection.transport.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def answer(connection):
    try:
        async for message in connection:
            if message == "close":
                await connection.close(4001, "enough")
            elif message == "reset":
                reset(connection)
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    say("ended", connection.close_code, connection.close_reason or "-")


async def serving():
    # Pings of its own among the messages.
    async with serve(answer, "127.0.0.1", 0, max_size=None, ping_interval=0.05, ping_timeout=20) as server:
        say("port", server.sockets[0].getsockname()[1])
        await asyncio.Future()


async def ended(connection):
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        return (connection.close_code, connection.close_reason or "-")


async def asking(url, ca):
    context = ssl.create_default_context(cafile=ca) if ca else None
    # By name, wherever it listens.
    options = {"server_hostname": "www.example.com"} if ca else {}

    def connecting():
        return connect(url, ssl=context, max_size=None, ping_interval=None, **options)

    async with connecting() as connection:
        for message in ["hello", "", b"", "ä" * 2_000_000, os.urandom(5_000_000)]:
            await connection.send(message)
            same = await connection.recv() == message
            say("same" if same else "differs", type(message).__name__, len(message))
        await connection.send([b"part" * 20_000] * 20)
        say("same" if await connection.recv() == b"part" * 400_000 else "differs", "fragments")
        # Both ways at once, more than any buffer.
        count = 200
        sending = asyncio.create_task(send_all(connection, count))
        heard = [await connection.recv() for _ in range(count)]
        await sending
        say("same" if heard == [large(number) for number in range(count)] else "differs", "many")
        await asyncio.wait_for(await connection.ping(b"are you there"), 20)
        say("pong")
        await connection.close(1000, "bye")
        say("closed", connection.close_code, connection.close_reason or "-")
    async with connecting() as connection:
        await connection.send("close")
        say("is closed", *await ended(connection))
    async with connecting() as connection:
        await connection.send("reset")
        say("is reset", *await ended(connection))
    connection = await connecting()
    await connection.send("hello")
    await connection.recv()
    reset(connection)
    say("done")


def large(number):
    return bytes([number % 256]) * 100_000


async def send_all(connection, count):
    for number in range(count):
        await connection.send(large(number))


if sys.argv[1] == "serve":
    asyncio.run(serving())
else:
    asyncio.run(asking(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
