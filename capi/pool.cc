// Pools: beginning, end and readouts.
#include "capi/pool_world.h"

#include "capi/handles.h"
#include "io/uv/uv_loop.h"
#include "observe/metrics.h"
#include "pool/commands.h"

using namespace conpool;
using namespace conpool::capi;

namespace conpool::capi {

Result<pool::World> real_world(const Values& values) {
  Result<std::shared_ptr<tls::Library>> library =
      tls::Library::process(values.tls_system_policy != 0);
  if (!library) return fail(std::move(library.error()));
  // After OpenSSL: exit handlers run in reverse order, and the loops must stop before it takes
  // itself apart.
  io::park_all_loops_at_exit();
  Result<std::unique_ptr<io::Loop>> loop = io::make_uv_loop();
  if (!loop) return fail(std::move(loop.error()));
  pool::World world;
  world.loop = std::move(*loop);
  world.library = std::move(*library);
  return world;
}

namespace {

Result<pool::World> chosen_world(Values& values) {
  return static_cast<LoopWorld>(values.loop_world) == LoopWorld::Simulated ? simulated_world(values)
                                                                           : real_world(values);
}

// Virtual time has no thread to pass on. The default is read as the caller's drive.
Result<void> settle_drive(const Config& config, Values* values) {
  if (static_cast<LoopWorld>(values->loop_world) != LoopWorld::Simulated) return {};
  if (config.entries().contains("loop.drive") &&
      static_cast<LoopDrive>(values->loop_drive) == LoopDrive::Thread) {
    return fail(
        Status::E_INVALID,
        "loop.drive = thread does not go with loop.world = simulated, whose time passes only "
        "inside the caller's calls; leave loop.drive out or set it to caller");
  }
  values->loop_drive = static_cast<int64_t>(LoopDrive::Caller);
  return {};
}

}  // namespace

conpool_status make_pool(const conpool_config* config, const WorldMaker& make_world,
                         conpool_pool** out, conpool_error** error) {
  Values values = default_values();
  if (config != nullptr) {
    if (inherited(config)) return refuse(error, {.status = Status::E_FORKED});
    if (Result<void> place = config->config.check_scope(Scope::POOL); !place)
      return refuse(error, place.error());
    config->config.apply(&values);
    if (Result<void> settled = settle_drive(config->config, &values); !settled)
      return refuse(error, settled.error());
  }
  if (Result<void> valid = validate(values); !valid) return refuse(error, valid.error());
  Result<Values> loaded = load_files(std::move(values));
  if (!loaded) return refuse(error, loaded.error());
  Result<pool::World> world = make_world(*loaded);
  if (!world) return refuse(error, world.error());
  auto handle = std::make_unique<conpool_pool>();
  Result<pool::Core*> core = pool::Core::make(std::move(*world), intern_settings(*loaded));
  if (!core) return refuse(error, core.error());
  handle->core = *core;
  *out = handle.release();
  return code(Status::OK);
}

}  // namespace conpool::capi

conpool_status conpool_pool_new(const conpool_config* config, conpool_pool** out,
                                conpool_error** error) noexcept {
  return guard([&] {
    if (out == nullptr)
      return refuse(error, {.status = Status::E_INVALID, .detail = "out is NULL"});
    return make_pool(config, chosen_world, out, error);
  });
}

conpool_status conpool_pool_close(conpool_pool* pool, int64_t drain_timeout_ns,
                                  conpool_queue* queue, uint64_t user_data,
                                  conpool_op* out_op) noexcept {
  return guard([&] {
    if (pool == nullptr || drain_timeout_ns < CONPOOL_FOREVER) return code(Status::E_INVALID);
    if (inherited(pool)) return code(Status::E_FORKED);
    pool::Core& core = *pool->core;
    if (const Status bad = check_queue(queue, core); bad != Status::OK) return code(bad);
    // An op that nobody asked for has no limit to fail at: a close must always be possible.
    Result<ops::Op*> op =
        ops::Op::begin(core, queue == nullptr ? nullptr : queue->queue, CONPOOL_EVENT_CLOSED,
                       user_data, core.ops_in_flight(), INT64_MAX);
    if (!op) return code(op.error().status);
    core.refuse_new_ops();
    (*op)->arguments().target = std::shared_ptr<void>(static_cast<void*>(&core), [](void*) {});
    (*op)->arguments().number = drain_timeout_ns;
    const uint64_t id = (*op)->id();
    (*op)->submit(pool::run_close);
    if (out_op != nullptr) {
      *out_op = id;
    } else if (queue == nullptr) {
      // Cancelling the report does not undo the close.
      ops::Op::detach(id);
    }
    return code(Status::OK);
  });
}

void conpool_pool_free(conpool_pool* pool) noexcept {
  if (pool == nullptr || inherited(pool)) return;
  guard([&] {
    pool->core->shut_down();
    pool->core->unref();
    delete pool;
    return 0;
  });
}

conpool_status conpool_pool_metrics(conpool_pool* pool, const char* format, char** out) noexcept {
  return guard([&] {
    if (pool == nullptr || format == nullptr || out == nullptr) return code(Status::E_INVALID);
    if (inherited(pool)) return code(Status::E_FORKED);
    const std::string_view name(format);
    std::string (*render)(const observe::MetricNode&) = name == "text"   ? observe::metrics_text
                                                        : name == "json" ? observe::metrics_json
                                                        : name == "openmetrics"
                                                            ? observe::metrics_openmetrics
                                                            : nullptr;
    if (render == nullptr) return code(Status::E_INVALID);
    observe::MetricNode root;
    const Status called = pool->core->call([&] { root = pool->core->figures_tree(); });
    if (called != Status::OK) return code(called);
    *out = copy_text(render(root));
    return code(Status::OK);
  });
}

conpool_status conpool_pool_explain(conpool_pool* pool, const conpool_endpoint* endpoint,
                                    char** out) noexcept {
  return guard([&] {
    if (pool == nullptr || endpoint == nullptr || out == nullptr) return code(Status::E_INVALID);
    if (inherited(pool)) return code(Status::E_FORKED);
    if (endpoint->core != pool->core) return code(Status::E_INVALID);
    std::string text;
    Status found = Status::OK;
    const Status called = pool->core->call([&] {
      Result<pool::Endpoint*> at = pool->core->endpoint(endpoint->spec);
      if (at) {
        text = (*at)->explain();
      } else {
        found = at.error().status;
      }
    });
    if (called != Status::OK) return code(called);
    if (found != Status::OK) return code(found);
    *out = copy_text(text);
    return code(Status::OK);
  });
}

conpool_status conpool_pool_set_resolver(conpool_pool* pool, conpool_queue* queue,
                                         uint64_t user_data) noexcept {
  return guard([&] {
    if (pool == nullptr) return code(Status::E_INVALID);
    if (inherited(pool)) return code(Status::E_FORKED);
    if (static_cast<DnsBackend>(pool->core->settings()->dns_backend) != DnsBackend::Queue) {
      return code(Status::E_WRONG_STATE);
    }
    if (const Status bad = check_queue(queue, *pool->core); bad != Status::OK) return code(bad);
    ops::Queue* target = queue == nullptr ? nullptr : queue->queue;
    return code(pool->core->call([&] { pool->core->use_resolver_queue(target, user_data); }));
  });
}
