// The trampolines of our BIO.
#include "tls/bio.h"

#include <exception>

namespace conpool::tls {

namespace {

BioEnd* end_of(BIO* bio) {
  return static_cast<BioEnd*>(BIO_get_data(bio));
}

int on_read(BIO* bio, char* out, size_t size, size_t* got) noexcept {
  BIO_clear_retry_flags(bio);
  *got = 0;
  try {
    *got = end_of(bio)->bio_read(out, size);
  } catch (const std::exception&) {
    end_of(bio)->bio_no_memory();
    return 0;
  }
  if (*got > 0) return 1;
  BIO_set_retry_read(bio);
  return 0;
}

int on_write(BIO* bio, const char* data, size_t size, size_t* written) noexcept {
  BIO_clear_retry_flags(bio);
  *written = 0;
  try {
    if (!end_of(bio)->bio_write(data, size)) return 0;
  } catch (const std::exception&) {
    end_of(bio)->bio_no_memory();
    return 0;
  }
  *written = size;
  return 1;
}

long on_control(BIO*, int command, long, void*) noexcept {
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
}

int on_create(BIO* bio) noexcept {
  BIO_set_init(bio, 1);
  return 1;
}

// Leaked: BIOs of loops that still run at exit refer to it.
BIO_METHOD* method() {
  static BIO_METHOD* const made = [] {
    BIO_METHOD* verbs = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conpool stream");
    if (verbs == nullptr) return verbs;
    BIO_meth_set_read_ex(verbs, on_read);
    BIO_meth_set_write_ex(verbs, on_write);
    BIO_meth_set_ctrl(verbs, on_control);
    BIO_meth_set_create(verbs, on_create);
    return verbs;
  }();
  return made;
}

}  // namespace

BIO* make_bio(OSSL_LIB_CTX* library, BioEnd* end) {
  BIO_METHOD* verbs = method();
  if (verbs == nullptr) return nullptr;
  BIO* bio = BIO_new_ex(library, verbs);
  if (bio != nullptr) BIO_set_data(bio, end);
  return bio;
}

}  // namespace conpool::tls
