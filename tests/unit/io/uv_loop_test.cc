// Turns, timers, wake-ups, jobs and files of the real world.
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <fstream>
#include <latch>
#include <thread>

#include "io/uv/loop_thread.h"
#include "unit/io/uv_support.h"

namespace conpool::io {
namespace {

using UvLoopTest = UvTest;

bool readable(int fd, int timeout_ms = 0) {
  pollfd entry{.fd = fd, .events = POLLIN};
  return ::poll(&entry, 1, timeout_ms) == 1;
}

// --- time -------------------------------------------------------------------------------------

TEST_F(UvLoopTest, TimersNeverFireEarly) {
  for (int i = 0; i < 200; ++i) {
    // Work before arming makes a cached clock stale, the classic way to fire early.
    const Time busy_until = clock_now() + 200 * kMicrosecond;
    while (clock_now() < busy_until) {
    }
    const Time deadline = clock_now() + kMillisecond + i * 3 * kMicrosecond;
    bool fired = false;
    Timer timer([&] {
      EXPECT_GE(loop_->now(), deadline);
      EXPECT_GE(clock_now(), deadline);
      fired = true;
    });
    loop_->arm(timer, deadline);
    ASSERT_TRUE(run_until([&] { return fired; }));
  }
}

TEST_F(UvLoopTest, TimersFireInOrderAndAnEarlierOneMovesTheDeadline) {
  std::vector<int> order;
  Timer late([&] { order.push_back(2); });
  Timer early([&] { order.push_back(1); });
  Timer never([&] { order.push_back(3); });
  const Time start = clock_now();
  loop_->arm(late, start + 20 * kMillisecond);
  loop_->arm(never, start + kHour);
  loop_->fd();  // the system's timer is set now
  loop_->arm(early, start + 5 * kMillisecond);
  ASSERT_TRUE(run_until([&] { return order.size() == 2; }));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(UvLoopTest, ACancelledDeadlineDoesNotKeepALaterOneFromFiring) {
  bool fired = false;
  Timer cancelled([&] { ADD_FAILURE(); });
  Timer kept([&] { fired = true; });
  const Time start = clock_now();
  loop_->arm(cancelled, start + 2 * kMillisecond);
  loop_->arm(kept, start + 6 * kMillisecond);
  loop_->fd();  // the system's timer is set now
  cancelled.cancel();
  ASSERT_TRUE(run_until([&] { return fired; }));
  EXPECT_GE(clock_now(), start + 6 * kMillisecond);
}

TEST_F(UvLoopTest, ATurnEndsAtItsLimit) {
  const Time start = clock_now();
  loop_->run_turn(start - kSecond);
  loop_->run_turn(0);
  EXPECT_LT(clock_now() - start, kSecond) << "a past limit does not wait";
  const Time until = clock_now() + 10 * kMillisecond;
  loop_->run_turn(until);
  EXPECT_GE(clock_now(), until);
}

TEST_F(UvLoopTest, DeferredCallsRunInOrderAtTheTurnsEndAndKeepTheLoopFromSleeping) {
  std::vector<int> order;
  loop_->defer([&] {
    order.push_back(1);
    loop_->defer([&] { order.push_back(3); });
  });
  loop_->defer([&] { order.push_back(2); });
  loop_->run_turn(clock_now() + 10 * kSecond);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

struct DefersWhenFreed final : Discardable {
  Loop* loop;
  bool* ran;
  DefersWhenFreed(Loop* the_loop, bool* the_flag) : loop(the_loop), ran(the_flag) {}
  ~DefersWhenFreed() override {
    loop->defer([flag = ran] { *flag = true; });
  }
};

TEST_F(UvLoopTest, ACallDeferredByADestructorRunsWithoutSleep) {
  bool ran = false;
  loop_->discard(std::unique_ptr<Discardable>(new DefersWhenFreed(loop_.get(), &ran)));
  const Time start = clock_now();
  loop_->run_turn(kNever);
  loop_->run_turn(start + 10 * kSecond);
  EXPECT_TRUE(ran);
  EXPECT_LT(clock_now() - start, 5 * kSecond);
}

TEST_F(UvLoopTest, TeardownDropsWhatWasDeferred) {
  bool ran = false;
  loop_->defer([&] { ran = true; });
  loop_->discard(std::unique_ptr<Discardable>(new DefersWhenFreed(loop_.get(), &ran)));
  loop_.reset();
  EXPECT_FALSE(ran);
}

// --- wake-ups and the loop's descriptor -------------------------------------------------------

TEST_F(UvLoopTest, ManyWakesAreOne) {
  int mails = 0;
  loop_->set_wake_handler([&] { ++mails; });
  for (int i = 0; i < 100; ++i)
    loop_->wake();
  loop_->run_turn(clock_now() + 10 * kSecond);
  EXPECT_EQ(mails, 1);
  loop_->run_turn(0);
  EXPECT_EQ(mails, 1);
}

TEST_F(UvLoopTest, AWakeFromInsideATurnIsSeenInTheNext) {
  int mails = 0;
  loop_->set_wake_handler([&] {
    if (++mails == 1) loop_->wake();
  });
  loop_->wake();
  loop_->run_turn(clock_now() + 10 * kSecond);
  EXPECT_EQ(mails, 1);
  const Time start = clock_now();
  loop_->run_turn(start + 10 * kSecond);
  EXPECT_EQ(mails, 2);
  EXPECT_LT(clock_now() - start, 5 * kSecond);
}

TEST_F(UvLoopTest, WakesOfManyThreadsLoseNothing) {
  std::atomic<int> posted{0};
  int taken = 0;
  loop_->set_wake_handler([&] { taken = posted.load(std::memory_order_acquire); });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 5000; ++k) {
        posted.fetch_add(1, std::memory_order_release);
        loop_->wake();
      }
    });
  }
  EXPECT_TRUE(run_until([&] { return taken == 20000; }));
  for (std::thread& thread : threads)
    thread.join();
}

