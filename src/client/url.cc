// URLs of requests.
#include "client/url.h"

#include "base/limits.h"
#include "base/text.h"

namespace conpool::client {
namespace {

constexpr std::string_view kForms = "write \"http://host/path\" or \"https://host/path\"";

Unexpected refuse(std::string_view what, std::string_view why) {
  return fail(Status::E_BAD_URL, in_quotes(what) + " " + std::string(why));
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    c = to_lower(c);
  return result;
}

// Anything else would end or split the request line, or is read differently by different servers.
Result<void> check_bytes(std::string_view whole, std::string_view target) {
  for (const char c : target) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f) continue;
    std::string why = "has the byte " + byte_text(byte) + " in its path or query; write it as %";
    constexpr char kHex[] = "0123456789ABCDEF";
    why += kHex[byte >> 4];
    why += kHex[byte & 15];
    return refuse(whole, why);
  }
  if (target.size() > limits::kRequestHeadBytes) {
    return refuse(whole, "is too long: path and query have at most " +
                             std::to_string(limits::kRequestHeadBytes) + " bytes");
  }
  return {};
}

}  // namespace

Result<HttpUrl> split_url(std::string_view url) {
  if (url.empty()) return fail(Status::E_BAD_URL, "the URL is empty; " + std::string(kForms));
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) return refuse(url, "has no scheme; " + std::string(kForms));
  const std::string scheme = lower(url.substr(0, colon));
  if (scheme != "http" && scheme != "https") {
    return refuse(url, "has the scheme " + in_quotes(url.substr(0, colon)) +
                           ", which requests do not speak; " + std::string(kForms));
  }
  const std::string_view rest = url.substr(colon + 3);
  const size_t end = rest.find_first_of("/?#");
  const std::string_view authority = rest.substr(0, end);
  const std::string_view target =
      end == std::string_view::npos ? std::string_view() : rest.substr(end);
  if (authority.find('@') != std::string_view::npos) {
    // The input may hold a password: it is not repeated.
    return fail(Status::E_BAD_URL,
                "the URL has user information before its host, which is not allowed; send an "
                "Authorization field");
  }
  if (authority.empty() || authority.front() == ':')
    return refuse(url, "has no host; " + std::string(kForms));
  if (target.find('#') != std::string_view::npos) {
    return refuse(url, "has a fragment, which is never sent; leave \"#\" and what follows away");
  }
  if (const Result<void> good = check_bytes(url, target); !good) return fail(Failure(good.error()));
  HttpUrl result;
  result.endpoint = scheme + "://" + std::string(authority);
  if (!target.starts_with('/')) result.target = "/";
  result.target += target;
  return result;
}

Result<void> check_target(std::string_view method, std::string_view target) {
  if (target == "*") {
    if (method == "OPTIONS") return {};
    return refuse(target, "is a target of OPTIONS alone (RFC 9112 section 3.2.4)");
  }
  if (target.empty()) return fail(Status::E_BAD_URL, "the target is empty; write \"/path?query\"");
  if (!target.starts_with('/')) return refuse(target, "must begin with \"/\": \"/path?query\"");
  if (target.find('#') != std::string_view::npos) {
    return refuse(target, "has a fragment, which is never sent; leave \"#\" and what follows away");
  }
  return check_bytes(target, target);
}

}  // namespace conpool::client
