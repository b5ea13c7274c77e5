// Callback: a move-only std::function (C++23 has one), small captures stored inline.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace conpool {

template <typename Signature>
class Callback;

template <typename R, typename... Args>
class Callback<R(Args...)> {
  static constexpr size_t kInline = 48;

 public:
  Callback() = default;
  Callback(std::nullptr_t) {}  // NOLINT: implicit by design
  template <typename F>
  requires(!std::is_same_v<std::decay_t<F>, Callback> && std::is_invocable_r_v<R, F&, Args...>)
      Callback(F function) {  // NOLINT: implicit by design
    if constexpr (sizeof(F) <= kInline && alignof(F) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<F>) {
      new (&storage_) F(std::move(function));
      verbs_ = &InlineVerbs<F>::table;
    } else {
      new (&storage_) F*(new F(std::move(function)));
      verbs_ = &HeapVerbs<F>::table;
    }
  }
  Callback(Callback&& other) noexcept { take(other); }
  Callback& operator=(Callback&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~Callback() { reset(); }

  explicit operator bool() const { return verbs_ != nullptr; }
  R operator()(Args... args) { return verbs_->call(&storage_, std::forward<Args>(args)...); }
  void reset() {
    if (verbs_ != nullptr) std::exchange(verbs_, nullptr)->destroy(&storage_);
  }

 private:
  struct Verbs {
    R (*call)(void*, Args&&...);
    void (*move)(void* to, void* from);
    void (*destroy)(void*);
  };
  template <typename F>
  struct InlineVerbs {
    static F& get(void* p) { return *std::launder(reinterpret_cast<F*>(p)); }
    static constexpr Verbs table = {
        [](void* p, Args&&... args) -> R { return get(p)(std::forward<Args>(args)...); },
        [](void* to, void* from) {
          new (to) F(std::move(get(from)));
          get(from).~F();
        },
        [](void* p) { get(p).~F(); }};
  };
  template <typename F>
  struct HeapVerbs {
    static F*& get(void* p) { return *std::launder(reinterpret_cast<F**>(p)); }
    static constexpr Verbs table = {
        [](void* p, Args&&... args) -> R { return (*get(p))(std::forward<Args>(args)...); },
        [](void* to, void* from) { new (to) F*(get(from)); }, [](void* p) { delete get(p); }};
  };
  void take(Callback& other) {
    verbs_ = std::exchange(other.verbs_, nullptr);
    if (verbs_ != nullptr) verbs_->move(&storage_, &other.storage_);
  }

  alignas(std::max_align_t) std::byte storage_[kInline];
  const Verbs* verbs_ = nullptr;
};

}  // namespace conpool
