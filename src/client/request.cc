// The building of a request.
#include "client/request.h"

#include "base/limits.h"
#include "base/text.h"
#include "client/fields.h"
#include "client/resend.h"
#include "client/url.h"
#include "http1/encode.h"

namespace conpool::client {
namespace {

constexpr size_t kTextBytes = 200;  // of the target, in texts

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    c = to_lower(c);
  return result;
}

// Without the query, which may hold secrets.
std::string text_of(const session::RequestHead& head) {
  std::string_view path = head.target;
  path = path.substr(0, path.find('?'));
  std::string text = head.method + " " + head.scheme + "://" + head.authority;
  if (path != "*") text += path.substr(0, kTextBytes);
  if (path.size() > kTextBytes) text += "...";
  return text;
}

}  // namespace

Result<std::unique_ptr<Request>> Request::make(std::shared_ptr<const pool::EndpointSpec> spec,
                                               std::shared_ptr<const Values> values,
                                               std::string_view method, std::string_view target) {
  if (const Result<void> good = check_method(method); !good) return fail(Failure(good.error()));
  if (spec->kind != pool::Kind::Http) {
    return fail(
        Status::E_UNSUPPORTED,
        "requests need an endpoint with scheme \"http\" or \"https\"; this one is " + spec->name);
  }
  if (const Result<void> good = check_target(method, target); !good)
    return fail(Failure(good.error()));
  std::unique_ptr<Request> request(new Request);
  request->parts_ = std::make_shared<FrozenRequest>();
  FrozenRequest& parts = *request->parts_;
  parts.head.method = method;
  parts.head.scheme = spec->scheme;
  parts.head.authority = spec->authority;
  parts.head.target = target;
  parts.head.head_only = method == "HEAD";
  parts.spec = std::move(spec);
  parts.values = std::move(values);
  request->header_bytes_ = method.size() + target.size() + parts.head.authority.size();
  return request;
}

Result<void> Request::check_changeable() const {
  if (!frozen_.load(std::memory_order_acquire)) return {};
  return fail(Status::E_WRONG_STATE, "the request was started: it cannot be changed any more");
}

Result<void> Request::count(size_t* bytes, size_t fields, std::string_view what,
                            size_t size) const {
  if (fields >= limits::kRequestFields) {
    return fail(Status::E_BAD_FIELD, "a request's " + std::string(what) + " has at most " +
                                         std::to_string(limits::kRequestFields) + " fields");
  }
  if (size > limits::kRequestHeadBytes || *bytes > limits::kRequestHeadBytes - size) {
    return fail(Status::E_BAD_FIELD, "a request's " + std::string(what) + " has at most " +
                                         std::to_string(limits::kRequestHeadBytes) + " bytes");
  }
  *bytes += size;
  return {};
}

Result<void> Request::add_header(std::string_view name, std::string_view raw_value) {
  if (Result<void> good = check_changeable(); !good) return good;
  const Result<FieldUse> use = check_header_name(name);
  if (!use) return fail(Failure(use.error()));
  const Result<std::string_view> value = check_value(name, raw_value);
  if (!value) return fail(Failure(value.error()));
  session::RequestHead& head = parts_->head;
  switch (*use) {
    case FieldUse::Host: {
      if (has_host_) return fail(Status::E_BAD_FIELD, "a request has one Host field only");
      if (Result<void> good = check_authority(*value); !good) return good;
      if (Result<void> good = count(&header_bytes_, 0, "header", value->size()); !good) return good;
      has_host_ = true;
      head.authority = *value;
      return {};
    }
    case FieldUse::ContentLength: {
      if (content_length_.has_value())
        return fail(Status::E_BAD_FIELD, "a request has one Content-Length field only");
      const Result<uint64_t> size = parse_content_length(*value);
      if (!size) return fail(Failure(size.error()));
      content_length_ = *size;
      return {};
    }
    case FieldUse::Expect:
      if (!session::same_name(*value, "100-continue")) {
        return fail(Status::E_BAD_FIELD,
                    "Expect " + in_quotes(*value) + " is not known; write \"100-continue\"");
      }
      head.expect_continue = true;
      return {};
    case FieldUse::Plain:
      break;
  }
  const size_t size = name.size() + value->size();
  if (Result<void> good = count(&header_bytes_, head.fields.size(), "header", size); !good)
    return good;
  head.fields.add(lower(name), *value);
  return {};
}

