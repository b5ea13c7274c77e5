// Hops: what must be said in plain text on a connected stream before TLS may start.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace conpool::tls {

// A pure machine: bytes in, verdict out. The stream that runs it refuses any byte that follows the
// hop's answer before TLS starts, whatever the hop says.
class Hop {
 public:
  enum class Step : uint8_t {
    NeedMore,  // everything was consumed, the answer is not complete
    Done,      // TLS may start
  };
  virtual ~Hop() = default;
  virtual std::string_view name() const = 0;
  // The bytes to send; valid as long as the hop.
  virtual std::span<const uint8_t> start() = 0;
  // Consumes from the front of `data`. E_HOP_FAILED when the peer refuses or answers nonsense.
  virtual Result<Step> on_data(std::span<const uint8_t>& data) = 0;
};

}  // namespace conpool::tls
