// The loop of the simulated world: one turn takes everything that is due at one virtual instant.
#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>

#include "io/sim/sockets.h"

namespace conpool::io {

namespace {

using namespace sim;  // NOLINT: this file implements sim's loop

class SimExchange;

struct ExchangeState {
  DnsCallback done;
  bool over = false;
};

class SimExchange final : public DnsExchange {
 public:
  SimExchange(std::shared_ptr<World> world, std::shared_ptr<ExchangeState> state)
      : world_(std::move(world)), state_(std::move(state)) {
    ++world_->live.exchanges;
  }
  ~SimExchange() override {
    state_->over = true;
    --world_->live.exchanges;
  }

 private:
  std::shared_ptr<World> world_;
  std::shared_ptr<ExchangeState> state_;
};

struct JobState {
  Callback<void()> work;
  Callback<void()> done;
  bool abandoned = false;
};

class SimJob final : public Job {
 public:
  SimJob(std::shared_ptr<World> world, std::shared_ptr<JobState> state)
      : world_(std::move(world)), state_(std::move(state)) {
    ++world_->live.jobs;
  }
  ~SimJob() override {
    state_->abandoned = true;
    --world_->live.jobs;
  }

 private:
  std::shared_ptr<World> world_;
  std::shared_ptr<JobState> state_;
};

class SimLoop final : public Loop {
 public:
  SimLoop(std::shared_ptr<World> world, uint64_t seed) : world_(std::move(world)) {
    assert(world_->loop == nullptr && "a network has one loop at a time");
    world_->seed = seed;
    world_->loop = this;
    world_->loop_awake = [this] { return woken_.load() || has_deferred(); };
    set_now(world_->now());
  }
  ~SimLoop() override {
    world_->loop = nullptr;
    world_->loop_awake = nullptr;
  }

  uint64_t random_seed() override { return world_->choice(~0ULL, 0, seeds_++); }
  void run_turn(Time until) override;
  void wake() override {
    woken_.store(true);
    woken_.notify_one();
  }
  int fd() override { return -1; }

  Result<std::unique_ptr<Stream>> start_connect(const SocketAddress& peer,
                                                const ConnectOptions& options) override;
  Result<std::unique_ptr<Listener>> listen(const SocketAddress& address, int backlog,
                                           ListenHandler* handler) override;
  Result<SocketAddress> source_address(const SocketAddress& peer) override {
    Result<SocketAddress> source = world_->source_for(peer);
    if (!source) source.error().detail = "to " + peer.text();
    return source;
  }
  std::unique_ptr<DnsExchange> start_exchange(DnsQuery query, DnsCallback done) override;

  std::unique_ptr<Job> start_job(Callback<void()> work, Callback<void()> done) override;
  SystemLookup system_lookup() override;
  std::optional<FileStamp> file_stamp(const std::string& path) override;
  Result<std::string> read_file(const std::string& path, size_t limit) override;

  size_t live_handles() const override {
    const SimLive& live = world_->live;
    return live.client_streams + live.server_streams + live.listeners + live.exchanges;
  }

 private:
  void dns_reply(std::shared_ptr<ExchangeState> state, Time when,
                 Result<std::vector<uint8_t>> result);

