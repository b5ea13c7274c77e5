"""Two network namespaces with a wire between them that misbehaves as told, and a DNS server that does too.

    with Network() as net:
        net.policy("10.9.0.2", drop="all")                  # see relay.py
        net.dns({"www.test": {"A": ["10.9.0.2"], "AAAA": {"drop": True}}})    # see dns_server.py
        done = net.run_client([program, "www.test"], resolv_conf="nameserver 10.9.0.53\\n")
        net.packets("SYN", target="10.9.0.2")               # [{"time_ns": …, …}]
        net.queries(type="AAAA")

Client: 10.9.0.1, 2001:db8:9::1. Servers: 10.9.0.2 … 10.9.0.9 and 2001:db8:9::2 … 9; DNS at .53 and .54
of both families. It needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN) and /dev/net/tun; Network() raises Skipped
without them. Everything it started is gone when the block ends, however it ends.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

import processes  # noqa: E402
from processes import Skipped, need  # noqa: E402
from relay import enter_namespace  # noqa: E402

CLIENT_V4, CLIENT_V6 = "10.9.0.1", "2001:db8:9::1"
HOSTS = (*range(2, 10), 53, 54)
SERVERS_V4 = [f"10.9.0.{host}" for host in range(2, 10)]
SERVERS_V6 = [f"2001:db8:9::{host}" for host in range(2, 10)]
DNS_SERVERS = ["10.9.0.53", "10.9.0.54", "2001:db8:9::53", "2001:db8:9::54"]
COMMAND_TIMEOUT_S = 20
DEFAULT_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
NSSWITCH = "hosts: files dns\n"

_networks = 0


def ip(*arguments, check=True):
    """Runs the ip command; Skipped is for Network to raise."""
    return subprocess.run([need("ip"), *arguments], check=check, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=COMMAND_TIMEOUT_S)


def remove_stale_namespaces():
    """Removes the namespaces of tests that were killed: those of ours whose pid is gone."""
    for line in ip("netns", "list").stdout.splitlines():
        name = line.split(" ")[0]
        parts = name.split("-")
        if parts[0] == "cpn" and len(parts) == 4 and not os.path.exists(f"/proc/{parts[1]}"):
            ip("netns", "del", name, check=False)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


class Network:
    def __init__(self, ipv6=True):
        """ipv6=False leaves the client without any IPv6 address and route."""
        global _networks
        _networks += 1
        stem = f"cpn-{os.getpid()}-{_networks}"
        self.client, self.server = f"{stem}-c", f"{stem}-s"
        self.ipv6 = ipv6
        self.relay = None
        self.resolver = None
        self.children = []

    def __enter__(self):
        self._check_rights()
        try:
            self._create()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _check_rights(self):
        need("ip")
        if os.geteuid() != 0:
            raise Skipped("network namespaces need root")
        if not os.path.exists("/dev/net/tun"):
            raise Skipped("/dev/net/tun does not exist")
        remove_stale_namespaces()
        made = ip("netns", "add", self.client, check=False)
        if made.returncode != 0:
            raise Skipped(f"network namespaces cannot be made here: {made.stderr.strip()}")

    def _create(self):
        ip("netns", "add", self.server)
        for name in (self.client, self.server):
            directory = pathlib.Path(f"/etc/netns/{name}")
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "nsswitch.conf").write_text(NSSWITCH)
            self.write_files(name, resolv_conf="nameserver 10.9.0.53\n", hosts=DEFAULT_HOSTS)
            # Without router and neighbour discovery nothing but the tests' packets is on the wire.
            self._in_namespace(name, lambda: self._write_sysctl("default"))
        self.relay = processes.JsonChild([sys.executable, HERE / "relay.py", self.client, self.server])
        self._set_up(self.client, "tc0", [f"{CLIENT_V4}/24"], [f"{CLIENT_V6}/64"] if self.ipv6 else [])
        self._set_up(self.server, "ts0", [f"10.9.0.{host}/24" for host in HOSTS],
                     [f"2001:db8:9::{host}/64" for host in HOSTS])
        if self.ipv6:  # without a default route a host counts as one without IPv6
            ip("-n", self.client, "-6", "route", "add", "default", "dev", "tc0")

    @staticmethod
    def _write_sysctl(device):
        for name, value in (("accept_ra", "0"), ("router_solicitations", "0"), ("accept_dad", "0"),
                            ("addr_gen_mode", "1")):
            with contextlib.suppress(OSError):
                pathlib.Path(f"/proc/sys/net/ipv6/conf/{device}/{name}").write_text(value)

    def _set_up(self, namespace, device, v4, v6):
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "link", "set", device, "up")
        for address in v4:
            ip("-n", namespace, "addr", "add", address, "dev", device)
        for address in v6:
            ip("-n", namespace, "addr", "add", address, "dev", device, "nodad")

    def _in_namespace(self, namespace, function):
        """Calls the function on a thread of its own inside the namespace, and answers what it answers."""
        box = {}

        def work():
            try:
                fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
                try:
                    enter_namespace(fd)
                finally:
                    os.close(fd)
                box["value"] = function()
            except BaseException as error:  # handed to the caller's thread
                box["error"] = error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if "error" in box:
            raise box["error"]
        return box["value"]

    # --- the wire

    def policy(self, address, **settings):
        """Replaces what the wire does for one server address, or "*"; see relay.py."""
        self.relay.command(policy={"address": address, **settings})

    def packets(self, kind=None, since=0, **fields):
        """What the wire logged: SYN, SYN-ACK, RST (and DATA, FIN where log_data is set)."""
        return [entry for entry in self.relay.log(since)
                if kind in (None, entry["kind"]) and all(entry[k] == v for k, v in fields.items())]

    def wait_packets(self, kind, count=1, since=0, timeout=processes.START_TIMEOUT_S, **fields):
        """The first packets of a kind, once there are that many."""
        def matches(entry):
            return entry["kind"] == kind and all(entry[k] == v for k, v in fields.items())
        return self.relay.wait_for(matches, f"{count} {kind} {fields}", count, since, timeout)

    # --- names

    def dns(self, zone):
        """Starts the DNS server with a zone, or replaces its zone; see dns_server.py."""
        if self.resolver is None:
            argv = [need("ip"), "netns", "exec", self.server, sys.executable, HERE / "dns_server.py", *DNS_SERVERS]
            self.resolver = processes.JsonChild(argv)
        self.resolver.command(zone=zone)

    def dns_server(self, address, **entry):
        """Makes one of the DNS servers' addresses answer everything alike: drop=True, rcode="SERVFAIL"; {} ends it."""
        self.resolver.command(server=address, set=entry)

    def queries(self, since=0, **fields):
        return [entry for entry in self.resolver.log(since)
                if all(entry.get(k) == v for k, v in fields.items())]

    def wait_queries(self, count=1, since=0, timeout=processes.START_TIMEOUT_S, **fields):
        def matches(entry):
            return all(entry.get(k) == v for k, v in fields.items())
        return self.resolver.wait_for(matches, f"{count} queries {fields}", count, since, timeout)

    # --- programs and sockets

    def write_files(self, namespace, resolv_conf=None, hosts=None):
        """The files that programs started in the namespace see in /etc. Rewriting them is seen by running ones."""
        directory = pathlib.Path(f"/etc/netns/{namespace}")
        for name, text in (("resolv.conf", resolv_conf), ("hosts", hosts)):
            if text is not None:
                (directory / name).write_text(text)

    def run_client(self, argv, resolv_conf=None, hosts=None, timeout=60, **options):
        """Runs a program in the client's namespace to its end; a subprocess.CompletedProcess with texts."""
        self.write_files(self.client, resolv_conf, hosts)
        options.setdefault("capture_output", True)
        return subprocess.run([need("ip"), "netns", "exec", self.client, *map(str, argv)],
                              stdin=subprocess.DEVNULL, text=True, timeout=timeout, **options)

    def start_client(self, argv, resolv_conf=None, hosts=None, **options):
        """Starts a program in the client's namespace; it is stopped when the block ends, if it still runs."""
        self.write_files(self.client, resolv_conf, hosts)
        return self._start(self.client, argv, options)

    def start_server(self, argv, **options):
        """Starts a program in the servers' namespace."""
        return self._start(self.server, argv, options)

    def _start(self, namespace, argv, options):
        child = processes.start([need("ip"), "netns", "exec", namespace, *argv], **options)
        self.children.append(child)
        return child

    def client_socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        return self._in_namespace(self.client, lambda: socket.socket(family, kind))

    def server_socket(self, address, port=0, kind=socket.SOCK_STREAM):
        """A socket bound to a server address, listening when it is TCP."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make():
            made = socket.socket(family, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            if kind == socket.SOCK_STREAM:
                made.listen(128)
            return made

        return self._in_namespace(self.server, make)

    def close(self):
        for child in self.children:
            processes.stop(child)
        for child in (self.resolver, self.relay):
            if child is not None:
                child.close()
        self.children, self.resolver, self.relay = [], None, None
        for name in (self.client, self.server):
            if os.path.exists(f"/run/netns/{name}"):
                ip("netns", "del", name, check=False)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)
