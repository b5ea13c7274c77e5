// Connections opened before they are needed.
#include "pool/preconnect.h"

#include <algorithm>

#include "ops/error_object.h"
#include "pool/core.h"
#include "pool/endpoint.h"

namespace conpool::pool {

void Preconnect::cancel(ops::Op&, Status reason) {
  endpoint_.cancel_preconnect(*this, reason);
}

void Endpoint::preconnect(ops::Op& op, uint32_t count, const Values& own) {
  preconnects_.push_back(std::make_unique<Preconnect>(*this, op, count));
  Preconnect& begun = *preconnects_.back();
  op.set_task(&begun);
  if (op.cancel_requested()) return cancel_preconnect(begun, Status::E_CANCELLED);
  begun.deadline.set_callback([this, &begun] {
    end_preconnect(begun, make_error({.status = Status::E_TIMEOUT}, Phase::Queue,
                                     {"connecting to " + spec_->target.text}));
  });
  if (own.total_timeout > 0) loop().arm(begun.deadline, deadline_after(now(), own.total_timeout));
  update_warm_target();
  end_preconnects(nullptr);
  touch();
}

void Endpoint::cancel_preconnect(Preconnect& preconnect, Status reason) {
  const auto at = std::find_if(preconnects_.begin(), preconnects_.end(),
                               [&](const auto& p) { return p.get() == &preconnect; });
  const std::unique_ptr<Preconnect> gone = std::move(*at);
  preconnects_.erase(at);
  update_warm_target();
  gone->op().set_task(nullptr);
  ops::finish_failed(gone->op(), make_error({.status = reason}, Phase::Queue,
                                            {"connecting to " + spec_->target.text}));
}

void Endpoint::update_warm_target() {
  int64_t most = 0;
  for (const std::unique_ptr<Preconnect>& preconnect : preconnects_)
    most = std::max<int64_t>(most, preconnect->count());
  machine_.warm_to(most);
  // Those that stood for the target alone may go now.
  if (values().pool_idle_timeout == 0) touch();
}

// With what is open; with the failure when that is nothing.
void Endpoint::end_preconnect(Preconnect& preconnect, const ErrorPtr& failed) {
  const auto at = std::find_if(preconnects_.begin(), preconnects_.end(),
                               [&](const auto& p) { return p.get() == &preconnect; });
  const std::unique_ptr<Preconnect> ended = std::move(*at);
  preconnects_.erase(at);
  update_warm_target();
  ended->op().set_task(nullptr);
  const int64_t open = machine_.counts().open();
  if (open == 0 && failed != nullptr) return ops::finish_failed(ended->op(), failed);
  ended->op().finish(Status::OK, nullptr, static_cast<uint64_t>(open));
}

// Ends those that have what they asked for; all of them when a dial failed or no more can be had.
void Endpoint::end_preconnects(const ErrorPtr& failed) {
  const MachineCounts& counts = machine_.counts();
  const bool no_more =
      failed != nullptr || (counts.open() > 0 && counts.dialing == 0 && machine_.warming_refused());
  for (size_t i = 0; i < preconnects_.size();) {
    const int64_t wanted = std::min<int64_t>(preconnects_[i]->count(), machine_.most_connections());
    const bool enough = counts.open() >= wanted || (counts.open() > 0 && machine_.multiplexed());
    if (enough || no_more) {
      end_preconnect(*preconnects_[i], failed);
    } else {
      ++i;
    }
  }
}

}  // namespace conpool::pool
