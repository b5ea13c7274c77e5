// Bodies of requests: bytes in memory, a file, or pieces that come while the request runs.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/limits.h"
#include "io/loop.h"
#include "ops/op.h"
#include "session/http.h"

namespace conpool::client {

enum class BodyKind : uint8_t { None, Memory, File, Pieces };

// The request that a body belongs to. Loop thread.
class BodyUser {
 public:
  // Bytes were handed on just now. From inside take(): nothing may be done but to note it.
  virtual void body_moved() = 0;
  // The rest is never called from inside peek() or take().
  // Bytes came, or the end, after an empty peek.
  virtual void body_ready() = 0;
  virtual void body_failed(const Failure& failure) = 0;

 protected:
  ~BodyUser() = default;
};

// A source that can begin again, and says what it waits for.
class Body : public session::BodySource {
 public:
  explicit Body(BodyUser& user) : user_(user) {}
  virtual ~Body() = default;
  // Before each sending: the first byte comes next.
  virtual void begin() = 0;
  // Its bytes can be given once more after some were taken.
  virtual bool repeatable() const = 0;
  // The session waits for bytes that are not there yet.
  virtual bool starved() const { return false; }
  // The session has handed on everything.
  virtual void sent() {}
  // Taken in the present sending.
  uint64_t taken() const { return taken_; }

 protected:
  void count(size_t size) {
    taken_ += size;
    user_.body_moved();
  }
  BodyUser& user_;
  uint64_t taken_ = 0;
};

// The caller's bytes, borrowed until FINAL.
class MemoryBody final : public Body {
 public:
  MemoryBody(BodyUser& user, const uint8_t* data, size_t size)
      : Body(user), data_(data), size_(size) {}
  void begin() override { taken_ = 0; }
  bool repeatable() const override { return true; }
  std::optional<uint64_t> size() const override { return size_; }
  Piece peek() override { return {{data_ + taken_, size_ - taken_}, true}; }
  void take(size_t size) override { count(size); }

 private:
  const uint8_t* const data_;
  const size_t size_;
};

// A duplicate of the caller's descriptor.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

struct FileRange {
  std::shared_ptr<const File> file;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Duplicates the descriptor of a regular file. `size` < 0: all that follows `offset`. E_BAD_BODY.
Result<FileRange> open_range(int fd, int64_t offset, int64_t size);

// A part of a regular file, read by jobs: one block is sent while the next one is read.
class FileBody final : public Body {
 public:
  FileBody(io::Loop& loop, BodyUser& user, FileRange range)
      : Body(user), loop_(loop), range_(std::move(range)) {}
  void begin() override;
  bool repeatable() const override { return true; }
  bool starved() const override { return asked_; }
  std::optional<uint64_t> size() const override { return range_.size; }
  Piece peek() override;
  void take(size_t size) override;

 private:
  // Shared with the job that fills it, which may outlive the body.
  struct Block {
    std::shared_ptr<const File> file;
    uint64_t offset = 0;
    size_t size = 0;  // asked for
    size_t got = 0;   // less at the end of the file
    int os_error = 0;
    bool filled = false;
    std::vector<uint8_t> bytes;
  };
  void read_ahead();
  void filled();

  io::Loop& loop_;
  const FileRange range_;
  std::deque<std::shared_ptr<Block>> blocks_;  // in order; the first is being sent
  std::vector<std::shared_ptr<Block>> spare_;
  std::unique_ptr<io::Job> job_;  // fills the last block
  uint64_t read_ = 0;             // asked of the file
  size_t front_taken_ = 0;        // of the first block
  bool asked_ = false;            // a peek found nothing
};

class PiecesBody;

// What callers' threads know of a running request whose body comes in pieces. Found by the
// request's op id from its start to its end.
class PieceFeed {
 public:
  PieceFeed(ops::Port& port, std::atomic<int64_t>& ops_in_flight, int64_t ops_limit,
            std::optional<uint64_t> size);
  ~PieceFeed();
  PieceFeed(const PieceFeed&) = delete;
  PieceFeed& operator=(const PieceFeed&) = delete;

  // --- any thread
  // False without memory.
  static bool publish(uint64_t op, std::shared_ptr<PieceFeed> feed) noexcept;
  static void withdraw(uint64_t op);
  // Null when there is none.
  static std::shared_ptr<PieceFeed> find(uint64_t op);
  ops::Port& port() const { return port_; }
  // Starts an op that writes a piece. E_STALE, E_WRONG_STATE, E_HTTP_BODY_LENGTH, and as
  // ops::Op::begin.
  static Status write(const std::shared_ptr<PieceFeed>& feed, const uint8_t* data, size_t size,
                      bool last, ops::Queue* queue, uint64_t user_data, uint64_t* out_op);

  // --- loop thread
  void attach(PiecesBody* body) { body_ = body; }
  // The request has ended so: pieces that still come end with it, or as cancelled.
  void end(ErrorPtr error);

 private:
  static void run_write(ops::Op& op);

  ops::Port& port_;  // referenced
  std::atomic<int64_t>& ops_in_flight_;
  const int64_t ops_limit_;
  const std::optional<uint64_t> size_;  // announced

  std::mutex mutex_;
  uint64_t written_ = 0;  // guarded by mutex_, as are the next two
  bool had_last_ = false;
  bool over_ = false;

  // Loop thread.
  PiecesBody* body_ = nullptr;
  ErrorPtr error_;
};

// Pieces in the order of their ops. An op ends when the session has handed all its bytes on. A body
// of an announced size is over with its last byte, whether or not a piece said that it is the last.
class PiecesBody final : public Body, public ops::Task {
 public:
  PiecesBody(BodyUser& user, std::optional<uint64_t> size) : Body(user), size_(size) {}
  void begin() override {}
  bool repeatable() const override { return false; }
  bool starved() const override { return asked_; }
  std::optional<uint64_t> size() const override { return size_; }
  Piece peek() override;
  void take(size_t size) override;
  void sent() override;
  void cancel(ops::Op& op, Status reason) override;

  void add(ops::Op& op, bool last);
  // Ends what is left: with `error`, or as cancelled when the request succeeded without it.
  void end(const ErrorPtr& error);

 private:
  struct Pending {
    ops::Op* op;
    const uint8_t* data;
    size_t size;
    bool last;
  };
  void finish_front();

  const std::optional<uint64_t> size_;
  std::deque<Pending> pieces_;
  size_t front_taken_ = 0;
  bool asked_ = false;
};

}  // namespace conpool::client
