// A multicore job processor: lines with a number come in over TCP, Fibonacci numbers go out.
//
// usage: job_server [--port N] [--workers N] [--idle SECONDS]
//
// Without arguments: port 8080, one worker per core, 300 seconds. Port 0 is any free one.
//
// The loop's thread accepts, reads, writes and never computes; workers compute and never touch a
// socket. One thread more waits for SIGINT and SIGTERM, which end everything cleanly.
//
//   line      ends with LF or CR LF, or with the client's half-close; at most 1,024 bytes before it
//   number    decimal digits alone, 0 to 50: the answer is "Result: F(n)"
//   else      negative, larger or no number: "Error: Invalid number". The loop itself answers, so
//             busy workers do not delay it
//   too long  "Error: Line too long", and the connection is closed: nobody knows where the next
//             line begins
//   order     a client's lines are answered one after another. What it sends ahead waits in its
//             buffer, and then in the kernel: that is the back-pressure. So there are never more
//             jobs than connections, and of these at most 1,000; others wait to be accepted
//   gone      the job of a client whose connection broke is given up. One that ended its direction
//             may wait for its answer or be gone: its job runs after those of the others, and when
//             the server is full, it makes room for who comes. A client that is silent for the idle
//             time after its last answer, without a job, is closed
//   log       a thread of its own writes it; when nobody reads it, lines are dropped and counted
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "number_of.h"

namespace {

constexpr int kBacklog = 128;
constexpr std::size_t kLineMax = 1024;
constexpr std::size_t kInputMax = kLineMax + 1;  // a CR may follow the longest line
constexpr std::size_t kConnectionsMax = 1000;
constexpr std::size_t kOwnDescriptors = 32;   // the standard ones, the loop's, the listener's
constexpr std::size_t kDiscardMax = 1 << 20;  // of a client whose line was too long
constexpr int kNumberMax = 50;                // of which a core takes tens of seconds
constexpr int kWorkerNice = 19;               // the loop goes first

constexpr std::size_t kLogMax = 1 << 20;       // of which nobody has read
constexpr unsigned kKeepaliveS = 15;           // then the kernel asks whether a client is there
constexpr std::uint64_t kBrokenCheckMs = 250;  // of clients that are not read from

template <typename Function>
bool start_thread(std::thread* thread, Function function) {
  try {
    *thread = std::thread(function);
    return true;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "a thread cannot be started: %s\n", error.what());
    return false;
  }
}

// --- the log -------------------------------------------------------------------------------------

// Lines for stdout, written by a thread of its own: who does not read them holds nobody up.
class Log {
 public:
  bool start() {
    return start_thread(&thread_, [this] { write_all(); });
  }
  void add(const std::string& line) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (dropped_ > 0 || text_.size() + line.size() > kLogMax) {
      ++dropped_;
    } else {
      text_ += line;
      wake_.notify_one();
    }
  }
  // Writes the rest, if somebody reads it within a second.
  void end() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

 private:
  void write_all() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ending_ || !text_.empty(); });
      if (text_.empty()) return;
      std::string text = std::exchange(text_, {});
      if (const std::uint64_t dropped = std::exchange(dropped_, 0); dropped > 0)
        text += "dropped " + std::to_string(dropped) + " lines that nobody read\n";
      lock.unlock();
      write(text);
      lock.lock();
    }
  }
  void write(std::string_view text) {
    for (int waits = 0; !text.empty() && waits < 10 && !gone_;) {
      pollfd out{STDOUT_FILENO, POLLOUT, 0};
      if (poll(&out, 1, 100) <= 0) {
        waits += ending_;
        continue;
      }
      // A pipe that polls writable has room for so many bytes: this does not block.
      const ssize_t count =
          ::write(STDOUT_FILENO, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (count >= 0) {
        text.remove_prefix(static_cast<std::size_t>(count));
      } else {
        gone_ = errno != EINTR && errno != EAGAIN;
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::string text_;
  std::uint64_t dropped_ = 0;
  std::atomic<bool> ending_{false};
  bool gone_ = false;  // the reader; the thread's alone
  std::thread thread_;
};

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
  explicit Workers(uv_async_t* tell) : tell_(tell) {}
  bool start(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      std::thread thread;
      if (!start_thread(&thread, [this] { work(); })) return false;
      threads_.push_back(std::move(thread));
    }
    return true;
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
  // `last`: after all that are not, now and later.
  void add(std::shared_ptr<Job> job, bool last) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      (last ? last_ : waiting_).push_back(std::move(job));
    }
    wake_.notify_one();
  }
  void put_last(const std::shared_ptr<Job>& job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (std::erase(waiting_, job) > 0) last_.push_back(job);
  }
  // Forgets a job that no worker has begun; false: one has.
  bool forget(const std::shared_ptr<Job>& job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::erase(waiting_, job) + std::erase(last_, job) > 0;
  }
  std::vector<std::shared_ptr<Job>> take_done() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(done_, {});
  }

 private:
  void work() {
    // Linux: of this thread alone. The loop's goes first where there are too few cores for all.
    (void)setpriority(PRIO_PROCESS, 0, kWorkerNice);
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ending_ || !waiting_.empty() || !last_.empty(); });
      if (ending_) return;
      std::deque<std::shared_ptr<Job>>& queue = waiting_.empty() ? last_ : waiting_;
      const std::shared_ptr<Job> job = queue.front();
      queue.pop_front();
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
  std::deque<std::shared_ptr<Job>> last_;
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
  std::uint64_t active_ms = 0;  // when it was last heard, or answered
  std::size_t discarded = 0;
  bool writing = false, reading = false, ended = false, discarding = false, closing = false;
};

