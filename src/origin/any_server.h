// AnyServer: a server that finds out from a connection's first bytes what its client speaks: TLS,
// HTTP/1.1, HTTP/2 with prior knowledge, or bytes of its own, which it gets back.
//
//   origin::AnyServer server(loop, [&](const std::string& name) { return context_for(name); });
//   Result<void> listening = server.listen(address);
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "origin/http_server.h"
#include "origin/server.h"

namespace conpool::tls {
class ServerContext;
}

namespace conpool::origin {

// What a connection's first bytes are.
enum class Spoken : uint8_t {
  Unknown,  // more of them will tell
  Tls,      // the whole first record of a handshake is there
  Http,
  Bytes,
};
Spoken spoken_by(std::string_view first);

// The name a TLS client asks for in its first record (RFC 6066 §3); empty when it asks for none, or
// the record is not all of a ClientHello.
std::string asked_name(std::string_view record);

// The context of the server with this name, or this address where the client named none; nullptr
// refuses the client.
using TlsChooser = Callback<std::shared_ptr<tls::ServerContext>(const std::string& name)>;

// A newcomer is listened to until it is clear what it speaks, inside TLS once more, and then served
// by one of two servers for ever. A client whose first bytes could still become HTTP is waited for
// as long as kPatience.
class AnyServer final : private io::ListenHandler {
 public:
  static constexpr Nanos kPatience = 5 * kMillisecond;
  static constexpr size_t kFirstBytes = 32 * 1024;  // more are no request line and no record

  // `contexts` empty: TLS is not understood.
  explicit AnyServer(io::Loop& loop, TlsChooser contexts = nullptr);
  ~AnyServer();
  AnyServer(const AnyServer&) = delete;
  AnyServer& operator=(const AnyServer&) = delete;

  Result<void> listen(const SocketAddress& address);

  HttpServer& http() { return http_; }
  Server& bytes() { return bytes_; }

 private:
  class Newcomer;
  void on_accepted(std::unique_ptr<io::Stream> stream) override;
  void add(std::unique_ptr<io::Stream> stream, bool inside_tls);
  void begin_tls(std::unique_ptr<io::Stream> stream, const std::string& name);
  void end(Newcomer& newcomer);

  io::Loop& loop_;
  TlsChooser contexts_;
  HttpServer http_;
  Server bytes_;
  std::unique_ptr<io::Listener> listener_;
  std::map<uint64_t, std::unique_ptr<Newcomer>> newcomers_;
  uint64_t next_ = 0;
};

}  // namespace conpool::origin
