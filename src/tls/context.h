// Client contexts: what the tls.* options say, as one shared SSL_CTX per settings id.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/settings.h"
#include "tls/library.h"

namespace conpool::tls {

// A slab that streams of one loop decrypt into, one after the other.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch() { reset(); }
  Scratch(Scratch&& other) noexcept
      : slab_(std::exchange(other.slab_, nullptr)), used_(std::exchange(other.used_, 0)) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(slab_, other.slab_);
    std::swap(used_, other.used_);
    return *this;
  }
  // Free space of at least `least` bytes; makes a new slab when nothing fits (may throw bad_alloc).
  std::span<uint8_t> space(size_t least);
  // The first `size` bytes of the space as a slice.
  Slice take(size_t size);

 private:
  void reset();
  Slab* slab_ = nullptr;
  size_t used_ = 0;
};

// One SSL_CTX with trust store, client certificate, versions and ALPN. Belongs to one loop.
class Context {
 public:
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Library& library() const { return *library_; }
  const std::shared_ptr<Library>& library_pointer() const { return library_; }
  SSL_CTX* native() const { return context_; }
  bool insecure() const { return insecure_; }
  bool resumption() const { return resumption_; }
  // Never reused in this process: part of every ticket's key.
  uint64_t serial() const { return serial_; }
  const std::vector<std::string>& alpn() const { return alpn_; }
  // SHA-256 of the client certificate in hexadecimal; empty without one.
  const std::string& client_fingerprint() const { return client_fingerprint_; }
  // After an allocation failed inside OpenSSL its shared state cannot be trusted any more: the
  // cache makes a new context for the next connection.
  void spoil() { spoiled_ = true; }
  bool spoiled() const { return spoiled_; }
  Scratch& scratch() { return scratch_; }

 private:
  friend Result<std::shared_ptr<Context>> make_context(std::shared_ptr<Library> library,
                                                       const Values& values);
  Context() = default;
  Result<void> configure(const Values& values);
  Result<void> load_trust(const Values& values);
  Result<void> load_identity(const Values& values);
  Result<void> set_alpn(const Values& values);

  std::shared_ptr<Library> library_;
  SSL_CTX* context_ = nullptr;
  bool insecure_ = false;
  bool resumption_ = true;
  bool spoiled_ = false;
  uint64_t serial_ = 0;
  std::vector<std::string> alpn_;
  std::string client_fingerprint_;
  Scratch scratch_;
};

// E_TLS_CONFIG, naming the option and OpenSSL's reason, or E_NOMEM. `values` are validated: the
// contents of tls.*_file are in the *_pem fields. May read the system's trust store from disk.
Result<std::shared_ptr<Context>> make_context(std::shared_ptr<Library> library,
                                              const Values& values);

// The contexts of one loop by settings id. Failures are not kept.
class ContextCache {
 public:
  explicit ContextCache(std::shared_ptr<Library> library) : library_(std::move(library)) {}
  Result<std::shared_ptr<Context>> get(uint64_t settings_id, const Values& values);
  void forget(uint64_t settings_id) { contexts_.erase(settings_id); }
  size_t size() const { return contexts_.size(); }

 private:
  std::shared_ptr<Library> library_;
  std::unordered_map<uint64_t, std::shared_ptr<Context>> contexts_;
};

}  // namespace conpool::tls