  std::shared_ptr<World> world_;
  std::atomic<bool> woken_{false};
  uint64_t seeds_ = 0;
};

void SimLoop::run_turn(Time until) {
  // Nothing will ever happen of itself: as in the real world, only another thread can end this.
  if (until == kNever && world_->next_due() == kNever) woken_.wait(false);
  Time next = std::min(until, world_->next_due());
  if (next != kNever && next > now()) {
    world_->set_now(next);
    set_now(next);
  }
  if (woken_.exchange(false)) run_wake_handler();
  world_->run_due();
  world_->run_ready();
  finish_turn();
}

Result<std::unique_ptr<Stream>> SimLoop::start_connect(const SocketAddress& peer,
                                                       const ConnectOptions& options) {
  World& world = *world_;
  auto refuse = [&](int error) {
    world.note(Note::ConnectFailed, static_cast<uint64_t>(error), 0,
               world.tracing ? peer.text() : std::string());
    return fail(connect_failure(error, peer.family()));
  };
  if (world.connects_to_fail > 0) {
    --world.connects_to_fail;
    return refuse(world.connect_error);
  }
  Result<SocketAddress> source = world.source_for(peer);
  if (!source) return refuse(source.error().os_error);
  const SimHost host = world.rule(peer).host;
  if (host.syn == SimSyn::Unreachable && host.error_after == 0) return refuse(host.error);
  if (peer.family() == Family::Unix && host.syn == SimSyn::Answer &&
      find_listener(world, peer) == nullptr) {
    return refuse(world.used_paths.contains(peer.path()) ? ECONNREFUSED : ENOENT);
  }
  if (peer.family() != Family::Unix) source = source->with_port(world.ephemeral_port());
  const uint64_t id = world.connections.size();
  world.connections.push_back({.id = id, .source = *source, .destination = peer, .started = now()});
  auto connection = std::make_shared<Connection>(world, id, options, *source, peer);
  auto stream = std::make_unique<SimStream>(world_, connection, kClient);
  world.count_connecting(1);
  if (host.syn == SimSyn::Unreachable) connection->fail_later(host.error, host.error_after);
  connection->start();
  return std::unique_ptr<Stream>(std::move(stream));
}

Result<std::unique_ptr<Listener>> SimLoop::listen(const SocketAddress& address, int,
                                                  ListenHandler* handler) {
  SocketAddress bound = address;
  if (address.family() == Family::Unix) {
    world_->used_paths.insert(address.path());
  } else if (address.port() == 0 && address.family() != Family::None) {
    bound = address.with_port(world_->ephemeral_port());
  }
  if (world_->listeners.contains(bound)) {
    return fail_errno(Status::E_SYSTEM, EADDRINUSE, "listening on " + bound.text());
  }
  return std::unique_ptr<Listener>(std::make_unique<SimListener>(world_, bound, handler));
}

void SimLoop::dns_reply(std::shared_ptr<ExchangeState> state, Time when,
                        Result<std::vector<uint8_t>> result) {
  World* world = world_.get();
  world->at(when, [world, state = std::move(state), result = std::move(result)]() mutable {
    if (state->over) return;
    world->note(result ? Note::DnsAnswer : Note::DnsTimeout, result ? result->size() : 0);
    world->ready([state, result = std::move(result)]() mutable {
      if (state->over) return;
      state->over = true;
      DnsCallback done = std::move(state->done);
      done(std::move(result));
    });
  });
}

std::unique_ptr<DnsExchange> SimLoop::start_exchange(DnsQuery query, DnsCallback done) {
  auto state = std::make_shared<ExchangeState>();
  state->done = std::move(done);
  auto exchange = std::make_unique<SimExchange>(world_, state);
  world_->dns_queries.push_back({now(), query.server, query.name, query.type});
  world_->note(Note::DnsQuery, query.type, query.name.size(), query.name);
  const SimHost host = world_->rule(query.server).host;
  const Result<SocketAddress> source = world_->source_for(query.server);
  const bool unreachable = !source || host.syn == SimSyn::Unreachable;
  const Time deadline = deadline_after(now(), query.timeout);
  auto refused = [&](int error) {
    return Result<std::vector<uint8_t>>(
        fail_errno(Status::E_DNS_UNREACHABLE, error, query.server.text()));
  };
  const auto found = world_->dns_handlers.find(query.server);
  const SimDnsHandler& handler =
      found == world_->dns_handlers.end() ? world_->dns_anywhere : found->second;
  if (unreachable) {
    dns_reply(state, now() + host.error_after, refused(source ? host.error : ENETUNREACH));
  } else if (!handler || host.syn == SimSyn::Refuse) {
    if (host.syn != SimSyn::Drop) dns_reply(state, now() + 2 * host.latency, refused(ECONNREFUSED));
  } else if (host.syn != SimSyn::Drop && !host.vanished) {
    for (SimDnsReply& reply : handler(query, now())) {
      const Time when = deadline_after(now(), reply.delay);
      if (reply.kind == SimDnsReply::Kind::Drop || when >= deadline) continue;
      if (reply.kind == SimDnsReply::Kind::Refused) dns_reply(state, when, refused(ECONNREFUSED));
      if (reply.kind == SimDnsReply::Kind::Fail) dns_reply(state, when, fail(reply.failure));
      if (reply.kind == SimDnsReply::Kind::Message)
        dns_reply(state, when, std::move(reply.message));
    }
  }
  dns_reply(state, deadline, fail(Status::E_DNS_TIMEOUT, query.server.text()));
  return exchange;
}

std::unique_ptr<Job> SimLoop::start_job(Callback<void()> work, Callback<void()> done) {
  auto state = std::make_shared<JobState>();
  state->work = std::move(work);
  state->done = std::move(done);
  World* world = world_.get();
  auto finish = [world, state] {
    world->ready([state] {
      if (!state->abandoned) state->done();
    });
  };
  world->at(now() + world->job_delay, [world, state, finish] {
    if (state->abandoned) return;
    world->note(Note::Job, 0);
    world->lookup_delay = 0;
    state->work();
    const Nanos blocked = world->lookup_delay;
    if (blocked == 0)
      finish();
    else
      world->at(world->now() + blocked, finish);
  });
  return std::make_unique<SimJob>(world_, state);
}

SystemLookup SimLoop::system_lookup() {
  return [world = world_](const std::string& name,
                          Family family) -> Result<std::vector<SocketAddress>> {
    if (!world->lookup) return fail(Status::E_DNS_NOT_FOUND, name);
    SimLookup answer = world->lookup(name, family);
    world->lookup_delay += answer.delay;
    return std::move(answer.result);
  };
}

std::optional<FileStamp> SimLoop::file_stamp(const std::string& path) {
  const auto found = world_->files.find(path);
  if (found == world_->files.end()) return std::nullopt;
  return found->second.stamp;
}

Result<std::string> SimLoop::read_file(const std::string& path, size_t limit) {
  const auto found = world_->files.find(path);
  if (found == world_->files.end()) return fail_errno(Status::E_SYSTEM, ENOENT, path);
  if (found->second.content.size() > limit) return fail_errno(Status::E_SYSTEM, EFBIG, path);
  return found->second.content;
}

}  // namespace

std::unique_ptr<Loop> make_sim_loop(SimNetwork& network, uint64_t seed) {
  return std::make_unique<SimLoop>(network.world_, seed);
}

}  // namespace conpool::io
