// What a plan does to one connection.
#include "fault/fault_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace conpool::fault {
namespace {

constexpr uint64_t kPiecesPerSecond = 20;  // of a slow peer

size_t size_of(std::span<const iovec> parts) {
  size_t size = 0;
  for (const iovec& part : parts)
    size += part.iov_len;
  return size;
}

bool cuts(Kind kind) {
  return kind == Kind::Reset || kind == Kind::Truncate;
}

}  // namespace

FaultStream::FaultStream(io::Loop& loop, StreamOwner& owner, uint64_t id, const SocketAddress& peer)
    : Layer(loop), owner_(&owner), id_(id), peer_(peer) {}

FaultStream::~FaultStream() {
  leave();
}

void FaultStream::leave() {
  if (StreamOwner* owner = std::exchange(owner_, nullptr)) owner->forget(id_);
}

// --- the beginning
// -----------------------------------------------------------------------------------

void FaultStream::begin(std::unique_ptr<io::Stream> lower, std::optional<uint32_t> alert) {
  alert_ = alert;
  adopt(std::move(lower));
}

void FaultStream::begin(const Opening& opening, const io::ConnectOptions& options) {
  alert_ = opening.alert;
  options_ = options;
  options_.purpose = {};
  if (opening.way == Opening::Way::Never) return;
  const bool refused = opening.way == Opening::Way::Refused;
  opening_timer_.set_callback([this, refused] {
    if (!refused) return connect();
    Layer::on_failed({.status = Status::E_CONNECT_REFUSED, .os_error = ECONNREFUSED});
  });
  loop().arm(opening_timer_, deadline_after(loop().now(), opening.delay));
}

void FaultStream::connect() {
  if (owner_ == nullptr) return;
  Result<std::unique_ptr<io::Stream>> lower = owner_->open(peer_, options_);
  if (!lower) return Layer::on_failed(lower.error());
  adopt(std::move(*lower));
}

// --- arming
// ------------------------------------------------------------------------------------------

void FaultStream::begin_send(bool alone) {
  if (!alone) return;
  armed_.clear();
  rate_ = 0;
}

bool FaultStream::arm(const Rule& rule, Nanos delay) {
  std::erase_if(armed_, [](const Armed& armed) { return armed.spent; });
  if (armed_.size() >= kMostArmed) return false;
  armed_.push_back({rule.kind, rule.after, rule.rate, delay});
  return true;
}

// The first bytes of the send leave: what comes from now on answers it.
void FaultStream::count_from_here() {
  for (Armed& armed : armed_) {
    armed.counts = true;
    if (armed.kind != Kind::HalfOpen || armed.spent) continue;
    armed.spent = true;
    deaf_ = true;
    follow_reading();
  }
}

bool FaultStream::closes_now() const {
  return std::any_of(armed_.begin(), armed_.end(),
                     [](const Armed& armed) { return armed.kind == Kind::Close; });
}

// --- out
// ---------------------------------------------------------------------------------------------

// A record of the handshake (22) with a ClientHello (1) in it; RFC 8446 sections 4 and 5.1.
void FaultStream::look_for_hello(std::span<const iovec> parts) {
  if (!alert_) return;
  std::array<uint8_t, 6> first{};
  size_t size = 0;
  for (const iovec& part : parts) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    for (size_t i = 0; i < part.iov_len && size < first.size(); ++i)
      first[size++] = bytes[i];
  }
  if (size < first.size() || first[0] != 22 || first[1] != 3 || first[5] != 1) return;
  alert_due_ = true;
  if (owner_ != nullptr) owner_->alerted(id_);
}

Result<size_t> FaultStream::writev(std::span<const iovec> parts) {
  if (Result<void> good = usable(); !good) return fail(std::move(good.error()));
  if (lower() == nullptr) {
    owe_writable();  // told after on_connected
    return size_t{0};
  }
  if (closes_now()) {
    lower()->close();
    leave();
    return fail_now({.status = Status::E_CONNECTION_CLOSED, .os_error = EPIPE});
  }
  look_for_hello(parts);
  if (lower_gone_) return size_of(parts);
  Result<size_t> accepted = lower()->writev(parts);
  if (!accepted && !deaf_) return fail_now(std::move(accepted.error()));
  if (!accepted) {
    lower_gone_ = true;
    return size_of(parts);
  }
  if (*accepted > 0) count_from_here();
  return accepted;
}

