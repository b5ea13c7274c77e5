// The mailbox: a lock-free stack that many threads push to and the loop empties in one exchange.
#pragma once

#include <atomic>
#include <cstddef>

namespace conpool::ops {

// Embedded in what is posted; posting never allocates. A node may be posted again once it has run.
struct MailNode {
  MailNode* next = nullptr;
  void (*run)(MailNode&) = nullptr;
};

class Mailbox {
 public:
  // True when the box was empty: the caller must wake the loop then, and only then.
  bool push(MailNode& node) noexcept {
    MailNode* head = head_.load(std::memory_order_relaxed);
    do {
      node.next = head;
    } while (!head_.compare_exchange_weak(head, &node, std::memory_order_release,
                                          std::memory_order_relaxed));
    return head == nullptr;
  }
  // Runs everything posted so far, in the order of posting. Returns how many.
  size_t drain() {
    MailNode* node = head_.exchange(nullptr, std::memory_order_acquire);
    MailNode* first = nullptr;
    while (node != nullptr) {
      MailNode* next = node->next;
      node->next = first;
      first = node;
      node = next;
    }
    size_t count = 0;
    while (first != nullptr) {
      MailNode* next = first->next;  // running may post the node again
      first->run(*first);
      first = next;
      ++count;
    }
    return count;
  }
  bool empty() const noexcept { return head_.load(std::memory_order_acquire) == nullptr; }

 private:
  std::atomic<MailNode*> head_{nullptr};
};

}  // namespace conpool::ops
