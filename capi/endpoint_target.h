// From an endpoint's text and options to what the core needs of it.
#pragma once

#include "capi/handles.h"

namespace conpool::capi {

struct EndpointTarget {
  std::shared_ptr<const pool::EndpointSpec> spec;
  std::shared_ptr<const Values> values;  // with the config's request-scope values
};

// Merges, validates, reads files once, freezes.
conpool_status make_target(pool::Core& core, Result<pool::EndpointSpec> parsed,
                           const conpool_config* config, EndpointTarget* out,
                           conpool_error** error);

// The values of one op: `*values` with the config's request-scope ones over them. Without a config
// they stay as they are.
conpool_status merge_request_values(const conpool_config* config,
                                    std::shared_ptr<const Values>* values, conpool_error** error);

}  // namespace conpool::capi
