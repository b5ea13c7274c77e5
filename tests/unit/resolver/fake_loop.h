// A small Loop for the resolver's tests: virtual time, scripted DNS exchanges, files, jobs and
// routes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/loop.h"

namespace conpool::resolver::testing {

class FakeLoop final : public io::Loop {
 public:
  // One exchange as the test sees it.
  struct Exchange {
    io::DnsQuery query;
    io::DnsCallback done;  // empty once answered
    Time started = 0;
    bool alive = true;

    Family family() const { return query.type == 28 ? Family::V6 : Family::V4; }
  };
  struct FakeJob {
    Callback<void()> work;
    Callback<void()> done;
    bool alive = true;
  };
  struct File {
    std::string text;
    io::FileStamp stamp;
    bool readable = true;
  };
  // Decides at once what becomes of an exchange: answers, or leaves it open.
  using Responder = std::function<void(FakeLoop&, size_t index)>;

  ~FakeLoop() override = default;

  // Advances to each timer and scheduled event in turn.
  void advance(Nanos duration) {
    const Time end = now() + duration;
    settle();
    for (;;) {
      const Time next = std::min(timers().earliest(), next_event());
      if (next > end) break;
      set_now(std::max(next, now()));
      run_events();
      settle();
    }
    set_now(end);
    settle();
  }
  // Runs what is due in this turn.
  void settle() { finish_turn(); }
  // Runs `action` as an event of its own after `delay`.
  void after(Nanos delay, std::function<void()> action) {
    events_.emplace(now() + delay, std::move(action));
  }

  // Ends the exchange as the network would.
  void answer(size_t index, Result<std::vector<uint8_t>> message) {
    Exchange& exchange = *exchanges[index];
    if (!exchange.alive || !exchange.done) return;
    io::DnsCallback done = std::move(exchange.done);
    exchange.done = nullptr;
    done(std::move(message));
  }
  void answer_after(size_t index, Nanos delay, Result<std::vector<uint8_t>> message) {
    after(delay, [this, index, message] { answer(index, message); });
  }
  void run_job(size_t index) {
    jobs[index]->work();
    if (jobs[index]->alive) jobs[index]->done();
  }
  void write_file(const std::string& path, std::string text) {
    files[path] = File{std::move(text), {.inode = ++next_stamp_}};
  }

  std::vector<std::shared_ptr<Exchange>> exchanges;
  Responder responder;
  std::vector<std::shared_ptr<FakeJob>> jobs;
  io::SystemLookup lookup_function;
  std::map<std::string, File> files;
  size_t stamps_taken = 0;
  std::map<std::string, Result<SocketAddress>> sources;  // by destination; unreachable without one
  size_t sources_asked = 0;

  uint64_t random_seed() override { return 1; }
  void run_turn(Time) override { settle(); }
  void wake() override {}
  int fd() override { return -1; }
  Result<std::unique_ptr<io::Stream>> start_connect(const SocketAddress&,
                                                    const io::ConnectOptions&) override {
    return fail(Status::E_UNSUPPORTED);
  }
  Result<std::unique_ptr<io::Listener>> listen(const SocketAddress&, int,
                                               io::ListenHandler*) override {
    return fail(Status::E_UNSUPPORTED);
  }
  Result<SocketAddress> source_address(const SocketAddress& peer) override {
    ++sources_asked;
    const auto found = sources.find(peer.ip_text());
    if (found == sources.end()) return fail(Status::E_CONNECT_UNREACHABLE);
    return found->second;
  }
  std::unique_ptr<io::DnsExchange> start_exchange(io::DnsQuery query,
                                                  io::DnsCallback done) override {
    struct Handle final : io::DnsExchange {
      std::shared_ptr<Exchange> exchange;
      ~Handle() override {
        exchange->alive = false;
        exchange->done.reset();
      }
    };
    auto handle = std::make_unique<Handle>();
    handle->exchange = std::make_shared<Exchange>();
    handle->exchange->query = std::move(query);
    handle->exchange->done = std::move(done);
    handle->exchange->started = now();
    exchanges.push_back(handle->exchange);
    if (responder) responder(*this, exchanges.size() - 1);
    return handle;
  }
  std::unique_ptr<io::Job> start_job(Callback<void()> work, Callback<void()> done) override {
    struct Handle final : io::Job {
      std::shared_ptr<FakeJob> job;
      ~Handle() override { job->alive = false; }
    };
    auto handle = std::make_unique<Handle>();
    handle->job = std::make_shared<FakeJob>();
    handle->job->work = std::move(work);
    handle->job->done = std::move(done);
    jobs.push_back(handle->job);
    return handle;
  }
  io::SystemLookup system_lookup() override { return lookup_function; }
  std::optional<io::FileStamp> file_stamp(const std::string& path) override {
    ++stamps_taken;
    const auto found = files.find(path);
    if (found == files.end()) return std::nullopt;
    return found->second.stamp;
  }
  Result<std::string> read_file(const std::string& path, size_t) override {
    const auto found = files.find(path);
    if (found == files.end() || !found->second.readable) return fail(Status::E_SYSTEM);
    return found->second.text;
  }
  size_t live_handles() const override {
    size_t live = 0;
    for (const auto& exchange : exchanges)
      live += exchange->alive ? 1 : 0;
    return live;
  }

 private:
  Time next_event() const { return events_.empty() ? kNever : events_.begin()->first; }
  void run_events() {
    while (!events_.empty() && events_.begin()->first <= now()) {
      std::function<void()> action = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      action();
    }
  }

  std::multimap<Time, std::function<void()>> events_;
  uint64_t next_stamp_ = 0;
};

}  // namespace conpool::resolver::testing
