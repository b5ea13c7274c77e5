// Tap: who may come between the rooms and the world of a loop, when connections are made and
// questions are put to DNS servers. Without one the loop's own calls run.
#pragma once

#include <memory>

#include "io/loop.h"

namespace conpool::io {

// Set with Loop::set_tap for as long as it lives. What it makes follows the rules of what it stands
// for: nothing it returns calls back before the turn goes on.
class Tap {
 public:
  virtual Result<std::unique_ptr<Stream>> connect(const SocketAddress& peer,
                                                  const ConnectOptions& options) = 0;
  virtual std::unique_ptr<DnsExchange> exchange(DnsQuery query, DnsCallback done) = 0;

 protected:
  ~Tap() = default;
  // The world's own.
  static Result<std::unique_ptr<Stream>> pass_connect(Loop& loop, const SocketAddress& peer,
                                                      const ConnectOptions& options) {
    return loop.start_connect(peer, options);
  }
  static std::unique_ptr<DnsExchange> pass_exchange(Loop& loop, DnsQuery query, DnsCallback done) {
    return loop.start_exchange(std::move(query), std::move(done));
  }
};

}  // namespace conpool::io
