// The server of --restart-demo: it can be killed, and started again on its port.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "cli/problem.h"
#include "origin/loopback.h"

namespace conpool::cli {

class RestartingOrigin {
 public:
  std::optional<Problem> start();
  // Its connections end with it.
  void kill();
  bool running() const { return origin_ != nullptr; }
  uint16_t port() const { return port_; }

 private:
  std::unique_ptr<origin::Loopback> origin_;
  uint16_t port_ = 0;  // of the first start, and of every later one
};

}  // namespace conpool::cli
