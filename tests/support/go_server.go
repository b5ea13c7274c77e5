// An HTTP server of tests on Go's net/http: HTTP/1.1 and HTTP/2, with TLS or without.
//
// go_server '{"mode": "h2", "key": FILE, "cert": FILE, "streams": 100, "window": 65536}'
//
//	mode     "http1", "https1", "h2c", "h2", "both"
//	streams  SETTINGS_MAX_CONCURRENT_STREAMS
//	window   what one request's body may be ahead of its reader, and all of a connection
//	port     the port; 0: any
//
// Prints {"ready": port}; the command {"id": 1, "do": "counts"} on its input is answered with
// {"ack": 1, connections, open, requests, most_running}. Paths: /bytes/N[?chunked], /echo, /hash,
// /trailers/N, /status/CODE.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

type options struct {
	Mode    string `json:"mode"`
	Key     string `json:"key"`
	Cert    string `json:"cert"`
	Streams int    `json:"streams"`
	Window  int    `json:"window"`
	Port    int    `json:"port"`
}

const piece = 65536

var (
	rows        [256][256]byte
	mutex       sync.Mutex
	connections int
	open        int
	requests    int
	running     int
	mostRunning int
)

// The same bytes as in node_server.js. `from` is a multiple of 256.
func pattern(out []byte, from int) {
	for at := 0; at < len(out); at += 256 {
		block := (from + at) / 256
		copy(out[at:], rows[(block&255)^((block>>8)&255)][:])
	}
}

func sendPattern(w http.ResponseWriter, size int) {
	buffer := make([]byte, piece)
	for at := 0; at < size; at += piece {
		part := buffer[:min(piece, size-at)]
		pattern(part, at)
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	// Over HTTP/1.1 Go ends the request's body with the first byte of the response otherwise.
	_ = http.NewResponseController(w).EnableFullDuplex()
	if r.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	w.WriteHeader(200)
	buffer := make([]byte, piece)
	for {
		n, err := r.Body.Read(buffer)
		if n > 0 {
			if _, failed := w.Write(buffer[:n]); failed != nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	for name, values := range r.Trailer {
		for _, value := range values {
			w.Header().Add(http.TrailerPrefix+"X-Echo-"+name, value)
		}
	}
}

func hash(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	size, _ := io.Copy(sum, r.Body)
	lower := func(h http.Header) map[string]string {
		out := map[string]string{}
		for name := range h {
			out[strings.ToLower(name)] = h.Get(name)
		}
		return out
	}
	answer, _ := json.Marshal(map[string]any{"method": r.Method, "size": size, "url": r.RequestURI,
		"sha256": hex.EncodeToString(sum.Sum(nil)), "headers": lower(r.Header),
		"trailers": lower(r.Trailer), "version": fmt.Sprintf("%d.%d", r.ProtoMajor, r.ProtoMinor)})
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer)
}

func serve(w http.ResponseWriter, r *http.Request) {
	mutex.Lock()
	requests++
	running++
	mostRunning = max(mostRunning, running)
	mutex.Unlock()
	defer func() {
		mutex.Lock()
		running--
		mutex.Unlock()
	}()
	part := append(strings.Split(r.URL.Path, "/"), "", "")
	number, _ := strconv.Atoi(part[2])
	switch part[1] {
	case "bytes":
		if r.URL.RawQuery != "chunked" {
			w.Header().Set("Content-Length", part[2])
		}
		w.WriteHeader(200)
		if r.Method != "HEAD" {
			sendPattern(w, number)
		}
	case "echo":
		echo(w, r)
	case "hash":
		hash(w, r)
	case "trailers":
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(200)
		sendPattern(w, number)
		w.Header().Set("X-Sum", part[2])
		w.Header().Set(http.TrailerPrefix+"X-Second", "two")
	case "status":
		w.WriteHeader(number)
	default:
		_, _ = io.WriteString(w, "hello\n")
	}
}

func obey(line []byte) {
	var command struct {
		ID int    `json:"id"`
		Do string `json:"do"`
	}
	if json.Unmarshal(line, &command) != nil || command.Do != "counts" {
		log.Fatalf("not understood: %s", line)
	}
	mutex.Lock()
	defer mutex.Unlock()
	told, _ := json.Marshal(map[string]any{"ack": command.ID, "connections": connections, "open": open,
		"requests": requests, "most_running": mostRunning})
	fmt.Printf("%s\n", told)
}

func main() {
	var o options
	if err := json.Unmarshal([]byte(os.Args[1]), &o); err != nil {
		log.Fatal(err)
	}
	for k := range rows {
		for i := range rows[k] {
			rows[k][i] = byte(i ^ k)
		}
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.Port))
	if err != nil {
		log.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(o.Mode == "http1" || o.Mode == "https1" || o.Mode == "both")
	protocols.SetHTTP2(o.Mode == "h2" || o.Mode == "both")
	protocols.SetUnencryptedHTTP2(o.Mode == "h2c")
	server := &http.Server{Handler: http.HandlerFunc(serve), Protocols: protocols,
		ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: o.Streams, MaxReceiveBufferPerStream: o.Window,
			MaxReceiveBufferPerConnection: o.Window},
		ConnState: func(_ net.Conn, state http.ConnState) {
			mutex.Lock()
			defer mutex.Unlock()
			switch state {
			case http.StateNew:
				connections++
				open++
			case http.StateClosed, http.StateHijacked:
				open--
			}
		}}
	fmt.Printf("{\"ready\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	go func() {
		if o.Key == "" {
			log.Fatal(server.Serve(listener))
		}
		log.Fatal(server.ServeTLS(listener, o.Cert, o.Key))
	}()
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		obey(input.Bytes())
	}
}
