// Patterns, hashes, and the demo's paths.
#include "origin/http_script.h"

#include <charconv>

#include "base/text.h"

namespace conpool::origin {
namespace {

constexpr uint64_t kMostBytes = 1ULL << 40;
constexpr uint64_t kMostDelayMs = 3'600'000;

bool same_name(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  return true;
}

// The number behind the prefix, when there is nothing else.
std::optional<uint64_t> number_after(std::string_view path, std::string_view prefix,
                                     uint64_t most) {
  if (!path.starts_with(prefix)) return std::nullopt;
  path.remove_prefix(prefix.size());
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), value);
  if (error != std::errc() || end != path.data() + path.size() || value > most) return std::nullopt;
  return value;
}

HttpAnswer text_answer(uint16_t status, std::string text) {
  HttpAnswer answer;
  answer.status = status;
  answer.fields = {{"content-type", "text/plain"}};
  answer.text = std::move(text);
  return answer;
}

}  // namespace

std::string field_of(const HttpFields& fields, std::string_view name) {
  for (const auto& [each, value] : fields)
    if (same_name(each, name)) return value;
  return "";
}

uint64_t hash_of(std::string_view bytes, uint64_t hash) {
  for (const char byte : bytes)
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
  return hash;
}

std::string pattern(uint64_t offset, size_t size, uint8_t seed) {
  std::string bytes(size, '\0');
  auto byte = static_cast<uint8_t>(offset * 31 + seed);
  for (char& each : bytes) {
    each = static_cast<char>(byte);
    byte = static_cast<uint8_t>(byte + 31);
  }
  return bytes;
}

std::optional<HttpAnswer> demo_path(const HttpRequest& request) {
  const std::string_view path =
      std::string_view(request.target).substr(0, request.target.find('?'));
  if (path == "/" || path == "*") return text_answer(200, "hello from conpool's demo origin\n");
  if (path == "/echo") {
    HttpAnswer answer;
    const std::string type = field_of(request.fields, "content-type");
    if (!type.empty()) answer.fields = {{"content-type", type}};
    answer.body = HttpBody::Echo;
    return answer;
  }
  for (const bool chunked : {false, true}) {
    const auto size = number_after(path, chunked ? "/chunked/" : "/bytes/", kMostBytes);
    if (!size) continue;
    HttpAnswer answer;
    answer.fields = {{"content-type", "application/octet-stream"}};
    answer.body = HttpBody::Pattern;
    answer.pattern_size = *size;
    if (chunked) answer.framing = HttpFraming::Chunked;
    return answer;
  }
  if (const auto delay = number_after(path, "/delay/", kMostDelayMs)) {
    HttpAnswer answer = text_answer(200, "after " + std::to_string(*delay) + " ms\n");
    answer.head_delay = static_cast<Nanos>(*delay) * kMillisecond;
    return answer;
  }
  if (const auto status = number_after(path, "/status/", 599); status && *status >= 200)
    return text_answer(static_cast<uint16_t>(*status), std::to_string(*status) + "\n");
  return std::nullopt;
}

HttpAnswer demo_answer(const HttpRequest& request) {
  std::optional<HttpAnswer> answer = demo_path(request);
  return answer ? *std::move(answer) : text_answer(404, "no such path\n");
}

}  // namespace conpool::origin
