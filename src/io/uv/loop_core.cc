// The loop over libuv: turns, deadline, wake-ups.
#include "io/uv/loop_core.h"

#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "io/uv/dns_channel.h"
#include "io/uv/files.h"
#include "io/uv/jobs.h"
#include "io/uv/listener.h"
#include "io/uv/stream.h"
#include "io/uv/uv_loop.h"

namespace conpool::io {

Result<std::unique_ptr<Loop>> make_uv_loop() {
  return uv::UvLoop::make();
}

}  // namespace conpool::io

namespace conpool::io::uv {
namespace {

// The loop whose turn runs on this thread: its own wake-ups need no system call.
thread_local UvLoop* turning = nullptr;

struct Turning {
  explicit Turning(UvLoop* loop) {
    assert(turning == nullptr);  // a turn inside a turn
    turning = loop;
  }
  ~Turning() { turning = nullptr; }
};

Time clock_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<Time>(now.tv_sec) * kSecond + now.tv_nsec;
}

}  // namespace

ReadBuffer::~ReadBuffer() {
  if (slab_ != nullptr) slab_->unref();
}

std::span<uint8_t> ReadBuffer::space() {
  if (slab_ != nullptr && slab_->unique()) used_ = 0;
  if (slab_ == nullptr || slab_->capacity() - used_ < kLeastSpace) {
    Slab* fresh = Slab::make();
    if (slab_ != nullptr) slab_->unref();
    slab_ = fresh;
    used_ = 0;
  }
  return {slab_->data() + used_, slab_->capacity() - used_};
}

Slice ReadBuffer::commit(size_t size) {
  Slice slice(slab_, slab_->data() + used_, size);
  used_ += size;
  return slice;
}

UvLoop::UvLoop() = default;

Result<std::unique_ptr<Loop>> UvLoop::make() {
  std::unique_ptr<UvLoop> loop(new UvLoop());
  if (Result<void> opened = loop->open(); !opened) return fail(std::move(opened.error()));
  return std::unique_ptr<Loop>(std::move(loop));
}

Result<void> UvLoop::open() {
  set_now(clock_now());
  if (int rc = uv_loop_init(&uv_); rc != 0) return fail(system_failure(-rc, "making a loop"));
  uv_open_ = true;
  if (int rc = uv_async_init(&uv_, &async_, &UvLoop::on_async); rc != 0) {
    return fail(system_failure(-rc, "making a loop's wake-up"));
  }
  async_open_ = true;
  async_.data = this;
  timer_fd_ = Fd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer_fd_.open()) return fail(system_failure(errno, "making a loop's timer"));
  Result<PollHandle::Ptr> poll = PollHandle::make(*this, timer_fd_.get(), this);
  if (!poll) return fail(std::move(poll).error());
  timer_poll_ = std::move(*poll);
  timer_poll_->watch(UV_READABLE);
  uv_run(&uv_, UV_RUN_NOWAIT);  // registers both, so that fd() is right before the first turn
  dns_ = std::make_unique<DnsChannels>(*this);
  jobs_ = JobBoard::make(*this);
  return {};
}

UvLoop::~UvLoop() {
  abandon_pending();
  dns_.reset();
  if (jobs_) jobs_->leave();
  assert(live_ == 0 && "a stream, listener or exchange outlived its loop");
  timer_poll_.reset();
  timer_fd_.reset();
  if (!uv_open_) return;
  if (async_open_) uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr);
  uv_run(&uv_, UV_RUN_DEFAULT);  // the close callbacks
  const int rc = uv_loop_close(&uv_);
  assert(rc == 0 && "a libuv handle was left open");
  (void)rc;
}

void UvLoop::run_turn(Time until) {
  const Turning mark(this);
  set_now(clock_now());
  const bool had_mail = take_mail();
  const Time deadline = std::min(timers().earliest(), until);
  const bool busy = had_mail || has_deferred() || deadline <= now();
  if (!busy) arm_timer_fd(deadline);
  polled_ = false;
  watch_changed_ = false;
  uv_run(&uv_, busy ? UV_RUN_NOWAIT : UV_RUN_ONCE);
  note_polled();
  jobs_->finish_done();
  finish_turn();
  if (watched_outside_) publish_readiness();
}

