// Names: the program as resolver, the backends, and what errors tell of lookups.
#include <netdb.h>

#include <cstring>

#include "support.h"

namespace capi_test {
namespace {

constexpr size_t kNul = CONPOOL_NUL_TERMINATED;

// Answers lookups on a thread of its own, as a program would.
class Answerer {
 public:
  using Answer = std::function<void(conpool_lookup* lookup)>;
  Answerer(const PoolPtr& pool, Answer answer)
      : queue_(make_queue(pool)), answer_(std::move(answer)) {
    EXPECT_EQ(conpool_pool_set_resolver(pool.get(), queue_.get(), 42), CONPOOL_OK);
    thread_ = std::thread([this] {
      conpool_event event{};
      while (conpool_queue_next(queue_.get(), &event, 1, kLong) >= 0) {
        if (event.kind != CONPOOL_EVENT_LOOKUP) continue;
        EXPECT_EQ(event.user_data, 42u);
        auto* lookup = static_cast<conpool_lookup*>(std::exchange(event.object, nullptr));
        EXPECT_EQ(event.value[0], static_cast<uint64_t>(conpool_lookup_family(lookup)));
        ++asked_;
        answer_(lookup);
        conpool_event_dispose(&event);
      }
    });
  }
  ~Answerer() {
    conpool_queue_close(queue_.get());
    thread_.join();
  }
  int asked() const { return asked_; }

 private:
  QueuePtr queue_;
  Answer answer_;
  std::atomic<int> asked_{0};
  std::thread thread_;
};

PoolPtr queue_pool(Options more = {}) {
  more.emplace_back("dns.backend", "queue");
  return make_pool(more);
}

std::string url_of(const std::string& host, const Server& server) {
  return "tcp://" + host + ":" + std::to_string(server.port());
}

TEST(Application, Answers) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool();
  std::mutex mutex;
  std::string names;
  Answerer answerer(pool, [&](conpool_lookup* lookup) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      names += std::string(conpool_lookup_name(lookup)) + " ";
    }
    if (conpool_lookup_family(lookup) == 4) {
      EXPECT_EQ(conpool_lookup_answer(lookup, "127.0.0.1", kNul), CONPOOL_OK);
    } else {
      EXPECT_EQ(conpool_lookup_answer(lookup, "", 0), CONPOOL_OK);  // the name has none
    }
  });
  const EndpointPtr endpoint = make_endpoint(pool, url_of("Cache.Internal.", server));
  conpool_connection* c = lease(endpoint);
  EXPECT_EQ(server.address(), conpool_connection_address(c));
  conpool_connection_release(c, CONPOOL_REUSABLE);
  EXPECT_EQ(answerer.asked(), 2);
  EXPECT_EQ(names, "cache.internal cache.internal ");
  // The answer is kept for dns.system_ttl.
  conpool_connection_release(lease(endpoint), CONPOOL_BROKEN);
  conpool_connection_release(lease(endpoint), CONPOOL_BROKEN);
  EXPECT_EQ(answerer.asked(), 2);
}

TEST(Application, BadAnswersAreRefusedAndTheLookupStays) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool();
  Answerer answerer(pool, [&](conpool_lookup* lookup) {
    const bool v4 = conpool_lookup_family(lookup) == 4;
    EXPECT_EQ(conpool_lookup_answer(lookup, "localhost", kNul), CONPOOL_E_BAD_ADDRESS);
    EXPECT_EQ(conpool_lookup_answer(lookup, "127.0.0.1:80", kNul), CONPOOL_E_BAD_ADDRESS);
    EXPECT_EQ(conpool_lookup_answer(lookup, v4 ? "::1" : "127.0.0.1", kNul), CONPOOL_E_BAD_ADDRESS);
    EXPECT_EQ(conpool_lookup_answer(lookup, "127.1", kNul), CONPOOL_E_BAD_ADDRESS);
    EXPECT_EQ(conpool_lookup_answer(lookup, nullptr, 3), CONPOOL_E_INVALID);
    EXPECT_EQ(conpool_lookup_answer(lookup, v4 ? "127.0.0.1, 127.0.0.1" : "", kNul), CONPOOL_OK);
  });
  conpool_connection_release(lease(make_endpoint(pool, url_of("a.test.internal", server))),
                             CONPOOL_BROKEN);
}

TEST(Application, AFailuresMessageIsInTheLedger) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool();
  Answerer answerer(pool, [](conpool_lookup* lookup) {
    EXPECT_EQ(conpool_lookup_fail(lookup, "the service registry is down", kNul), CONPOOL_OK);
  });
  const Event event = acquire(make_endpoint(pool, url_of("cache.internal", server)));
  EXPECT_EQ(event->status, CONPOOL_E_DNS_APPLICATION);
  EXPECT_EQ(conpool_error_phase(event.error()), CONPOOL_PHASE_DNS);
  EXPECT_EQ(conpool_error_proof(event.error()), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_NE(event.report().find("the service registry is down"), std::string::npos)
      << event.report();
  EXPECT_NE(event.line().find("cache.internal"), std::string::npos) << event.line();
}

TEST(Application, AHostileMessageStaysInItsLine) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool();
  const std::string message = "down\nconnection refused\r\x1b[2J" + std::string(1 << 20, 'x');
  Answerer answerer(pool, [&](conpool_lookup* lookup) {
    EXPECT_EQ(conpool_lookup_fail(lookup, message.data(), message.size()), CONPOOL_OK);
  });
  const Event event = acquire(make_endpoint(pool, url_of("cache.internal", server)));
  EXPECT_EQ(event->status, CONPOOL_E_DNS_APPLICATION);
  for (const char c : event.line())
    EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  EXPECT_EQ(event.report().find("\nconnection refused"), std::string::npos);
  EXPECT_EQ(event.report().find('\x1b'), std::string::npos);
  EXPECT_LT(event.report().size(), 8192u);
  EXPECT_NE(event.line().find("down"), std::string::npos);
}

