"""A TCP relay on loopback that holds every byte back for half a round trip, each way."""

import asyncio
import socket
import threading


class DelayRelay:
    """Relays from its port to another one of 127.0.0.1. A new connection costs its first byte one round trip more,
    as a handshake of TCP would."""

    def __init__(self, port, round_trip_s):
        self.target, self.half_s = port, round_trip_s / 2
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(256)
        self.port = self.listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.loop.run_until_complete(asyncio.start_server(self.serve, sock=self.listener, limit=1 << 20))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.listener.close()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def serve(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 20)
            for each in (writer, far_writer):
                each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(self.pump(reader, far_writer, 2 * self.half_s), self.pump(far_reader, writer, 0))
        except (OSError, asyncio.CancelledError):
            writer.close()

    async def pump(self, reader, writer, first_s):
        due = asyncio.Queue()
        opens = self.loop.time() + first_s

        async def feed():
            data = b"-"
            while data:
                data = await reader.read(1 << 16)
                await due.put((max(self.loop.time(), opens) + self.half_s, data))

        feeding = asyncio.ensure_future(feed())
        try:
            while True:
                at, data = await due.get()
                await asyncio.sleep(max(0, at - self.loop.time()))  # the way's length is what it is for
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        finally:
            feeding.cancel()
            writer.close()