void UvLoop::note_polled() {
  if (polled_) return;
  polled_ = true;
  set_now(clock_now());
}

void UvLoop::wake() {
  if (turning == this) {
    mail_from_inside_ = true;
    return;
  }
  if (!mail_.exchange(true, std::memory_order_acq_rel)) uv_async_send(&async_);
}

void UvLoop::nudge() {
  uv_async_send(&async_);
}

bool UvLoop::take_mail() {
  if (!std::exchange(mail_from_inside_, false)) return false;
  run_wake_handler();
  return true;
}

void UvLoop::on_async(uv_async_t* async) noexcept {
  auto* self = static_cast<UvLoop*>(async->data);
  self->note_polled();
  if (!self->mail_.exchange(false, std::memory_order_acq_rel)) return;
  try {
    self->run_wake_handler();
  } catch (...) {
    self->mail_from_inside_ = true;  // out of memory: the mail is still there, try in the next turn
  }
}

void UvLoop::on_poll(int, int) {
  uint64_t expirations;
  (void)!::read(timer_fd_.get(), &expirations, sizeof expirations);
  armed_ = kNever;
  timer_poll_->watch(UV_READABLE);
}

void UvLoop::on_poll_thrown(Status) noexcept {}

void UvLoop::arm_timer_fd(Time deadline) {
  if (deadline >= armed_) return;
  const Time at = std::max<Time>(deadline, 1);  // zero would switch it off
  itimerspec spec{};
  spec.it_value.tv_sec = at / kSecond;
  spec.it_value.tv_nsec = at % kSecond;
  const int rc = timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
  assert(rc == 0);
  (void)rc;
  armed_ = deadline;
}

int UvLoop::fd() {
  watched_outside_ = true;
  publish_readiness();
  return uv_backend_fd(&uv_);
}

void UvLoop::publish_readiness() {
  arm_timer_fd(timers().earliest());
  if (has_deferred() || mail_from_inside_ || watch_changed_) nudge();
}

uint64_t UvLoop::random_seed() {
  uint64_t seed = 0;
  ssize_t size;
  do {
    size = getrandom(&seed, sizeof seed, 0);
  } while (size < 0 && errno == EINTR);
  // Only a kernel without getrandom gets here: two clocks still differ from pool to pool.
  if (size != sizeof seed)
    seed = static_cast<uint64_t>(clock_now()) ^ static_cast<uint64_t>(time(nullptr)) << 32;
  return seed;
}

Result<std::unique_ptr<Stream>> UvLoop::start_connect(const SocketAddress& peer,
                                                      const ConnectOptions& options) {
  return UvStream::connect(*this, peer, options);
}

Result<std::unique_ptr<Listener>> UvLoop::listen(const SocketAddress& address, int backlog,
                                                 ListenHandler* handler) {
  return UvListener::open(*this, address, backlog, handler);
}

Result<SocketAddress> UvLoop::source_address(const SocketAddress& peer) {
  return source_address_towards(peer);
}

std::unique_ptr<DnsExchange> UvLoop::start_exchange(DnsQuery query, DnsCallback done) {
  return dns_->start(std::move(query), std::move(done));
}

std::unique_ptr<Job> UvLoop::start_job(Callback<void()> work, Callback<void()> done) {
  return jobs_->start(std::move(work), std::move(done));
}

SystemLookup UvLoop::system_lookup() {
  return &getaddrinfo_lookup;
}

std::optional<FileStamp> UvLoop::file_stamp(const std::string& path) {
  return stamp_of(path);
}

Result<std::string> UvLoop::read_file(const std::string& path, size_t limit) {
  return read_regular_file(path, limit);
}

}  // namespace conpool::io::uv
