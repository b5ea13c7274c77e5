"""Servers on loopback inside the test: one answers each line with "+" and the line, one each HTTP head with a text."""

import socketserver
import threading


class LineHandler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"+" + line.replace(b"\r\n", b"\n"))


class HttpHandler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        for line in self.rfile:
            head += line
            if line == b"\r\n":
                self.server.requests.append(head)
                self.wfile.write(self.server.reply)
                head = b""


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class LineServer(Server):
    def __init__(self):
        super().__init__(LineHandler)


class HttpServer(Server):
    def __init__(self, reply):
        super().__init__(HttpHandler)
        self.reply = reply
        self.requests = []
