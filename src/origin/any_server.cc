// Telling clients apart by what they say first.
#include "origin/any_server.h"

#include <algorithm>

#include "origin/replay_stream.h"
#include "tls/server_stream.h"

namespace conpool::origin {
namespace {

constexpr size_t kRecordHeader = 5;  // RFC 8446 §5.1
constexpr char kHandshake = 22;
constexpr size_t kLongestMethod = 20;

size_t number_at(std::string_view bytes, size_t offset, size_t size) {
  size_t value = 0;
  for (size_t i = 0; i < size; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return value;
}

// Takes a vector whose length stands before it in `prefix` bytes.
bool take_vector(std::string_view* bytes, size_t prefix, std::string_view* out) {
  if (bytes->size() < prefix) return false;
  const size_t size = number_at(*bytes, 0, prefix);
  if (bytes->size() - prefix < size) return false;
  *out = bytes->substr(prefix, size);
  bytes->remove_prefix(prefix + size);
  return true;
}

// "GET /path", so far.
bool may_be_request_line(std::string_view bytes) {
  size_t method = 0;
  while (method < bytes.size() && ((bytes[method] >= 'A' && bytes[method] <= 'Z') ||
                                   bytes[method] == '-' || bytes[method] == '_'))
    ++method;
  if (method > kLongestMethod) return false;
  if (method == bytes.size()) return true;
  return method > 0 && bytes[method] == ' ';
}

}  // namespace

Spoken spoken_by(std::string_view first) {
  if (first.empty()) return Spoken::Unknown;
  if (first[0] == kHandshake) {
    if (first.size() < kRecordHeader) return Spoken::Unknown;
    if (first[1] != 3) return Spoken::Bytes;
    return first.size() - kRecordHeader < number_at(first, 3, 2) ? Spoken::Unknown : Spoken::Tls;
  }
  if (!may_be_request_line(first)) return Spoken::Bytes;
  const size_t end = first.find('\n');
  if (end == std::string_view::npos) return Spoken::Unknown;
  std::string_view line = first.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  for (const std::string_view version : {" HTTP/1.0", " HTTP/1.1", " HTTP/2.0"})
    if (line.ends_with(version)) return Spoken::Http;
  return Spoken::Bytes;
}

std::string asked_name(std::string_view record) {
  constexpr size_t kHelloHeader = 4;
  constexpr size_t kVersionAndRandom = 34;
  constexpr size_t kServerName = 0;
  if (record.size() < kRecordHeader + kHelloHeader + kVersionAndRandom) return "";
  std::string_view rest = record.substr(kRecordHeader + kHelloHeader + kVersionAndRandom);
  std::string_view skipped;
  std::string_view extensions;
  // The session's id, the cipher suites, the compressions.
  if (!take_vector(&rest, 1, &skipped) || !take_vector(&rest, 2, &skipped) ||
      !take_vector(&rest, 1, &skipped) || !take_vector(&rest, 2, &extensions))
    return "";
  while (extensions.size() >= 2) {
    const size_t type = number_at(extensions, 0, 2);
    extensions.remove_prefix(2);
    std::string_view content;
    if (!take_vector(&extensions, 2, &content)) return "";
    if (type != kServerName) continue;
    std::string_view names;
    std::string_view name;
    if (!take_vector(&content, 2, &names) || names.empty() || names[0] != 0) return "";
    names.remove_prefix(1);
    return take_vector(&names, 2, &name) ? std::string(name) : "";
  }
  return "";
}

// One connection until it is known what its client speaks.
class AnyServer::Newcomer final : public io::Discardable, private io::StreamHandler {
 public:
  Newcomer(AnyServer& server, uint64_t number, std::unique_ptr<io::Stream> stream, bool inside_tls)
      : server_(server),
        number_(number),
        stream_(std::move(stream)),
        inside_tls_(inside_tls),
        patience_([this] { hand_over(Spoken::Bytes); }) {}

