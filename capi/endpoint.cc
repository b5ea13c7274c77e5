// Endpoints: what is connected to, the acquire of a connection, and connecting ahead.
#include "capi/endpoint_target.h"
#include "pool/commands.h"

using namespace conpool;
using namespace conpool::capi;

namespace conpool::capi {

conpool_status make_target(pool::Core& core, Result<pool::EndpointSpec> parsed,
                           const conpool_config* config, EndpointTarget* out,
                           conpool_error** error) {
  if (!parsed) return refuse(error, std::move(parsed.error()));
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
  out->spec = std::make_shared<pool::EndpointSpec>(std::move(*parsed));
  out->values = std::shared_ptr<const Values>(out->spec->settings, &out->spec->settings->values());
  return code(Status::OK);
}

conpool_status merge_request_values(const conpool_config* config,
                                    std::shared_ptr<const Values>* values, conpool_error** error) {
  if (config == nullptr) return code(Status::OK);
  if (inherited(config)) return refuse(error, {.status = Status::E_FORKED});
  if (const Result<void> place = config->config.check_scope(Scope::REQUEST); !place)
    return refuse(error, place.error());
  auto merged = std::make_shared<Values>(**values);
  config->config.apply(merged.get());
  if (const Result<void> valid = validate(*merged); !valid) return refuse(error, valid.error());
  *values = std::move(merged);
  return code(Status::OK);
}

}  // namespace conpool::capi

namespace {

// Merges, validates, reads files once, freezes.
conpool_status finish_endpoint(conpool_pool* pool, Result<pool::EndpointSpec> parsed,
                               const conpool_config* config, conpool_endpoint** out,
                               conpool_error** error) {
  pool::Core& core = *pool->core;
  EndpointTarget target;
  if (const conpool_status bad = make_target(core, std::move(parsed), config, &target, error);
      bad != 0)
    return bad;
  auto handle = std::make_unique<conpool_endpoint>();
  handle->core = &core;
  handle->spec = std::move(target.spec);
  handle->values = std::move(target.values);
  if (handle->values->pool_min_idle > 0 || handle->values->pool_min > 0 ||
      handle->values->health_interval > 0) {
    // Warming and checks begin with the endpoint, not with its first acquire.
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

conpool_status conpool_endpoint_force_breaker(conpool_endpoint* endpoint,
                                              const char* state) noexcept {
  return guard([&] {
    using Force = policy::Breaker::Force;
    if (endpoint == nullptr || state == nullptr) return code(Status::E_INVALID);
    if (inherited(endpoint)) return code(Status::E_FORKED);
    const std::string_view word(state);
    if (word != "auto" && word != "open" && word != "closed") return code(Status::E_INVALID);
    const Force force = word == "open"     ? Force::Open
                        : word == "closed" ? Force::Closed
                                           : Force::Auto;
    pool::Core& core = *endpoint->core;
    if (core.closed()) return code(Status::E_CLOSED);
    Status found = Status::OK;
    const Status called = core.call([&] {
      Result<pool::Endpoint*> at = core.endpoint(endpoint->spec);
      if (at) {
        (*at)->force_breaker(force);
      } else {
        found = at.error().status;
      }
    });
    return code(called != Status::OK ? called : found);
  });
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
    if (endpoint->spec->kind != pool::Kind::Raw) return code(Status::E_UNSUPPORTED);
    std::shared_ptr<const Values> values = endpoint->values;
    if (const conpool_status bad = merge_request_values(config, &values, nullptr); bad != 0)
      return bad;
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

conpool_status conpool_endpoint_preconnect(conpool_endpoint* endpoint, uint32_t count,
                                           const conpool_config* config, conpool_queue* queue,
                                           uint64_t user_data, conpool_op* out_op) noexcept {
  return guard([&] {
    if (endpoint == nullptr || out_op == nullptr || count == 0) return code(Status::E_INVALID);
    if (inherited(endpoint)) return code(Status::E_FORKED);
    pool::Core& core = *endpoint->core;
    if (core.closed()) return code(Status::E_CLOSED);
    if (const Status bad = check_queue(queue, core); bad != Status::OK) return code(bad);
    std::shared_ptr<const Values> values = endpoint->values;
    if (const conpool_status bad = merge_request_values(config, &values, nullptr); bad != 0)
      return bad;
    auto target =
        std::make_shared<pool::PreconnectTarget>(pool::PreconnectTarget{core, endpoint->spec});
    Result<ops::Op*> op =
        ops::Op::begin(core, queue == nullptr ? nullptr : queue->queue, CONPOOL_EVENT_PRECONNECT,
                       user_data, core.ops_in_flight(), core.ops_limit());
    if (!op) return code(op.error().status);
    (*op)->arguments().target = std::move(target);
    (*op)->arguments().overrides = std::move(values);
    (*op)->arguments().number = count;
    *out_op = (*op)->id();
    (*op)->submit(pool::run_preconnect);
    return code(Status::OK);
  });
}
