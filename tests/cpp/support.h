// What the tests of conpool.hpp share: pools for loopback, and servers of the C tests.
#pragma once

#include <gtest/gtest.h>
#include <conpool/conpool.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../capi/http_support.h"

namespace cpp_test {

using capi_test::ClosedPort;
using capi_test::eventually;
using capi_test::HttpRequest;
using capi_test::HttpServer;
using capi_test::Server;
using conpool::Nanos;

inline constexpr Nanos kLong{capi_test::kLong};  // a deadline that only a hang reaches

inline conpool::Pool make_pool(std::initializer_list<conpool::Config::Option> options = {}) {
  return conpool::Pool::create(conpool::Config::of(options).value()).value();
}

inline conpool::Dispatcher make_dispatcher(const conpool::Pool& pool) {
  return conpool::Dispatcher::create(pool).value();
}

// Reads so many bytes of a lease.
inline std::string read_exactly(const conpool::Connection& connection, std::size_t size) {
  std::string bytes;
  while (bytes.size() < size) {
    conpool::Result<conpool::Chunk> chunk = connection.read(size - bytes.size());
    if (!chunk || !*chunk) return bytes;
    bytes += chunk->text();
  }
  return bytes;
}

// Takes events until the FINAL one; its name for each, and the bytes of the chunks together.
struct Parts {
  std::vector<std::uint32_t> kinds;
  std::string body;
  std::int32_t status = 0;
};
inline void keep(Parts* parts, conpool::Event event) {
  parts->kinds.push_back(event.kind());
  if (event.kind() == CONPOOL_EVENT_CHUNK)
    parts->body += event.take<conpool::Chunk>().value().text();
  if (event.is_final()) parts->status = event.take<conpool::Response>().value().status();
}

}  // namespace cpp_test
