// Injector: carries out one pool's plan, over whichever world its loop belongs to.
#pragma once

#include <memory>
#include <unordered_map>

#include "fault/fault_stream.h"
#include "fault/http2_layer.h"
#include "fault/plan.h"
#include "io/tap.h"
#include "observe/counters.h"
#include "observe/events.h"

namespace conpool::fault {

// A lease that is about to be given.
struct SendPoint {
  std::string_view endpoint;  // "localhost:8088"
  SocketAddress peer;
  uint64_t stream = 0;   // StreamFacts::tapped of the connection
  uint64_t request = 0;  // its ordinal, in the order of asking
  uint32_t attempt = 1;  // which lease of this request
  bool alone = true;     // nobody else holds a lease of the connection
  // For the event.
  uint64_t endpoint_id = 0;
  uint64_t connection_id = 0;
  uint64_t op = 0;
};

// Lives on the loop's thread, from before the first connect on. Streams that outlive it pass
// everything on.
class Injector final : public io::Tap, private StreamOwner {
 public:
  Injector(Plan plan, uint64_t seed, io::Loop& loop, observe::Emitter events,
           observe::Metrics& figures);
  ~Injector();
  Injector(const Injector&) = delete;
  Injector& operator=(const Injector&) = delete;

  // Arms what the plan has for this send.
  void before_send(const SendPoint& point);

  // For the stream that an HTTP/2 session is about to be made on.
  std::unique_ptr<io::Stream> wrap_http2(std::unique_ptr<io::Stream> stream);

  // --- io::Tap
  Result<std::unique_ptr<io::Stream>> connect(const SocketAddress& peer,
                                              const io::ConnectOptions& options) override;
  std::unique_ptr<io::DnsExchange> exchange(io::DnsQuery query, io::DnsCallback done) override;

 private:
  struct Live {
    FaultStream* stream = nullptr;
    Http2Layer* http2 = nullptr;
    std::string target;

    void leave();
  };

  // --- StreamOwner
  Result<std::unique_ptr<io::Stream>> open(const SocketAddress& peer,
                                           const io::ConnectOptions& options) override {
    return pass_connect(loop_, peer, options);
  }
  void alerted(uint64_t stream) override;
  void forget(uint64_t stream) override;
  void forget_http2(uint64_t stream) override;

  Opening opening_of(const SocketAddress& peer, const io::ConnectOptions& options);
  Nanos age() const { return loop_.now() - began_; }
  void tell(Kind kind, uint64_t ordinal, std::string_view target, const SendPoint* point = nullptr);

  const Plan plan_;
  const uint64_t seed_;
  io::Loop& loop_;
  const observe::Emitter events_;
  observe::Metrics& figures_;
  const Time began_;
  uint64_t connects_ = 0;
  uint64_t lookups_ = 0;
  uint64_t sends_ = 0;
  std::unordered_map<uint64_t, Live> live_;  // by the connect's ordinal
};

}  // namespace conpool::fault
