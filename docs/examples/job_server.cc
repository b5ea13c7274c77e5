// A multicore job processor: lines with a number come in over TCP, Fibonacci numbers go out.
//
// usage: job_server [--port N] [--workers N] [--idle SECONDS]
//
// Without arguments: port 8080, one worker per core, 300 seconds. Port 0 is any free one.
//
// The loop's thread accepts, reads, writes and never computes; workers compute and never touch a
// socket. One thread more waits for SIGINT and SIGTERM, which end everything cleanly.
//
//   line      ends with LF or CR LF, or with the client's half-close; at most 1,024 bytes
//   number    decimal digits alone, 0 to 50: the answer is "Result: F(n)"
//   else      negative, larger or no number: "Error: Invalid number". The loop itself answers, so
//             busy workers do not delay it
//   too long  "Error: Line too long", and the connection is closed: nobody knows where the next
//             line begins
//   order     a client's lines are answered one after another. What it sends ahead waits in its
//             buffer, and then in the kernel: that is the back-pressure. So there are never more
//             jobs than connections, and of these at most 1,000; others wait to be accepted
//   gone      the job of a client whose connection broke is given up, and a client that is silent
//             for the idle time, without a job, is closed
#include <netinet/in.h>
#include <signal.h>
#include <uv.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

constexpr int kBacklog = 128;
constexpr std::size_t kLineMax = 1024;
constexpr std::size_t kConnectionsMax = 1000;
constexpr std::size_t kDiscardMax = 1 << 20;  // of a client whose line was too long
constexpr int kNumberMax = 50;                // of which a core takes tens of seconds

// --- jobs ----------------------------------------------------------------------------------------

struct Connection;

struct Job {
  int number = 0;
  std::int64_t result = 0;
  std::atomic<bool> given_up{false};
  Connection* from = nullptr;  // the loop's; nullptr once that is gone
};

std::int64_t fibonacci(int n, const std::atomic<bool>& given_up) {
  if (n > 25 && given_up.load(std::memory_order_relaxed)) return 0;
  return n < 2 ? n : fibonacci(n - 1, given_up) + fibonacci(n - 2, given_up);
}

// Threads that compute. Finished jobs are taken by the loop, which `tell` wakes.
class Workers {
 public:
  Workers(std::size_t count, uv_async_t* tell) : tell_(tell) {
    for (std::size_t i = 0; i < count; ++i)
      threads_.emplace_back([this] { work(); });
  }
  // Gives up what is computed, and ends the threads. What is added later is never done.
  void end() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
      for (const std::shared_ptr<Job>& job : running_)
        job->given_up = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_)
      thread.join();
  }
  void add(std::shared_ptr<Job> job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      waiting_.push_back(std::move(job));
    }
    wake_.notify_one();
  }
  std::vector<std::shared_ptr<Job>> take_done() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(done_, {});
  }

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      if (ending_) return;
      const std::shared_ptr<Job> job = waiting_.front();
      waiting_.pop_front();
      running_.push_back(job);
      lock.unlock();
      if (!job->given_up) job->result = fibonacci(job->number, job->given_up);
      lock.lock();
      std::erase(running_, job);
      if (job->given_up) continue;  // its result means nothing, and nobody waits for it
      done_.push_back(job);
      uv_async_send(tell_);
    }
  }

  uv_async_t* tell_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::vector<std::shared_ptr<Job>> running_;
  std::vector<std::shared_ptr<Job>> done_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

// --- the server ----------------------------------------------------------------------------------

struct Server;

// A client. It reads while there is room in its buffer, and answers one line at a time.
struct Connection {
  uv_tcp_t tcp{};  // its data: this
  uv_write_t write{};
  uv_shutdown_t shutdown{};
  Server* server = nullptr;
  std::string name;    // "127.0.0.1:40312"
  std::string input;   // what is not answered yet
  char chunk[2048]{};  // what libuv reads into
  std::string output;  // what is being written
  std::shared_ptr<Job> job;
  std::uint64_t heard_ms = 0;
  std::size_t discarded = 0;
  bool writing = false, reading = false, ended = false, discarding = false, closing = false;
};

struct Server {
  uv_loop_t loop{};
  uv_tcp_t listener{};
  uv_timer_t idle{};
  uv_async_t jobs_done{}, stop{};
  std::unordered_set<Connection*> connections;
  std::uint64_t idle_ms = 0;
  bool full = false;  // somebody waits to be accepted
  std::unique_ptr<Workers> workers;
};

void go_on(Connection* connection);
void accept_one(Server* server);

