// Failures by errno.
#include "observe/error_counter.h"

#include <cerrno>

namespace conpool::observe {
namespace {

Counter counter_of_errno(int error) {
  switch (error) {
#define ERRNO(name) \
  case name:        \
    return Counter::Error##name;
    ERRNO(ECONNREFUSED)
    ERRNO(ECONNRESET)
    ERRNO(ECONNABORTED)
    ERRNO(ETIMEDOUT)
    ERRNO(EPIPE)
    ERRNO(EHOSTUNREACH)
    ERRNO(ENETUNREACH)
    ERRNO(ENETDOWN)
    ERRNO(EADDRNOTAVAIL)
    ERRNO(EMFILE)
    ERRNO(ENFILE)
    ERRNO(ENOBUFS)
    ERRNO(ENOMEM)
    ERRNO(EACCES)
    ERRNO(EIO)
#undef ERRNO
    default:
      return Counter::ErrorOther;
  }
}

}  // namespace

Counter error_counter(const Failure& failure) {
  if (failure.os_error != 0) return counter_of_errno(failure.os_error);
  switch (failure.status) {
    case Status::E_CONNECT_TIMEOUT:
    case Status::E_DIAL_TIMEOUT:
    case Status::E_TLS_TIMEOUT:
    case Status::E_STALL_TIMEOUT:
    case Status::E_HTTP_FIRST_BYTE_TIMEOUT:
    case Status::E_H2_PING_TIMEOUT:
    case Status::E_TIMEOUT:
      return Counter::ErrorETIMEDOUT;
    case Status::E_CONNECT_REFUSED:
      return Counter::ErrorECONNREFUSED;
    case Status::E_CONNECT_RESET:
    case Status::E_CONNECTION_RESET:
      return Counter::ErrorECONNRESET;
    case Status::E_CONNECTION_CLOSED:
    case Status::E_HTTP_TRUNCATED:
    case Status::E_HTTP_NO_RESPONSE:
    case Status::E_TLS_TRUNCATED:
      return Counter::ErrorEOF;
    case Status::E_FD_LIMIT:
      return Counter::ErrorEMFILE;
    default:
      break;
  }
  switch (status_class(failure.status)) {
    case StatusClass::TLS:
    case StatusClass::HTTP:
      return Counter::ErrorProtocol;
    default:
      return Counter::ErrorOther;
  }
}

}  // namespace conpool::observe
