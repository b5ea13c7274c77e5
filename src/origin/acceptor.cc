// Listening, and the list of accepted connections.
#include "origin/acceptor.h"

#include <algorithm>
#include <cassert>

namespace conpool::origin {

Acceptor::~Acceptor() {
  assert(connections_.empty() && listeners_.empty());
}

Result<void> Acceptor::listen(const SocketAddress& address) {
  Result<std::unique_ptr<io::Listener>> listener = loop_.listen(address, kBacklog, this);
  if (!listener) return fail(std::move(listener).error());
  listeners_.push_back(std::move(*listener));
  return {};
}

SocketAddress Acceptor::address(size_t index) const {
  assert(index < listeners_.size());
  return listeners_[index]->address();
}

void Acceptor::stop_listening() {
  for (std::unique_ptr<io::Listener>& listener : listeners_) {
    listener->close();
    loop_.discard(std::unique_ptr<io::Discardable>(std::move(listener)));
  }
  listeners_.clear();
}

void Acceptor::end_connections(Ending ending) {
  std::vector<uint64_t> numbers;
  for (const auto& [number, connection] : connections_)
    numbers.push_back(number);
  for (const uint64_t number : numbers) {
    const auto found = connections_.find(number);
    if (found != connections_.end()) found->second->end(ending);
  }
}

void Acceptor::kill() {
  stop_listening();
  end_connections(Ending::Reset);
}

void Acceptor::on_accepted(std::unique_ptr<io::Stream> stream) {
  const bool wrapped = static_cast<bool>(factory_);
  begin(wrapped ? factory_(std::move(stream)) : std::move(stream), !wrapped);
}

void Acceptor::begin(std::unique_ptr<io::Stream> stream, bool ready) {
  const uint64_t number = counts_.accepted++;
  ++counts_.open;
  counts_.most_open = std::max(counts_.most_open, counts_.open);
  if (stream == nullptr) {
    --counts_.open;
    ++counts_.peer_failed;
    return;
  }
  std::unique_ptr<Connection> connection = make(number, std::move(stream), ready);
  Connection& started = *connection;
  connections_.emplace(number, std::move(connection));
  started.start();
}

void Acceptor::remove(Connection& connection) {
  --counts_.open;
  auto node = connections_.extract(connection.number());
  assert(!node.empty());
  loop_.discard(std::unique_ptr<io::Discardable>(std::move(node.mapped())));
}

}  // namespace conpool::origin
