// Certificates and handshakes as bounded text.
#include "tls/facts.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <ctime>
#include <memory>
#include <string_view>

namespace conpool::tls {

namespace {

std::string escaped(std::string_view raw) {
  std::string text;
  for (const char c : raw) {
    if (text.size() >= kMaxNameText) return text + "...";
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text.push_back(c);
    } else {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02X", byte);
      text += hex;
    }
  }
  return text;
}

std::string general_name_text(const GENERAL_NAME* name) {
  int type = 0;
  const void* value = GENERAL_NAME_get0_value(name, &type);
  const auto* bytes = static_cast<const ASN1_STRING*>(value);
  if (type != GEN_DNS && type != GEN_IPADD) return {};
  const unsigned char* data = ASN1_STRING_get0_data(bytes);
  const auto size = static_cast<size_t>(ASN1_STRING_length(bytes));
  if (type == GEN_DNS) return escaped({reinterpret_cast<const char*>(data), size});
  char text[INET6_ADDRSTRLEN] = "";
  if (size == 4) inet_ntop(AF_INET, data, text, sizeof text);
  if (size == 16) inet_ntop(AF_INET6, data, text, sizeof text);
  return text;
}

std::string names_text(X509* certificate) {
  std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  if (names == nullptr) return " none";
  std::string text;
  size_t shown = 0;
  const int count = sk_GENERAL_NAME_num(names.get());
  for (int i = 0; i < count; ++i) {
    const std::string one = general_name_text(sk_GENERAL_NAME_value(names.get(), i));
    if (one.empty()) continue;
    if (++shown > kMaxNames) return text + " ...";
    text += " " + one;
  }
  return text.empty() ? " none" : text;
}

}  // namespace

std::string name_text(const X509_NAME* name) {
  if (name == nullptr) return {};
  std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  if (out == nullptr) return {};
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  if (size <= 0) return {};
  return escaped({data, static_cast<size_t>(size)});
}

std::string time_text(const ASN1_TIME* time) {
  std::tm tm{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &tm) != 1) return "unknown";
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
  return text;
}

std::string certificate_text(X509* certificate) {
  if (certificate == nullptr) return "no certificate";
  return "subject " + name_text(X509_get_subject_name(certificate)) + ", issuer " +
         name_text(X509_get_issuer_name(certificate)) + ", names" + names_text(certificate) +
         ", valid " + time_text(X509_get0_notBefore(certificate)) + " to " +
         time_text(X509_get0_notAfter(certificate));
}

TlsFacts read_facts(SSL* ssl) {
  TlsFacts facts;
  facts.version = SSL_get_version(ssl);
  const char* cipher = SSL_get_cipher_name(ssl);
  facts.cipher = cipher != nullptr ? cipher : "";
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  if (size > 0) facts.alpn.assign(reinterpret_cast<const char*>(protocol), size);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  facts.server_name = name != nullptr ? name : "";
  facts.resumed = SSL_session_reused(ssl) == 1;
  if (X509* peer = SSL_get0_peer_certificate(ssl)) {
    facts.peer_subject = name_text(X509_get_subject_name(peer));
    facts.peer_issuer = name_text(X509_get_issuer_name(peer));
    facts.peer_not_before = time_text(X509_get0_notBefore(peer));
    facts.peer_not_after = time_text(X509_get0_notAfter(peer));
    facts.verified =
        SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && SSL_get_verify_result(ssl) == X509_V_OK;
  }
  return facts;
}

}  // namespace conpool::tls
