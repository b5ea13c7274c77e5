// What all worlds share: the end of a turn.
#include "io/loop.h"

#include <new>

#include "io/tap.h"

namespace conpool::io {
namespace {

// Memory that runs out in one call must not end the loop: whatever the call was for has its own
// deadline.
template <typename Call>
void guarded(Call&& call) noexcept {
  try {
    call();
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

Result<std::unique_ptr<Stream>> Loop::connect(const SocketAddress& peer,
                                              const ConnectOptions& options) {
  return tap_ == nullptr ? start_connect(peer, options) : tap_->connect(peer, options);
}

std::unique_ptr<DnsExchange> Loop::exchange(DnsQuery query, DnsCallback done) {
  return tap_ == nullptr ? start_exchange(std::move(query), std::move(done))
                         : tap_->exchange(std::move(query), std::move(done));
}

void Loop::finish_turn() {
  guarded([this] { timers_.fire_due(now_); });
  while (!deferred_.empty()) {
    std::swap(deferred_, running_);
    for (Callback<void()>& call : running_)
      guarded([&call] { call(); });
    running_.clear();
  }
  // A destructor may discard more: those go with the next round.
  while (!discarded_.empty()) {
    std::vector<std::unique_ptr<Discardable>> dying;
    dying.swap(discarded_);
  }
}

void Loop::abandon_pending() {
  // Dropping a call may discard what it owned, and a destructor may defer: until nothing is left.
  while (has_deferred()) {
    std::vector<Callback<void()>> calls;
    calls.swap(deferred_);
    calls.clear();
    std::vector<std::unique_ptr<Discardable>> dying;
    dying.swap(discarded_);
  }
}

}  // namespace conpool::io