TEST_F(UvLoopTest, TheDescriptorIsReadableExactlyWhileThereIsWork) {
  const int fd = loop_->fd();
  ASSERT_GE(fd, 0);
  const auto settle = [&] {
    for (int i = 0; i < 8 && readable(fd); ++i)
      loop_->run_turn(0);
    EXPECT_FALSE(readable(fd));
  };
  settle();

  loop_->wake();
  EXPECT_TRUE(readable(fd));
  settle();

  // A timer armed in a turn makes it readable when it is due, and only then.
  bool fired = false;
  Timer timer([&] { fired = true; });
  Time due = 0;
  loop_->defer([&] {
    due = clock_now() + 200 * kMillisecond;
    loop_->arm(timer, due);
  });
  loop_->fd();
  EXPECT_TRUE(readable(fd)) << "deferred work remains";
  loop_->run_turn(0);
  settle();
  EXPECT_TRUE(readable(fd, 5000));
  EXPECT_GE(clock_now(), due);
  loop_->run_turn(0);
  EXPECT_TRUE(fired);
  settle();

  // A wake from inside a turn, and work that a destructor leaves behind.
  bool ran = false;
  loop_->discard(std::unique_ptr<Discardable>(new DefersWhenFreed(loop_.get(), &ran)));
  loop_->run_turn(0);
  EXPECT_TRUE(readable(fd));
  settle();
  EXPECT_TRUE(ran);
}

TEST_F(UvPairTest, TheDescriptorAloneDrivesAConnection) {
  const int fd = loop_->fd();
  const auto drive = [&](auto&& done) {
    for (int i = 0; i < 1000 && !done(); ++i) {
      if (!readable(fd, 5000)) return false;
      loop_->run_turn(0);
    }
    return done();
  };
  listener_ = start_listen(loopback(), &acceptor_);
  client_ = start_connect(listener_->address(), &at_client_);
  loop_->fd();
  ASSERT_TRUE(drive([&] { return at_client_.connected && acceptor_.streams.size() == 1; }));
  // Everything a host does happens inside turns.
  loop_->defer([&] {
    server_ = std::move(acceptor_.streams.front());
    server_->set_handler(&at_server_);
    server_->read(true);
    write(*client_, "hello");
  });
  loop_->fd();
  ASSERT_TRUE(drive([&] { return at_server_.bytes == 5; }));
}

