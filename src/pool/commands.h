// Commands: what ops of each kind do once the loop runs them. The C ABI fills the arguments and
// submits.
#pragma once

#include "ops/op.h"
#include "pool/core.h"

namespace conpool::pool {

// An acquire: target = AcquireTarget, overrides = its request-scope values.
struct AcquireTarget {
  Core& core;
  std::shared_ptr<const EndpointSpec> spec;
  std::shared_ptr<Lease> lease;
};
void run_acquire(ops::Op& op);

// A preconnect: number = connections wanted.
struct PreconnectTarget {
  Core& core;
  std::shared_ptr<const EndpointSpec> spec;
};
void run_preconnect(ops::Op& op);

// Reads and writes: target = the Lease; data, size and number as named.
void run_read(ops::Op& op);  // number: most bytes
void run_write(ops::Op& op);
void run_shutdown_write(ops::Op& op);

// A close of the pool: target = the Core (not owned), number = drain timeout.
void run_close(ops::Op& op);

}  // namespace conpool::pool
