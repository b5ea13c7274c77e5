// Endpoints: what is connected to, and the acquire of a connection.
#include "capi/handles.h"
#include "pool/commands.h"

using namespace conpool;
using namespace conpool::capi;

namespace {

// Merges, validates, reads files once, freezes.
conpool_status finish_endpoint(conpool_pool* pool, Result<pool::EndpointSpec> parsed,
                               const conpool_config* config, conpool_endpoint** out,
                               conpool_error** error) {
  if (!parsed) return refuse(error, std::move(parsed.error()));
  pool::Core& core = *pool->core;
  Values values = core.settings().values();
  if (config != nullptr) {
    if (inherited(config)) return refuse(error, {.status = Status::E_FORKED});
    if (Result<void> place = config->config.check_scope(Scope::ENDPOINT); !place)
      return refuse(error, place.error());
    config->config.apply(&values);
    if (Result<void> valid = validate(values); !valid) return refuse(error, valid.error());
  }
  Result<Values> loaded = load_files(std::move(values));
  if (!loaded) return refuse(error, loaded.error());
  if (Result<void> finished = pool::finish_spec(&*parsed, *loaded); !finished)
    return refuse(error, finished.error());
  if (Result<void> usable = core.check_tls(*parsed); !usable)
    return refuse(error, usable.error(), parsed->name);
  auto handle = std::make_unique<conpool_endpoint>();
  handle->core = &core;
  handle->spec = std::make_shared<pool::EndpointSpec>(std::move(*parsed));
  handle->values =
      std::shared_ptr<const Values>(handle->spec->settings, &handle->spec->settings->values());
  if (handle->values->pool_min_idle > 0) {
    // Warming begins with the endpoint, not with its first acquire.
    const Status called = core.call([&] { (void)core.endpoint(handle->spec); });
    if (called != Status::OK) return refuse(error, {.status = called});
  }
  core.ref();
  *out = handle.release();
  return code(Status::OK);
}

conpool_status check_pool(conpool_pool* pool, const void* text, conpool_endpoint** out,
                          conpool_error** error) {
  if (pool == nullptr)
    return refuse(error, {.status = Status::E_INVALID, .detail = "pool is NULL"});
  if (text == nullptr)
    return refuse(error, {.status = Status::E_INVALID, .detail = "the endpoint's text is NULL"});
  if (out == nullptr) return refuse(error, {.status = Status::E_INVALID, .detail = "out is NULL"});
  if (inherited(pool)) return refuse(error, {.status = Status::E_FORKED});
  if (pool->core->closed())
    return refuse(error, {.status = Status::E_CLOSED, .detail = "the pool was closed"});
  return code(Status::OK);
}

}  // namespace

conpool_status conpool_endpoint_new(conpool_pool* pool, const char* url, size_t size,
                                    const conpool_config* config, conpool_endpoint** out,
                                    conpool_error** error) noexcept {
  return guard([&] {
    if (const conpool_status bad = check_pool(pool, url, out, error); bad != 0) return bad;
    return finish_endpoint(pool, pool::parse_endpoint_url(text_of(url, size)), config, out, error);
  });
}

conpool_status conpool_endpoint_new_host(conpool_pool* pool, const char* scheme, const char* host,
                                         size_t host_size, const uint16_t* ports, size_t port_count,
                                         const conpool_config* config, conpool_endpoint** out,
                                         conpool_error** error) noexcept {
  return guard([&] {
    if (const conpool_status bad = check_pool(pool, host, out, error); bad != 0) return bad;
    if (scheme == nullptr || (ports == nullptr && port_count > 0)) {
      return refuse(error, {.status = Status::E_INVALID,
                            .detail = scheme == nullptr ? "scheme is NULL" : "ports is NULL"});
    }
    return finish_endpoint(
        pool, pool::make_host_spec(scheme, text_of(host, host_size), {ports, port_count}), config,
        out, error);
  });
}

conpool_status conpool_endpoint_new_addresses(conpool_pool* pool, const char* scheme,
                                              const char* addresses, size_t size,
                                              const conpool_config* config, conpool_endpoint** out,
                                              conpool_error** error) noexcept {
  return guard([&] {
    if (const conpool_status bad = check_pool(pool, addresses, out, error); bad != 0) return bad;
    if (scheme == nullptr)
      return refuse(error, {.status = Status::E_INVALID, .detail = "scheme is NULL"});
    return finish_endpoint(pool, pool::make_address_spec(scheme, text_of(addresses, size)), config,
                           out, error);
  });
}

void conpool_endpoint_free(conpool_endpoint* endpoint) noexcept {
  if (endpoint == nullptr || inherited(endpoint)) return;
  pool::Core* core = endpoint->core;
  delete endpoint;
  core->unref();
}

conpool_status conpool_endpoint_acquire(conpool_endpoint* endpoint, const conpool_config* config,
                                        conpool_queue* queue, uint64_t user_data,
                                        conpool_op* out_op) noexcept {
  return guard([&] {
    if (endpoint == nullptr || out_op == nullptr) return code(Status::E_INVALID);
    if (inherited(endpoint)) return code(Status::E_FORKED);
    pool::Core& core = *endpoint->core;
    if (core.closed()) return code(Status::E_CLOSED);
    if (const Status bad = check_queue(queue, core); bad != Status::OK) return code(bad);
    std::shared_ptr<const Values> values = endpoint->values;
    if (config != nullptr) {
      if (inherited(config)) return code(Status::E_FORKED);
      if (const Result<void> place = config->config.check_scope(Scope::REQUEST); !place) {
        return code(place.error().status);
      }
      auto merged = std::make_shared<Values>(*values);
      config->config.apply(merged.get());
      if (const Result<void> valid = validate(*merged); !valid) return code(valid.error().status);
      values = std::move(merged);
    }
    auto target = std::make_shared<pool::AcquireTarget>(
        pool::AcquireTarget{core, endpoint->spec, std::make_shared<pool::Lease>(core)});
    Result<ops::Op*> op =
        ops::Op::begin(core, queue == nullptr ? nullptr : queue->queue, CONPOOL_EVENT_CONNECTION,
                       user_data, core.ops_in_flight(), core.ops_limit());
    if (!op) return code(op.error().status);
    (*op)->arguments().target = std::move(target);
    (*op)->arguments().overrides = std::move(values);
    *out_op = (*op)->id();
    (*op)->submit(pool::run_acquire);
    return code(Status::OK);
  });
}
