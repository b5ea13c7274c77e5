// Connections, chunks and lookups: the objects that events carry.
#include "capi/connection_json.h"
#include "capi/handles.h"
#include "pool/commands.h"

using namespace conpool;
using namespace conpool::capi;

namespace {

pool::Core& core_of(const pool::Lease& lease) {
  return static_cast<pool::Core&>(lease.port());
}

template <typename Fill>
conpool_status start(conpool_connection* connection, uint32_t kind, conpool_queue* queue,
                     uint64_t user_data, conpool_op* out_op, void (*run)(ops::Op&), Fill&& fill) {
  return guard([&] {
    if (connection == nullptr || out_op == nullptr) return code(Status::E_INVALID);
    pool::Lease* lease = lease_of(connection);
    if (inherited_object(lease)) return code(Status::E_FORKED);
    pool::Core& core = core_of(*lease);
    if (const Status bad = check_queue(queue, core); bad != Status::OK) return code(bad);
    Result<ops::Op*> op = ops::Op::begin(core, queue == nullptr ? nullptr : queue->queue, kind,
                                         user_data, core.ops_in_flight(), core.ops_limit());
    if (!op) return code(op.error().status);
    (*op)->arguments().target = lease->shared_from_this();
    fill((*op)->arguments());
    *out_op = (*op)->id();
    (*op)->submit(run);
    return code(Status::OK);
  });
}

}  // namespace

conpool_status conpool_connection_read(conpool_connection* connection, size_t size_max,
                                       conpool_queue* queue, uint64_t user_data,
                                       conpool_op* out_op) noexcept {
  return start(
      connection, CONPOOL_EVENT_READ, queue, user_data, out_op, pool::run_read,
      [&](ops::OpArguments& arguments) { arguments.number = static_cast<int64_t>(size_max); });
}

conpool_status conpool_connection_write(conpool_connection* connection, const void* data,
                                        size_t size, conpool_queue* queue, uint64_t user_data,
                                        conpool_op* out_op) noexcept {
  if (data == nullptr && size > 0) return code(Status::E_INVALID);
  return start(connection, CONPOOL_EVENT_WRITE, queue, user_data, out_op, pool::run_write,
               [&](ops::OpArguments& arguments) {
                 arguments.data = static_cast<const uint8_t*>(data);
                 arguments.size = size;
               });
}

conpool_status conpool_connection_shutdown_write(conpool_connection* connection,
                                                 conpool_queue* queue, uint64_t user_data,
                                                 conpool_op* out_op) noexcept {
  return start(connection, CONPOOL_EVENT_WRITE, queue, user_data, out_op, pool::run_shutdown_write,
               [](ops::OpArguments&) {});
}

conpool_status conpool_connection_lend(conpool_connection* connection, int32_t blocking,
                                       int32_t* out_fd, conpool_chunk** out_read) noexcept {
  return guard([&] {
    if (connection == nullptr || out_fd == nullptr || out_read == nullptr)
      return code(Status::E_INVALID);
    pool::Lease* lease = lease_of(connection);
    if (inherited_object(lease)) return code(Status::E_FORKED);
    Result<raw::Lent> lent = fail(Status::E_CLOSED);
    const Status called = core_of(*lease).call([&] {
      if (lease->connection() != nullptr) lent = lease->connection()->lend(blocking != 0);
    });
    if (called != Status::OK) return code(called);
    if (!lent) return code(lent.error().status);
    *out_fd = lent->fd;
    *out_read = lent->early == nullptr ? nullptr : handle_of<conpool_chunk>(lent->early);
    return code(Status::OK);
  });
}

void conpool_connection_release(conpool_connection* connection, int32_t how) noexcept {
  if (connection == nullptr || inherited_object(lease_of(connection))) return;
  lease_of(connection)->release(how == CONPOOL_REUSABLE);
}

const char* conpool_connection_address(const conpool_connection* connection) noexcept {
  return connection == nullptr ? "" : lease_of(connection)->facts().address.c_str();
}

conpool_status conpool_connection_describe(const conpool_connection* connection,
                                           char** out) noexcept {
  return guard([&] {
    if (connection == nullptr || out == nullptr) return code(Status::E_INVALID);
    const pool::Lease* lease = lease_of(connection);
    if (inherited_object(lease)) return code(Status::E_FORKED);
    *out = copy_text(connection_json(*lease, lease->port().now()));
    return code(Status::OK);
  });
}

// --- chunks
// ------------------------------------------------------------------------------------------

const uint8_t* conpool_chunk_data(const conpool_chunk* chunk) noexcept {
  return chunk == nullptr ? nullptr : chunk_of(chunk)->data();
}

size_t conpool_chunk_size(const conpool_chunk* chunk) noexcept {
  return chunk == nullptr ? 0 : chunk_of(chunk)->size();
}

void conpool_chunk_free(conpool_chunk* chunk) noexcept {
  if (chunk != nullptr && !inherited_object(chunk_of(chunk))) chunk_of(chunk)->dispose();
}

// --- lookups
// -----------------------------------------------------------------------------------------

const char* conpool_lookup_name(const conpool_lookup* lookup) noexcept {
  return lookup == nullptr ? "" : question_of(lookup)->name().c_str();
}

int32_t conpool_lookup_family(const conpool_lookup* lookup) noexcept {
  if (lookup == nullptr) return 0;
  return question_of(lookup)->family() == Family::V6 ? 6 : 4;
}

conpool_status conpool_lookup_answer(conpool_lookup* lookup, const char* addresses,
                                     size_t size) noexcept {
  return guard([&] {
    if (lookup == nullptr || (addresses == nullptr && size > 0)) return code(Status::E_INVALID);
    pool::Question* question = question_of(lookup);
    if (inherited_object(question)) return code(Status::E_FORKED);
    Result<std::vector<SocketAddress>> parsed = pool::parse_answer(
        addresses == nullptr ? "" : text_of(addresses, size), question->family());
    if (!parsed) return code(parsed.error().status);
    if (parsed->empty()) {
      question->finish(true, fail(Status::E_DNS_NO_DATA));
    } else {
      question->finish(true, std::move(parsed));
    }
    return code(Status::OK);
  });
}

conpool_status conpool_lookup_fail(conpool_lookup* lookup, const char* message,
                                   size_t size) noexcept {
  return guard([&] {
    if (lookup == nullptr || (message == nullptr && size > 0)) return code(Status::E_INVALID);
    pool::Question* question = question_of(lookup);
    if (inherited_object(question)) return code(Status::E_FORKED);
    const std::string_view text = message == nullptr ? "" : text_of(message, size);
    question->finish(true, fail(Status::E_DNS_APPLICATION, std::string(text.substr(0, 1024))));
    return code(Status::OK);
  });
}

void conpool_lookup_free(conpool_lookup* lookup) noexcept {
  if (lookup != nullptr && !inherited_object(question_of(lookup))) question_of(lookup)->dispose();
}
