// What users of an exchange may ask; all of it is the session's to do.
#include "h2/exchange.h"

#include "h2/session.h"

namespace conpool::h2 {

void Exchange::body_ready() {
  if (session != nullptr) session->exchange_ready(*this);
}

void Exchange::consumed(size_t bytes) {
  if (session != nullptr) session->exchange_consumed(*this, bytes);
}

session::ExchangeEnd Exchange::cancel() {
  if (session != nullptr) return session->exchange_cancelled(*this);
  state = State::Gone;  // whoever took it over from the closed session frees it
  return end;
}

}  // namespace conpool::h2