void log_line(const Connection& connection, const char* what, std::string_view detail) {
  std::string text;  // bytes of a client are shown, not sent to the terminal
  for (const char c : detail.substr(0, 64)) {
    const bool plain = c >= 32 && c < 127 && c != '\\';
    char hex[8];
    std::snprintf(hex, sizeof(hex), "\\x%02x",
                  static_cast<unsigned>(static_cast<unsigned char>(c)));
    text += plain ? std::string(1, c) : hex;
  }
  std::printf("%s %s%s%s\n", what, connection.name.c_str(), detail.empty() ? "" : ": ",
              text.c_str());
  std::fflush(stdout);
}

void close_connection(Connection* connection, const char* why) {
  if (connection->closing) return;
  connection->closing = true;
  log_line(*connection, "close", why);
  if (connection->job) {
    connection->job->given_up = true;
    connection->job->from = nullptr;
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&connection->tcp), [](uv_handle_t* handle) {
    auto* closed = static_cast<Connection*>(handle->data);
    Server* server = closed->server;
    server->connections.erase(closed);
    delete closed;
    if (server->full) accept_one(server);
  });
}

void answer(Connection* connection, std::string text) {
  connection->output = std::move(text);
  uv_buf_t buffer =
      uv_buf_init(connection->output.data(), static_cast<unsigned>(connection->output.size()));
  connection->writing = true;
  connection->write.data = connection;
  const int failed = uv_write(&connection->write, reinterpret_cast<uv_stream_t*>(&connection->tcp),
                              &buffer, 1, [](uv_write_t* write, int status) {
                                auto* from = static_cast<Connection*>(write->data);
                                from->writing = false;
                                if (status < 0) return close_connection(from, uv_strerror(status));
                                go_on(from);
                              });
  if (failed < 0) close_connection(connection, uv_strerror(failed));
}

void answer_line(Connection* connection, std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  log_line(*connection, "request", line);
  int number = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  const bool digits = !line.empty() && line.front() >= '0' && line.front() <= '9';
  if (!digits || error != std::errc() || end != line.data() + line.size() || number > kNumberMax)
    return answer(connection, "Error: Invalid number\n");
  connection->job = std::make_shared<Job>();
  connection->job->number = number;
  connection->job->from = connection;
  connection->server->workers->add(connection->job);
}

void read_more(Connection* connection) {
  if (connection->reading || connection->ended || connection->input.size() > kLineMax) return;
  connection->reading = true;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&connection->tcp),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto* to = static_cast<Connection*>(handle->data);
        *buffer = uv_buf_init(to->chunk, sizeof(to->chunk));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        auto* from = static_cast<Connection*>(stream->data);
        from->heard_ms = uv_now(stream->loop);
        if (count < 0 && count != UV_EOF)
          return close_connection(from, uv_strerror(static_cast<int>(count)));
        if (from->discarding) {
          from->discarded += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
          if (count == UV_EOF || from->discarded > kDiscardMax) close_connection(from, "");
          return;
        }
        if (count == UV_EOF) from->ended = true;
        if (count > 0) from->input.append(from->chunk, static_cast<std::size_t>(count));
        if (from->ended ||
            from->input.size() > kLineMax) {  // what is sent ahead waits in the kernel
          uv_read_stop(stream);
          from->reading = false;
        }
        go_on(from);
      });
}

// Answers the next line, unless one is being answered.
void go_on(Connection* connection) {
  if (connection->closing || connection->writing || connection->job || connection->discarding)
    return;
  std::string& input = connection->input;
  const std::size_t end = input.find('\n');
  if (std::min(end, input.size()) > kLineMax) {
    // The rest is read and dropped: closing with bytes unread would take the answer back.
    input.clear();
    connection->discarding = true;
    answer(connection, "Error: Line too long\n");
    if (connection->closing) return;
    uv_shutdown(&connection->shutdown, reinterpret_cast<uv_stream_t*>(&connection->tcp), nullptr);
    return read_more(connection);
  }
  if (end != std::string::npos) {
    const std::string line = input.substr(0, end);
    input.erase(0, end + 1);
    answer_line(connection, line);
  } else if (connection->ended && !input.empty()) {
    answer_line(connection, std::exchange(input, {}));
  } else if (connection->ended) {
    return close_connection(connection, "");
  }
  if (!connection->closing) read_more(connection);
}

void accept_one(Server* server) {
  server->full = server->connections.size() >= kConnectionsMax;
  if (server->full) return;  // libuv listens on once this one is accepted
  auto* connection = new Connection;
  connection->server = server;
  connection->heard_ms = uv_now(&server->loop);
  uv_tcp_init(&server->loop, &connection->tcp);
  connection->tcp.data = connection;
  server->connections.insert(connection);
  const int failed = uv_accept(reinterpret_cast<uv_stream_t*>(&server->listener),
                               reinterpret_cast<uv_stream_t*>(&connection->tcp));
  sockaddr_storage peer{};
  int size = sizeof(peer);
  uv_tcp_getpeername(&connection->tcp, reinterpret_cast<sockaddr*>(&peer), &size);
  char host[64] = "?";
  uv_ip4_name(reinterpret_cast<sockaddr_in*>(&peer), host, sizeof(host));
  connection->name = std::string(host) + ":" +
                     std::to_string(ntohs(reinterpret_cast<sockaddr_in*>(&peer)->sin_port));
  if (failed < 0) return close_connection(connection, uv_strerror(failed));
  log_line(*connection, "accept", "");
  read_more(connection);
}

