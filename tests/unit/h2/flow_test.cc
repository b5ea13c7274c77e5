// Flow control: windows follow consumption, a stalled stream stalls alone, windows grow.
#include <malloc.h>

#include "rig.h"

namespace conpool::h2::test {
namespace {

// Bytes a server may still send to the stream.
struct Windows {
  explicit Windows(int64_t initial_) : initial(initial_) {}
  int64_t initial;
  int64_t connection = 65535;
  std::map<int32_t, int64_t> streams;

  void take(const std::vector<Frame>& frames) {
    for (const Frame& one : frames) {
      if (one.type == NGHTTP2_HEADERS) streams[one.stream] = initial;
      if (one.type == NGHTTP2_RST_STREAM) streams.erase(one.stream);
      if (one.type != NGHTTP2_WINDOW_UPDATE) continue;
      if (one.stream == 0) {
        connection += one.code();
      } else if (streams.contains(one.stream)) {
        streams[one.stream] += one.code();
      }
    }
  }
};

// Sends as much as the windows allow.
size_t push(Rig& rig, Windows& windows, int32_t stream, size_t most) {
  size_t sent = 0;
  while (sent < most) {
    const int64_t room = std::min({windows.connection, windows.streams[stream], int64_t{16384},
                                   static_cast<int64_t>(most - sent)});
    if (room <= 0) break;
    rig.feed(data(stream, std::string(static_cast<size_t>(room), 'x'), false));
    windows.connection -= room;
    windows.streams[stream] -= room;
    sent += static_cast<size_t>(room);
    windows.take(rig.sent());
  }
  return sent;
}

TEST(H2Flow, OneStalledReaderAmongFifty) {
  Rig rig;
  rig.values.h2_stream_window = 100000;
  rig.values.h2_connection_window = 200000;
  rig.values.h2_window_max = 200000;
  rig.open();
  rig.feed(settings() + settings_ack());
  Windows windows(100000);
  windows.take(rig.sent());
  EXPECT_EQ(windows.connection, 200000);
  for (int i = 0; i < 50; ++i)
    rig.get().holds = i == 7 || i == 8;
  rig.turn();
  windows.take(rig.sent());
  std::string heads;
  for (int i = 0; i < 50; ++i)
    heads += response(2 * i + 1, "200", false);
  rig.feed(heads);
  for (int i = 0; i < 50; ++i) {
    const size_t sent = push(rig, windows, 2 * i + 1, 1000000);
    EXPECT_EQ(sent, i == 7 || i == 8 ? 100000U : 1000000U) << i;
  }
  // Nothing more for the stalled ones, whatever happens elsewhere; then half of it is read.
  EXPECT_EQ(push(rig, windows, 15, 1), 0U);
  Call& stalled = *rig.calls[7];
  EXPECT_EQ(stalled.held, 100000U);
  stalled.exchange->consumed(60000);
  rig.turn();
  windows.take(rig.sent());
  EXPECT_EQ(push(rig, windows, 15, 1000000), 60000U);
  EXPECT_EQ(push(rig, windows, 17, 1), 0U);
  EXPECT_GT(windows.connection, 100000);
}

TEST(H2Flow, MemoryStaysUnderTheSumOfTheWindows) {
  Rig rig;
  rig.values.h2_stream_window = 100000;
  rig.open();
  rig.feed(settings() + settings_ack());
  Windows windows(100000);
  windows.take(rig.sent());
  for (int i = 0; i < 50; ++i)
    rig.get().holds = true;
  rig.turn();
  windows.take(rig.sent());
  size_t held = 0;
  for (int i = 0; i < 50; ++i) {
    rig.feed(response(2 * i + 1, "200", false));
    held += push(rig, windows, 2 * i + 1, 1U << 30);
  }
  EXPECT_EQ(held, 50U * 100000U);
}

TEST(H2Flow, AServerThatIgnoresTheWindowIsCutOff) {
  Rig rig;
  rig.values.h2_stream_window = 65535;
  rig.values.h2_window_max = 65535;
  rig.open();
  rig.feed(settings() + settings_ack());
  Call& call = rig.get();
  Call& other = rig.get();
  call.holds = true;
  rig.turn();
  rig.feed(response(1, "200", false));
  for (int i = 0; i < 50; ++i)
    rig.feed(data(1, std::string(16384, 'x'), false));
  ASSERT_TRUE(call.done);
  EXPECT_EQ(call.status(), Status::E_H2_PROTOCOL);
  EXPECT_EQ(call.end.failure.h2_error, static_cast<uint32_t>(NGHTTP2_FLOW_CONTROL_ERROR));
  EXPECT_LE(call.received.size(), 65535U + 16384U);
  EXPECT_FALSE(other.done);
}

TEST(H2Flow, PaddingGivesItsWindowBack) {
  Rig rig;
  rig.values.h2_stream_window = 65535;
  rig.values.h2_connection_window = 65535;
  rig.open();
  rig.feed(settings() + settings_ack());
  Call& call = rig.get();
  rig.turn();
  rig.feed(response(1, "200", false));
  rig.sent();
  const std::string padded = std::string(1, '\xff') + "x" + std::string(255, '\0');
  uint64_t given = 0;
  for (int i = 0; i < 1000; ++i) {
    rig.feed(frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, padded));
    for (const Frame& one : rig.sent()) {
      if (one.type == NGHTTP2_WINDOW_UPDATE && one.stream == 1) given += one.code();
    }
  }
  EXPECT_EQ(call.received.size(), 1000U);
  EXPECT_GT(given, 200000U);
}

// A path of 100 ms whose server always fills the window: it doubles each round trip to its most,
// and the transfer with it.
TEST(H2Flow, WindowsGrowWithThePath) {
  Rig rig;
  constexpr Nanos kTrip = 100 * kMillisecond;
  rig.open();
  rig.pass(kTrip);
  rig.feed(settings() + settings_ack());
  EXPECT_EQ(rig.session->rtt(), kTrip);
  Windows windows(1 << 20);
  windows.take(rig.sent());
  rig.get();
  rig.turn();
  windows.take(rig.sent());
  rig.feed(response(1, "200", false));
  std::vector<size_t> trips;
  for (int i = 0; i < 12; ++i) {
    // One flight: what the windows allowed a trip ago.
    const int64_t flight = std::min(windows.connection, windows.streams[1]);
    std::vector<Frame> updates;
    for (int64_t left = flight; left > 0; left -= 16384) {
      const auto size = static_cast<size_t>(std::min<int64_t>(left, 16384));
      rig.feed(data(1, std::string(size, 'x'), false));
      for (Frame& one : rig.sent())
        updates.push_back(std::move(one));
    }
    windows.connection -= flight;
    windows.streams[1] -= flight;
    trips.push_back(static_cast<size_t>(flight));
    rig.pass(kTrip);
    windows.take(updates);
  }
  EXPECT_LE(trips.front(), 1U << 20);
  EXPECT_GT(trips.back(), 7U << 20);
  EXPECT_LE(trips.back(), 16U << 20);
}

TEST(H2Flow, AReaderThatIsBehindGetsNoLargerWindow) {
  Rig rig;
  rig.values.h2_stream_window = 100000;
  rig.open();
  rig.pass(kMillisecond);
  rig.feed(settings() + settings_ack());
  Windows windows(100000);
  windows.take(rig.sent());
  Call& call = rig.get();
  call.holds = true;
  rig.turn();
  windows.take(rig.sent());
  rig.feed(response(1, "200", false));
  for (int i = 0; i < 100; ++i) {
    push(rig, windows, 1, 40000);
    rig.pass(kMillisecond / 2);
  }
  EXPECT_EQ(call.held, 100000U);
}

TEST(H2Flow, ASlowPathKeepsItsWindow) {
  Rig rig;
  rig.open();
  rig.pass(100 * kMillisecond);
  rig.feed(settings() + settings_ack());
  rig.get();
  rig.turn();
  rig.sent();
  rig.feed(response(1, "200", false));
  uint64_t given = 0;
  for (int i = 0; i < 1000; ++i) {
    rig.feed(data(1, std::string(10000, 'x'), false));
    rig.pass(10 * kMillisecond);  // 100 KB each round trip, a tenth of the window
    for (const Frame& one : rig.sent()) {
      if (one.stream == 1) given += one.code();
    }
  }
  EXPECT_LE(given, 10'000'000U);
}

TEST(H2Flow, NegativeSendWindows) {
  Rig rig;
  rig.open_with(settings());
  Call& call = rig.post(std::string(100000, 'x'));
  rig.turn();
  EXPECT_EQ(call.body.taken, 65535U);
  // The server takes its word back, then pays the debt.
  rig.feed(settings(setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0)) + window_update(0, 1000000));
  EXPECT_EQ(call.body.taken, 65535U);
  rig.feed(window_update(1, 65535));
  EXPECT_EQ(call.body.taken, 65535U);
  rig.feed(window_update(1, 1));
  EXPECT_EQ(call.body.taken, 65536U);
  rig.feed(window_update(1, 100000));
  EXPECT_EQ(call.log, "sent ");
}

}  // namespace
}  // namespace conpool::h2::test
