// The raw session: reads, writes, loans and checks.
#include "raw/session.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "ops/error_object.h"

namespace conpool::raw {

Session::Session(io::Loop& loop, std::unique_ptr<io::Stream> stream,
                 std::shared_ptr<PinnedBytes> pinned, Place place, Question question)
    : loop_(loop),
      stream_(std::move(stream)),
      pinned_(std::move(pinned)),
      place_(std::move(place)),
      question_(std::move(question)) {
  read_stall_.set_callback([this] {
    broken_ = true;
    fail_reads(Failure{.status = Status::E_STALL_TIMEOUT,
                       .detail = "nothing was received for " + duration_text(stall_timeout_)});
  });
  write_stall_.set_callback([this] {
    broken_ = true;
    const bool cut = !writes_.empty() && writes_.front().accepted > 0;
    fail_writes(
        Failure{.status = Status::E_STALL_TIMEOUT,
                .detail = "the peer accepted nothing for " + duration_text(stall_timeout_)});
    if (cut) cut_ = true;
  });
  check_timer_.set_callback(
      [this] { end_check(fail(Status::E_CHECK_FAILED, "no answer in time")); });
}

Session::~Session() {
  close(false);
  if (stream_ != nullptr) loop_.discard(std::move(stream_));
}

void Session::transition(State next) {
  [[maybe_unused]] const auto legal = [this, next] {
    switch (next) {
      case State::New:
        return false;
      case State::Idle:
        return state_ == State::New || state_ == State::Checking || state_ == State::Leased ||
               state_ == State::Lent;
      case State::Checking:
        return state_ == State::Idle;
      case State::Leased:
        return state_ == State::Idle;
      case State::Lent:
        return state_ == State::Leased;
      case State::Dead:
        return state_ != State::Dead;
    }
    return false;
  };
  assert(legal());
  state_ = next;
}

void Session::start(session::Owner& owner) {
  owner_ = &owner;
  transition(State::Idle);
  stream_->set_handler(this);
  update_reading();
}

void Session::close(bool abort) {
  if (state_ == State::Dead) return;
  const Failure closed{.status = Status::E_CLOSED};
  if (leased()) {
    fail_reads(closed);
    fail_writes(closed);
  }
  check_done_.reset();
  check_timer_.cancel();
  owner_ = nullptr;
  die(closed);
  stream_->close(abort);
}

// --- leases ------------------------------------------------------------------------------------

void Session::begin_lease(Nanos stall_timeout) {
  transition(State::Leased);
  used_ = true;
  stall_timeout_ = stall_timeout;
}

session::LeaseEnd Session::end_lease(bool reusable) {
  if (state_ == State::Dead) return session::LeaseEnd::Broken;
  const bool busy = !reads_.empty() || !writes_.empty();
  if (busy) {
    const Failure cancelled{.status = Status::E_CANCELLED, .detail = "the lease was released"};
    fail_reads(cancelled);
    fail_writes(cancelled);
  }
  bool good = reusable && !busy && !broken_ && !failure_ && !eof_ && !shutdown_started_ &&
              buffered_bytes_ == 0;
  if (state_ == State::Lent) {
    // The application may have left the socket in any mode and in any state.
    good = stream_->reclaim() == io::Peek::Quiet && good;
  }
  if (!good) return session::LeaseEnd::Broken;
  transition(State::Idle);
  stall_timeout_ = 0;
  update_reading();
  return session::LeaseEnd::Reusable;
}

void Session::read(ops::Op& op, size_t size_max) {
  if (failure_ && buffered_bytes_ == 0) {
    return ops::finish_failed(op, error_of(*failure_, Phase::Receive, 0));
  }
  if (!leased()) {
    return ops::finish_failed(op, error_of({.status = Status::E_WRONG_STATE,
                                            .detail = "the connection's descriptor is lent"},
                                           Phase::Receive, 0));
  }
  reads_.push_back({&op, size_max});
  op.set_task(&canceller_);
  serve_reads();
  if (failure_) fail_reads(*failure_);
  arm_stall(read_stall_, !reads_.empty());
}

void Session::serve_reads() {
  while (!reads_.empty() && (buffered_bytes_ > 0 || eof_)) {
    if (buffered_bytes_ > 0 && pinned_->full()) {
      if (!waits_for_pins_ && pinned_->wait(*this)) waits_for_pins_ = true;
      if (waits_for_pins_) break;
    }
    const PendingRead read = reads_.front();
    reads_.pop_front();
    finish_read(read);
  }
  if (leased()) update_reading();
}

void Session::finish_read(const PendingRead& read) {
  if (buffered_bytes_ == 0) {
    read.op->finish(Status::OK, nullptr, 0, 0, CONPOOL_EVENT_EOF);
    return;
  }
  Slice& front = buffered_.front();
  const size_t size = read.size_max == 0 ? front.size() : std::min(front.size(), read.size_max);
  Chunk* chunk = Chunk::make(front.sub(0, size), pinned_);
  buffered_bytes_ -= size;
  if (size == front.size()) {
    buffered_.pop_front();
  } else {
    front.remove_prefix(size);
  }
  read.op->finish(Status::OK, chunk, size);
}

void Session::update_reading() {
  bool wanted = false;
  switch (state_) {
    case State::Idle:
    case State::Checking:
      wanted = buffered_bytes_ < kBufferedBytes;
      break;
    case State::Leased:
      wanted = !eof_ && !failure_ && buffered_bytes_ < kBufferedBytes;
      break;
    default:
      break;
  }
  if (wanted == reading_) return;
  reading_ = wanted;
  stream_->read(wanted);
}

const char* Session::why_not_write() const {
  if (!leased()) return "the connection's descriptor is lent";
  if (cut_) return "an earlier write was cut short";
  return shutdown_started_ ? "our direction was shut down" : nullptr;
}

void Session::write(ops::Op& op, const uint8_t* data, size_t size) {
  if (failure_) return ops::finish_failed(op, error_of(*failure_, Phase::Send, 0));
  if (const char* why = why_not_write()) {
    return ops::finish_failed(
        op, error_of({.status = Status::E_WRONG_STATE, .detail = why}, Phase::Send, 0));
  }
  writes_.push_back({&op, data, size});
  op.set_task(&canceller_);
  pump_writes();
}

void Session::shutdown_write(ops::Op& op) {
  if (failure_) return ops::finish_failed(op, error_of(*failure_, Phase::Send, 0));
  if (const char* why = why_not_write()) {
    return ops::finish_failed(
        op, error_of({.status = Status::E_WRONG_STATE, .detail = why}, Phase::Send, 0));
  }
  shutdown_started_ = true;
  writes_.push_back({&op, nullptr, 0, 0, true});
  op.set_task(&canceller_);
  pump_writes();
}

void Session::pump_writes() {
  if (state_ != State::Leased) {
    if (state_ == State::Checking) (void)stream_->flush();
    return;
  }
  if (write_some()) finish_written();
  if (state_ == State::Leased) arm_stall(write_stall_, !writes_.empty());
}

// Hands bytes to the stream until it takes no more. False when the session failed meanwhile.
bool Session::write_some() {
  while (unflushed_ < writes_.size()) {
    PendingWrite& first = writes_[unflushed_];
    if (first.shutdown) {
      const Result<void> done = stream_->shutdown_write();
      if (!done) {
        fail_session(done.error());
        return false;
      }
      ++unflushed_;
      continue;
    }
    std::array<iovec, 16> parts;
    size_t count = 0;
    size_t offered = 0;
    for (size_t i = unflushed_; i < writes_.size() && count < parts.size() && !writes_[i].shutdown;
         ++i) {
      PendingWrite& write = writes_[i];
      parts[count++] = {const_cast<uint8_t*>(write.data + write.accepted),
                        write.size - write.accepted};
      offered += write.size - write.accepted;
    }
    const Result<size_t> accepted = stream_->writev({parts.data(), count});
    if (!accepted) {
      fail_session(accepted.error());
      return false;
    }
    bytes_out_ += *accepted;
    if (*accepted > 0) write_stall_.cancel();
    size_t rest = *accepted;
    for (size_t i = 0; i < count; ++i) {
      PendingWrite& write = writes_[unflushed_];
      const size_t part = std::min(rest, write.size - write.accepted);
      write.accepted += part;
      rest -= part;
      if (write.accepted < write.size) break;
      ++unflushed_;
    }
    if (*accepted < offered) break;
  }
  return true;
}

void Session::finish_written() {
  if (unflushed_ == 0) return;
  const Result<bool> flushed = stream_->flush();
  if (!flushed) return fail_session(flushed.error());
  if (!*flushed) return;
  while (unflushed_ > 0) {
    const PendingWrite write = writes_.front();
    writes_.pop_front();
    --unflushed_;
    write.op->finish(Status::OK, nullptr, write.size);
  }
}

Result<Lent> Session::lend(bool blocking) {
  if (failure_) return fail(*failure_);
  if (!leased()) return fail(Status::E_WRONG_STATE, "the connection's descriptor is lent already");
  if (!reads_.empty() || !writes_.empty())
    return fail(Status::E_WRONG_STATE, "reads or writes are running");
  if (pinned_->full() && buffered_bytes_ > 0) return fail(Status::E_PINNED_LIMIT);
  Lent lent;
  Chunk* early = nullptr;
  if (buffered_bytes_ > 0) {
    Slab* slab = Slab::make(buffered_bytes_);
    size_t at = 0;
    for (const Slice& part : buffered_) {
      std::memcpy(slab->data() + at, part.data(), part.size());
      at += part.size();
    }
    early = Chunk::make(Slice(slab, slab->data(), at), pinned_);
    slab->unref();
  }
  Result<int> fd = stream_->lend(blocking);
  if (!fd) {
    if (early != nullptr) early->dispose();
    return fail(fd.error());
  }
  buffered_.clear();
  buffered_bytes_ = 0;
  reading_ = false;
  transition(State::Lent);
  lent.fd = *fd;
  lent.early = early;
  return lent;
}

// --- events --------------------------------------------------------------------------------------

void Session::on_data(Slice data) {
  bytes_in_ += data.size();
  switch (state_) {
    case State::Idle:
      if (used_) return fail_session({.status = Status::E_UNSOLICITED});
      keep(std::move(data));
      return update_reading();
    case State::Checking:
      return check_data(data);
    case State::Leased:
      read_stall_.cancel();
      keep(std::move(data));
      serve_reads();
      arm_stall(read_stall_, !reads_.empty());
      return;
    default:
      return;
  }
}

void Session::keep(Slice data) {
  buffered_bytes_ += data.size();
  buffered_.push_back(std::move(data));
}

void Session::on_eof() {
  if (state_ == State::Leased) {
    eof_ = true;
    read_stall_.cancel();
    serve_reads();
    return;
  }
  fail_session({.status = Status::E_CONNECTION_CLOSED});
}

void Session::on_unpinned() {
  waits_for_pins_ = false;
  if (leased()) serve_reads();
}

void Session::fail_session(const Failure& failure) {
  if (state_ == State::Dead) return;
  switch (state_) {
    case State::Leased:
    case State::Lent: {
      if (failure_) return;
      failure_ = failure;
      // What was received before the failure still belongs to the reader.
      if (leased() && buffered_bytes_ > 0) serve_reads();
      update_reading();
      fail_reads(failure);
      fail_writes(failure);
      return;
    }
    case State::Checking:
      return end_check(fail(Failure{failure}));
    default: {
      session::Owner* owner = std::exchange(owner_, nullptr);
      die(failure);
      stream_->close(failure.status == Status::E_UNSOLICITED);
      if (owner != nullptr) owner->on_dead(failure);
      return;
    }
  }
}

void Session::die(const Failure& failure) {
  failure_ = failure;
  transition(State::Dead);
  read_stall_.cancel();
  write_stall_.cancel();
  if (waits_for_pins_) pinned_->forget(*this);
  waits_for_pins_ = false;
  buffered_.clear();
  buffered_bytes_ = 0;
}

void Session::fail_reads(const Failure& failure) {
  read_stall_.cancel();
  std::deque<PendingRead> reads;
  reads.swap(reads_);
  for (const PendingRead& read : reads)
    ops::finish_failed(*read.op, error_of(failure, Phase::Receive, 0));
}

void Session::fail_writes(const Failure& failure) {
  write_stall_.cancel();
  std::deque<PendingWrite> writes;
  writes.swap(writes_);
  unflushed_ = 0;
  for (const PendingWrite& write : writes) {
    if (write.accepted > 0) broken_ = true;
    ops::finish_failed(*write.op, error_of(failure, Phase::Send, write.accepted), write.accepted);
  }
}

void Session::cancel_op(ops::Op& op, Status reason) {
  const Failure failure{.status = reason};
  const auto read = std::find_if(reads_.begin(), reads_.end(),
                                 [&op](const PendingRead& r) { return r.op == &op; });
  if (read != reads_.end()) {
    reads_.erase(read);
    if (reads_.empty()) read_stall_.cancel();
    return ops::finish_failed(op, error_of(failure, Phase::Receive, 0));
  }
  const auto write = std::find_if(writes_.begin(), writes_.end(),
                                  [&op](const PendingWrite& w) { return w.op == &op; });
  if (write == writes_.end()) return;
  // Bytes that are under way cannot be taken back: the peer would see a message cut short.
  const size_t accepted = write->accepted;
  const auto position = static_cast<size_t>(write - writes_.begin());
  if (accepted > 0 || write->shutdown || position < unflushed_) broken_ = true;
  writes_.erase(write);
  if (position < unflushed_) --unflushed_;
  if (writes_.empty()) write_stall_.cancel();
  ops::finish_failed(op, error_of(failure, Phase::Send, accepted), accepted);
  if (broken_ && accepted > 0) {
    cut_ = true;
    fail_writes({.status = Status::E_WRONG_STATE, .detail = why_not_write()});
  } else {
    pump_writes();
  }
}

void Session::arm_stall(Timer& timer, bool waiting) {
  if (!waiting || stall_timeout_ == 0) {
    timer.cancel();
  } else if (!timer.armed()) {
    loop_.arm(timer, deadline_after(loop_.now(), stall_timeout_));
  }
}

ErrorPtr Session::error_of(const Failure& failure, Phase phase, size_t sent) const {
  auto error = std::make_shared<Error>();
  error->cause = failure;
  error->phase = phase;
  error->proof = sent > 0 ? Proof::MaybeProcessed : Proof::NeverSent;
  error->context.push_back((phase == Phase::Send ? "writing to " : "reading from ") +
                           place_.address);
  error->context.push_back("connected to " + place_.endpoint);
  return error;
}

// --- the active check
// ------------------------------------------------------------------------------

void Session::check(Callback<void(Result<void>)> done) {
  transition(State::Checking);
  const std::string& send = question_.send;
  check_matched_ = 0;
  check_done_ = std::move(done);
  loop_.arm(check_timer_, deadline_after(loop_.now(), question_.timeout));
  const iovec part{const_cast<char*>(send.data()), send.size()};
  const Result<size_t> accepted = stream_->writev({&part, 1});
  bytes_out_ += accepted ? *accepted : 0;
  // An idle connection's buffers are empty: a question that does not fit at once has no live peer.
  if (!accepted || *accepted < send.size() || !stream_->flush()) {
    loop_.arm(check_timer_, loop_.now());
  }
}

void Session::check_data(const Slice& data) {
  for (const uint8_t byte : data.span()) {
    if (check_matched_ >= question_.expect.size() ||
        static_cast<uint8_t>(question_.expect[check_matched_]) != byte) {
      return end_check(fail(Status::E_CHECK_FAILED, "the answer is not the expected one"));
    }
    ++check_matched_;
  }
  if (check_matched_ == question_.expect.size()) end_check({});
}

void Session::end_check(Result<void> result) {
  check_timer_.cancel();
  Callback<void(Result<void>)> done = std::move(check_done_);
  if (result) {
    transition(State::Idle);
  } else {
    owner_ = nullptr;
    die(result.error());
    stream_->close(false);
  }
  if (done) done(std::move(result));
}

}  // namespace conpool::raw