Result<void> FaultStream::shutdown_write() {
  if (Result<void> good = usable(); !good) return good;
  if (lower() == nullptr) return fail(Status::E_WRONG_STATE, "not connected yet");
  if (lower_gone_) return {};
  Result<void> ended = lower()->shutdown_write();
  if (ended || ended.error().status == Status::E_WRONG_STATE) return ended;
  if (!deaf_) return fail_now(std::move(ended.error()));
  lower_gone_ = true;
  return {};
}

// --- in
// ----------------------------------------------------------------------------------------------

void FaultStream::on_data(Slice data) {
  if (deaf_) return;
  if (alert_due_) return answer_hello();
  apply(std::move(data));
  tell();
}

// In place of the ServerHello: a fatal alert in a record of its own, and the end.
void FaultStream::answer_hello() {
  const std::array<uint8_t, 7> record{21, 3, 3, 0, 2, 2, static_cast<uint8_t>(*alert_)};
  deaf_ = true;
  add(Slice::copy_of(record));
  add_eof();
  tell();
}

void FaultStream::apply(Slice data) {
  size_t keep = data.size();
  const Armed* cut = nullptr;
  for (Armed& armed : armed_) {
    if (!armed.counts || armed.spent) continue;
    const uint64_t left = armed.after - std::min(armed.after, armed.seen);
    if (cuts(armed.kind) && left <= data.size() && (cut == nullptr || left < keep)) {
      keep = static_cast<size_t>(left);
      cut = &armed;
    }
    if (armed.kind == Kind::ReadDelay) {
      hold_until_ = std::max(hold_until_, deadline_after(loop().now(), armed.delay));
      armed.spent = true;
    }
    if (armed.kind == Kind::Slow && rate_ == 0) {
      rate_ = armed.rate;
      next_at_ = loop().now();
    }
    armed.seen += data.size();
  }
  if (keep > 0) add(data.sub(0, keep));
  if (cut == nullptr) return;
  deaf_ = true;
  if (cut->kind == Kind::Truncate) return add_eof();
  add_failure({.status = Status::E_CONNECTION_RESET, .os_error = ECONNRESET});
}

void FaultStream::on_eof() {
  if (!deaf_) Layer::on_eof();
}

void FaultStream::on_failed(const Failure& failure) {
  lower_gone_ = true;
  if (!deaf_) return Layer::on_failed(failure);
}

Time FaultStream::due() {
  return std::max(hold_until_, rate_ == 0 ? 0 : next_at_);
}

size_t FaultStream::share(size_t waiting) {
  if (rate_ == 0) return waiting;
  const uint64_t piece = std::clamp<uint64_t>(rate_ / kPiecesPerSecond, 1, kPiece);
  const auto size = static_cast<size_t>(std::min<uint64_t>(piece, waiting));
  next_at_ = std::max(next_at_, loop().now()) +
             static_cast<Nanos>(size * static_cast<uint64_t>(kSecond) / rate_);
  return size;
}

// The reset that was put in: the peer learns of it, too.
void FaultStream::failing() {
  if (deaf_ && lower() != nullptr) lower()->close(true);
  leave();
}

// --- the rest
// ----------------------------------------------------------------------------------------

io::Peek FaultStream::peek() {
  if (open() && (closes_now() || (deaf_ && !ended()))) return io::Peek::Quiet;
  return Layer::peek();
}

// The bytes of a lent descriptor pass by the plan.
Result<int> FaultStream::lend(bool blocking) {
  if (lower() == nullptr) return fail(Status::E_WRONG_STATE, "not connected yet");
  if (!open()) return fail(Status::E_CLOSED, "the stream is closed");
  if (anything_waits()) {
    return fail(Status::E_WRONG_STATE, "fault.plan holds back what the peer sent");
  }
  armed_.clear();
  return lower()->lend(blocking);
}

io::StreamFacts FaultStream::facts() const {
  io::StreamFacts facts;
  if (lower() != nullptr) facts = lower()->facts();
  facts.peer = peer_;
  facts.tapped = id_;
  return facts;
}

void FaultStream::close(bool abort) {
  if (closed()) return;
  opening_timer_.cancel();
  leave();
  Layer::close(abort);
}

}  // namespace conpool::fault
