// Ops that wait while the breaker is open, and the trials that half-open lets through.
#include "sim/resilience_world.h"

namespace conpool::sim {
namespace {

// One connection, and a server that resets every request after 100 ms: each of the first ten
// requests fails on its own, the others queue.
struct Queued : Outage {
  explicit Queued(const OptionList& options, size_t count = 60)
      : Outage(Wire::Http1, options + OptionList{{"endpoint.max_connections", "1"}}) {
    fault(HttpFault::Reset, ms(100));
    queued = start_many(count);
  }
  std::vector<conpool_op> queued;
};

TEST(BreakerQueue, AllWhoQueueWhenItOpensEndInOneInstantWithTheTimeOfTheNextTrial) {
  Outage s(Wire::Http1, kExact + OptionList{{"endpoint.max_connections", "1"}});
  s.fault(HttpFault::Reset, ms(100));
  std::vector<conpool_op> ops;
  for (int i = 0; i < 60; ++i)
    ops.push_back(s.begin());
  std::vector<Ended> ends;
  for (const conpool_op op : ops)
    ends.push_back(s.end_of(op));
  const Time opened = ends[9].at;
  for (size_t i = 0; i < ends.size(); ++i) {
    SCOPED_TRACE(i);
    if (i < 10) {
      EXPECT_EQ(ends[i].name(), "E_HTTP_NO_RESPONSE");
      continue;
    }
    EXPECT_EQ(ends[i].name(), "E_BREAKER_OPEN");
    EXPECT_EQ(ends[i].at, opened);
    EXPECT_EQ(ends[i].retry_after, 5 * kSecond);
    EXPECT_NE(ends[i].line.find("the last failure was: the connection ended"), std::string::npos);
  }
  EXPECT_EQ(s.requests(), 10u);
  EXPECT_EQ(s.metric("pool.breaker.refused"), 50);
  EXPECT_EQ(s.metric("pool.waiters.waiting"), 0);
}

TEST(BreakerQueue, WithWaitTheyAreServedInTheirOrderAfterItCloses) {
  Queued s(kExactWait);
  for (size_t i = 0; i < 10; ++i)
    EXPECT_LT(s.finish(s.queued[i]).status, 0);
  const Time opened = s.now();
  EXPECT_EQ(s.metric("pool.waiters.parked"), 50);
  EXPECT_EQ(s.metric("pool.waiters.waiting"), 0);
  EXPECT_TRUE(s.explains("50 ops wait for it")) << s.explain();
  s.answer(200);
  for (size_t i = 10; i < 60; ++i)
    EXPECT_EQ(s.finish(s.queued[i]).code, 200) << i;
  const auto& log = s.server->log();
  ASSERT_EQ(log.size(), 60u);
  for (size_t i = 0; i < log.size(); ++i)
    EXPECT_EQ(log[i]->id, std::to_string(i));
  // At the instant of the trial a connection was dialed (10 ms), then its request left.
  EXPECT_EQ(s.asked_at(10), opened + 5 * kSecond + ms(15));
  EXPECT_EQ(s.metric("pool.waiters.parked"), 0);
  EXPECT_EQ(s.metric("pool.breaker.trials"), 3);
}

TEST(BreakerQueue, WhoCannotBeInTimeForTheTrialLeavesAtOnce) {
  for (const char* option : {"queue.timeout", "total.timeout"}) {
    SCOPED_TRACE(option);
    Outage s(Wire::Http1, kExactWait);
    const Time opened = s.fail();
    const Ended late = s.ask({{option, "5s"}});
    EXPECT_EQ(late.name(), "E_BREAKER_OPEN");
    EXPECT_EQ(late.at, opened);
    EXPECT_EQ(late.retry_after, 5 * kSecond);
    EXPECT_EQ(s.metric("pool.waiters.shed"), 1);
    s.answer(200);
    const Ended in_time = s.ask({{option, "5100ms"}});
    EXPECT_EQ(in_time.code, 200);
    EXPECT_EQ(in_time.at, opened + 5 * kSecond + ms(10));
    EXPECT_EQ(s.metric("pool.waiters.shed"), 1);
  }
}

TEST(BreakerQueue, WhoWaitsLeavesWhenItOpensAgainForLonger) {
  Outage s(Wire::Http1, kExactWait);
  const Time opened = s.fail();
  // Three bad trials at 5 s open it for 10 s more: too long for one, not for the other.
  std::vector<conpool_op> trials;
  for (int i = 0; i < 3; ++i)
    trials.push_back(s.begin());
  const conpool_op hasty = s.begin({{"queue.timeout", "9s"}});
  const conpool_op patient = s.begin({{"queue.timeout", "20s"}});
  for (const conpool_op op : trials)
    EXPECT_EQ(s.end_of(op).code, 503);
  EXPECT_EQ(s.now(), opened + 5 * kSecond + ms(30));
  const Ended left = s.end_of(hasty, ms(1));
  EXPECT_EQ(left.name(), "E_BREAKER_OPEN");
  EXPECT_EQ(left.at, opened + 5 * kSecond + ms(30));
  EXPECT_EQ(left.retry_after, 10 * kSecond);
  EXPECT_EQ(s.metric("pool.waiters.shed"), 1);
  s.answer(200);
  EXPECT_EQ(s.end_of(patient).code, 200);
}

TEST(BreakerQueue, DeadlinesHoldWhileATrialHangs) {
  Outage s(Wire::Http1, kExactWait + OptionList{{"breaker.trial_lease", "60s"}});
  const Time opened = s.fail();
  s.fault(HttpFault::Silence);
  const conpool_op trial = s.begin();
  const conpool_op total = s.begin({{"total.timeout", "7s"}});
  const conpool_op queue = s.begin({{"queue.timeout", "8s"}});
  const Ended first = s.end_of(total);
  EXPECT_EQ(first.name(), "E_TIMEOUT");
  EXPECT_EQ(first.at, opened + 7 * kSecond);
  const Ended second = s.end_of(queue);
  EXPECT_EQ(second.name(), "E_BREAKER_OPEN");
  EXPECT_EQ(second.at, opened + 8 * kSecond);
  EXPECT_NE(second.line.find("a trial is under way"), std::string::npos) << second.line;
  EXPECT_EQ(second.retry_after, 57 * kSecond);  // the end of its lease
  EXPECT_EQ(s.metric("pool.waiters.parked"), 0);
  EXPECT_LT(s.end_of(trial).status, 0);
}

TEST(BreakerQueue, AnOpThatWaitedForItHasAllItsTimeToDial) {
  Outage s(Wire::Http1, kExactWait + OptionList{{"dial.timeout", "2s"},
                                                {"pool.idle_timeout", "1s"},
                                                {"breaker.open", "8s"}});
  s.fail();
  s.answer(200);
  const Ended ended = s.ask();
  EXPECT_EQ(ended.code, 200) << ended.report;
}

TEST(BreakerQueue, CancelEndsTheWaitAtOnce) {
  Outage s(Wire::Http1, kExactWait);
  s.fail();
  const conpool_op op = s.begin();
  const conpool_op next = s.begin();
  s.run_for(kSecond);
  EXPECT_EQ(s.metric("pool.waiters.parked"), 2);
  conpool_op_cancel(op);
  const Ended ended = s.end_of(op, ms(1));
  EXPECT_EQ(ended.name(), "E_CANCELLED");
  EXPECT_EQ(s.metric("pool.waiters.parked"), 1);
  s.answer(200);
  EXPECT_EQ(s.end_of(next).code, 200);
}

TEST(BreakerQueue, ClosingThePoolEndsTheWait) {
  Outage s(Wire::Http1, kExactWait);
  s.fail();
  std::vector<conpool_op> ops;
  for (int i = 0; i < 20; ++i)
    ops.push_back(s.begin());
  s.run_for(ms(100));
  const Time closed = s.now();
  const conpool_op closing = s.close_pool(10 * kSecond);
  for (const conpool_op op : ops) {
    const Ended ended = s.end_of(op, kSecond);
    EXPECT_EQ(ended.name(), "E_CLOSED");
    EXPECT_EQ(ended.at, closed);
  }
  EXPECT_EQ(s.wait(closing).status, 0);
  EXPECT_EQ(s.now(), closed);
}

TEST(BreakerQueue, FreeingThePoolEndsTheWait) {
  Outage s(Wire::Http1, kExactWait);
  s.fail();
  for (int i = 0; i < 20; ++i)
    (void)s.begin();
  (void)s.start_many(20);
  s.run_for(ms(100));
  s.close();  // checks that nothing is left
}

TEST(BreakerQueue, ItsLengthIsBounded) {
  Outage s(Wire::Http1, kExactWait + OptionList{{"endpoint.max_waiters", "5"}});
  s.fail();
  std::vector<conpool_op> ops;
  for (int i = 0; i < 5; ++i)
    ops.push_back(s.begin());
  const Ended sixth = s.ask();
  EXPECT_EQ(sixth.name(), "E_WAITERS_LIMIT");
  EXPECT_NE(sixth.line.find("5 ops wait already"), std::string::npos) << sixth.line;
  s.answer(200);
  for (const conpool_op op : ops)
    EXPECT_EQ(s.end_of(op).code, 200);
}

TEST(BreakerQueue, ForcedClosedItLetsAllOfThemIn) {
  Outage s(Wire::H2c, kExactWait);
  s.fail();
  s.answer(200);
  const std::vector<conpool_op> ops = s.start_many(40);
  s.run_for(kSecond);
  const Time forced = s.now();
  EXPECT_EQ(s.force("closed"), 0);
  for (const conpool_op op : ops) {
    const Reply& reply = s.finish(op, kSecond);
    EXPECT_TRUE(reply.ok()) << reply.report;
    EXPECT_EQ(reply.at, forced + ms(10));
  }
}

// --- trials --------------------------------------------------------------------------------------

TEST(BreakerTrial, AHundredWhoWaitMakeOneTrialAtATime) {
  for (const Wire wire : {Wire::Http1, Wire::H2c, Wire::H2}) {
    SCOPED_TRACE(wire_name(wire));
    Outage s(wire, kExactWait);
    const Time opened = s.fail();
    s.answer(200, ms(100));
    const std::vector<conpool_op> ops = s.start_many(100);
    // 5 ms there, 100 ms, 5 ms back; then the next.
    for (int64_t i = 0; i < 3; ++i) {
      const Time sent = opened + 5 * kSecond + i * ms(110);
      s.run_until(sent + ms(109));
      EXPECT_EQ(s.requests(), 11u + static_cast<uint64_t>(i));
      EXPECT_EQ(s.asked_at(10 + static_cast<size_t>(i)), sent + ms(5));
    }
    s.finish_all();
    EXPECT_EQ(s.requests(), 110u);
    for (const conpool_op op : ops)
      EXPECT_EQ(s.reply(op).code, 200);
    EXPECT_EQ(s.metric("pool.breaker.trials"), 3);
  }
}

TEST(BreakerTrial, AsManyAtOnceAsTheOptionSays) {
  Outage s(Wire::H2c, kExactWait + OptionList{{"breaker.trials", "2"}});
  const Time opened = s.fail();
  s.answer(200, ms(100));
  (void)s.start_many(20);
  s.run_until(opened + 5 * kSecond + ms(109));
  EXPECT_EQ(s.requests(), 12u);
  s.run_for(ms(10));
  EXPECT_EQ(s.requests(), 14u);
  s.finish_all();
  EXPECT_EQ(s.requests(), 30u);
}

TEST(BreakerTrial, TheOthersAreToldThatOneIsUnderWay) {
  Outage s(Wire::Http1);
  s.fail();
  s.answer(200, kSecond);
  s.run_for(5 * kSecond);
  const conpool_op trial = s.begin();
  s.run_for(ms(100));
  const Ended refused = s.ask();
  EXPECT_EQ(refused.name(), "E_BREAKER_OPEN");
  EXPECT_NE(refused.line.find("a trial is under way, the next one in 29.9s at the latest"),
            std::string::npos)
      << refused.line;
  EXPECT_EQ(refused.retry_after, ms(29'900));
  EXPECT_TRUE(s.explains("breaker: half-open, 1 trials under way")) << s.explain();
  EXPECT_EQ(s.metric("pool.breaker.half_open"), 1);
  EXPECT_EQ(s.end_of(trial).code, 200);
}

TEST(BreakerTrial, OneThatComesToNothingGivesItsPlaceBackAtOnce) {
  const auto half_open = [](Outage& s) {
    s.fail();
    s.run_for(5 * kSecond);
  };
  const auto expect_next = [](Outage& s, const char* what) {
    EXPECT_EQ(s.metric("pool.breaker.half_open"), 1) << what;
    s.answer(200);
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(s.ask().code, 200) << what;
    EXPECT_EQ(s.metric("pool.breaker.closed"), 1) << what;
  };
  for (const Wire wire : {Wire::Http1, Wire::H2c}) {
    SCOPED_TRACE(wire_name(wire));
    {
      Outage s(wire);
      half_open(s);
      s.fault(HttpFault::Silence);
      const conpool_op op = s.begin();
      s.run_for(ms(100));
      conpool_op_cancel(op);
      (void)s.end_of(op);
      expect_next(s, "cancelled");
    }
    {
      Outage s(wire);
      half_open(s);
      s.fault(HttpFault::Silence);
      EXPECT_EQ(s.ask({{"total.timeout", "100ms"}}).name(), "E_TIMEOUT");
      expect_next(s, "the caller's deadline");
    }
    {
      Outage s(wire);
      half_open(s);
      s.answer(429);
      EXPECT_EQ(s.ask().code, 429);
      expect_next(s, "429");
    }
    {
      Outage s(wire);
      half_open(s);
      s.fault(HttpFault::Reset);
      EXPECT_LT(s.ask().status, 0);  // a failure, and two more may come
      expect_next(s, "reset");
    }
    {
      Outage s(wire, kExact + OptionList{{"pool.idle_timeout", "1s"}});
      half_open(s);
      s.network.fail_connects(1, 24);
      EXPECT_EQ(s.ask().name(), "E_FD_LIMIT");
      s.run_for(ms(500));
      expect_next(s, "no descriptor");
    }
    {
      Outage s(wire, kExact + OptionList{{"pool.idle_timeout", "1s"}});
      half_open(s);
      s.network.host("192.0.2.1").syn = io::SimSyn::Drop;
      const conpool_op op = s.begin();
      s.run_for(ms(100));
      conpool_op_cancel(op);
      (void)s.end_of(op);
      s.network.host("192.0.2.1").syn = io::SimSyn::Answer;
      expect_next(s, "cancelled while dialing");
    }
  }
}

TEST(BreakerTrial, OneThatIsLostIsGivenToSomebodyElseAfterItsLease) {
  Outage s(Wire::Http1, kExactWait + OptionList{{"first_byte.timeout", "0"},
                                                {"total.timeout", "0"},
                                                {"queue.timeout", "1h"},
                                                {"breaker.trial_lease", "30s"}});
  const Time opened = s.fail();
  s.server->set_answer_chooser([](const HttpRequest& request) {
    return request.ordinal == 10 ? fault_answer(HttpFault::Silence) : status_answer(200);
  });
  const conpool_op lost = s.begin();
  const conpool_op next = s.begin();
  const Ended ended = s.end_of(next);
  EXPECT_EQ(ended.code, 200);
  EXPECT_EQ(ended.at, opened + 35 * kSecond + ms(20));  // on a connection of its own
  conpool_op_cancel(lost);
  (void)s.end_of(lost);
  EXPECT_EQ(s.ask().code, 200);
  EXPECT_EQ(s.ask().code, 200);
  EXPECT_EQ(s.metric("pool.breaker.closed"), 1);
}

TEST(BreakerTrial, ThreeBadOnesOpenItForTwiceAsLong) {
  for (const Wire wire : {Wire::Http1, Wire::H2}) {
    Outage s(wire);
    s.fail();
    s.run_for(5 * kSecond);
    EXPECT_EQ(s.get().code, 503);
    EXPECT_EQ(s.get().code, 503);
    EXPECT_EQ(s.metric("pool.breaker.opened"), 1);
    EXPECT_EQ(s.get().code, 503);
    EXPECT_EQ(s.metric("pool.breaker.opened"), 2);
    EXPECT_EQ(s.ask().retry_after, 10 * kSecond);
  }
}

TEST(BreakerTrial, DialsThatFailAreBadTrials) {
  Outage s(Wire::Http1, kExactWait + OptionList{{"queue.timeout", "10min"},
                                                {"total.timeout", "0"},
                                                {"pool.idle_timeout", "1s"}});
  const Time opened = s.fail();
  s.network.host("192.0.2.1").syn = io::SimSyn::Refuse;
  std::vector<conpool_op> ops;
  for (int i = 0; i < 10; ++i)
    ops.push_back(s.begin());
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(s.end_of(ops[i]).name(), "E_CONNECT_REFUSED");
  EXPECT_LT(s.now(), opened + 8 * kSecond);
  s.network.host("192.0.2.1").syn = io::SimSyn::Answer;
  s.answer(200);
  for (size_t i = 3; i < ops.size(); ++i)
    EXPECT_EQ(s.end_of(ops[i]).code, 200) << i;
  EXPECT_EQ(s.metric("pool.breaker.opened"), 2);
}

}  // namespace
}  // namespace conpool::sim
