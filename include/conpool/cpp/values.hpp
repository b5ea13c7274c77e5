// conpool for C++: options, and what comes from the network.
#pragma once

#include <conpool/conpool.h>
#include <conpool/cpp/result.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace conpool {

// --- options

// Option values by name, as docs/options.md lists them. An empty one stands for "nothing set".
//
//   conpool::Config options = conpool::Config::of({{"total.timeout", "2s"}}).value();
class Config : public detail::Handle<conpool_config, conpool_config_free> {
 public:
  using Handle::Handle;
  using Option = std::pair<const char*, std::string_view>;

  // A config of these; the first one that is refused is the error.
  static Result<Config> of(std::initializer_list<Option> options) {
    Config made;
    for (const Option& option : options) {
      Result<void> set = made.set(option.first, option.second);
      if (!set) return std::move(set).error();
    }
    return made;
  }

  // Sets one option, or sets it again.
  Result<void> set(const char* name, std::string_view value) {
    if (!*this) {
      conpool_config* raw = nullptr;
      const conpool_status status = conpool_config_new(&raw);
      if (status != CONPOOL_OK) return Error(status);
      reset(raw);
    }
    return detail::done_or_told([&](conpool_error** error) {
      return conpool_config_set(raw(), name, detail::chars(value), value.size(), error);
    });
  }
};

// --- what comes from the network

// Bytes that were received; empty at the end of a stream. Immutable; any thread. They count against
// pool.max_pinned, and hold the server back, until the chunk is destroyed.
class Chunk : public detail::Handle<conpool_chunk, conpool_chunk_free> {
 public:
  using Handle::Handle;
  const std::uint8_t* data() const noexcept { return conpool_chunk_data(raw()); }
  std::size_t size() const noexcept { return conpool_chunk_size(raw()); }
  std::string_view text() const noexcept {
    return detail::view(reinterpret_cast<const char*>(data()), size());
  }
};

// A line of a header or a trailer.
struct Field {
  std::string_view name;
  std::string_view value;
};

// What an HTTP server answered. Immutable; any thread.
class Response : public detail::Handle<conpool_response, conpool_response_free> {
 public:
  using Handle::Handle;
  // 200, 404, …
  std::int32_t status() const noexcept { return conpool_response_status(raw()); }
  // 10, 11 or 20.
  std::int32_t http_version() const noexcept { return conpool_response_version(raw()); }
  // The value of the nth line of this name, upper and lower case alike.
  std::optional<std::string_view> header(const char* name, std::size_t nth = 0) const {
    std::size_t size = 0;
    const char* value = conpool_response_header(raw(), name, nth, &size);
    return value == nullptr ? std::nullopt : std::optional(std::string_view(value, size));
  }
  // All lines in the order of their arrival.
  std::vector<Field> headers() const {
    return fields(conpool_response_header_count(raw()), conpool_response_header_name,
                  conpool_response_header_value);
  }
  std::vector<Field> trailers() const {
    return fields(conpool_response_trailer_count(raw()), conpool_response_trailer_name,
                  conpool_response_trailer_value);
  }
  // The body of a response that was delivered whole.
  std::string_view body() const noexcept {
    std::size_t size = 0;
    const std::uint8_t* bytes = conpool_response_body(raw(), &size);
    return detail::view(reinterpret_cast<const char*>(bytes), size);
  }
  // How it was sent, over which connection, when each phase ended: JSON.
  Result<std::string> describe() const {
    return detail::text([&](char** out) { return conpool_response_describe(raw(), out); });
  }

 private:
  using Part = const char* (*)(const conpool_response*, std::size_t, std::size_t*);
  std::vector<Field> fields(std::size_t count, Part name, Part value) const {
    std::vector<Field> all(count);
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t size = 0;
      const char* text = name(raw(), i, &size);
      all[i].name = detail::view(text, size);
      text = value(raw(), i, &size);
      all[i].value = detail::view(text, size);
    }
    return all;
  }
};

// A name that the program is asked to resolve (dns.backend = queue). Destroyed without an answer,
// it ends by its time limit.
class Lookup : public detail::Handle<conpool_lookup, conpool_lookup_free> {
 public:
  using Handle::Handle;
  // The name, and the family of addresses, 4 or 6, that is asked for.
  const char* name() const noexcept { return conpool_lookup_name(raw()); }
  std::int32_t family() const noexcept { return conpool_lookup_family(raw()); }
  // "192.0.2.1,192.0.2.2"; "": the name has none. After CONPOOL_E_BAD_ADDRESS it can be answered
  // again. Any thread.
  Result<void> answer(std::string_view addresses) {
    return over(conpool_lookup_answer(raw(), detail::chars(addresses), addresses.size()));
  }
  // With a message for the error's ledger. Any thread.
  Result<void> fail(std::string_view message) {
    return over(conpool_lookup_fail(raw(), detail::chars(message), message.size()));
  }

 private:
  Result<void> over(conpool_status status) {
    if (status == CONPOOL_OK) static_cast<void>(detach());  // the library has freed it
    return detail::done(status);
  }
};

}  // namespace conpool