struct Server {
  uv_loop_t loop{};
  uv_tcp_t listener{};
  uv_timer_t idle{}, broken{};
  uv_async_t jobs_done{}, stop{};
  std::unordered_set<Connection*> connections;
  std::size_t connections_max = kConnectionsMax;
  std::uint64_t idle_ms = 0;
  bool full = false;  // somebody waits to be accepted
  Workers workers{&jobs_done};
  Log log;
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
  connection.server->log.add(std::string(what) + " " + connection.name +
                             (detail.empty() ? "" : ": ") + text + "\n");
}

void close_connection(Connection* connection, const char* why) {
  if (connection->closing) return;
  connection->closing = true;
  log_line(*connection, "close", why);
  if (connection->job) {
    connection->job->given_up = true;
    connection->job->from = nullptr;
    connection->server->workers.forget(connection->job);
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
                                from->active_ms = uv_now(from->tcp.loop);
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
  connection->server->workers.add(connection->job, connection->ended);
}

void read_more(Connection* connection) {
  if (connection->reading || connection->ended || connection->input.size() > kInputMax) return;
  connection->reading = true;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&connection->tcp),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto* to = static_cast<Connection*>(handle->data);
        *buffer = uv_buf_init(to->chunk, sizeof(to->chunk));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        auto* from = static_cast<Connection*>(stream->data);
        from->active_ms = uv_now(stream->loop);
        if (count < 0 && count != UV_EOF)
          return close_connection(from, uv_strerror(static_cast<int>(count)));
        if (from->discarding) {
          from->discarded += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
          if (count == UV_EOF || from->discarded > kDiscardMax) close_connection(from, "");
          return;
        }
        if (count == UV_EOF) {
          from->ended = true;
          if (from->job) from->server->workers.put_last(from->job);
        }
        if (count > 0) from->input.append(from->chunk, static_cast<std::size_t>(count));
        if (from->ended ||
            from->input.size() > kInputMax) {  // what is sent ahead waits in the kernel
          uv_read_stop(stream);
          from->reading = false;
        }
        go_on(from);
      });
}

// Of a line, or of what there is of one: the bytes before CR LF.
bool too_long(std::string_view input) {
  const std::string_view line = input.substr(0, input.find('\n'));
  return line.size() > kInputMax || (line.size() == kInputMax && line.back() != '\r');
}

// Answers the next line, unless one is being answered.
void go_on(Connection* connection) {
  if (connection->closing || connection->writing || connection->job || connection->discarding)
    return;
  std::string& input = connection->input;
  if (too_long(input)) {
    log_line(*connection, "request", input);
    // The rest is read and dropped: closing with bytes unread would take the answer back.
    input.clear();
    connection->discarding = true;
    answer(connection, "Error: Line too long\n");
    if (connection->closing) return;
    uv_shutdown(&connection->shutdown, reinterpret_cast<uv_stream_t*>(&connection->tcp), nullptr);
    return read_more(connection);
  }
  const std::size_t end = input.find('\n');
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

// When the server is full: closes a client that ended its direction and whose job nobody has begun.
void make_room(Server* server) {
  for (Connection* connection : server->connections) {
    if (connection->closing || !connection->ended || !connection->job) continue;
    if (server->workers.forget(connection->job))
      return close_connection(connection, "the server is full");
  }
}

void accept_one(Server* server) {
  server->full = server->connections.size() >= server->connections_max;
  if (server->full) return make_room(server);  // libuv listens on once this one is accepted
  auto* connection = new Connection;
  connection->server = server;
  connection->active_ms = uv_now(&server->loop);
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
  uv_tcp_keepalive(&connection->tcp, 1, kKeepaliveS);
  log_line(*connection, "accept", "");
  read_more(connection);
}

void tell_results(Server* server) {
  for (const std::shared_ptr<Job>& job : server->workers.take_done()) {
    if (job->from == nullptr) continue;
    job->from->job.reset();
    answer(job->from, "Result: " + std::to_string(job->result) + "\n");
  }
}

void close_idle(Server* server) {
  std::vector<Connection*> idle;
  for (Connection* connection : server->connections) {
    const bool busy = connection->job || connection->closing;
    if (!busy && uv_now(&server->loop) - connection->active_ms > server->idle_ms)
      idle.push_back(connection);
  }
  for (Connection* connection : idle)
    close_connection(connection, "idle");
}

// libuv tells of a reset only while it reads: the others are looked at.
void close_broken(Server* server) {
  std::vector<Connection*> broken;
  for (Connection* connection : server->connections) {
    if (connection->closing || connection->reading) continue;
    pollfd one{-1, 0, 0};
    uv_fileno(reinterpret_cast<uv_handle_t*>(&connection->tcp), &one.fd);
    if (poll(&one, 1, 0) > 0 && (one.revents & (POLLERR | POLLHUP)) != 0)
      broken.push_back(connection);
  }
  for (Connection* connection : broken)
    close_connection(connection, "connection reset");
  if (server->full) make_room(server);  // somebody may have ended its direction meanwhile
}

void close_everything(Server* server) {
  server->full = false;
  for (Connection* connection : server->connections)
    close_connection(connection, "the server stops");
  uv_close(reinterpret_cast<uv_handle_t*>(&server->listener), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&server->idle), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&server->broken), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&server->jobs_done), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&server->stop), nullptr);
}

