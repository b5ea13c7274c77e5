// The event ring: what it keeps, what it loses, what it filters.
#include "observe/events.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace conpool::observe {
namespace {

TEST(EventTable, NamesAreUniqueAndWellFormed) {
  std::set<std::string_view> names;
  for (const EventInfo& info : kEventTable) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_NE(info.name.find('.'), std::string_view::npos) << info.name;
    EXPECT_LE(info.name.size(), 25u) << info.name;
    EXPECT_FALSE(info.text.empty()) << info.name;
    EXPECT_EQ(info.text.find('\n'), std::string_view::npos) << info.name;
    EXPECT_FALSE(info.text.ends_with('.')) << info.name;
    EXPECT_TRUE(info.values[1].empty() || !info.values[0].empty()) << info.name;
  }
  EXPECT_EQ(event_info(EventKind::RaceWon).name, "race.won");
}

TEST(EventRing, KeepsTheNewestAndCountsTheRest) {
  EventRing ring(4, EventLevel::DEBUG);
  for (int i = 1; i <= 10; ++i)
    ring.emit({.kind = EventKind::RaceWon, .time = i * 10});
  EXPECT_EQ(ring.recorded(), 10u);
  EXPECT_EQ(ring.overwritten(), 6u);
  const EventRing::Snapshot all = ring.snapshot();
  ASSERT_EQ(all.records.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(all.records[i].sequence, 7 + i);
    EXPECT_EQ(all.records[i].time, static_cast<Time>((7 + i) * 10));
  }
  EXPECT_EQ(all.lost, 6u);
  EXPECT_EQ(all.next, 11u);
}

TEST(EventRing, SnapshotGoesOnWhereTheLastOneEnded) {
  EventRing ring(8, EventLevel::DEBUG);
  for (int i = 0; i < 5; ++i)
    ring.emit({.kind = EventKind::RaceWon});
  EventRing::Snapshot part = ring.snapshot(1, 3);
  EXPECT_EQ(part.records.size(), 3u);
  EXPECT_EQ(part.next, 4u);
  part = ring.snapshot(part.next);
  ASSERT_EQ(part.records.size(), 2u);
  EXPECT_EQ(part.records[0].sequence, 4u);
  EXPECT_EQ(part.lost, 0u);
  part = ring.snapshot(part.next);
  EXPECT_TRUE(part.records.empty());
  EXPECT_EQ(part.next, 6u);
  for (int i = 0; i < 10; ++i)
    ring.emit({.kind = EventKind::RaceWon});
  part = ring.snapshot(part.next);
  EXPECT_EQ(part.lost, 2u);  // 6 and 7 of 15
  EXPECT_EQ(part.records.size(), 8u);
}

TEST(EventRing, AskingBeyondTheEndAnswersNothing) {
  EventRing ring(2, EventLevel::DEBUG);
  ring.emit({.kind = EventKind::RaceWon});
  const EventRing::Snapshot part = ring.snapshot(UINT64_MAX);
  EXPECT_TRUE(part.records.empty());
  EXPECT_EQ(part.next, 2u);
  EXPECT_EQ(ring.snapshot(0).records.size(), 1u);
  EXPECT_EQ(ring.snapshot(1, 0).next, 1u);
}

TEST(EventRing, OneRecordIsEnough) {
  EventRing ring(1, EventLevel::DEBUG);
  ring.emit({.kind = EventKind::RaceWon, .first = 1});
  ring.emit({.kind = EventKind::RaceWon, .first = 2});
  const EventRing::Snapshot part = ring.snapshot();
  ASSERT_EQ(part.records.size(), 1u);
  EXPECT_EQ(part.records[0].values[0], 2);
  EXPECT_EQ(ring.overwritten(), 1u);
}

TEST(EventRing, LevelFilters) {
  EventRing ring(16, EventLevel::WARNING);
  EXPECT_FALSE(ring.wants(EventKind::RaceStarted));  // debug
  EXPECT_FALSE(ring.wants(EventKind::PoolCreated));  // info
  EXPECT_TRUE(ring.wants(EventKind::DialFailed));    // warning
  EXPECT_TRUE(ring.wants(EventKind::MemoryExhausted));
  ring.emit({.kind = EventKind::RaceStarted});
  EXPECT_EQ(ring.recorded(), 0u);
  ring.emit({.kind = EventKind::DialFailed});
  EXPECT_EQ(ring.recorded(), 1u);
  EventRing all(16, EventLevel::DEBUG);
  all.emit({.kind = EventKind::RaceStarted});
  EXPECT_EQ(all.recorded(), 1u);
}

