// PostgreSQL's SSLRequest.
#include "tls/postgres_hop.h"

namespace conpool::tls {

std::span<const uint8_t> PostgresHop::start() {
  // Length 8, then 1234 << 16 | 5679.
  static constexpr uint8_t request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
  return request;
}

Result<Hop::Step> PostgresHop::on_data(std::span<const uint8_t>& data) {
  if (data.empty()) return Step::NeedMore;
  const uint8_t answer = data.front();
  data = data.subspan(1);
  if (answer == 'S') {
    // CVE-2021-23222: bytes behind the answer would be taken for encrypted ones later.
    if (!data.empty()) {
      return fail(
          Status::E_HOP_FAILED,
          "PostgreSQL's SSLRequest: " + std::to_string(data.size()) +
              " bytes followed the answer before TLS began, as an attacker would inject them");
    }
    return Step::Done;
  }
  if (answer == 'N') {
    return fail(Status::E_HOP_FAILED, "PostgreSQL's SSLRequest: the server does not accept TLS");
  }
  // An error's text is not shown: nobody has authenticated it (CVE-2024-10977).
  if (answer == 'E') {
    return fail(Status::E_HOP_FAILED,
                "PostgreSQL's SSLRequest: the server answered with an error in place of S or N");
  }
  return fail(Status::E_HOP_FAILED, "PostgreSQL's SSLRequest: the answer's first byte is " +
                                        std::to_string(answer) +
                                        " in place of S or N; is this a PostgreSQL server?");
}

}  // namespace conpool::tls