void tell_results(Server* server) {
  for (const std::shared_ptr<Job>& job : server->workers->take_done()) {
    if (job->from == nullptr) continue;
    job->from->job.reset();
    answer(job->from, "Result: " + std::to_string(job->result) + "\n");
  }
}

void close_idle(Server* server) {
  std::vector<Connection*> idle;
  for (Connection* connection : server->connections) {
    const bool busy = connection->job || connection->closing;
    if (!busy && uv_now(&server->loop) - connection->heard_ms > server->idle_ms)
      idle.push_back(connection);
  }
  for (Connection* connection : idle)
    close_connection(connection, "idle");
}

void close_everything(Server* server) {
  server->full = false;
  for (Connection* connection : server->connections)
    close_connection(connection, "the server stops");
  uv_close(reinterpret_cast<uv_handle_t*>(&server->listener), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&server->idle), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&server->jobs_done), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&server->stop), nullptr);
}

int listen_on(Server* server, int port) {
  uv_loop_init(&server->loop);
  uv_tcp_init(&server->loop, &server->listener);
  uv_timer_init(&server->loop, &server->idle);
  uv_async_init(&server->loop, &server->jobs_done,
                [](uv_async_t* async) { tell_results(static_cast<Server*>(async->data)); });
  uv_async_init(&server->loop, &server->stop,
                [](uv_async_t* async) { close_everything(static_cast<Server*>(async->data)); });
  server->listener.data = server->idle.data = server->jobs_done.data = server->stop.data = server;
  uv_timer_start(
      &server->idle, [](uv_timer_t* timer) { close_idle(static_cast<Server*>(timer->data)); },
      server->idle_ms / 4, server->idle_ms / 4);
  sockaddr_in address{};
  uv_ip4_addr("127.0.0.1", port, &address);
  // libuv sets SO_REUSEADDR: a restarted server gets its port back at once.
  int failed = uv_tcp_bind(&server->listener, reinterpret_cast<sockaddr*>(&address), 0);
  if (failed == 0) {
    failed = uv_listen(reinterpret_cast<uv_stream_t*>(&server->listener), kBacklog,
                       [](uv_stream_t* stream, int status) {
                         if (status == 0) accept_one(static_cast<Server*>(stream->data));
                       });
  }
  if (failed < 0) {
    std::fprintf(stderr, "127.0.0.1:%d: %s\n", port, uv_strerror(failed));
    return -1;
  }
  int size = sizeof(address);
  uv_tcp_getsockname(&server->listener, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

// The number after a flag; -1 when it is none.
int number_of(const char* text) {
  int number = -1;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, number);
  return error == std::errc() && stopped == end ? number : -1;
}

}  // namespace

int main(int count, char** arguments) {
  int port = 8080;
  int workers = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  int idle_s = 300;
  bool right = count % 2 == 1;
  for (int i = 1; right && i < count; i += 2) {
    const std::string_view flag = arguments[i];
    right = flag == "--port" || flag == "--workers" || flag == "--idle";
    (flag == "--port" ? port : flag == "--idle" ? idle_s : workers) = number_of(arguments[i + 1]);
  }
  right = right && port >= 0 && port <= 65535 && workers >= 1 && workers <= 1024;
  if (!right || idle_s < 1 || idle_s > 86400) {
    std::fprintf(stderr,
                 "usage: job_server [--port 0..65535] [--workers 1..1024] [--idle 1..86400]\n");
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // every thread inherits it; this one waits
  signal(SIGPIPE, SIG_IGN);

  Server server;
  server.idle_ms = static_cast<std::uint64_t>(idle_s) * 1000;
  port = listen_on(&server, port);
  if (port < 0) return 1;
  server.workers = std::make_unique<Workers>(static_cast<std::size_t>(workers), &server.jobs_done);
  std::printf("listening on 127.0.0.1:%d with %d workers\n", port, workers);
  std::fflush(stdout);
  std::thread loop([&server] { uv_run(&server.loop, UV_RUN_DEFAULT); });

  int received = 0;
  sigwait(&signals, &received);
  server.workers->end();  // first: they wake the loop
  uv_async_send(&server.stop);
  loop.join();
  uv_loop_close(&server.loop);
  std::printf("stopped\n");
  return 0;
}
