// Drives races in virtual time over a scripted network, to the nanosecond.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/callback.h"
#include "racer/race.h"

namespace conpool::racer {

constexpr Nanos ms(int64_t n) {
  return n * kMillisecond;
}

inline SocketAddress a4(uint8_t last, uint16_t port = 443) {
  return SocketAddress::v4({192, 0, 2, last}, port);
}
inline SocketAddress a6(uint8_t last, uint16_t port = 443) {
  return SocketAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}, port);
}
inline std::vector<Candidate> candidates(const std::vector<SocketAddress>& addresses,
                                         uint32_t class_index = 0) {
  std::vector<Candidate> out;
  for (const SocketAddress& address : addresses)
    out.push_back({address, class_index, 0, 0});
  return out;
}

// Virtual time: calls in the order of their time, then of their scheduling.
class Clock {
 public:
  Time now() const { return now_; }
  void at(Time time, Callback<void()> call) {
    calls_.emplace(std::make_pair(time < now_ ? now_ : time, order_++), std::move(call));
  }
  void run_until(Time end) {
    while (!calls_.empty() && calls_.begin()->first.first <= end) {
      now_ = calls_.begin()->first.first;
      Callback<void()> call = std::move(calls_.begin()->second);
      calls_.erase(calls_.begin());
      call();
    }
    if (now_ < end) now_ = end;
  }

 private:
  Time now_ = 0;
  uint64_t order_ = 0;
  std::map<std::pair<Time, uint64_t>, Callback<void()>> calls_;
};

// How one address behaves.
struct Path {
  enum class Tcp { Answers, Refuses, Silent, Unreachable };  // Unreachable fails inside the connect
  enum class Tls { Works, Stalls, Resets, BadCertificate };
  Tcp tcp = Tcp::Answers;
  Nanos rtt = ms(10);
  Tls tls = Tls::Works;
  Nanos handshake = ms(20);
};

// The driver that `dial` is in the library: performs actions, feeds events back.
class RaceRig {
 public:
  RaceRig(Clock& clock, const RaceOptions& options)
      : clock_(clock), began_(clock.now()), race(options, clock.now()) {}

  std::map<SocketAddress, Path> paths;  // absent: the default Path
  // Called after each event, when its actions were performed.
  Callback<void()> on_change;

  void start(std::span<const Candidate> list = {}) {
    race.start(clock_.now(), list);
    perform();
  }
  void answer_at(Time after, Family family, std::vector<SocketAddress> addresses) {
    clock_.at(began_ + after, [this, family, list = candidates(addresses)] {
      race.on_answer(clock_.now(), family, list);
      perform();
    });
  }
  void fail_answer_at(Time after, Family family, Status status) {
    clock_.at(began_ + after, [this, family, status] {
      race.on_answer_failed(clock_.now(), family, Failure{.status = status});
      perform();
    });
  }
  void cancel_at(Time after, Status status) {
    clock_.at(began_ + after, [this, status] {
      race.cancel(clock_.now(), Failure{.status = status});
      perform();
    });
  }
  void perform();

  // "0 start [2001:db8::1]:443" per action that a peer could notice, times in ms since the start.
  std::vector<std::string> log;
  std::vector<std::string> starts() const { return select("start"); }
  std::vector<std::string> select(const std::string& verb) const {
    std::vector<std::string> out;
    for (const std::string& line : log) {
      if (line.find(" " + verb) != std::string::npos) out.push_back(line);
    }
    return out;
  }
  int terminals = 0;
  size_t most_running = 0;

 private:
  void note(const std::string& what, AttemptId id);
  void connect(AttemptId id);
  void begin_tls(AttemptId id);
  template <typename F>
  void later(Nanos delay, F event) {
    clock_.at(clock_.now() + delay, [this, event] {
      event();
      perform();
    });
  }
  Path path(AttemptId id) const {
    const auto found = paths.find(race.attempt(id).candidate.address);
    return found == paths.end() ? Path{} : found->second;
  }

  Clock& clock_;
  Time began_;
  Time armed_ = kNever;

 public:
  Race race;
};

inline void RaceRig::note(const std::string& what, AttemptId id) {
  const Nanos after = clock_.now() - began_;
  std::string line = std::to_string(after / kMillisecond);
  if (after % kMillisecond != 0) line += "." + std::to_string(after % kMillisecond);
  line += " " + what;
  if (id != 0) line += " " + race.attempt(id).candidate.address.text();
  log.push_back(std::move(line));
}

inline void RaceRig::perform() {
  std::vector<Action> actions;
  for (race.take_actions(&actions); !actions.empty(); race.take_actions(&actions)) {
    for (const Action& action : actions) {
      switch (action.kind) {
        case ActionKind::Start:
          note("start", action.id);
          most_running = std::max(most_running, race.running());
          connect(action.id);
          break;
        case ActionKind::BeginTls:
          note("tls", action.id);
          begin_tls(action.id);
          break;
        case ActionKind::Close:
          note("close", action.id);
          break;
        case ActionKind::Slow:
          note("slow", action.id);
          break;
        case ActionKind::Won:
          note("won", action.id);
          ++terminals;
          break;
        case ActionKind::Failed:
          note("failed", 0);
          ++terminals;
          break;
        case ActionKind::Arm:
          armed_ = action.deadline;
          if (armed_ == kNever) break;
          clock_.at(armed_, [this, deadline = armed_] {
            if (deadline != armed_ || race.done()) return;
            race.on_timer(clock_.now());
            perform();
          });
          break;
      }
    }
  }
  if (on_change) on_change();
}

inline void RaceRig::connect(AttemptId id) {
  const Path to = path(id);
  switch (to.tcp) {
    case Path::Tcp::Answers:
      later(to.rtt, [this, id, rtt = to.rtt] { race.on_connected(clock_.now(), id, rtt); });
      break;
    case Path::Tcp::Refuses:
      later(to.rtt, [this, id] {
        race.on_failed(clock_.now(), id,
                       Failure{.status = Status::E_CONNECT_REFUSED, .os_error = 111});
      });
      break;
    case Path::Tcp::Silent:
      break;
    case Path::Tcp::Unreachable:
      race.on_failed(clock_.now(), id,
                     Failure{.status = Status::E_CONNECT_UNREACHABLE, .os_error = 101});
      break;
  }
}

inline void RaceRig::begin_tls(AttemptId id) {
  const Path to = path(id);
  switch (to.tls) {
    case Path::Tls::Works:
      later(to.handshake, [this, id] { race.on_ready(clock_.now(), id); });
      break;
    case Path::Tls::Stalls:
      break;
    case Path::Tls::Resets:
      later(to.handshake, [this, id] {
        race.on_failed(clock_.now(), id, Failure{.status = Status::E_CONNECTION_RESET});
      });
      break;
    case Path::Tls::BadCertificate:
      later(to.handshake, [this, id] {
        race.on_failed(clock_.now(), id,
                       Failure{.status = Status::E_TLS_CERTIFICATE, .tls_verify = 10});
      });
      break;
  }
}

}  // namespace conpool::racer
