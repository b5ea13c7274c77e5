// Starts and kills the origin of --restart-demo.
#include "cli/restarting_origin.h"

#include "cli/demo_parts.h"

namespace conpool::cli {

std::optional<Problem> RestartingOrigin::start() {
  origin::LoopbackOptions options;
  options.http.emplace();
  options.port = port_;
  auto started = origin::Loopback::start(std::move(options));
  if (!started) return cannot_listen(started.error());
  origin_ = std::move(*started);
  port_ = origin_->port();
  return std::nullopt;
}

void RestartingOrigin::kill() {
  origin_.reset();
}

}  // namespace conpool::cli
