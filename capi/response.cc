// Responses: what a server answered.
#include "capi/handles.h"
#include "capi/response_json.h"

using namespace conpool;
using namespace conpool::capi;

namespace {

// Names and values end in NUL where they lie.
const char* answer(std::string_view text, size_t* size) {
  if (size != nullptr) *size = text.size();
  return text.data();
}

const char* nothing(size_t* size) {
  if (size != nullptr) *size = 0;
  return nullptr;
}

const session::Fields* headers_of(const conpool_response* response) {
  return response == nullptr ? nullptr : &response_of(response)->head().fields;
}

const session::Fields* trailers_of(const conpool_response* response) {
  return response == nullptr ? nullptr : response_of(response)->trailers();
}

const char* name_at(const session::Fields* fields, size_t index, size_t* size) {
  if (fields == nullptr || index >= fields->size()) return nothing(size);
  return answer((*fields)[index].name, size);
}

const char* value_at(const session::Fields* fields, size_t index, size_t* size) {
  if (fields == nullptr || index >= fields->size()) return nothing(size);
  return answer((*fields)[index].value, size);
}

}  // namespace

int32_t conpool_response_status(const conpool_response* response) noexcept {
  return response == nullptr ? 0 : response_of(response)->head().status;
}

int32_t conpool_response_version(const conpool_response* response) noexcept {
  return response == nullptr ? 0 : static_cast<int32_t>(response_of(response)->head().version);
}

size_t conpool_response_header_count(const conpool_response* response) noexcept {
  return response == nullptr ? 0 : headers_of(response)->size();
}

const char* conpool_response_header_name(const conpool_response* response, size_t index,
                                         size_t* size) noexcept {
  return name_at(headers_of(response), index, size);
}

const char* conpool_response_header_value(const conpool_response* response, size_t index,
                                          size_t* size) noexcept {
  return value_at(headers_of(response), index, size);
}

const char* conpool_response_header(const conpool_response* response, const char* name, size_t nth,
                                    size_t* size) noexcept {
  if (response == nullptr || name == nullptr) return nothing(size);
  const std::optional<std::string_view> value = headers_of(response)->find(name, nth);
  return value ? answer(*value, size) : nothing(size);
}

size_t conpool_response_trailer_count(const conpool_response* response) noexcept {
  const session::Fields* fields = trailers_of(response);
  return fields == nullptr ? 0 : fields->size();
}

const char* conpool_response_trailer_name(const conpool_response* response, size_t index,
                                          size_t* size) noexcept {
  return name_at(trailers_of(response), index, size);
}

const char* conpool_response_trailer_value(const conpool_response* response, size_t index,
                                           size_t* size) noexcept {
  return value_at(trailers_of(response), index, size);
}

const uint8_t* conpool_response_body(const conpool_response* response, size_t* size) noexcept {
  const Slice* body = response == nullptr ? nullptr : &response_of(response)->body();
  const bool empty = body == nullptr || body->empty();
  if (size != nullptr) *size = empty ? 0 : body->size();
  return empty ? nullptr : body->data();
}

conpool_status conpool_response_describe(const conpool_response* response, char** out) noexcept {
  return guard([&] {
    if (response == nullptr || out == nullptr) return code(Status::E_INVALID);
    *out = copy_text(response_json(*response_of(response)));
    return code(Status::OK);
  });
}

void conpool_response_free(conpool_response* response) noexcept {
  if (response == nullptr || inherited_object(response_of(response))) return;
  object_of<ops::Object>(response)->dispose();
}
