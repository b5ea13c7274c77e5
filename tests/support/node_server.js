// An HTTP server of tests on Node: HTTP/1.1, HTTP/2 over TLS, or HTTP/2 by prior knowledge.
//
// node node_server.js '{"mode": "h2", "key": FILE, "cert": FILE, "settings": {…}, "window": N, …}'
//
//   mode       "http1", "https1", "h2c", "h2" (h2 alone), "both" (h2 and http/1.1 by ALPN)
//   settings   HTTP/2 SETTINGS of the server: maxConcurrentStreams, initialWindowSize, …
//   window     the connection's receive window of HTTP/2
//   keepalive  ms after which an idle HTTP/1.1 connection is closed; 0: never
//   idle       ms after which a silent HTTP/2 connection is closed; a PING is no silence
//   delay      ms before each response begins
//   port       the port; 0: any
//
// Prints {"ready": port}; then each line of its input is a command:
//   {"id": 1, "do": "counts"}   answered with {"ack": 1, connections, open, tls, requests, most_streams, …}
//   {"id": 2, "do": "goaway", "code": 0}     on every HTTP/2 session
//   {"id": 3, "do": "settings", "settings": {…}}
//   {"id": 4, "do": "reset"}    cuts every connection
//
// Paths:
//   /bytes/N[?chunked]      N bytes of the pattern (see byteAt); chunked: without a Content-Length
//   /slow/N                 N KiB of it, one every 50 ms
//   /echo                   the request's body comes back; its trailers too, as x-echo-NAME
//   /hash                   JSON of what came: method, size, sha256, headers, trailers, version
//   /status/CODE, /delay/MS, /interim, /trailers/N, /rst/CODE, /goaway, /cut, /headers/N
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const http2 = require("http2");
const https = require("https");
const readline = require("readline");

const options = JSON.parse(process.argv[2] || "{}");
const PIECE = 65536;
const counts = {connections: 0, open: 0, most_open: 0, tls: 0, resumed: 0, sessions: 0, requests: 0, ended: 0,
                running: 0, most_running: 0, most_streams: 0, pings: 0, bytes_in: 0,
                bytes_out: 0};
const sockets = new Set();
const sessions = new Map();  // session → running streams

// The byte at a place of every body that tests send: no two blocks of 256 next to each other are alike.
const rows = [];
for (let k = 0; k < 256; k++) rows.push(Buffer.from(Array.from({length: 256}, (_, i) => i ^ k)));
function pattern(from, size) {  // `from` is a multiple of 256
  const out = Buffer.allocUnsafe(size);
  for (let at = 0; at < size; at += 256) {
    const block = (from + at) / 256;
    rows[(block & 255) ^ ((block >> 8) & 255)].copy(out, at, 0, Math.min(256, size - at));
  }
  return out;
}

function sendPattern(response, size) {
  let at = 0;
  function more() {
    while (at < size) {
      const piece = Math.min(PIECE, size - at);
      at += piece;
      counts.bytes_out += piece;
      if (!response.write(pattern(at - piece, piece))) {
        response.once("drain", more);
        return;
      }
    }
    response.end();
  }
  more();
}

function echo(request, response) {
  const head = {};
  if (request.headers["content-length"] !== undefined) head["content-length"] = request.headers["content-length"];
  response.writeHead(200, head);
  request.on("data", (data) => { counts.bytes_in += data.length; });
  request.on("end", () => {
    const trailers = {};
    for (const [name, value] of Object.entries(request.trailers)) trailers["x-echo-" + name] = value;
    // Trailers need the chunked coding or HTTP/2.
    if (Object.keys(trailers).length > 0) response.addTrailers(trailers);
  });
  request.pipe(response);
}

function hash(request, response) {
  const sum = crypto.createHash("sha256");
  let size = 0;
  request.on("data", (data) => {
    size += data.length;
    counts.bytes_in += data.length;
    sum.update(data);
  });
  request.on("end", () => {
    const answer = JSON.stringify({method: request.method, size, sha256: sum.digest("hex"), url: request.url,
                                   headers: request.headers, trailers: request.trailers,
                                   version: request.httpVersion});
    response.writeHead(200, {"content-type": "application/json", "content-length": Buffer.byteLength(answer)});
    response.end(answer);
  });
}

function sendSlowly(response, pieces) {
  let at = 0;
  response.writeHead(200, {"content-length": pieces * 1024});
  const timer = setInterval(() => {
    response.write(pattern(at, 1024));
    at += 1024;
    if (at < pieces * 1024) return;
    clearInterval(timer);
    response.end();
  }, 50);
  response.on("close", () => clearInterval(timer));
}

function plain(response, status, text) {
  response.writeHead(status, {"content-length": text.length});
  response.end(text);
}

