// The scripted server.
#include "origin/server.h"

#include "origin/session.h"

namespace conpool::origin {

Server::Server(io::Loop& loop, Script script) : Acceptor(loop) {
  set_script(std::move(script));
}

Server::~Server() {
  kill();
}

void Server::set_script(Script script) {
  chooser_ = [script = std::move(script)](uint64_t) { return script; };
}

std::unique_ptr<Connection> Server::make(uint64_t number, std::unique_ptr<io::Stream> stream,
                                         bool ready) {
  return std::make_unique<Session>(*this, number, chooser_(number), std::move(stream), ready);
}

}  // namespace conpool::origin
