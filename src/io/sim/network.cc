// The script of the simulated network and its records.
#include "io/sim/sockets.h"

#include <algorithm>

namespace conpool::io {

SimNetwork::SimNetwork() : world_(std::make_shared<sim::World>()) {}

SimNetwork::~SimNetwork() {
  world_->clear();
}

SimHost& SimNetwork::host(std::string_view where) {
  return world_->host(where);
}

void SimNetwork::at(Time time, Callback<void()> action) {
  world_->at(time, std::move(action));
}

void SimNetwork::fail_connects(size_t n, int error) {
  world_->connects_to_fail = n;
  world_->connect_error = error;
}

void SimNetwork::source(std::string_view where, const SocketAddress& source) {
  world_->sources.push_back({sim::Place::parse(where), true, source.without_port()});
}

void SimNetwork::no_route(std::string_view where) {
  world_->sources.push_back({sim::Place::parse(where), false, {}});
}

void SimNetwork::shuffle_ready(bool on) {
  world_->shuffle = on;
}

void SimNetwork::dns(const SocketAddress& server, SimDnsHandler handler) {
  world_->dns_handlers[server] = std::move(handler);
}

void SimNetwork::dns_anywhere(SimDnsHandler handler) {
  world_->dns_anywhere = std::move(handler);
}

void SimNetwork::system_lookup(SimLookupHandler handler) {
  world_->lookup = std::move(handler);
}

void SimNetwork::job_delay(Nanos delay) {
  world_->job_delay = delay;
}

void SimNetwork::file(const std::string& path, std::string content) {
  sim::File& file = world_->files[path];
  file.stamp = FileStamp{world_->next_inode++, static_cast<int64_t>(content.size()), world_->now()};
  file.content = std::move(content);
}

void SimNetwork::remove_file(const std::string& path) {
  world_->files.erase(path);
}

void SimNetwork::refuse_lending() {
  world_->lending = false;
}

SimSocket* SimNetwork::lent(int fd) {
  const auto found = world_->lent.find(fd);
  return found == world_->lent.end() ? nullptr : found->second.get();
}

Time SimNetwork::now() const {
  return world_->now();
}
const std::vector<SimSynRecord>& SimNetwork::syns() const {
  return world_->syns;
}

std::vector<SimSynRecord> SimNetwork::first_syns() const {
  std::vector<SimSynRecord> first;
  std::copy_if(world_->syns.begin(), world_->syns.end(), std::back_inserter(first),
               [](const SimSynRecord& syn) { return syn.retry == 0; });
  return first;
}

const std::vector<SimConnection>& SimNetwork::connections() const {
  return world_->connections;
}
const std::vector<SimDnsRecord>& SimNetwork::dns_queries() const {
  return world_->dns_queries;
}
SimLive SimNetwork::live() const {
  return world_->live;
}
size_t SimNetwork::most_connecting() const {
  return world_->most_connecting;
}
uint64_t SimNetwork::digest() const {
  return world_->digest;
}
void SimNetwork::trace(bool on) {
  world_->tracing = on;
}
const std::string& SimNetwork::trace_text() const {
  return world_->trace;
}
Time SimNetwork::next_event() const {
  return world_->next_due();
}

void SimNetwork::run(Loop& loop, Time until) {
  if (until == kNever && world_->next_due() == kNever) return;
  do {
    loop.run_turn(until);
  } while (until == kNever ? world_->next_due() != kNever
                           : loop.now() < until || world_->next_due() <= until);
}

bool SimNetwork::run(Loop& loop, Time until, const std::function<bool()>& done) {
  while (!done()) {
    if (loop.now() >= until && world_->next_due() > until) return false;
    loop.run_turn(until);
  }
  return true;
}

}  // namespace conpool::io