function answer(request, response) {
  const [path, query] = request.url.split("?");
  const [, verb, argument] = path.split("/");
  const number = Number(argument || 0);
  const stream = response.stream;  // of HTTP/2
  switch (verb) {
    case "bytes":
      response.writeHead(200, query === "chunked" ? {} : {"content-length": number});
      request.resume();
      if (request.method === "HEAD") response.end(); else sendPattern(response, number);
      break;
    case "slow": request.resume(); sendSlowly(response, number); break;
    case "echo": echo(request, response); break;
    case "hash": hash(request, response); break;
    case "status": request.resume(); plain(response, number, [204, 304].includes(number) ? "" : "hello\n"); break;
    case "delay": request.resume(); setTimeout(() => plain(response, 200, "hello\n"), number); break;
    case "interim":
      request.resume();
      response.writeEarlyHints({link: "</a>; rel=preload"});
      plain(response, 200, "hello\n");
      break;
    case "trailers":
      request.resume();
      response.writeHead(200, {trailer: "x-sum"});
      response.write(pattern(0, number));
      response.addTrailers({"x-sum": String(number), "x-second": "two"});
      response.end();
      break;
    case "headers": {
      const head = {};
      for (let i = 0; i < number; i++) head["x-line-" + i] = "v" + i;
      request.resume();
      response.writeHead(200, head);
      response.end();
      break;
    }
    case "rst": if (stream) stream.close(number); else plain(response, 200, "hello\n"); break;
    case "goaway":
      plain(response, 200, "hello\n");
      if (stream) stream.session.close();
      break;
    case "cut": request.socket.destroy(); break;
    default: request.resume(); plain(response, 200, "hello\n");
  }
}

function onRequest(request, response) {
  counts.requests++;
  counts.running++;
  counts.most_running = Math.max(counts.most_running, counts.running);
  const session = response.stream && response.stream.session;
  if (session) {
    sessions.set(session, sessions.get(session) + 1);
    counts.most_streams = Math.max(counts.most_streams, sessions.get(session));
  }
  response.on("close", () => {
    counts.running--;
    counts.ended++;
    if (sessions.has(session)) sessions.set(session, sessions.get(session) - 1);
  });
  request.on("error", () => {});
  response.on("error", () => {});
  if (options.delay) setTimeout(() => answer(request, response), options.delay); else answer(request, response);
}

function make() {
  const settings = {settings: options.settings || {}, peerMaxConcurrentStreams: 1000};
  const tls = options.key ? {key: fs.readFileSync(options.key), cert: fs.readFileSync(options.cert)} : {};
  switch (options.mode) {
    case "http1": return http.createServer(onRequest);
    case "https1": return https.createServer({...tls, ALPNProtocols: ["http/1.1"]}, onRequest);
    case "h2c": return http2.createServer(settings, onRequest);
    case "h2": return http2.createSecureServer({...settings, ...tls, allowHTTP1: false}, onRequest);
    case "both": return http2.createSecureServer({...settings, ...tls, allowHTTP1: true}, onRequest);
    default: throw new Error("mode: " + options.mode);
  }
}

const server = make();
if ("keepAliveTimeout" in server || options.mode !== "h2c") {
  server.keepAliveTimeout = options.keepalive || 0;
  server.requestTimeout = 0;
  server.headersTimeout = 0;
}
server.on("connection", (socket) => {
  counts.connections++;
  counts.open++;
  counts.most_open = Math.max(counts.most_open, counts.open);
  sockets.add(socket);
  socket.on("error", () => {});
  socket.on("close", () => {
    counts.open--;
    sockets.delete(socket);
  });
});
server.on("secureConnection", (socket) => {
  counts.tls++;
  if (socket.isSessionReused()) counts.resumed++;
});
server.on("session", (session) => {
  counts.sessions++;
  sessions.set(session, 0);
  session.on("error", () => {});
  session.on("close", () => sessions.delete(session));
  if (options.window) session.setLocalWindowSize(options.window);
  // Without a listener for it a PING does not count as activity.
  session.on("ping", () => { counts.pings++; });
  if (options.idle) session.setTimeout(options.idle, () => session.close());
});
server.on("checkContinue", (request, response) => {
  response.writeContinue();
  onRequest(request, response);
});
server.on("sessionError", () => {});
server.on("clientError", (error, socket) => socket.destroy());
server.on("tlsClientError", () => {});

function living() {
  return [...sessions.keys()].filter((session) => !session.destroyed);
}

const commands = {
  counts: () => ({...counts, streams_now: [...sessions.values()]}),
  goaway: ({code}) => { for (const session of living()) session.goaway(code || 0); },
  close: () => { for (const session of living()) session.close(); },
  settings: ({settings}) => { for (const session of living()) session.settings(settings); },
  reset: () => { for (const socket of sockets) socket.destroy(); },
};
readline.createInterface({input: process.stdin}).on("line", (line) => {
  const command = JSON.parse(line);
  const told = commands[command.do](command) || {};
  process.stdout.write(JSON.stringify({ack: command.id, ...told}) + "\n");
}).on("close", () => process.exit(0));
server.listen({port: options.port || 0, host: "127.0.0.1", backlog: 4096},
              () => process.stdout.write(JSON.stringify({ready: server.address().port}) + "\n"));