TEST(Application, NoAddressesAtAll) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool();
  Answerer answerer(pool, [](conpool_lookup* lookup) {
    EXPECT_EQ(conpool_lookup_answer(lookup, nullptr, 0), CONPOOL_OK);
  });
  EXPECT_EQ(acquire(make_endpoint(pool, url_of("cache.internal", server)))->status,
            CONPOOL_E_DNS_NO_DATA);
}

TEST(Application, UnansweredLookupsEndByTheirTime) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool({{"dns.timeout", "80ms"}});
  for (const bool dispose : {false, true}) {
    std::vector<conpool_lookup*> kept;
    std::mutex mutex;
    Event event;
    const std::string host = dispose ? "disposed.internal" : "kept.internal";
    {
      Answerer answerer(pool, [&](conpool_lookup* lookup) {
        if (dispose) return conpool_lookup_free(lookup);
        const std::lock_guard<std::mutex> lock(mutex);
        kept.push_back(lookup);
      });
      const int64_t start = monotonic_ns();
      event = acquire(make_endpoint(pool, url_of(host, server)));
      EXPECT_GE(monotonic_ns() - start, 80 * kMs);
      EXPECT_EQ(answerer.asked(), 2);
    }
    EXPECT_EQ(event->status, CONPOOL_E_DNS_TIMEOUT) << event.report();
    // Late answers are harmless, and free the lookup.
    for (conpool_lookup* lookup : kept)
      EXPECT_EQ(conpool_lookup_answer(lookup, "", 0), CONPOOL_OK);
  }
}

TEST(Application, NobodyIsTheResolver) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool({{"dns.timeout", "50ms"}});
  EXPECT_EQ(conpool_pool_set_resolver(pool.get(), nullptr, 0), CONPOOL_OK);
  const Event event = acquire(make_endpoint(pool, url_of("cache.internal", server)));
  EXPECT_EQ(conpool_status_class(event->status), CONPOOL_CLASS_DNS) << event.report();
  // Literals work without one.
  conpool_connection_release(lease(make_endpoint(pool, server.url())), CONPOOL_BROKEN);
}

TEST(Application, LookupsOutliveThePool) {
  Server server(Server::echo);
  std::vector<conpool_lookup*> kept;
  {
    const PoolPtr pool = queue_pool();
    const EndpointPtr endpoint = make_endpoint(pool, url_of("cache.internal", server));
    const QueuePtr queue = make_queue(pool);
    EXPECT_EQ(conpool_pool_set_resolver(pool.get(), queue.get(), 0), CONPOOL_OK);
    const conpool_op op = start_acquire(endpoint);
    for (int i = 0; i < 2; ++i) {
      Event event = next_event(queue);
      kept.push_back(static_cast<conpool_lookup*>(std::exchange(event->object, nullptr)));
    }
    conpool_op_cancel(op);
    EXPECT_EQ(wait_for(op)->status, CONPOOL_E_CANCELLED);
  }
  EXPECT_EQ(conpool_lookup_answer(kept[0], "", 0), CONPOOL_OK);
  EXPECT_STREQ(conpool_lookup_name(kept[1]), "cache.internal");
  conpool_lookup_free(kept[1]);
}

TEST(Application, TheQueuesCloseDisposesOfLookups) {
  Server server(Server::echo);
  const PoolPtr pool = queue_pool({{"dns.timeout", "50ms"}});
  QueuePtr queue = make_queue(pool);
  EXPECT_EQ(conpool_pool_set_resolver(pool.get(), queue.get(), 0), CONPOOL_OK);
  const conpool_op op = start_acquire(make_endpoint(pool, url_of("cache.internal", server)));
  queue.reset();
  EXPECT_EQ(conpool_status_class(wait_for(op)->status), CONPOOL_CLASS_DNS);
}

TEST(Backends, NoneRefusesNamesWhileLiteralsWork) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool({{"dns.backend", "none"}});
  conpool_connection_release(lease(make_endpoint(pool, server.url())), CONPOOL_BROKEN);
  const Event event = acquire(make_endpoint(pool, url_of("www.example.com", server)));
  EXPECT_EQ(event->status, CONPOOL_E_DNS_DISABLED) << event.report();
  EXPECT_NE(event.report().find("www.example.com"), std::string::npos);
}

TEST(Backends, SystemKnowsLocalhost) {
  Server server(Server::echo);
  for (const char* backend : {"system", "cares"}) {
    const PoolPtr pool = make_pool({{"dns.backend", backend}});
    conpool_connection* c = lease(make_endpoint(pool, url_of("localhost", server)));
    EXPECT_STREQ(conpool_connection_address(c), server.address().c_str());
    conpool_connection_release(c, CONPOOL_BROKEN);
  }
}

TEST(Backends, AHostsFileOfOnesOwn) {
  Server server(Server::echo);
  char path[] = "/tmp/conpool-hosts-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  FILE* file = fdopen(fd, "w");
  fputs("127.0.0.1 db.corp db\n", file);
  fclose(file);
  const PoolPtr pool = make_pool({{"dns.hosts_file", path}});
  conpool_connection_release(lease(make_endpoint(pool, url_of("db.corp", server))), CONPOOL_BROKEN);
  remove(path);
}

TEST(Backends, PublicOnlyRefusesLoopback) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const Event event =
      acquire(make_endpoint(pool, server.url(), {{"dns.address_filter", "public_only"}}));
  EXPECT_NE(event->status, CONPOOL_OK);
  EXPECT_EQ(server.accepted(), 0);
}

}  // namespace
}  // namespace capi_test