// --- jobs -------------------------------------------------------------------------------------

TEST_F(UvLoopTest, AJobRunsElsewhereAndEndsHere) {
  const auto here = std::this_thread::get_id();
  std::atomic<bool> elsewhere{false};
  sigset_t mask;
  sigemptyset(&mask);
  bool done = false;
  auto job = loop_->start_job(
      [&, here] {
        elsewhere = std::this_thread::get_id() != here;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      },
      [&] {
        EXPECT_EQ(std::this_thread::get_id(), here);
        done = true;
      });
  EXPECT_FALSE(done);
  ASSERT_TRUE(run_until([&] { return done; }));
  EXPECT_TRUE(elsewhere);
  EXPECT_EQ(sigismember(&mask, SIGINT), 1);
  EXPECT_EQ(sigismember(&mask, SIGPROF), 1);
}

TEST_F(UvLoopTest, AJobThatThrowsStillEnds) {
  bool done = false;
  auto job = loop_->start_job([] { throw 1; }, [&] { done = true; });
  EXPECT_TRUE(run_until([&] { return done; }));
}

TEST_F(UvLoopTest, ManyJobsRunInTheirOrderOfPlaces) {
  auto running = std::make_shared<std::atomic<int>>(0);
  auto most = std::make_shared<std::atomic<int>>(0);
  int done = 0;
  std::vector<std::unique_ptr<Job>> jobs;
  for (int i = 0; i < 200; ++i) {
    jobs.push_back(loop_->start_job(
        [running, most] {
          const int now = ++*running;
          int seen = *most;
          while (now > seen && !most->compare_exchange_weak(seen, now)) {
          }
          std::this_thread::yield();
          --*running;
        },
        [&] { ++done; }));
  }
  ASSERT_TRUE(run_until([&] { return done == 200; }));
  EXPECT_LE(*most, 16);
}

// Holds jobs until it is opened.
struct Gate {
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  std::atomic<int> left{0};
  void pass() {
    ++inside;
    open.wait(false);
    ++left;
  }
  void release() {
    open = true;
    open.notify_all();
  }
  void wait_inside(int count) const {
    while (inside < count)
      std::this_thread::yield();
  }
  void wait_left(int count) const {
    while (left < count)
      std::this_thread::yield();
  }
};

TEST_F(UvLoopTest, BlockedJobsHoldTheirPlacesUntilTheyAreAbandoned) {
  auto gate = std::make_shared<Gate>();
  std::vector<std::unique_ptr<Job>> jobs;
  for (int i = 0; i < 16; ++i) {
    jobs.push_back(loop_->start_job([gate] { gate->pass(); }, [] { ADD_FAILURE(); }));
  }
  gate->wait_inside(16);
  bool done = false;
  bool dropped_ran = false;
  auto waiting = loop_->start_job([] {}, [&] { done = true; });
  auto dropped = loop_->start_job([&dropped_ran] { dropped_ran = true; }, [] { ADD_FAILURE(); });
  dropped.reset();
  run_for(10 * kMillisecond);
  EXPECT_FALSE(done) << "all places are taken";
  jobs.pop_back();  // does not block
  ASSERT_TRUE(run_until([&] { return done; }));
  jobs.clear();
  for (int i = 0; i < 20; ++i) {
    done = false;
    auto job = loop_->start_job([] {}, [&] { done = true; });
    ASSERT_TRUE(run_until([&] { return done; }));
  }
  EXPECT_FALSE(dropped_ran);
  gate->release();
  gate->wait_left(16);
}

TEST_F(UvLoopTest, JobsThatHangAndAreAbandonedCannotTakeThreadsWithoutEnd) {
  auto gate = std::make_shared<Gate>();
  for (int i = 0; i < 128; ++i) {
    auto job = loop_->start_job([gate] { gate->pass(); }, [] { ADD_FAILURE(); });
    gate->wait_inside(i + 1);
  }
  bool done = false;
  auto job = loop_->start_job([] {}, [&] { done = true; });
  run_for(10 * kMillisecond);
  EXPECT_FALSE(done) << "128 threads hang";
  gate->release();
  EXPECT_TRUE(run_until([&] { return done; }));
  gate->wait_left(128);
}

