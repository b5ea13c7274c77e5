// What this machine has run out of, and what to do about it.
#pragma once

#include <cerrno>
#include <string>

namespace conpool::io {

// For the detail of a failed connect; empty for any other errno.
inline std::string shortage_text(int os_error) {
  switch (os_error) {
    case EMFILE:
      return "this process has as many descriptors open as it may; raise its limit (ulimit -n, "
             "RLIMIT_NOFILE) or lower pool.max_connections";
    case ENFILE:
      return "the system has as many files open as it may; raise fs.file-max or lower "
             "pool.max_connections";
    case EADDRNOTAVAIL:
      return "no local address or port is left for it; let connections be reused, or widen "
             "net.ipv4.ip_local_port_range";
    case ENOBUFS:
    case ENOMEM:
      return "the system has no memory left for a socket";
    default:
      return {};
  }
}

}  // namespace conpool::io
