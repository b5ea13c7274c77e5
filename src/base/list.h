// An intrusive doubly linked list: linking never allocates, and an element unlinks itself in O(1).
#pragma once

#include <cassert>
#include <cstddef>

namespace conpool {

// Inherit ListNode<Tag> once per list an object can be on.
template <typename Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }
  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <typename, typename>
  friend class List;
  ListNode* next_ = nullptr;
  ListNode* prev_ = nullptr;
};

template <typename T, typename Tag>
class List {
  using Node = ListNode<Tag>;

 public:
  List() { head_.next_ = head_.prev_ = &head_; }
  ~List() {
    while (!empty())
      head_.next_->unlink();
    head_.next_ = head_.prev_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : owner(head_.next_); }
  T* back() { return empty() ? nullptr : owner(head_.prev_); }
  void push_back(T& item) { insert(head_.prev_, item); }
  void push_front(T& item) { insert(&head_, item); }
  void insert_before(T& position, T& item) { insert(static_cast<Node&>(position).prev_, item); }
  T* pop_front() {
    T* item = front();
    if (item != nullptr) static_cast<Node*>(item)->unlink();
    return item;
  }
  // The element after `item`, or nullptr.
  T* next(T& item) {
    Node* node = static_cast<Node&>(item).next_;
    return node == &head_ ? nullptr : owner(node);
  }
  T* previous(T& item) {
    Node* node = static_cast<Node&>(item).prev_;
    return node == &head_ ? nullptr : owner(node);
  }

 private:
  static T* owner(Node* node) { return static_cast<T*>(node); }
  void insert(Node* after, T& item) {
    Node& node = item;
    assert(!node.linked());
    node.prev_ = after;
    node.next_ = after->next_;
    after->next_->prev_ = &node;
    after->next_ = &node;
  }
  Node head_;
};

}  // namespace conpool
