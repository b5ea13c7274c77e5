// Reading the files that name servers and hosts.
#include "io/uv/files.h"

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/uv/socket.h"

namespace conpool::io::uv {
namespace {

Failure lookup_failure(int code, int os_error) {
  Failure failure{.status = Status::E_DNS_SERVER_FAILURE, .detail = gai_strerror(code)};
  switch (code) {
    case EAI_NONAME:
      failure.status = Status::E_DNS_NOT_FOUND;
      break;
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
      failure.status = Status::E_DNS_NO_DATA;
      break;
    case EAI_MEMORY:
      failure.status = Status::E_NOMEM;
      break;
    case EAI_SYSTEM:
      return system_failure(os_error, "getaddrinfo");
    default:  // EAI_AGAIN covers SERVFAIL and silence alike, EAI_FAIL is final
      break;
  }
  return failure;
}

}  // namespace

std::optional<FileStamp> stamp_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return FileStamp{
      .inode = info.st_ino,
      .size = info.st_size,
      .modified = static_cast<int64_t>(info.st_mtim.tv_sec) * kSecond + info.st_mtim.tv_nsec};
}

Result<std::string> read_regular_file(const std::string& path, size_t limit) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.open()) return fail(system_failure(errno, "opening " + path));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return fail(system_failure(errno, "reading " + path));
  if (!S_ISREG(info.st_mode)) return fail(Status::E_SYSTEM, path + " is not a regular file");

  const auto too_large = [&] {
    return fail_errno(Status::E_SYSTEM, EFBIG,
                      path + " is larger than " + std::to_string(limit) + " bytes");
  };
  if (static_cast<uint64_t>(info.st_size) > limit) return too_large();
  std::string text;
  // The size is a hint only: the file may grow, and files of /proc claim to be empty.
  for (;;) {
    const size_t had = text.size();
    text.resize(std::min(limit + 1, std::max<size_t>(had * 2, 4096)));
    const ssize_t size = ::read(fd.get(), text.data() + had, text.size() - had);
    if (size < 0 && errno == EINTR) {
      text.resize(had);
      continue;
    }
    if (size < 0) return fail(system_failure(errno, "reading " + path));
    text.resize(had + static_cast<size_t>(size));
    if (text.size() > limit) return too_large();
    if (size == 0) return text;
  }
}

Result<std::vector<SocketAddress>> getaddrinfo_lookup(const std::string& name, Family family) {
  addrinfo hints{};
  hints.ai_family = family == Family::V4 ? AF_INET : family == Family::V6 ? AF_INET6 : AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // else each address comes once per socket type
  addrinfo* list = nullptr;
  const int rc = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
  if (rc != 0) return fail(lookup_failure(rc, errno));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    Result<SocketAddress> address = SocketAddress::from_sockaddr(entry->ai_addr, entry->ai_addrlen);
    if (!address) continue;
    if (std::find(addresses.begin(), addresses.end(), *address) == addresses.end()) {
      addresses.push_back(*address);
    }
  }
  freeaddrinfo(list);
  if (addresses.empty()) return fail(Status::E_DNS_NO_DATA);
  return addresses;
}

}  // namespace conpool::io::uv
