// The random programs of the simulation.
#include "sim/random_program.h"

#include <algorithm>

namespace conpool::sim {

namespace {

constexpr Nanos kOpsTime = 2 * kMinute;  // more than all timeouts that options() sets, together

std::string field(const std::string& json, const std::string& name) {
  const size_t at = json.find("\"" + name + "\":");
  if (at == std::string::npos) return "";
  const size_t from = at + name.size() + 3;
  return json.substr(from, json.find_first_of(",}", from) - from);
}

// Ids that the process counts on from run to run, by the order of their appearance.
std::string with_small_ids(const std::string& text) {
  std::map<std::string, size_t> numbers;
  std::string out;
  size_t at = 0;
  for (;;) {
    const size_t op = text.find("\"op\":", at);
    const size_t settings = text.find("\"settings\":", at);
    const size_t key = std::min(op, settings);
    if (key == std::string::npos) break;
    const size_t value = text.find(':', key) + 1;
    const size_t end = text.find_first_of(",}", value);
    const std::string id = text.substr(value, end - value);
    out.append(text, at, value - at);
    out += std::to_string(numbers.try_emplace(id, numbers.size() + 1).first->second);
    at = end;
  }
  return out + text.substr(at);
}

}  // namespace

RandomProgram::RandomProgram(uint64_t seed)
    : seed_(seed), rng_(seed * 0x9e3779b97f4a7c15ULL + 1), world_(seed), tls_(seed % 20 == 0) {}

RandomProgram::~RandomProgram() = default;

void RandomProgram::note(const std::string& line) {
  log_ += std::to_string(world_.now()) + " " + line + "\n";
}

// --- the world -----------------------------------------------------------------------------------

OptionList RandomProgram::options() {
  endpoint_limit_ = any(1, 8);
  drain_limit_ = any(0, 4);
  pool_limit_ = any(1, 20);
  racing_limit_ = any(1, 30);
  total_timeout_ = any(100, 20'000) * kMillisecond;
  OptionList list{{"endpoint.max_connections", std::to_string(endpoint_limit_)},
                  {"endpoint.max_draining", std::to_string(drain_limit_)},
                  {"pool.max_connections", std::to_string(pool_limit_)},
                  {"pool.max_racing", std::to_string(racing_limit_)},
                  {"endpoint.max_waiters", std::to_string(any(0, 30))},
                  {"pool.max_pinned", std::to_string(any(64, 1024)) + "KiB"},
                  {"total.timeout", std::to_string(total_timeout_ / kMillisecond) + "ms"},
                  {"queue.timeout", time_text(0, 10'000)},
                  {"stall.timeout", time_text(1, 5'000)},
                  {"dial.timeout", time_text(10, 10'000)},
                  {"connect.timeout", time_text(10, 5'000)},
                  {"tls.timeout", time_text(10, 5'000)},
                  {"connect.retries", std::to_string(any(0, 2))},
                  {"drain.timeout", time_text(0, 5'000)},
                  {"pool.idle_timeout", time_text(0, 10'000)},
                  {"pool.max_age", time_text(0, 20'000)},
                  {"pool.max_uses", std::to_string(any(0, 5))},
                  {"dns.timeout", time_text(10, 4'000)},
                  {"resolve_timeout", time_text(10, 2'000)},
                  {"resolve_retries", std::to_string(any(0, 3))},
                  {"connect_delay", time_text(10, 500)},
                  {"race.max_concurrent", std::to_string(any(0, 6))},
                  {"events.level", chance(50) ? "debug" : "info"},
                  {"events.capacity", "16384"}};
  if (chance(30)) list.emplace_back("pool.min_idle", std::to_string(any(1, endpoint_limit_)));
  if (chance(30)) {
    list.emplace_back("check.send", "ping");
    list.emplace_back("check.expect", "ping");
    list.emplace_back("check.after", time_text(0, 3'000));
    list.emplace_back("check.timeout", time_text(1, 1'000));
  }
  static constexpr const char* kPolicies[] = {"least_connections", "rfc6724", "round_robin",
                                              "random"};
  list.emplace_back("balance.policy", kPolicies[any(0, 3)]);
  list.emplace_back("balance.vanished", chance(50) ? "drain" : "close");
  list.emplace_back("race.until", chance(50) ? "tcp" : "tls");
  list.emplace_back("dns.optimistic", chance(30) ? "true" : "false");
  if (tls_) {
    list.emplace_back("tls.ca_pem", world_.authority_pem());
    list.emplace_back("tls.resumption", chance(80) ? "true" : "false");
  }
  return list;
}

origin::Script RandomProgram::script(bool echoes) {
  origin::Script script;
  if (!echoes) {
    script.answer = chance(50) ? origin::Answer::Silent : origin::Answer::Lines;
    if (chance(30)) script.greeting = "hello\n";
    if (chance(30)) script.greeting_delay = any(0, 2000) * kMillisecond;
    if (chance(30)) script.read = false;
  }
  if (chance(20)) script.close_after_requests = static_cast<uint64_t>(any(1, 5));
  if (chance(20)) script.close_after_idle = any(1, 5'000) * kMillisecond;
  if (chance(15)) script.close_after = any(1, 10'000) * kMillisecond;
  if (chance(10)) {
    script.unsolicited = "SURPRISE";
    script.unsolicited_after = any(1, 3'000) * kMillisecond;
  }
  if (chance(20)) script.reply_delay = any(1, 500) * kMillisecond;
  if (chance(10)) script.slow_bytes = static_cast<size_t>(any(1, 100));
  static constexpr origin::Ending kEndings[] = {origin::Ending::Close, origin::Ending::Reset,
                                                origin::Ending::HalfClose};
  script.ending = kEndings[any(0, 2)];
  return script;
}

void RandomProgram::make_host(const std::string& address, const Site& site) {
  io::SimHost& host = world_.network.host(address);
  host.latency = any(10, 50'000) * 1000;
  if (chance(30)) host.jitter = any(0, 10'000) * 1000;
  if (chance(20)) host.loss = static_cast<uint32_t>(any(1, 50'000));
  if (chance(20)) host.bandwidth = static_cast<uint64_t>(any(1'000, 1'000'000));
  if (chance(20)) host.send_buffer = static_cast<size_t>(any(1, 64)) * 1024;
  if (chance(20)) host.receive_buffer = static_cast<size_t>(any(1, 64)) * 1024;
  static constexpr io::SimPieces kPieces[] = {io::SimPieces::Whole, io::SimPieces::Whole,
                                              io::SimPieces::Random, io::SimPieces::Bytes};
  host.pieces = kPieces[any(0, tls_ ? 2 : 3)];
  if (chance(25)) {
    static constexpr io::SimSyn kSyns[] = {io::SimSyn::Refuse, io::SimSyn::Drop,
                                           io::SimSyn::Unreachable, io::SimSyn::Stall};
    host.syn = kSyns[any(0, 3)];
    host.error_after = chance(50) ? 0 : any(1, 100) * kMillisecond;
  }
  if (chance(10)) host.reset_after_down = static_cast<uint64_t>(any(1, 10'000));
  if (chance(10)) host.reset_after_up = static_cast<uint64_t>(any(1, 10'000));
  if (chance(10)) host.idle_close = any(1, 5'000) * kMillisecond;
  host.reset_discards = chance(50);
  const bool v6 = address.find(':') != std::string::npos;
  const std::string where = v6 ? "[" + address + "]:80" : address + ":80";
  origin::Server& server = tls_ ? world_.serve_tls(where, {site.name}, script(site.echoes))
                                : world_.serve(where, script(site.echoes));
  servers_.push_back(&server);
  server_addresses_.push_back(*parse_address_and_port(where));
  hosts_.push_back(address);
}

void RandomProgram::make_sites() {
  const auto sites = static_cast<size_t>(any(1, 3));
  for (size_t i = 0; i < sites; ++i) {
    Site site;
    site.name = "site" + std::to_string(i) + ".test";
    site.echoes = chance(75);
    const int64_t v4 = any(0, 3);
    const int64_t v6 = any(0, 2);
    for (int64_t k = 1; k <= v4; ++k)
      site.v4.push_back("192.0.2." + std::to_string(static_cast<int64_t>(i) * 10 + k));
    for (int64_t k = 1; k <= v6; ++k)
      site.v6.push_back("2001:db8::" + std::to_string(static_cast<int64_t>(i) * 10 + k));
    for (const std::string& address : site.v4)
      make_host(address, site);
    for (const std::string& address : site.v6)
      make_host(address, site);
    script_dns(site);
    sites_.push_back(std::move(site));
  }
}

void RandomProgram::script_dns(const Site& site) {
  io::DnsScript& dns = world_.dns;
  const auto some = [this](const std::vector<std::string>& all) {
    std::vector<std::string> part;
    for (const std::string& one : all) {
      if (chance(80)) part.push_back(one);
    }
    return part;
  };
  const auto ttl = static_cast<uint32_t>(any(0, 20));
  dns.forget(site.name);
  const std::vector<std::string> v4 = some(site.v4);
  const std::vector<std::string> v6 = some(site.v6);
  v4.empty() ? dns.nodata(site.name, io::kDnsA, ttl) : dns.a(site.name, v4, ttl);
  v6.empty() ? dns.nodata(site.name, io::kDnsAaaa, ttl) : dns.aaaa(site.name, v6, ttl);
  if (chance(15)) dns.nxdomain(site.name, ttl);
  if (chance(10)) dns.drop(site.name, chance(50) ? io::kDnsA : io::kDnsAaaa);
  if (chance(10)) dns.rcode(site.name, io::kDnsA, io::DnsRcode::ServFail);
  if (chance(30)) dns.delay(site.name, io::kDnsAaaa, any(0, 300) * kMillisecond);
  if (chance(20)) dns.delay(site.name, io::kDnsA, any(0, 300) * kMillisecond);
}

void RandomProgram::plan_faults() {
  const int64_t count = any(0, 12);
  for (int64_t i = 0; i < count; ++i) {
    const Time when = any(1, 30'000) * kMillisecond;
    const auto host = hosts_.empty() ? 0 : static_cast<size_t>(any(0, int64_t(hosts_.size()) - 1));
    const int64_t what = any(0, 6);
    const int64_t extra = any(1, 3'000);
    world_.network.at(when, [this, host, what, extra] {
      if (what == 6 || hosts_.empty()) {
        for (const Site& site : sites_)
          script_dns(site);
        return;
      }
      io::SimHost& rule = world_.network.host(hosts_[host]);
      switch (what) {
        case 0:
          rule.syn = io::SimSyn::Drop;
          break;
        case 1:
          rule.syn = io::SimSyn::Answer;
          break;
        case 2:
          rule.vanished = !rule.vanished;
          break;
        case 3:
          if (servers_[host] != nullptr) servers_[host]->end_connections(origin::Ending::Close);
          break;
        case 4:
          if (servers_[host] != nullptr) {
            servers_[host]->kill();
            world_.network.after(extra * kMillisecond, [this, host] {
              if (servers_[host] != nullptr) (void)servers_[host]->listen(server_addresses_[host]);
            });
          }
          break;
        default:
          world_.dns.drop_all(extra % 2 == 0);
          break;
      }
    });
  }
}

void RandomProgram::make_targets() {
  const int64_t count = any(1, 5);
  for (int64_t i = 0; i < count; ++i) {
    Target target;
    target.site = static_cast<size_t>(any(0, int64_t(sites_.size()) - 1));
    static constexpr const char* kPartitions[] = {"", "a", "b"};
    target.partition = kPartitions[any(0, 2)];
    const Site& site = sites_[target.site];
    const std::string url = (tls_ ? "tls://" : "tcp://") + site.name + ":80";
    target.endpoint = world_.endpoint(url, {{"partition", target.partition}});
    target.key = url + "|" + target.partition;
    targets_.push_back(std::move(target));
  }
}

// --- the program ---------------------------------------------------------------------------------

std::string RandomProgram::run() {
  world_.open(options());
  world_.dns.server_delay(any(0, 50) * kMillisecond);
  make_sites();
  make_targets();
  plan_faults();
  const auto queues = static_cast<size_t>(any(1, 2));
  for (size_t i = 0; i < queues; ++i) {
    conpool_queue* queue = nullptr;
    EXPECT_EQ(conpool_queue_new(world_.pool, &queue), 0);
    queues_.push_back(queue);
    queue_closed_.push_back(false);
  }
  const int64_t steps = any(20, 400);
  for (int64_t i = 0; i < steps && !::testing::Test::HasFailure(); ++i)
    step();
  finish();
  return log_;
}

size_t RandomProgram::open_queue() {
  const auto first = static_cast<size_t>(any(0, int64_t(queues_.size()) - 1));
  for (size_t i = 0; i < queues_.size(); ++i) {
    const size_t at = (first + i) % queues_.size();
    if (!queue_closed_[at]) return at;
  }
  return SIZE_MAX;
}

RandomProgram::PendingOp& RandomProgram::start(uint32_t kind, size_t queue) {
  PendingOp op;
  op.kind = kind;
  op.queue = queue;
  op.started = world_.now();
  ops_.push_back(std::move(op));
  return ops_.back();
}

void RandomProgram::begun(PendingOp& op, conpool_op id, conpool_status status) {
  EXPECT_EQ(status, 0);
  if (status != 0) {
    op.ended = true;
    return;
  }
  op.id = id;
  by_id_[id] = static_cast<size_t>(&op - ops_.data());
}

// Whatever is open: connections within their limits, draining ones beside them, and races.
void RandomProgram::check_limits() {
  std::set<std::string> keys;
  for (const Target& target : targets_)
    keys.insert(target.key);
  const auto endpoints = static_cast<int64_t>(keys.size());
  const int64_t connections = std::min(pool_limit_, endpoints * endpoint_limit_);
  const io::SimLive live = world_.network.live();
  EXPECT_LE(static_cast<int64_t>(live.client_streams),
            connections + endpoints * drain_limit_ + racing_limit_);
  EXPECT_LE(static_cast<int64_t>(live.connecting), racing_limit_);
}

void RandomProgram::step() {
  check_limits();
  forget_finished_leases();
  const int64_t what = any(0, 99);
  if (what < 25) {
    acquire();
  } else if (what < 50) {
    if (!leases_.empty()) {
      const std::shared_ptr<Lease> lease =
          leases_[static_cast<size_t>(any(0, int64_t(leases_.size()) - 1))];
      start_on(*lease, lease);
    }
  } else if (what < 60) {
    if (!leases_.empty())
      release(leases_[static_cast<size_t>(any(0, int64_t(leases_.size()) - 1))]);
  } else if (what < 66) {
    cancel_any();
  } else if (what < 67) {
    if (chance(20)) close_queue(static_cast<size_t>(any(0, int64_t(queues_.size()) - 1)));
  } else if (what < 70) {
    if (!chunks_.empty()) {
      conpool_chunk_free(chunks_.back());
      chunks_.pop_back();
    }
  } else {
    const auto queue = static_cast<size_t>(any(0, int64_t(queues_.size()) - 1));
    const Nanos timeout = chance(30)   ? 0
                          : chance(70) ? any(1, 100) * kMillisecond
                                       : any(1, 3'000) * kMillisecond;
    queue_closed_[queue] ? world_.run_for(timeout) : consume(queue, timeout);
  }
}

void RandomProgram::acquire() {
  const size_t queue = open_queue();
  if (queue == SIZE_MAX || ops_.size() > 2000) return;
  const auto target = static_cast<size_t>(any(0, int64_t(targets_.size()) - 1));
  PendingOp& op = start(CONPOOL_EVENT_CONNECTION, queue);
  op.endpoint = target;
  conpool_op id = 0;
  const conpool_status status = conpool_endpoint_acquire(targets_[target].endpoint, nullptr,
                                                         queues_[queue], ops_.size() - 1, &id);
  begun(op, id, status);
}

void RandomProgram::start_on(Lease& lease, const std::shared_ptr<Lease>& keep) {
  if (lease.connection == nullptr) return;
  // All of a lease in one queue: between two there is no order.
  const size_t queue = lease.queue;
  if (queue_closed_[queue]) return;
  const int64_t what = any(0, 99);
  if (what < 4) return lend(lease);
  PendingOp& op = start(what < 52 ? CONPOOL_EVENT_READ : CONPOOL_EVENT_WRITE, queue);
  op.lease = keep;
  op.endpoint = lease.endpoint;
  conpool_op id = 0;
  conpool_status status = 0;
  const uint64_t number = ops_.size() - 1;
  ++lease.running;
  if (what < 52) {
    op.order = lease.next_read++;
    const size_t most = chance(70) ? 0 : static_cast<size_t>(any(1, 100));
    status = conpool_connection_read(lease.connection, most, queues_[queue], number, &id);
  } else if (what < 97) {
    op.order = lease.next_write++;
    const auto size = static_cast<size_t>(chance(90) ? any(0, 200) : any(1, 200'000));
    op.bytes = std::make_unique<std::string>();
    // Bytes that tell where they were written.
    for (size_t i = 0; i < size; ++i)
      op.bytes->push_back(static_cast<char>('a' + (number * 7 + i) % 26));
    status = conpool_connection_write(lease.connection, op.bytes->data(), size, queues_[queue],
                                      number, &id);
    lease.written += *op.bytes;
  } else {
    op.order = lease.next_write++;
    lease.spoiled = true;
    status = conpool_connection_shutdown_write(lease.connection, queues_[queue], number, &id);
  }
  begun(op, id, status);
}

void RandomProgram::lend(Lease& lease) {
  int32_t fd = -1;
  conpool_chunk* early = nullptr;
  const conpool_status status = conpool_connection_lend(lease.connection, 0, &fd, &early);
  if (status != 0) return;
  lease.lent = true;
  lease.spoiled = true;  // what comes now is the borrower's
  conpool_chunk_free(early);
  io::SimSocket* socket = world_.network.lent(fd);
  EXPECT_NE(socket, nullptr);
  if (socket == nullptr) return;
  if (chance(50)) (void)socket->write("lent");
  (void)socket->read();
  socket->close();
}

void RandomProgram::cancel_any() {
  if (ops_.empty()) return;
  // One of the latest: earlier ones have ended for the most part.
  const auto back = static_cast<size_t>(any(1, std::min<int64_t>(20, int64_t(ops_.size()))));
  PendingOp& op = ops_[ops_.size() - back];
  if (op.id == 0) return;
  const conpool_status status = conpool_op_cancel(op.id);
  if (op.ended) {
    EXPECT_EQ(status, CONPOOL_E_STALE);
  } else if (!queue_closed_[op.queue]) {
    EXPECT_EQ(status, 0);
  }
  op.cancelled = true;
}

void RandomProgram::release(const std::shared_ptr<Lease>& lease) {
  if (lease->connection == nullptr) return;
  // Reusable is a promise: nothing of this lease is under way.
  const bool done = lease->running == 0 && lease->received == lease->written && !lease->spoiled;
  const bool reusable =
      sites_[targets_[lease->endpoint].site].echoes ? done && chance(90) : chance(50);
  note(std::string(reusable ? "give back " : "break ") + targets_[lease->endpoint].key);
  conpool_connection_release(lease->connection, reusable ? CONPOOL_REUSABLE : CONPOOL_BROKEN);
  lease->connection = nullptr;
}

void RandomProgram::forget_finished_leases() {
  std::erase_if(leases_, [](const auto& lease) { return lease->connection == nullptr; });
}

void RandomProgram::close_queue(size_t queue) {
  note("close queue " + std::to_string(queue));
  conpool_queue_close(queues_[queue]);
  queue_closed_[queue] = true;
  for (const std::shared_ptr<Lease>& lease : leases_)
    lease->spoiled = lease->spoiled || lease->queue == queue;
}

// --- events --------------------------------------------------------------------------------------

void RandomProgram::consume(size_t queue, Nanos timeout) {
  conpool_event events[4];
  const int32_t count =
      conpool_queue_next(queues_[queue], events, static_cast<uint32_t>(any(1, 4)), timeout);
  EXPECT_GE(count, 0);
  for (int32_t i = 0; i < count; ++i)
    take(queue, &events[i]);
}

void RandomProgram::take(size_t queue, conpool_event* event) {
  const auto found = by_id_.find(event->op);
  ASSERT_NE(found, by_id_.end()) << "an event of an unknown op";
  PendingOp& op = ops_[found->second];
  EXPECT_FALSE(op.ended) << "an op ended twice";
  EXPECT_FALSE(queue_closed_[op.queue]) << "an event came out of a closed queue";
  EXPECT_EQ(op.queue, queue);
  EXPECT_EQ(op.kind, event->kind);
  EXPECT_EQ(event->user_data, found->second);
  EXPECT_NE(event->flags & CONPOOL_EVENT_FINAL, 0u);
  op.ended = true;
  note("op " + std::to_string(found->second) + " kind " + std::to_string(op.kind) + " status " +
       std::to_string(event->status) + " value " + std::to_string(event->value[0]) + " at " +
       std::to_string(event->time_ns));
  EXPECT_LE(event->time_ns - op.started, kOpsTime) << "an op took too long";
  if (op.kind == CONPOOL_EVENT_CONNECTION) {
    EXPECT_LE(event->time_ns - op.started, total_timeout_);
    if (event->status == 0) granted(op, event);
  } else if (op.lease != nullptr) {
    Lease& lease = *op.lease;
    --lease.running;
    if (op.kind == CONPOOL_EVENT_READ && event->status == 0) {
      EXPECT_GT(op.order, lease.last_read) << "reads ended out of order";
      lease.last_read = op.order;
      if (event->object != nullptr) {
        auto* chunk = static_cast<conpool_chunk*>(event->object);
        lease.received.append(reinterpret_cast<const char*>(conpool_chunk_data(chunk)),
                              conpool_chunk_size(chunk));
        EXPECT_EQ(event->value[0], conpool_chunk_size(chunk));
        if (sites_[targets_[lease.endpoint].site].echoes && !lease.lent) {
          // A surprise of the server's own (capitals) may be among them, but nothing of an earlier
          // lease.
          std::string own = lease.received;
          std::erase_if(own, [](char c) { return c >= 'A' && c <= 'Z'; });
          EXPECT_TRUE(lease.spoiled || lease.written.starts_with(own))
              << "a lease read what it never wrote";
        }
        if (chance(10) && chunks_.size() < 50) {
          chunks_.push_back(chunk);
          event->object = nullptr;
        }
      } else {
        EXPECT_NE(event->flags & CONPOOL_EVENT_EOF, 0u);
      }
    } else if (op.kind == CONPOOL_EVENT_WRITE) {
      if (event->status == 0) {
        EXPECT_GT(op.order, lease.last_write) << "writes ended out of order";
        lease.last_write = op.order;
        EXPECT_EQ(event->value[0], op.bytes == nullptr ? 0 : op.bytes->size());
      } else {
        lease.spoiled = true;
        EXPECT_LE(event->value[0], op.bytes == nullptr ? 0 : op.bytes->size());
      }
    }
    op.lease = nullptr;
  }
  op.bytes = nullptr;
  conpool_event_dispose(event);
}

void RandomProgram::granted(PendingOp& op, conpool_event* event) {
  const Target& target = targets_[op.endpoint];
  auto lease = std::make_shared<Lease>();
  lease->connection = static_cast<conpool_connection*>(event->object);
  lease->endpoint = op.endpoint;
  lease->queue = op.queue;
  event->object = nullptr;
  char* text = nullptr;
  EXPECT_EQ(conpool_connection_describe(lease->connection, &text), 0);
  const std::string id = field(text, "id");
  conpool_text_free(text);
  EXPECT_FALSE(id.empty());
  const auto [known, added] = key_of_connection_.emplace(id, target.key);
  EXPECT_EQ(known->second, target.key) << "two endpoints share a connection";
  EXPECT_EQ(event->value[0], added ? event->value[0] : 1u);
  if (chance(5)) {  // dropped unused
    conpool_connection_release(lease->connection, CONPOOL_BROKEN);
    return;
  }
  leases_.push_back(std::move(lease));
}

// --- the end -------------------------------------------------------------------------------------

void RandomProgram::drain_queues() {
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (queue_closed_[i]) continue;
    conpool_event events[4];
    for (;;) {
      const int32_t count = conpool_queue_next(queues_[i], events, 4, 0);
      if (count <= 0) break;
      for (int32_t k = 0; k < count; ++k)
        take(i, &events[k]);
    }
  }
}

void RandomProgram::finish() {
  const int64_t way = any(0, 3);
  note("finish " + std::to_string(way));
  if (way <= 1) {
    // Wait for everything, then end in peace.
    const Time until = world_.now() + kOpsTime;
    const auto running = [this] {
      return std::any_of(ops_.begin(), ops_.end(), [this](const PendingOp& op) {
        return !op.ended && !queue_closed_[op.queue];
      });
    };
    while (running() && world_.now() < until && !::testing::Test::HasFailure()) {
      for (size_t i = 0; i < queues_.size(); ++i) {
        if (!queue_closed_[i]) consume(i, any(1, 500) * kMillisecond);
      }
    }
    EXPECT_FALSE(running()) << "an op got lost";
  }
  for (conpool_chunk* chunk : chunks_)
    conpool_chunk_free(chunk);
  chunks_.clear();
  conpool_op close = 0;
  if (way == 0 || way == 2) {
    for (const std::shared_ptr<Lease>& lease : leases_) {
      if (chance(80)) release(lease);
    }
    const Nanos drain = chance(30) ? 0 : any(1, 3'000) * kMillisecond;
    close = world_.close_pool(drain);
    const Time asked = world_.now();
    const Outcome closed = world_.wait(close, drain + kMinute);
    EXPECT_EQ(closed.status, 0);
    EXPECT_LE(closed.time - asked, drain) << "the close took longer than its drain time";
    EXPECT_EQ(world_.network.live().client_streams, 0u);
    drain_queues();
  }
  if (chance(50)) {
    for (const std::shared_ptr<Lease>& lease : leases_)
      release(lease);
  }
  log_ += with_small_ids(world_.events());
  log_ += std::to_string(world_.network.digest()) + "\n";
  for (origin::Server*& server : servers_)
    server = nullptr;
  world_.close();
  drain_queues();
  for (const PendingOp& op : ops_) {
    EXPECT_TRUE(op.ended || queue_closed_[op.queue])
        << "op " << (&op - ops_.data()) << " of kind " << op.kind << " got lost";
  }
  for (const std::shared_ptr<Lease>& lease : leases_)
    release(lease);
  for (conpool_queue* queue : queues_)
    conpool_queue_free(queue);
  for (conpool_chunk* chunk : chunks_)  // they outlive the pool
    conpool_chunk_free(chunk);
}

}  // namespace conpool::sim
