// Prints the table of raw HTTP/1.1 responses and their verdicts as JSON, for tests of bindings.
#include <cstdio>
#include <string>

#include "unit/http1/response_table.h"

namespace {

using conpool::http1::Reason;
using conpool::http1::table::Case;

// Bytes as JSON text, each byte one character.
void add(std::string* out, const char* name, const std::string& bytes) {
  *out += std::string("\"") + name + "\":\"";
  for (const unsigned char byte : bytes) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
    *out += escaped;
  }
  *out += "\",";
}

}  // namespace

int main() {
  std::string out = "[";
  for (const Case& row : conpool::http1::table::response_table()) {
    if (out.size() > 1) out += ",\n";
    out += "{";
    add(&out, "name", row.name);
    add(&out, "bytes", row.bytes);
    add(&out, "fields", row.fields);
    add(&out, "body", row.body);
    add(&out, "trailers", row.trailers);
    out += std::string("\"to_head\":") + (row.to_head ? "true" : "false");
    out += std::string(",\"ends\":") + (row.ends ? "true" : "false");
    out += std::string(",\"refused\":") + (row.reason != Reason::None ? "true" : "false");
    out += ",\"status\":" + std::to_string(row.status) + "}";
  }
  std::puts((out + "]").c_str());
}