TEST_F(UvLoopTest, AnEndedJobCanStillBeAbandoned) {
  auto gate = std::make_shared<Gate>();
  gate->release();
  auto job = loop_->start_job([gate] { gate->pass(); }, [] { ADD_FAILURE(); });
  gate->wait_left(1);
  job.reset();
  run_for(5 * kMillisecond);
}

TEST_F(UvLoopTest, TheLoopMayGoWhileAJobRuns) {
  auto gate = std::make_shared<Gate>();
  auto owned = std::make_shared<int>(7);
  const std::weak_ptr<int> watch = owned;
  auto job = loop_->start_job(
      [gate, kept = std::move(owned)] {
        gate->pass();
        EXPECT_EQ(*kept, 7);
      },
      [] { ADD_FAILURE(); });
  gate->wait_inside(1);
  job.reset();
  loop_.reset();
  gate->release();
  const Time limit = clock_now() + 10 * kSecond;
  while (!watch.expired() && clock_now() < limit)
    std::this_thread::yield();
  EXPECT_TRUE(watch.expired());
}

TEST_F(UvLoopTest, AJobMayBeDestroyedInItsOwnCallback) {
  std::unique_ptr<Job> job;
  bool done = false;
  job = loop_->start_job([] {},
                         [&] {
                           job.reset();
                           done = true;
                         });
  EXPECT_TRUE(run_until([&] { return done; }));
}

// --- the rest ---------------------------------------------------------------------------------

TEST_F(UvLoopTest, TheSystemsLookupResolvesPerFamily) {
  const SystemLookup lookup = loop_->system_lookup();
  Result<std::vector<SocketAddress>> found = lookup("127.0.0.1", Family::V4);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, std::vector<SocketAddress>{loopback()});
  found = lookup("::1", Family::V6);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, std::vector<SocketAddress>{loopback6()});
  found = lookup("127.0.0.1", Family::V6);
  ASSERT_FALSE(found);
  EXPECT_TRUE(found.error().status == Status::E_DNS_NO_DATA ||
              found.error().status == Status::E_DNS_NOT_FOUND);
  EXPECT_FALSE(found.error().detail.empty());
}

TEST_F(UvLoopTest, SourceAddresses) {
  Result<SocketAddress> source = loop_->source_address(loopback(443));
  ASSERT_TRUE(source);
  EXPECT_EQ(*source, loopback());
  source = loop_->source_address(loopback6());
  ASSERT_TRUE(source);
  EXPECT_EQ(*source, loopback6());
  source = loop_->source_address(SocketAddress::v4({255, 255, 255, 255}, 80));
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().status, Status::E_CONNECT_UNREACHABLE);
  EXPECT_EQ(loop_->source_address(SocketAddress::unix_path("/x")).error().status,
            Status::E_UNSUPPORTED);
}

TEST_F(UvLoopTest, FilesAreReadWithinALimitAndOnlyWhenRegular) {
  char dir[] = "/tmp/conpool-uv-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  const std::string path = std::string(dir) + "/file";
  EXPECT_FALSE(loop_->file_stamp(path));
  EXPECT_EQ(loop_->read_file(path, 10).error().os_error, ENOENT);
  std::ofstream(path) << "0123456789";
  const std::optional<FileStamp> stamp = loop_->file_stamp(path);
  ASSERT_TRUE(stamp);
  EXPECT_EQ(stamp->size, 10);
  Result<std::string> text = loop_->read_file(path, 10);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, "0123456789");
  EXPECT_EQ(loop_->read_file(path, 9).error().os_error, EFBIG);
  std::ofstream(path, std::ios::app) << "more";
  EXPECT_NE(loop_->file_stamp(path), stamp);

  const std::string fifo = std::string(dir) + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(loop_->read_file(fifo, 10).error().status, Status::E_SYSTEM);
  EXPECT_EQ(loop_->read_file("/dev/zero", 10).error().status, Status::E_SYSTEM);
  EXPECT_EQ(loop_->read_file(dir, 10).error().status, Status::E_SYSTEM);
  text = loop_->read_file("/proc/self/stat", 65536);
  ASSERT_TRUE(text);
  EXPECT_FALSE(text->empty()) << "a file that claims to be empty";
  unlink(path.c_str());
  unlink(fifo.c_str());
  rmdir(dir);
}

