// Initialises OpenSSL, and provides the seeded source of randomness.
#include "tls/library.h"

#include <openssl/conf.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <cstring>
#include <mutex>
#include <new>

#include "base/rng.h"
#include "tls/errors.h"

namespace conpool::tls {

namespace {

constexpr const char* kSeededName = "CONPOOL-SEEDED";

// --- a provider with one RAND, driven by SplitMix64. All its instances share one generator: a
// seeded library is used by one thread, so the order of the draws is part of the scenario.

thread_local uint64_t next_seed = 0;  // handed to the provider while it is loaded

void* rand_new(void* generator, void*, const OSSL_DISPATCH*) {
  return generator;
}
void rand_free(void*) {}
int rand_instantiate(void*, unsigned int, int, const unsigned char*, size_t, const OSSL_PARAM*) {
  return 1;
}
int rand_uninstantiate(void*) {
  return 1;
}
int rand_generate(void* generator, unsigned char* out, size_t size, unsigned int, int,
                  const unsigned char*, size_t) {
  Rng& rng = *static_cast<Rng*>(generator);
  while (size > 0) {
    uint64_t word = rng.next();
    unsigned char bytes[8];
    for (unsigned char& byte : bytes) {
      byte = static_cast<unsigned char>(word);
      word >>= 8;
    }
    const size_t part = size < sizeof bytes ? size : sizeof bytes;
    std::memcpy(out, bytes, part);
    out += part;
    size -= part;
  }
  return 1;
}
int rand_enable_locking(void*) {
  return 1;
}
int rand_lock(void*) {
  return 1;
}
void rand_unlock(void*) {}
const OSSL_PARAM* rand_gettable(void*, void*) {
  static const OSSL_PARAM table[] = {OSSL_PARAM_int(OSSL_RAND_PARAM_STATE, nullptr),
                                     OSSL_PARAM_uint(OSSL_RAND_PARAM_STRENGTH, nullptr),
                                     OSSL_PARAM_size_t(OSSL_RAND_PARAM_MAX_REQUEST, nullptr),
                                     OSSL_PARAM_END};
  return table;
}
int rand_get(void*, OSSL_PARAM params[]) {
  OSSL_PARAM* p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);
  if (p != nullptr && OSSL_PARAM_set_int(p, EVP_RAND_STATE_READY) == 0) return 0;
  p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
  if (p != nullptr && OSSL_PARAM_set_uint(p, 256) == 0) return 0;
  p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);
  if (p != nullptr && OSSL_PARAM_set_size_t(p, 1 << 16) == 0) return 0;
  return 1;
}

template <typename F>
OSSL_DISPATCH verb(int id, F function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

const OSSL_ALGORITHM* provider_query(void*, int operation, int* no_cache) {
  static const OSSL_DISPATCH verbs[] = {verb(OSSL_FUNC_RAND_NEWCTX, rand_new),
                                        verb(OSSL_FUNC_RAND_FREECTX, rand_free),
                                        verb(OSSL_FUNC_RAND_INSTANTIATE, rand_instantiate),
                                        verb(OSSL_FUNC_RAND_UNINSTANTIATE, rand_uninstantiate),
                                        verb(OSSL_FUNC_RAND_GENERATE, rand_generate),
                                        verb(OSSL_FUNC_RAND_ENABLE_LOCKING, rand_enable_locking),
                                        verb(OSSL_FUNC_RAND_LOCK, rand_lock),
                                        verb(OSSL_FUNC_RAND_UNLOCK, rand_unlock),
                                        verb(OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, rand_gettable),
                                        verb(OSSL_FUNC_RAND_GET_CTX_PARAMS, rand_get),
                                        {0, nullptr}};
  static const OSSL_ALGORITHM algorithms[] = {
      {kSeededName, "provider=conpool-seeded", verbs, "SplitMix64"},
      {nullptr, nullptr, nullptr, nullptr}};
  *no_cache = 0;
  return operation == OSSL_OP_RAND ? algorithms : nullptr;
}

void provider_teardown(void* generator) {
  delete static_cast<Rng*>(generator);
}

int provider_init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out,
                  void** generator) {
  static const OSSL_DISPATCH verbs[] = {verb(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provider_query),
                                        verb(OSSL_FUNC_PROVIDER_TEARDOWN, provider_teardown),
                                        {0, nullptr}};
  *generator = new (std::nothrow) Rng(next_seed);
  *out = verbs;
  return *generator != nullptr ? 1 : 0;
}

