// From a freed chunk to the window of its stream.
#include "client/chunk.h"

#include <utility>

namespace conpool::client {

ReadGate::ReadGate(ops::Port& port, ChunkOwner& owner) : port_(port), owner_(&owner) {
  port_.ref();
  mail_.gate = this;
  mail_.run = [](ops::MailNode& node) { static_cast<FreedMail&>(node).gate->run(); };
}

void ReadGate::freed(size_t bytes) noexcept {
  outstanding_.fetch_sub(1, std::memory_order_release);
  if (closed_.load(std::memory_order_acquire)) return;
  if (freed_.fetch_add(bytes, std::memory_order_acq_rel) != 0) return;
  mail_.keep = shared_from_this();
  port_.post(mail_);
}

void ReadGate::run() {
  // Before the exchange: from then on another thread may post the mail again.
  const std::shared_ptr<ReadGate> keep = std::move(mail_.keep);
  const size_t bytes = freed_.exchange(0, std::memory_order_acq_rel);
  if (owner_ != nullptr) owner_->chunks_freed(bytes);
}

void ReadGate::close() {
  owner_ = nullptr;
  closed_.store(true, std::memory_order_release);
}

BodyChunk* BodyChunk::make(Slice bytes, const std::shared_ptr<raw::PinnedBytes>& account,
                           const std::shared_ptr<ReadGate>& gate) {
  const size_t size = bytes.size();
  const bool own = bytes.slab()->capacity() == size;
  if (size < kReferencedBytes && !own) bytes = Slice::copy_of(bytes.span());
  return new BodyChunk(std::move(bytes), size, account, gate);
}

}  // namespace conpool::client