// The loop and what wakes it; 0, or why there is none.
int make_loop(Server* server) {
  int failed = uv_loop_init(&server->loop);
  if (failed == 0) {
    failed = uv_async_init(&server->loop, &server->jobs_done, [](uv_async_t* async) {
      tell_results(static_cast<Server*>(async->data));
    });
  }
  if (failed == 0) {
    failed = uv_async_init(&server->loop, &server->stop, [](uv_async_t* async) {
      close_everything(static_cast<Server*>(async->data));
    });
  }
  if (failed < 0) return failed;
  uv_tcp_init(&server->loop, &server->listener);
  uv_timer_init(&server->loop, &server->idle);
  uv_timer_init(&server->loop, &server->broken);
  server->listener.data = server->idle.data = server->broken.data = server;
  server->jobs_done.data = server->stop.data = server;
  uv_timer_start(
      &server->idle, [](uv_timer_t* timer) { close_idle(static_cast<Server*>(timer->data)); },
      server->idle_ms / 4, server->idle_ms / 4);
  uv_timer_start(
      &server->broken, [](uv_timer_t* timer) { close_broken(static_cast<Server*>(timer->data)); },
      kBrokenCheckMs, kBrokenCheckMs);
  return 0;
}

// What the limit of descriptors leaves: libuv closes connections for which it has none.
std::size_t connections_at_most() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kConnectionsMax + kOwnDescriptors)
    return kConnectionsMax;
  return limit.rlim_cur > kOwnDescriptors ? limit.rlim_cur - kOwnDescriptors : 1;
}

// Of a server that nobody runs: frees what was made.
void end_loop(Server* server) {
  close_everything(server);
  uv_run(&server->loop, UV_RUN_DEFAULT);
  uv_loop_close(&server->loop);
}

// The port it listens on; -1: it told why it does not.
int listen_on(Server* server, int port) {
  if (const int failed = make_loop(server); failed < 0) {
    std::fprintf(stderr, "the loop cannot be made: %s\n", uv_strerror(failed));
    return -1;
  }
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
    end_loop(server);
    return -1;
  }
  int size = sizeof(address);
  uv_tcp_getsockname(&server->listener, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

}  // namespace

int main(int count, char** arguments) {
  int port = 8080;
  int workers = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  int idle_s = 300;
  bool right = count % 2 == 1;
  for (int i = 1; right && i < count; i += 2) {
    const std::string_view flag = arguments[i];
    const char* value = arguments[i + 1];
    if (flag == "--port") {
      port = number_of(value, 0, 65535);
    } else if (flag == "--workers") {
      workers = number_of(value, 1, 1024);
    } else {
      right = flag == "--idle";
      idle_s = number_of(value, 1, 86400);
    }
  }
  if (!right || port < 0 || workers < 0 || idle_s < 0) {
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
  server.connections_max = connections_at_most();
  port = listen_on(&server, port);
  if (port < 0) return 1;
  std::thread loop;
  const bool working = server.workers.start(static_cast<std::size_t>(workers));
  const bool logging = working && server.log.start();
  if (logging) {
    server.log.add("listening on 127.0.0.1:" + std::to_string(port) + " with " +
                   std::to_string(workers) + " workers\n");
  }
  if (!logging || !start_thread(&loop, [&server] { uv_run(&server.loop, UV_RUN_DEFAULT); })) {
    server.workers.end();
    if (logging) server.log.end();
    end_loop(&server);
    return 1;
  }

  int received = 0;
  sigwait(&signals, &received);
  server.workers.end();  // first: they wake the loop
  uv_async_send(&server.stop);
  loop.join();
  uv_loop_close(&server.loop);
  server.log.add("stopped\n");
  server.log.end();
  return 0;
}
