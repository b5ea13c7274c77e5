// Where the bytes of a request's body come from.
#include "client/body.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <new>
#include <unordered_map>

#include "ops/error_object.h"
#include "ops/fork.h"

namespace conpool::client {

// --- files ---------------------------------------------------------------------------------------

File::~File() {
  ::close(fd_);
}

Result<FileRange> open_range(int fd, int64_t offset, int64_t size) {
  if (offset < 0 || size < -1)
    return fail(Status::E_BAD_BODY, "offset and size of a body must not be negative");
  struct stat about {};
  if (::fstat(fd, &about) != 0)
    return fail_errno(Status::E_BAD_BODY, errno, "the body's descriptor cannot be looked at");
  if (!S_ISREG(about.st_mode))
    return fail(Status::E_BAD_BODY, "the body's descriptor is not of a regular file");
  const auto whole = static_cast<uint64_t>(about.st_size);
  const auto from = static_cast<uint64_t>(offset);
  if (from > whole || (size > 0 && static_cast<uint64_t>(size) > whole - from)) {
    return fail(Status::E_BAD_BODY,
                "the file has " + std::to_string(whole) + " bytes: the range lies outside of it");
  }
  const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0)
    return fail_errno(Status::E_BAD_BODY, errno, "the body's descriptor cannot be duplicated");
  FileRange range;
  range.file = std::make_shared<const File>(own);
  range.offset = from;
  range.size = size < 0 ? whole - from : static_cast<uint64_t>(size);
  return range;
}

void FileBody::begin() {
  job_.reset();
  blocks_.clear();
  taken_ = read_ = 0;
  front_taken_ = 0;
  asked_ = false;
  read_ahead();
}

session::BodySource::Piece FileBody::peek() {
  asked_ = false;
  if (taken_ == range_.size) return {{}, true};
  if (blocks_.empty() || !blocks_.front()->filled) {
    asked_ = true;
    return {};
  }
  const Block& front = *blocks_.front();
  return {{front.bytes.data() + front_taken_, front.got - front_taken_},
          taken_ + (front.got - front_taken_) == range_.size};
}

void FileBody::take(size_t size) {
  count(size);
  front_taken_ += size;
  if (blocks_.empty() || front_taken_ < blocks_.front()->got) return;
  spare_.push_back(std::move(blocks_.front()));
  blocks_.pop_front();
  front_taken_ = 0;
  read_ahead();
}

void FileBody::read_ahead() {
  constexpr size_t kAhead = 2;
  if (job_ != nullptr || blocks_.size() >= kAhead || read_ == range_.size) return;
  std::shared_ptr<Block> block;
  // A block that an abandoned job may still write to is not used again.
  if (!spare_.empty()) {
    block = std::move(spare_.back());
    spare_.pop_back();
  } else {
    block = std::make_shared<Block>();
    block->file = range_.file;
    block->bytes.resize(std::min<uint64_t>(limits::kBodyBlockBytes, range_.size));
  }
  block->offset = range_.offset + read_;
  block->size = std::min<uint64_t>(block->bytes.size(), range_.size - read_);
  block->got = 0;
  block->filled = false;
  read_ += block->size;
  blocks_.push_back(block);
  job_ = loop_.start_job(
      [block] {
        while (block->got < block->size) {
          const ssize_t got =
              ::pread(block->file->fd(), block->bytes.data() + block->got, block->size - block->got,
                      static_cast<off_t>(block->offset + block->got));
          if (got < 0 && errno == EINTR) continue;
          if (got < 0) block->os_error = errno;
          if (got <= 0) return;
          block->got += static_cast<size_t>(got);
        }
      },
      [this] { filled(); });
}

void FileBody::filled() {
  const std::unique_ptr<io::Job> done = std::move(job_);
  Block& block = *blocks_.back();
  if (block.got < block.size) {
    const Failure failure{.status = Status::E_HTTP_BODY_SOURCE,
                          .os_error = block.os_error,
                          .detail = block.os_error != 0
                                        ? "reading the file failed"
                                        : "the file ended after " +
                                              std::to_string(block.offset + block.got) +
                                              " bytes; the body was announced to go to " +
                                              std::to_string(range_.offset + range_.size)};
    return user_.body_failed(failure);
  }
  block.filled = true;
  read_ahead();
  if (asked_) user_.body_ready();
}

// --- pieces: the callers' side -------------------------------------------------------------------

namespace {

struct Registry {
  std::mutex mutex;
  std::unordered_map<uint64_t, std::shared_ptr<PieceFeed>> feeds;
};

// One per process, and never freed. A child that fork() made starts with a new one: the parent's
// may be locked for ever.
Registry& registry() {
  static std::atomic<Registry*> current{new Registry};
  static std::atomic<uint32_t> born{ops::fork_generation()};
  const uint32_t generation = ops::fork_generation();
  uint32_t seen = born.load(std::memory_order_acquire);
  if (seen != generation) {
    auto* fresh = new Registry;
    current.store(fresh, std::memory_order_release);
    born.store(generation, std::memory_order_release);
  }
  return *current.load(std::memory_order_acquire);
}

}  // namespace

PieceFeed::PieceFeed(ops::Port& port, std::atomic<int64_t>& ops_in_flight, int64_t ops_limit,
                     std::optional<uint64_t> size)
    : port_(port), ops_in_flight_(ops_in_flight), ops_limit_(ops_limit), size_(size) {
  port_.ref();
}

