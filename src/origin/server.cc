// The scripted server.
#include "origin/server.h"

#include <algorithm>
#include <cassert>

#include "origin/session.h"

namespace conpool::origin {

Server::Server(io::Loop& loop, Script script) : loop_(loop) {
  set_script(std::move(script));
}

Server::~Server() {
  kill();
}

void Server::set_script(Script script) {
  chooser_ = [script = std::move(script)](uint64_t) { return script; };
}

Result<void> Server::listen(const SocketAddress& address) {
  Result<std::unique_ptr<io::Listener>> listener = loop_.listen(address, kBacklog, this);
  if (!listener) return fail(std::move(listener).error());
  listeners_.push_back(std::move(*listener));
  return {};
}

SocketAddress Server::address(size_t index) const {
  assert(index < listeners_.size());
  return listeners_[index]->address();
}

void Server::stop_listening() {
  for (std::unique_ptr<io::Listener>& listener : listeners_) {
    listener->close();
    loop_.discard(std::unique_ptr<io::Discardable>(std::move(listener)));
  }
  listeners_.clear();
}

void Server::end_connections(Ending ending) {
  std::vector<uint64_t> numbers;
  for (const auto& [number, session] : sessions_)
    numbers.push_back(number);
  for (const uint64_t number : numbers) {
    const auto found = sessions_.find(number);
    if (found != sessions_.end()) found->second->end(ending);
  }
}

void Server::kill() {
  stop_listening();
  end_connections(Ending::Reset);
}

void Server::on_accepted(std::unique_ptr<io::Stream> stream) {
  const uint64_t number = counts_.accepted++;
  ++counts_.open;
  counts_.most_open = std::max(counts_.most_open, counts_.open);
  const bool wrapped = static_cast<bool>(factory_);
  if (wrapped) stream = factory_(std::move(stream));
  if (stream == nullptr) {
    --counts_.open;
    ++counts_.peer_failed;
    return;
  }
  auto session =
      std::make_unique<Session>(*this, number, chooser_(number), std::move(stream), !wrapped);
  Session& started = *session;
  sessions_.emplace(number, std::move(session));
  started.start();
}

void Server::remove(Session& session) {
  --counts_.open;
  auto node = sessions_.extract(session.number());
  assert(!node.empty());
  loop_.discard(std::unique_ptr<io::Discardable>(std::move(node.mapped())));
}

}  // namespace conpool::origin
