// Configs: options by name.
#include "capi/handles.h"

using namespace conpool;
using namespace conpool::capi;

conpool_status conpool_config_new(conpool_config** out) noexcept {
  return guard([&] {
    if (out == nullptr) return code(Status::E_INVALID);
    *out = new conpool_config;
    return code(Status::OK);
  });
}

conpool_status conpool_config_set(conpool_config* config, const char* name, const char* value,
                                  size_t size, conpool_error** error) noexcept {
  return guard([&] {
    if (config == nullptr || name == nullptr || value == nullptr) {
      const char* missing = config == nullptr ? "config is NULL"
                            : name == nullptr ? "name is NULL"
                                              : "value is NULL";
      return refuse(error, {.status = Status::E_INVALID, .detail = missing});
    }
    if (inherited(config)) return refuse(error, {.status = Status::E_FORKED});
    Result<void> set = config->config.set(name, text_of(value, size));
    return set ? code(Status::OK) : refuse(error, std::move(set.error()));
  });
}

void conpool_config_free(conpool_config* config) noexcept {
  if (config == nullptr || inherited(config)) return;
  delete config;
}