Result<void> Request::add_trailer(std::string_view name, std::string_view raw_value) {
  if (Result<void> good = check_changeable(); !good) return good;
  if (Result<void> good = check_trailer_name(name); !good) return good;
  const Result<std::string_view> value = check_value(name, raw_value);
  if (!value) return fail(Failure(value.error()));
  session::Fields& trailers = parts_->head.trailers;
  const size_t size = name.size() + value->size();
  if (Result<void> good = count(&trailer_bytes_, trailers.size(), "trailer", size); !good)
    return good;
  trailers.add(lower(name), *value);
  return {};
}

Result<void> Request::set_body(const uint8_t* data, size_t size) {
  if (Result<void> good = check_changeable(); !good) return good;
  parts_->body = BodyKind::Memory;
  parts_->body_size = size;
  parts_->data = data;
  return {};
}

Result<void> Request::set_body_file(int fd, int64_t offset, int64_t size) {
  if (Result<void> good = check_changeable(); !good) return good;
  Result<FileRange> range = open_range(fd, offset, size);
  if (!range) return fail(std::move(range.error()));
  parts_->body = BodyKind::File;
  parts_->body_size = range->size;
  parts_->file = std::move(*range);
  return {};
}

Result<void> Request::set_body_pieces(std::optional<uint64_t> size) {
  if (Result<void> good = check_changeable(); !good) return good;
  parts_->body = BodyKind::Pieces;
  parts_->body_size = size;
  return {};
}

Result<void> Request::set_idempotent(bool idempotent) {
  if (Result<void> good = check_changeable(); !good) return good;
  declared_idempotent_ = idempotent;
  return {};
}

Result<void> Request::check_whole() const {
  const FrozenRequest& parts = *parts_;
  if (parts.body == BodyKind::None) {
    if (!parts.head.trailers.empty())
      return fail(Status::E_BAD_FIELD, "trailers need a body, which the request does not have");
    if (parts.head.expect_continue) {
      return fail(Status::E_BAD_FIELD,
                  "Expect: 100-continue needs a body, which the request does not have");
    }
    if (content_length_.value_or(0) != 0) {
      return fail(Status::E_BAD_FIELD, "Content-Length says " + std::to_string(*content_length_) +
                                           ", but the request has no body");
    }
    return {};
  }
  // RFC 9110 §9.3.8.
  if (parts.head.method == "TRACE")
    return fail(Status::E_BAD_BODY, "a request with method TRACE has no body");
  if (!content_length_.has_value()) return {};
  if (!parts.body_size.has_value()) {
    return fail(Status::E_BAD_FIELD,
                "Content-Length says " + std::to_string(*content_length_) +
                    ", but the body's length is not known; give it to conpool_request_body_stream");
  }
  if (*content_length_ != *parts.body_size) {
    return fail(Status::E_BAD_FIELD, "Content-Length says " + std::to_string(*content_length_) +
                                         ", but the body has " + std::to_string(*parts.body_size) +
                                         " bytes");
  }
  return {};
}

Result<std::shared_ptr<const FrozenRequest>> Request::freeze() {
  if (!frozen_.load(std::memory_order_acquire)) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!frozen_.load(std::memory_order_relaxed)) {
      if (const Result<void> good = check_whole(); !good) return fail(Failure(good.error()));
      FrozenRequest& parts = *parts_;
      parts.idempotent = declared_idempotent_.value_or(idempotent_method(parts.head.method));
      parts.text = text_of(parts.head);
      parts.head.http1_head =
          http1::encode_head(parts.head, parts.body_size, parts.body != BodyKind::None);
      frozen_.store(true, std::memory_order_release);
    }
  }
  return std::shared_ptr<const FrozenRequest>(parts_);
}

}  // namespace conpool::client
