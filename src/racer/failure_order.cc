// Which of several failures tells the caller most.
#include <cerrno>

#include "racer/race.h"

namespace conpool::racer {
namespace {

int dns_stage(Status status) {
  switch (status) {
    case Status::E_DNS_NOT_FOUND:
      return 0;
    case Status::E_DNS_NO_DATA:
      return 1;
    case Status::E_DNS_UNREACHABLE:
      return 2;
    case Status::E_DNS_TIMEOUT:
      return 3;
    case Status::E_DNS_REFUSED:
      return 4;
    case Status::E_DNS_BAD_ANSWER:
      return 5;
    case Status::E_DNS_SERVER_FAILURE:
      return 6;
    default:
      return 7;  // the application's word, reserved names, local faults
  }
}

}  // namespace

int failure_stage(const Failure& failure) {
  // Of an address family that this host does not have, or for want of ports: no word of the peer.
  if (failure.os_error == EADDRNOTAVAIL) return 2;
  switch (failure.status) {
    case Status::E_TLS_CERTIFICATE:
      return 9;
    case Status::E_HOP_FAILED:
      return 7;
    case Status::E_CONNECT_REFUSED:
      return 6;
    case Status::E_CONNECT_RESET:
    case Status::E_CONNECTION_RESET:
    case Status::E_CONNECTION_CLOSED:
      return 5;
    case Status::E_CONNECT_TIMEOUT:
      return 4;
    case Status::E_CONNECT_UNREACHABLE:
      return 2;
    default:
      break;
  }
  switch (status_class(failure.status)) {
    case StatusClass::TLS:
      return 8;
    case StatusClass::DNS:
      return 1;
    case StatusClass::NONE:
    case StatusClass::ENDED:
      return 0;
    default:
      return 3;  // E_CONNECT_FAILED, local faults
  }
}

const Failure& combine_dns_failures(const Failure& v6, const Failure& v4) {
  return dns_stage(v6.status) > dns_stage(v4.status) ? v6 : v4;
}

}  // namespace conpool::racer
