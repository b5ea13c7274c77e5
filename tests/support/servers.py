"""Real servers for tests, each a context manager on a port that the system picked.

    with Redis() as redis:
        redis.port
    with Nginx(certificate=authority.issue("localhost")) as nginx: …

Each starts in a directory of its own, is ready when the block begins, and is gone when it ends. restart() keeps
port and data. A server that is not installed raises Skipped. `log()` is what it wrote.
"""

import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

from processes import START_TIMEOUT_S, Skipped, need, poll_until, start, stop

PORT_TRIES = 4  # a picked port may be taken before the server binds it


def free_port(address="127.0.0.1"):
    """A port that was free for TCP and UDP a moment ago."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            try:
                udp.bind((address, tcp.getsockname()[1]))
            except OSError:
                continue
            return tcp.getsockname()[1]


class Server:
    """The life of one server process. A server class gives `argv()`, and `prepare()` when it has files to write."""

    stop_signal = signal.SIGTERM
    user = None  # another user to run as; the directory is made theirs

    def __init__(self, address="127.0.0.1"):
        self.address = address
        self.port = 0
        self.process = None
        self.place = self.directory = None

    def prepare(self):
        pass

    def argv(self):
        raise NotImplementedError

    def __enter__(self):
        self.place = tempfile.TemporaryDirectory(prefix="conpool-server-")
        self.directory = pathlib.Path(self.place.name)
        try:
            self.own(self.directory)
            for _ in range(PORT_TRIES):
                self.port = free_port(self.address)
                self.prepare()
                if self.start():
                    return self
            raise RuntimeError(f"{type(self).__name__} does not start:\n{self.log()}")
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def own(self, path):
        """Makes a file or directory the server user's."""
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def as_user(self):
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def start(self):
        """True once it accepts connections; False when it ended instead."""
        with open(self.directory / "log", "ab") as log:
            self.process = start(self.argv(), cwd=self.directory, stdout=log, stderr=subprocess.STDOUT,
                                 **self.as_user())
        poll_until(lambda: self.process.poll() is not None or self.accepts(),
                   f"{type(self).__name__} on port {self.port}", START_TIMEOUT_S)
        return self.process.poll() is None

    def accepts(self):
        try:
            socket.create_connection((self.address, self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is not None:
            stop(self.process, self.stop_signal)
            self.process = None

    def restart(self):
        self.stop()
        if not self.start():
            raise RuntimeError(f"{type(self).__name__} does not start again:\n{self.log()}")

    def close(self):
        self.stop()
        if self.place is not None:
            self.place.cleanup()
            self.place = None

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""


class Nginx(Server):
    """HTTP, with TLS when a certificate is given. GET / answers "hello\\n".

    `versions`: "both" is HTTP/2 and HTTP/1.1 by ALPN with TLS, and HTTP/1.1 without; "http1" and "h2" are one alone.
    `http` and `server` are lines for these blocks of its configuration. Files of `files` are at /files/NAME, and
    PUT /uploads/NAME writes one there.
    """

    def __init__(self, certificate=None, keepalive_timeout_s=60, versions="both", http="", server="", **options):
        super().__init__(**options)
        self.program = need("nginx")
        self.certificate, self.keepalive_timeout_s, self.versions = certificate, keepalive_timeout_s, versions
        self.http_lines, self.server_lines = http, server

    def prepare(self):
        host = f"[{self.address}]" if ":" in self.address else self.address
        tls, listen = "", " http2" if self.versions == "h2" else ""
        if self.certificate:
            chain, key = self.certificate
            tls = f"ssl_certificate {chain}; ssl_certificate_key {key};"
            listen = " ssl" if self.versions == "http1" else " ssl http2"
        for folder in ("files", "uploads"):
            (self.directory / folder).mkdir(exist_ok=True)
        (self.directory / "nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log stderr warn; worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
  log_format test '$connection $server_protocol $request_method $uri $status $request_length $body_bytes_sent';
  access_log access.log test; default_type text/plain;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi; keepalive_timeout {self.keepalive_timeout_s}s; keepalive_requests 1000000;
  client_max_body_size 0;
  {self.http_lines}
  server {{
    listen {host}:{self.port}{listen} backlog=1024; {tls}
    location / {{ return 200 "hello\\n"; }}
    location /files/ {{ root {self.directory}; }}
    location /uploads/ {{ root {self.directory}; dav_methods PUT; }}
    {self.server_lines}
  }}
}}
""")

    def argv(self):
        return [self.program, "-p", self.directory, "-c", "nginx.conf", "-e", "stderr"]

    def requests(self):
        """Its log: a dict for each request that has ended."""
        names = ("connection", "protocol", "method", "uri", "status", "bytes_in", "bytes_out")
        path = self.directory / "access.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(zip(names, line.split())) for line in lines]


class Redis(Server):
    def __init__(self, *arguments, **options):
        super().__init__(**options)
        self.program = need("redis-server")
        self.arguments = arguments

    def argv(self):
        return [self.program, "--bind", self.address, "--port", self.port, "--save", "", "--appendonly", "no",
                "--daemonize", "no", "--dir", self.directory, *self.arguments]


class Postgres(Server):
    """A fresh cluster; user "postgres" and database "postgres", no password asked. `roles` are more logins.

    With a certificate it takes TLS and plain connections alike.
    """

    stop_signal = signal.SIGINT  # the "fast" shutdown, which does not wait for clients

    def __init__(self, certificate=None, roles=(), settings="", **options):
        super().__init__(**options)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        self.programs = pathlib.Path(found[-1] if found else need("initdb")).parent
        self.certificate, self.roles, self.settings = certificate, roles, settings
        if os.geteuid() == 0:  # it refuses to run as root
            self.user = self.unprivileged_user()

    @staticmethod
    def unprivileged_user():
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise Skipped("no unprivileged user to run PostgreSQL as")

    def prepare(self):
        data = self.directory / "data"
        shutil.rmtree(data, ignore_errors=True)
        done = subprocess.run([self.programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync",
                               "--no-locale", "-E", "UTF8"], cwd=self.directory, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, **self.as_user())
        if done.returncode != 0:
            raise RuntimeError(f"initdb: {done.stderr}")
        lines = [f"listen_addresses = '{self.address}'", f"port = {self.port}", "max_connections = 200",
                 f"unix_socket_directories = '{self.directory}'", "fsync = off", self.settings]
        if self.certificate:
            for source, target in zip(self.certificate, ("server.crt", "server.key")):
                shutil.copy(source, data / target)
                self.own(data / target)
                os.chmod(data / target, 0o600)
            lines.append("ssl = on")
        with open(data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("\n".join(lines) + "\n")

    def argv(self):
        return [self.programs / "postgres", "-D", self.directory / "data"]

    def start(self):
        if not super().start():
            return False
        # It accepts connections while it still starts up; a query tells.
        poll_until(lambda: self.process.poll() is not None or self.query("select 1").returncode == 0,
                   "PostgreSQL's first query")
        for role in self.roles:
            self.query(f'create role "{role}" login')
        return self.process.poll() is None

    def query(self, sql, user="postgres", sslmode="disable"):
        """Runs psql; a subprocess.CompletedProcess with bare rows on stdout."""
        target = f"host={self.address} port={self.port} user={user} dbname=postgres sslmode={sslmode}"
        return subprocess.run([self.programs / "psql", "-XAtq", "-c", sql, target], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30)


class Dnsmasq(Server):
    """DNS from a table: {"www.test": ["127.0.0.2", "::1"]}."""

    def __init__(self, records, *arguments, **options):
        super().__init__(**options)
        self.program = need("dnsmasq")
        self.records, self.arguments = records, arguments

    def argv(self):
        user = pwd.getpwuid(os.geteuid()).pw_name
        argv = [self.program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                "--log-facility=-", "--log-queries", "--pid-file=", f"--user={user}", "--bind-interfaces",
                f"--listen-address={self.address}", f"--port={self.port}", "--local=/test/"]
        # A record takes one address of each family.
        argv += [f"--host-record={name},{one}" for name, addresses in self.records.items() for one in addresses]
        return argv + list(self.arguments)


class Unbound(Server):
    """A validating-capable resolver with local data only: ["www.test. 60 IN A 127.0.0.2"]."""

    def __init__(self, records, settings="", **options):
        super().__init__(**options)
        self.program = need("unbound")
        self.records, self.settings = records, settings

    def prepare(self):
        data = "\n".join(f"  local-data: '{record}'" for record in self.records)
        (self.directory / "unbound.conf").write_text(f"""
server:
  directory: "{self.directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  log-queries: yes
  do-daemonize: no
  interface: {self.address}@{self.port}
  access-control: 127.0.0.0/8 allow
  access-control: ::1/128 allow
  num-threads: 1
  module-config: "iterator"
  local-zone: "test." static
{data}
{self.settings}
remote-control:
  control-enable: no
""")

    def argv(self):
        return [self.program, "-d", "-p", "-c", self.directory / "unbound.conf"]


class Haproxy(Server):
    """A TCP or HTTP proxy before backend ports on the same address.

    With a certificate its front speaks TLS, and with mode "http" HTTP/2 and HTTP/1.1 by ALPN. `backend` are words
    for each server line: "proto h2" for HTTP/2 to a backend without TLS.
    """

    stop_signal = signal.SIGINT  # at once, not after the last connection

    def __init__(self, backend_ports, mode="tcp", frontend="", certificate=None, backend="", **options):
        super().__init__(**options)
        self.program = need("haproxy")
        self.backend_ports, self.mode, self.frontend = backend_ports, mode, frontend
        self.certificate, self.backend = certificate, backend

    def prepare(self):
        backends = "\n".join(f"  server s{n} {self.address}:{port} {self.backend}"
                             for n, port in enumerate(self.backend_ports))
        tls = ""
        if self.certificate:
            bundle = self.directory / "front.pem"
            bundle.write_bytes(b"".join(pathlib.Path(part).read_bytes() for part in self.certificate))
            tls = f" ssl crt {bundle}" + (" alpn h2,http/1.1" if self.mode == "http" else "")
        (self.directory / "haproxy.cfg").write_text(f"""
global
  maxconn 1000
defaults
  mode {self.mode}
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind {self.address}:{self.port}{tls}
{self.frontend}
  default_backend back
backend back
{backends}
""")

    def argv(self):
        return [self.program, "-db", "-q", "-f", self.directory / "haproxy.cfg"]


class Nghttpd(Server):
    """HTTP/2, over TLS when a certificate is given. GET /index.html answers "hello\\n".

    Its own flags are the arguments: "-m", 8 for a stream limit, "--echo-upload", "--trailer", "x-a: b". With "-v" its
    log tells every frame. New files in its directory are served at once; changed ones are not.
    """

    def __init__(self, *arguments, certificate=None, **options):
        super().__init__(**options)
        self.program = need("nghttpd")
        self.arguments, self.certificate = arguments, certificate

    def prepare(self):
        (self.directory / "index.html").write_text("hello\n")

    def argv(self):
        argv = [self.program, "-a", self.address, "-d", self.directory, *self.arguments]
        if not self.certificate:
            return [*argv, "--no-tls", self.port]
        chain, key = self.certificate
        return [*argv, self.port, key, chain]
