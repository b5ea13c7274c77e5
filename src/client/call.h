// Call: one started request on its way to a response.
//
// Vocabulary. A sending is one exchange on one connection; a call has one at a time, and a next one
// only where Resends says that it is safe.
//
// Invariants. While Running or Delivering it holds a place on connection_ and exchange_ lives; in
// every other state it has neither. The op ends exactly once, in end(), and nothing touches the
// call after that but those who still hold it.
//
// Time. The endpoint bounds the wait for a place. From then on one timer serves the op's deadline,
// the time to the first byte and the stall; it is armed at the earliest and looks again when it
// fires, so that progress costs no timer.
//
// Chunks. Small parts of a streamed body are gathered, so that the number of events and objects
// follows the bytes and not the server's framing: what is gathered is posted at the end of the turn
// while the application holds few chunks of this call, else when it frees some, or there is much.
//
// Retries. A send that failed, or brought a status worth it, is repeated after a delay where the
// retry policy allows it (call_retry.cc); a response that is not delivered for that reason is read
// to its end, or its connection given up.
//
// Lifecycle: made with its op (any thread) → run on the loop → Waiting → Running → Delivering →
// Done, with Running → Waiting for each re-send, and Waiting or Running → Pausing → Waiting for
// each retry.
#pragma once

#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "client/body.h"
#include "client/chunk.h"
#include "client/request.h"
#include "client/resend.h"
#include "client/response.h"
#include "ops/op.h"
#include "pool/core.h"
#include "pool/waiter.h"

