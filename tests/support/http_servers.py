"""HTTP servers of tests on Node and on Go, which count for themselves; and the bytes that bodies are made of.

    with Node("h2", certificate=authority.issue("localhost"), settings={"maxConcurrentStreams": 8}) as node:
        node.url("/bytes/100")
        node.counts()["connections"]

node_server.js and go_server.go list their paths and commands.
"""

import json
import os
import pathlib
import subprocess
import tempfile

from processes import JsonChild, Skipped, need

HERE = pathlib.Path(__file__).resolve().parent
ROWS = [bytes(i ^ k for i in range(256)) for k in range(256)]


def pattern(size):
    """The first bytes of the body that servers and clients of these tests send."""
    blocks = (size + 255) // 256
    return b"".join(ROWS[(block & 255) ^ (block >> 8 & 255)] for block in range(blocks))[:size]


class Scripted:
    """A server that is a JsonChild on a port of 127.0.0.1."""

    SECURE = ("https1", "h2", "both")

    def __init__(self, mode, certificate=None, **options):
        self.mode, self.options = mode, {"mode": mode, **options}
        if mode in self.SECURE:
            self.options["cert"], self.options["key"] = map(str, certificate)
        self.child, self.port = None, 0

    def argv(self):
        raise NotImplementedError

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.child = JsonChild([*self.argv(), json.dumps({**self.options, "port": self.port})])
        self.port = self.child.ready["ready"]

    def stop(self):
        if self.child is not None:
            self.child.close()
            self.child = None

    def restart(self):
        self.stop()
        self.start()

    def url(self, path="/"):
        scheme = "https" if self.mode in self.SECURE else "http"
        return f"{scheme}://localhost:{self.port}{path}"

    @property
    def h2(self):
        """Whether clients have to be told that it speaks HTTP/2 alone and without TLS."""
        return self.mode == "h2c"

    def counts(self):
        return self.child.command(do="counts")

    def tell(self, do, **arguments):
        return self.child.command(do=do, **arguments)


class Node(Scripted):
    def __init__(self, mode, **options):
        self.program = need("node")
        super().__init__(mode, **options)

    def argv(self):
        return [self.program, HERE / "node_server.js"]


class Go(Scripted):
    """Built once per test program, without the network."""

    LEAST = (1, 24)  # net/http's Protocols: HTTP/2 without TLS
    built = None

    def __init__(self, mode, **options):
        if Go.built is None:
            Go.built = self.build()
        super().__init__(mode, **options)

    @classmethod
    def build(cls):
        go = "/usr/local/go/bin/go" if os.access("/usr/local/go/bin/go", os.X_OK) else need("go")
        place = tempfile.TemporaryDirectory(prefix="conpool-go-")
        environment = {**os.environ, "GOPROXY": "off", "GO111MODULE": "off", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        if not environment.get("HOME"):
            environment["GOCACHE"] = f"{place.name}/cache"
        found = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment, check=True)
        version = tuple(int(part) for part in found.stdout.strip().removeprefix("go").split(".")[:2])
        if version < cls.LEAST:
            raise Skipped(f"go is older than {'.'.join(map(str, cls.LEAST))}")
        program = pathlib.Path(place.name) / "go_server"
        done = subprocess.run([go, "build", "-o", program, HERE / "go_server.go"], capture_output=True, text=True,
                              env=environment, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"go build: {done.stderr}")
        cls.place = place  # kept until the program ends
        return program

    def argv(self):
        return [Go.built]
