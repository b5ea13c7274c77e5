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

void Endpoint::preconnect(ops::Op& op, uint32_t count) {
  preconnects_.push_back(std::make_unique<Preconnect>(*this, op, count));
  op.set_task(preconnects_.back().get());
  if (op.cancel_requested()) return cancel_preconnect(*preconnects_.back(), Status::E_CANCELLED);
  Preconnect& begun = *preconnects_.back();
  begun.deadline.set_callback([this] {
    end_preconnects(make_error({.status = Status::E_TIMEOUT}, Phase::Queue,
                               {"connecting to " + spec_->target.text}));
  });
  if (values().total_timeout > 0)
    loop().arm(begun.deadline, deadline_after(now(), values().total_timeout));
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
}

// Ends those that have what they asked for; all of them when a dial failed or the endpoint closes.
void Endpoint::end_preconnects(const ErrorPtr& failed) {
  if (preconnects_.empty()) return;
  const int64_t open = machine_.counts().open();
  std::vector<std::unique_ptr<Preconnect>> ended;
  for (size_t i = 0; i < preconnects_.size();) {
    const int64_t wanted =
        std::min<int64_t>(preconnects_[i]->count(), values().endpoint_max_connections);
    const bool enough = open >= wanted || (open > 0 && machine_.multiplexed());
    if (!enough && failed == nullptr) {
      ++i;
      continue;
    }
    ended.push_back(std::move(preconnects_[i]));
    preconnects_.erase(preconnects_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  update_warm_target();
  for (const std::unique_ptr<Preconnect>& preconnect : ended) {
    preconnect->op().set_task(nullptr);
    if (open == 0 && failed != nullptr) {
      ops::finish_failed(preconnect->op(), failed);
    } else {
      preconnect->op().finish(Status::OK, nullptr, static_cast<uint64_t>(open));
    }
  }
}

}  // namespace conpool::pool