namespace conpool::client {

enum class Delivery : uint8_t { Whole, Stream };

class Call final : public std::enable_shared_from_this<Call>,
                   public pool::Waiter,
                   private session::ExchangeHandler,
                   private ops::Task,
                   private BodyUser,
                   private ChunkOwner,
                   private raw::PinnedWaiter {
 public:
  Call(pool::Core& core, std::shared_ptr<const FrozenRequest> request,
       std::shared_ptr<const Values> call_values, Delivery delivery);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Any thread. Starts the request; `*out_op` is the op's id. E_OPS_LIMIT, E_CLOSED, E_NOMEM, and
  // E_WRONG_STATE for a body in pieces that another call is sending.
  static Result<void> start(pool::Core& core, std::shared_ptr<const FrozenRequest> request,
                            std::shared_ptr<const Values> values, Delivery delivery,
                            ops::Queue* queue, uint64_t user_data, uint64_t* out_op);

 private:
  static constexpr Time kNotYet = -1;

  enum class State : uint8_t {
    New,         // not yet on the loop
    Waiting,     // in the endpoint's line
    Running,     // sent or being sent; no head of the response yet
    Delivering,  // the head has come
    Pausing,     // until the retry's delay has passed
    Done,        // FINAL was posted
  };

  // --- pool::Waiter
  void granted(pool::Connection& connection, bool reused) override;
  void failed(const ErrorPtr& error) override;
  void detached() override;
  // --- session::ExchangeHandler
  void on_sent() override;
  void on_interim(session::ResponseHead head) override;
  void on_head(session::ResponseHead head) override;
  void on_body(Slice bytes) override;
  void on_trailers(session::Fields trailers) override;
  void on_done(const session::ExchangeEnd& end) override;
  // --- ops::Task
  void cancel(ops::Op& op, Status reason) override;
  // --- BodyUser and ChunkOwner
  void body_moved() override { progressed(); }
  void body_ready() override;
  void body_failed(const Failure& failure) override;
  void chunks_freed(size_t bytes) override;
  // --- raw::PinnedWaiter
  void on_unpinned() override;

  static void run(ops::Op& op);
  void enter(ops::Op& op);
  void make_body();
  void transition(State next);
  bool running() const { return state_ == State::Running || state_ == State::Delivering; }
  Time now() { return core_.loop().now(); }

  // --- time
  void arm_timer();
  void on_timer();
  Time first_byte_deadline() const;
  Time stall_deadline() const;
  void progressed() { progress_ = core_.loop().now(); }

  uint64_t announced_length() const;
  void body_too_long();
  void let_more_come();

  // --- the parts of a body that is delivered in chunks
  void add_part(Slice bytes);
  void post_chunk(Slice bytes);
  void post_gathered();
  void post_gathered_later();

  // --- retries by policy
  policy::CallOutcome outcome_of_response(uint16_t status) const;
  void report_response(uint16_t status);
  void note_failed_send(const session::ExchangeEnd& ended);
  bool can_repeat() const;
  bool plan_retry(bool after_timeout, std::optional<Nanos> server_delay);
  void deny_retry(observe::Counter counter, const std::string& why);
  bool retry_failed_send(const session::ExchangeEnd& ended);
  bool retry_failed_dial(const Error& error);
  bool retry_status(const session::ResponseHead& head);
  bool discard(size_t size);
  void retry_discarded();
  void drop_planned();
  void remember_send(const Failure& failure, Phase phase);
  void pause(const Failure& why);
  void end_pause();
  void note_success();

  // --- the end of a sending
  // Gives the place back.
  void leave_connection(session::LeaseEnd how);
  void end_send(const session::ExchangeEnd& ended);
  bool send_again(const session::ExchangeEnd& end);
  // Ends the exchange and the call.
  void abort(const Failure& failure, bool ask = false);
  void note_proof(Proof proof);

  // --- the end of the call
  void succeed();
  void fail_with(ErrorPtr error);
  ErrorPtr error_of(const Failure& cause, Phase phase) const;
  void add_context(Error* error) const;
  void end(Status status, ops::Object* object, const ErrorPtr& error);
  ResponseFacts facts_now() const;
  void post_response(uint32_t kind, std::shared_ptr<const session::ResponseHead> head);
  // Memory that runs out on the loop ends this call and nothing else.
  template <typename Function>
  void guarded(Function&& function) noexcept {
    try {
      function();
    } catch (const std::bad_alloc&) {
      out_of_memory();
    }
  }
  void out_of_memory();

  pool::Core& core_;
  const std::shared_ptr<const FrozenRequest> request_;
  const Delivery delivery_;
  State state_ = State::New;
  ops::Op* op_ = nullptr;
  pool::Endpoint* endpoint_ = nullptr;
  pool::Connection* connection_ = nullptr;
  session::Exchange* exchange_ = nullptr;
  Resends resends_;

  std::optional<MemoryBody> memory_body_;
  std::unique_ptr<Body> other_body_;
  Body* body_ = nullptr;
  PiecesBody* pieces_ = nullptr;
  std::shared_ptr<PieceFeed> feed_;

  Timer timer_;
  Time started_ = 0;
  Time granted_ = 0;
  Time sent_ = kNotYet;  // all of the request
  Time head_at_ = kNotYet;
  Time progress_ = 0;  // when a byte last moved, or the other side was last the application

  // What became of the sendings so far.
  uint32_t sends_ = 0;
  bool answered_ = false;
  Proof proof_ = Proof::NeverSent;
  std::vector<Resend> resend_reasons_;
  std::vector<Attempt> earlier_;
  struct PlannedRetry {
    Time at;  // while a response is discarded its delay passes already
    int64_t cost;
  };
  std::optional<PlannedRetry> planned_;
  uint32_t retries_ = 0;
  int64_t last_retry_cost_ = 0;
  uint16_t discarded_status_ = 0;  // of the response that is being discarded
  uint64_t discarded_ = 0;
  std::string denied_;                                  // why the last failure was not retried
  std::shared_ptr<const pool::ConnectionFacts> facts_;  // of the last connection
  uint64_t uses_ = 0;

  std::shared_ptr<const session::ResponseHead> head_;
  std::shared_ptr<const session::Fields> trailers_;
  WholeBody whole_;
  std::shared_ptr<ReadGate> gate_;
  uint64_t received_ = 0;
  std::vector<uint8_t> gathered_;  // the last ones received, not yet in a chunk
  bool gathered_due_ = false;      // posted at the end of this turn
  size_t held_ = 0;  // bytes in chunks that the application has not freed, and gathered ones
  size_t owed_ = 0;  // bytes it has freed, which the exchange has not been told yet
  bool waits_for_pins_ = false;
};

}  // namespace conpool::client
