// Pooled PostgreSQL: one pool, a partition for each login, and the wire protocol on the lease.
//
// usage: postgres URL USER...      postgres tcp://127.0.0.1:5432 alice bob alice
//
// For each USER in turn it asks the server who it is. A login costs a round trip or more and a
// process on the server, so it is done once per connection: lease.reused() tells that it was. The
// partition keeps logins apart, for a connection of alice must never serve bob. DISCARD ALL gives
// the next user of a connection a session as new.
//
// Logins without password ("trust") alone; what a server wants beyond that, a real client adds
// where log_in() says so.
#include <conpool/conpool.hpp>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

namespace {

std::string int32(std::size_t number) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes += static_cast<char>(number >> shift & 255);
  return bytes;
}

std::size_t int32_at(std::string_view bytes, std::size_t at) {
  std::size_t number = 0;
  for (std::size_t i = at; i < at + 4 && i < bytes.size(); ++i)
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

// A conversation over a lease (protocol 3.0). Texts of failures are in `error`.
class Session {
 public:
  explicit Session(const conpool::Connection& lease) : lease_(lease) {}

  bool log_in(const std::string& user) {
    const std::string words =
        "user" + zero() + user + zero() + "database" + zero() + "postgres" + zero() + zero();
    return send(int32(words.size() + 8) + int32(196608) + words) && answer();
  }
  // Runs a query; the columns of its first row, separated by spaces, are in `row`.
  bool query(const std::string& sql) {
    row.clear();
    return send("Q" + int32(sql.size() + 5) + sql + zero()) && answer();
  }

  std::string row, error;

 private:
  static std::string zero() { return std::string(1, '\0'); }
  bool send(const std::string& bytes) {
    const conpool::Result<std::uint64_t> sent = lease_.write(bytes);
    if (!sent) error = sent.error().report();
    return sent.has_value();
  }
  // So many bytes more in `input_`.
  bool fill(std::size_t size) {
    while (input_.size() < size) {
      const conpool::Result<conpool::Chunk> chunk = lease_.read();
      if (!chunk || !*chunk) {
        if (!error.empty()) return false;  // it said why, and then closed
        error = chunk ? "the server closed the connection" : chunk.error().report();
        return false;
      }
      input_ += chunk->text();
    }
    return true;
  }
  // Takes messages up to ReadyForQuery; false when one of them was an error.
  bool answer() {
    bool good = true;
    for (;;) {
      if (!fill(5)) return false;
      const std::size_t size = int32_at(input_, 1) + 1;
      if (size < 5 || size > (1 << 20)) return error = "no PostgreSQL message", false;
      if (!fill(size)) return false;
      const char type = input_[0];
      const std::string body = input_.substr(5, size - 5);
      input_.erase(0, size);
      if (type == 'Z') return good;
      if (type == 'R' && int32_at(body, 0) != 0) return error = "it wants a password", false;
      if (type == 'D' && row.empty()) keep(body);
      if (type == 'E') {
        const std::size_t text = body.find(std::string(1, '\0') + "M");
        error = text == std::string::npos ? "an error" : body.c_str() + text + 2;
        good = false;
      }
    }
  }
  void keep(const std::string& body) {
    for (std::size_t at = 2; at + 4 <= body.size();) {
      const std::size_t size = int32_at(body, at);
      if (size > body.size()) break;  // NULL, or nonsense
      row += (row.empty() ? "" : " ") + body.substr(at + 4, size);
      at += 4 + size;
    }
  }

  const conpool::Connection& lease_;
  std::string input_;
};

bool ask(const conpool::Endpoint& endpoint, const std::string& user) {
  conpool::Result<conpool::Connection> lease = endpoint.acquire();
  if (!lease) return std::puts(lease.error().report()), false;
  Session session(*lease);
  const bool good = (lease->reused() || session.log_in(user)) &&
                    session.query("select current_user, pg_backend_pid()");
  const std::string row = session.row;
  if (!good || !session.query("DISCARD ALL")) {
    std::printf("%s: %s\n", user.c_str(), session.error.c_str());
    return false;  // the lease goes without release(): its connection closes
  }
  std::printf("%s %s\n", row.c_str(), lease->reused() ? "pooled" : "new");
  lease->release();
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) return std::puts("usage: postgres URL USER..."), 2;
  const conpool::Pool pool = conpool::Pool::create().value();
  std::map<std::string, conpool::Endpoint> logins;
  int failed = 0;
  for (int i = 2; i < count; ++i) {
    const std::string user = arguments[i];
    if (logins.count(user) == 0) {
      const conpool::Config options = conpool::Config::of({{"partition", user}}).value();
      conpool::Result<conpool::Endpoint> endpoint = pool.endpoint(arguments[1], options);
      if (!endpoint) return std::puts(endpoint.error().report()), 2;
      logins.emplace(user, std::move(*endpoint));
    }
    failed += !ask(logins.at(user), user);
  }
  return failed == 0 ? 0 : 4;
}