  uint64_t number() const { return number_; }
  void start() {
    stream_->set_handler(this);
    if (!inside_tls_) stream_->read(true);
  }
  void close() {
    patience_.cancel();
    if (stream_ == nullptr) return;
    stream_->close(true);
    server_.loop_.discard(std::move(stream_));
  }

 private:
  void on_connected() override { stream_->read(true); }
  void on_writable() override {}
  void on_failed(const Failure&) override {
    close();
    server_.end(*this);
  }
  void on_eof() override {
    ended_ = true;
    hand_over(Spoken::Bytes);
  }
  void on_data(Slice data) override {
    first_.append(as_text(data.span()));
    Spoken spoken = spoken_by(first_);
    if (spoken == Spoken::Unknown && first_.size() < kFirstBytes) {
      // A record that has begun will be completed; a line need not be one.
      if (first_[0] != kHandshake && !patience_.armed())
        server_.loop_.arm(patience_, server_.loop_.now() + kPatience);
      return;
    }
    if (spoken == Spoken::Unknown) spoken = Spoken::Bytes;
    hand_over(spoken);
  }

  // Ends this object.
  void hand_over(Spoken spoken) {
    patience_.cancel();
    const bool tls = spoken == Spoken::Tls && !inside_tls_ && server_.contexts_;
    AnyServer& server = server_;
    std::string name = tls ? asked_name(first_) : "";
    if (tls && name.empty()) name = stream_->facts().local.ip_text();
    auto stream =
        std::make_unique<ReplayStream>(server.loop_, std::move(stream_), std::move(first_), ended_);
    server.end(*this);
    if (tls) {
      server.begin_tls(std::move(stream), name);
    } else if (spoken == Spoken::Http) {
      server.http_.adopt(std::move(stream));
    } else {
      server.bytes_.adopt(std::move(stream));
    }
  }

  AnyServer& server_;
  const uint64_t number_;
  std::unique_ptr<io::Stream> stream_;
  const bool inside_tls_;
  bool ended_ = false;
  std::string first_;
  Timer patience_;
};

AnyServer::AnyServer(io::Loop& loop, TlsChooser contexts)
    : loop_(loop), contexts_(std::move(contexts)), http_(loop), bytes_(loop) {}

AnyServer::~AnyServer() {
  if (listener_ != nullptr) {
    listener_->close();
    loop_.discard(std::unique_ptr<io::Discardable>(std::move(listener_)));
  }
  for (auto& [number, newcomer] : newcomers_) {
    newcomer->close();
    loop_.discard(std::unique_ptr<io::Discardable>(std::move(newcomer)));
  }
}

Result<void> AnyServer::listen(const SocketAddress& address) {
  Result<std::unique_ptr<io::Listener>> listener = loop_.listen(address, Acceptor::kBacklog, this);
  if (!listener) return fail(std::move(listener).error());
  listener_ = std::move(*listener);
  return {};
}

void AnyServer::on_accepted(std::unique_ptr<io::Stream> stream) {
  add(std::move(stream), false);
}

void AnyServer::add(std::unique_ptr<io::Stream> stream, bool inside_tls) {
  const uint64_t number = next_++;
  auto newcomer = std::make_unique<Newcomer>(*this, number, std::move(stream), inside_tls);
  Newcomer& started = *newcomer;
  newcomers_.emplace(number, std::move(newcomer));
  started.start();
}

void AnyServer::begin_tls(std::unique_ptr<io::Stream> stream, const std::string& name) {
  const std::shared_ptr<tls::ServerContext> context = contexts_(name);
  if (context == nullptr) {
    stream->close(true);
    return loop_.discard(std::move(stream));
  }
  Result<std::unique_ptr<tls::ServerStream>> secured =
      tls::ServerStream::make(loop_, std::move(stream), context);
  if (secured) add(std::move(*secured), true);
}

void AnyServer::end(Newcomer& newcomer) {
  auto node = newcomers_.extract(newcomer.number());
  loop_.discard(std::unique_ptr<io::Discardable>(std::move(node.mapped())));
}

}  // namespace conpool::origin