// Leaked: loops may still run while the process exits.
struct ProcessSlot {
  std::mutex mutex;
  std::shared_ptr<Library> library;
};
ProcessSlot& process_slot() {
  static ProcessSlot* slot = new ProcessSlot;
  return *slot;
}

}  // namespace

Result<std::shared_ptr<Library>> Library::process(bool system_policy) {
  ProcessSlot& slot = process_slot();
  std::lock_guard<std::mutex> lock(slot.mutex);
  if (slot.library != nullptr) return slot.library;
  ErrorScope errors;
  // In OpenSSL 3.0 the policy for TLS (its "system_default" section) is one per process and applies
  // to every context; when the program loaded it before us it cannot be taken back.
  const uint64_t how = system_policy ? OPENSSL_INIT_LOAD_CONFIG : OPENSSL_INIT_NO_LOAD_CONFIG;
  if (OPENSSL_init_ssl(how, nullptr) != 1) return config_failure("OpenSSL cannot be initialised");
  std::shared_ptr<Library> library(new Library);
  library->context_ = OSSL_LIB_CTX_new();
  if (library->context_ == nullptr) return config_failure("OpenSSL cannot be initialised");
  if (system_policy) {
    // As lenient as OpenSSL is with its default context: config_diagnostics in the file makes it
    // strict.
    const unsigned long flags = CONF_MFLAGS_DEFAULT_SECTION | CONF_MFLAGS_IGNORE_MISSING_FILE |
                                CONF_MFLAGS_IGNORE_RETURN_CODES;
    if (CONF_modules_load_file_ex(library->context_, nullptr, nullptr, flags) <= 0) {
      return config_failure(
          "the system's OpenSSL configuration file cannot be used (tls.system_policy=false ignores "
          "it)");
    }
  }
  slot.library = library;
  return library;
}

Result<std::shared_ptr<Library>> Library::seeded(uint64_t seed, int64_t unix_time) {
  ErrorScope errors;
  std::shared_ptr<Library> library(new Library);
  library->seeded_ = true;
  library->unix_time_ = unix_time;
  library->context_ = OSSL_LIB_CTX_new();
  OSSL_LIB_CTX* context = library->context_;
  if (context == nullptr) return config_failure("a library context cannot be made");
  next_seed = seed;
  if (OSSL_PROVIDER_add_builtin(context, "conpool-seeded", provider_init) != 1) {
    return config_failure("the seeded provider cannot be added");
  }
  library->seeded_provider_ = OSSL_PROVIDER_load(context, "conpool-seeded");
  library->default_provider_ = OSSL_PROVIDER_load(context, "default");
  if (library->seeded_provider_ == nullptr || library->default_provider_ == nullptr ||
      RAND_set_DRBG_type(context, kSeededName, nullptr, nullptr, nullptr) != 1) {
    return config_failure("the seeded provider cannot be loaded");
  }
  return library;
}

Library::~Library() {
  if (context_ == nullptr) return;
  OPENSSL_thread_stop_ex(context_);
  if (default_provider_ != nullptr) OSSL_PROVIDER_unload(default_provider_);
  if (seeded_provider_ != nullptr) OSSL_PROVIDER_unload(seeded_provider_);
  OSSL_LIB_CTX_free(context_);
}

void Library::thread_stop() {
  OPENSSL_thread_stop_ex(context_);
  OPENSSL_thread_stop();
}

std::string openssl_version() {
  return OpenSSL_version(OPENSSL_VERSION_STRING);
}

}  // namespace conpool::tls
