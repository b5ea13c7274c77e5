// Files and the system's resolver: blocking calls of the C library as values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/loop.h"

namespace conpool::io::uv {

std::optional<FileStamp> stamp_of(const std::string& path);
// Regular files only: a FIFO or a device would block the loop.
Result<std::string> read_regular_file(const std::string& path, size_t limit);
// getaddrinfo for one family, port 0. Blocks; touches nothing but its arguments.
Result<std::vector<SocketAddress>> getaddrinfo_lookup(const std::string& name, Family family);

}  // namespace conpool::io::uv