TEST(EventRing, CopiesEveryFieldAndCutsTheTextAtACharacter) {
  EventRing ring(2, EventLevel::DEBUG);
  const std::string text = std::string(95, 'x') + "\xc3\xa9tail";
  ring.emit({.kind = EventKind::DialRetry,
             .time = 5,
             .endpoint = 1,
             .connection = 2,
             .op = 3,
             .status = Status::E_CONNECT_REFUSED,
             .os_error = ECONNREFUSED,
             .first = -7,
             .second = 8,
             .duration = 9,
             .text = text});
  const EventRecord record = ring.snapshot().records.at(0);
  EXPECT_EQ(record.time, 5);
  EXPECT_EQ(record.endpoint, 1u);
  EXPECT_EQ(record.connection, 2u);
  EXPECT_EQ(record.op, 3u);
  EXPECT_EQ(record.status, Status::E_CONNECT_REFUSED);
  EXPECT_EQ(record.os_error, ECONNREFUSED);
  EXPECT_EQ(record.values[0], -7);
  EXPECT_EQ(record.values[1], 8);
  EXPECT_EQ(record.duration, 9);
  EXPECT_EQ(record.level, EventLevel::INFO);
  EXPECT_EQ(record.text_view(), std::string(95, 'x'));
  ring.emit({.kind = EventKind::DialRetry, .text = std::string(96, 'y')});
  EXPECT_EQ(ring.snapshot(2).records.at(0).text_view(), std::string(96, 'y'));
}

TEST(EventRing, TheApplicationsOwnEventsHaveNameAndLevel) {
  EventRing ring(4, EventLevel::WARNING);
  const std::string name(EventRecord::kNameBytes, 'n');
  ring.emit({.kind = EventKind::Application, .name = "cache.miss", .level = EventLevel::INFO});
  EXPECT_EQ(ring.recorded(), 0u);
  ring.emit({.kind = EventKind::Application,
             .text = std::string(200, 't'),
             .name = name,
             .level = EventLevel::ERROR});
  const EventRecord record = ring.snapshot().records.at(0);
  EXPECT_EQ(record.level, EventLevel::ERROR);
  EXPECT_EQ(record.name_view(), name);
  EXPECT_EQ(record.text_view(), std::string(64, 't'));
  ring.emit({.kind = EventKind::Application, .name = "x", .level = EventLevel::WARNING});
  const std::string lines = events_jsonl(ring.snapshot(2).records);
  EXPECT_NE(lines.find("\"level\":\"warning\",\"event\":\"app.x\""), std::string::npos) << lines;
  EXPECT_NE(events_text(ring.snapshot(2).records, 0).find(" app.x"), std::string::npos);
  EXPECT_NE(events_trace(ring.snapshot(2).records).find("\"app.x\""), std::string::npos);
}

TEST(Emitter, FillsInItsIdsAndToleratesNoRing) {
  Emitter none;
  EXPECT_FALSE(none.wants(EventKind::MemoryExhausted));
  none.emit({.kind = EventKind::MemoryExhausted});

  EventRing ring(4, EventLevel::DEBUG);
  const Emitter emitter = Emitter(&ring).with_endpoint(1);
  emitter.emit({.kind = EventKind::RaceWon});
  emitter.emit({.kind = EventKind::RaceWon, .endpoint = 9, .connection = 2, .op = 3});
  const auto records = ring.snapshot().records;
  EXPECT_EQ(records[0].endpoint, 1u);
  EXPECT_EQ(records[0].connection, 0u);
  EXPECT_EQ(records[1].endpoint, 9u);
  EXPECT_EQ(records[1].connection, 2u);
  EXPECT_EQ(records[1].op, 3u);
}

// Readers on other threads see whole records in order, whatever is overwritten meanwhile.
TEST(EventRing, ReadersOnOtherThreadsSeeWholeRecords) {
  constexpr int kEvents = 20000;
  EventRing ring(64, EventLevel::DEBUG);
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&ring] {
      uint64_t next = 1;
      uint64_t seen = 0;
      uint64_t lost = 0;
      while (next <= kEvents) {
        const EventRing::Snapshot part = ring.snapshot(next, 16);
        lost += part.lost;
        seen += part.records.size();
        for (const EventRecord& record : part.records) {
          ASSERT_EQ(record.values[0], static_cast<int64_t>(record.sequence));
          ASSERT_EQ(record.values[1], -record.values[0]);
        }
        next = part.next;
      }
      EXPECT_EQ(seen + lost, static_cast<uint64_t>(kEvents));
    });
  }
  for (int i = 1; i <= kEvents; ++i) {
    ring.emit({.kind = EventKind::RaceWon, .first = i, .second = -i});
  }
  for (std::thread& reader : readers)
    reader.join();
}

}  // namespace
}  // namespace conpool::observe
