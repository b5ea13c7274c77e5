// PostgreSQL's SSLRequest: eight bytes out, one byte back (PostgreSQL manual, §55.2.11).
#pragma once

#include "tls/hop.h"

namespace conpool::tls {

class PostgresHop final : public Hop {
 public:
  std::string_view name() const override { return "postgres"; }
  std::span<const uint8_t> start() override;
  Result<Step> on_data(std::span<const uint8_t>& data) override;
};

}  // namespace conpool::tls