PieceFeed::~PieceFeed() {
  port_.unref();
}

bool PieceFeed::publish(uint64_t op, std::shared_ptr<PieceFeed> feed) noexcept {
  try {
    Registry& all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.feeds[op] = std::move(feed);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void PieceFeed::withdraw(uint64_t op) {
  std::shared_ptr<PieceFeed> gone;  // freed without the lock
  Registry& all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto at = all.feeds.find(op);
  if (at == all.feeds.end()) return;
  gone = std::move(at->second);
  all.feeds.erase(at);
}

std::shared_ptr<PieceFeed> PieceFeed::find(uint64_t op) {
  Registry& all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto at = all.feeds.find(op);
  return at == all.feeds.end() ? nullptr : at->second;
}

Status PieceFeed::write(const std::shared_ptr<PieceFeed>& feed, const uint8_t* data, size_t size,
                        bool last, ops::Queue* queue, uint64_t user_data, uint64_t* out_op) {
  // Held over the submit: pieces reach the loop in the order in which they were counted.
  const std::lock_guard<std::mutex> lock(feed->mutex_);
  if (feed->over_) return Status::E_STALE;
  if (feed->had_last_) return Status::E_WRONG_STATE;
  if (feed->size_.has_value()) {
    const uint64_t left = *feed->size_ - feed->written_;
    if (size > left || (last && size < left)) return Status::E_HTTP_BODY_LENGTH;
  }
  Result<ops::Op*> op = ops::Op::begin(feed->port_, queue, CONPOOL_EVENT_WRITE, user_data,
                                       feed->ops_in_flight_, feed->ops_limit_);
  if (!op) return op.error().status;
  (*op)->arguments().target = feed;
  (*op)->arguments().data = data;
  (*op)->arguments().size = size;
  (*op)->arguments().number = last ? 1 : 0;
  feed->written_ += size;
  feed->had_last_ = last;
  *out_op = (*op)->id();
  (*op)->submit(run_write);
  return Status::OK;
}

void PieceFeed::run_write(ops::Op& op) {
  const auto feed = std::static_pointer_cast<PieceFeed>(op.arguments().target);
  if (feed->body_ == nullptr) {
    if (feed->error_ != nullptr) return ops::finish_failed(op, feed->error_);
    // The end of a body whose announced bytes were all taken: the response was just quicker.
    if (op.arguments().size == 0 && feed->size_.has_value()) return op.finish(Status::OK, nullptr);
    return op.finish(Status::E_CANCELLED, nullptr);
  }
  feed->body_->add(op, op.arguments().number != 0);
}

void PieceFeed::end(ErrorPtr error) {
  error_ = std::move(error);
  body_ = nullptr;
  const std::lock_guard<std::mutex> lock(mutex_);
  over_ = true;
}

// --- pieces: the loop's side ---------------------------------------------------------------------

void PiecesBody::add(ops::Op& op, bool last) {
  const ops::OpArguments& arguments = op.arguments();
  // Without bytes, and the end is known without it.
  if (arguments.size == 0 && (!last || size_.has_value())) return op.finish(Status::OK, nullptr);
  op.set_task(this);
  pieces_.push_back({&op, arguments.data, arguments.size, last});
  if (op.cancel_requested()) return cancel(op, Status::E_CANCELLED);
  if (asked_) {
    asked_ = false;
    user_.body_ready();
  }
}

session::BodySource::Piece PiecesBody::peek() {
  if (pieces_.empty()) {
    const bool over = size_.has_value() && taken_ == *size_;
    asked_ = !over;
    return {{}, over};
  }
  asked_ = false;
  const Pending& front = pieces_.front();
  const size_t left = front.size - front_taken_;
  const bool last = front.last || (size_.has_value() && taken_ + left == *size_);
  return {{front.data + front_taken_, left}, last};
}

void PiecesBody::take(size_t size) {
  count(size);
  front_taken_ += size;
  // The last one ends with the request's last byte, which an empty one has none of.
  if (front_taken_ == pieces_.front().size && !pieces_.front().last) finish_front();
}

void PiecesBody::finish_front() {
  const Pending piece = pieces_.front();
  pieces_.pop_front();
  front_taken_ = 0;
  piece.op->finish(Status::OK, nullptr, piece.size);
}

void PiecesBody::sent() {
  while (!pieces_.empty())
    finish_front();
}

// Without the piece the body is not the caller's any more: the request ends.
void PiecesBody::cancel(ops::Op& op, Status reason) {
  const auto at = std::find_if(pieces_.begin(), pieces_.end(),
                               [&op](const Pending& piece) { return piece.op == &op; });
  if (at == pieces_.end()) return;
  const uint64_t taken = at == pieces_.begin() ? front_taken_ : 0;
  if (at == pieces_.begin()) front_taken_ = 0;
  pieces_.erase(at);
  op.finish(reason, nullptr, taken);
  user_.body_failed({.status = reason, .detail = "a piece of its body was cancelled"});
}

void PiecesBody::end(const ErrorPtr& error) {
  std::deque<Pending> pieces;
  pieces.swap(pieces_);
  uint64_t taken = front_taken_;
  for (const Pending& piece : pieces) {
    if (error != nullptr) {
      ops::finish_failed(*piece.op, error, taken);
    } else {
      piece.op->finish(Status::E_CANCELLED, nullptr, taken);
    }
    taken = 0;
  }
}

}  // namespace conpool::client