TEST_F(UvLoopTest, SeedsDiffer) {
  EXPECT_NE(loop_->random_seed(), loop_->random_seed());
}

TEST(UvLoops, ManyLoopsLeakNothing) {
  make_uv_loop()->reset();  // libuv keeps a pipe for the process
  const int before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    auto loop = std::move(*make_uv_loop());
    loop->wake();
    loop->run_turn(0);
  }
  EXPECT_EQ(open_descriptors(), before);
}

// --- the loop's thread ------------------------------------------------------------------------

TEST(UvLoopThread, DrivesItsLoopAndStops) {
  auto loop = std::move(*make_uv_loop());
  std::atomic<int> mails{0};
  std::atomic<bool> masked{false};
  std::atomic<bool> named{false};
  std::atomic<bool> current{false};
  LoopThread* self = nullptr;
  loop->set_wake_handler([&] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    masked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGPIPE) == 1;
    char name[16];
    pthread_getname_np(pthread_self(), name, sizeof name);
    named = std::string(name) == "conpool";
    current = self->is_current();
    ++mails;
  });
  auto thread = std::move(*LoopThread::start(*loop));
  self = thread.get();
  loop->wake();
  const Time limit = clock_now() + 10 * kSecond;
  while (mails == 0 && clock_now() < limit)
    std::this_thread::yield();
  EXPECT_TRUE(masked);
  EXPECT_TRUE(named);
  EXPECT_TRUE(current);
  EXPECT_FALSE(thread->is_current());
  EXPECT_TRUE(thread->stop_and_join());
  EXPECT_TRUE(thread->stop_and_join());
}

TEST(UvLoopThread, StartingAndStoppingManyTimes) {
  for (int i = 0; i < 100; ++i) {
    auto loop = std::move(*make_uv_loop());
    auto thread = std::move(*LoopThread::start(*loop));
    if (i % 2 == 0) loop->wake();
    thread.reset();
  }
}

// Returns from exit with live loops, at once, and with a static object that stops one too late.
TEST(UvLoopThread, ExitParksEveryLoopBetweenTurns) {
  const pid_t child = fork();
  if (child == 0) {
    struct Late {
      std::unique_ptr<Loop> loop;
      std::unique_ptr<LoopThread> thread;
      ~Late() {
        if (thread->stop_and_join()) _exit(2);  // it was parked: it cannot have ended
        if (loop->live_handles() != 0) _exit(3);
        (void)loop.release();
      }
    };
    static Late late;
    static std::atomic<bool> in_turn{false};
    static std::atomic<int> turns{0};
    struct AfterParking {
      ~AfterParking() {
        if (in_turn) _exit(4);
      }
    };
    static AfterParking after;
    late.loop = std::move(*make_uv_loop());
    late.loop->set_wake_handler([] {
      in_turn = true;
      ++turns;
      late.loop->defer([] {
        in_turn = false;
        late.loop->wake();  // always busy
      });
    });
    park_all_loops_at_exit();
    park_all_loops_at_exit();
    late.thread = std::move(*LoopThread::start(*late.loop));
    late.loop->wake();
    while (turns < 100)
      std::this_thread::yield();
    std::exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(UvLoopThread, AForkedChildLeavesInheritedThreadsAlone) {
  auto loop = std::move(*make_uv_loop());
  auto thread = std::move(*LoopThread::start(*loop));
  park_all_loops_at_exit();
  const pid_t child = fork();
  if (child == 0) {
    if (thread->stop_and_join()) _exit(2);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(thread->stop_and_join());
}

}  // namespace
}  // namespace conpool::io
