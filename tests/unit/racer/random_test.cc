// Random events against a naive reference: what a race may and must do, restated without its
// shortcuts.
#include <gtest/gtest.h>

#include <optional>

#include "base/rng.h"
#include "unit/racer/race_rig.h"

namespace conpool::racer {
namespace {

// Keeps its own plain picture of the race from the same events and checks each action against it.
class Reference {
 public:
  explicit Reference(uint64_t seed) : rng_(seed), race_(make_options(), 0) {}

  // False when a check failed.
  bool run() {
    std::vector<Candidate> list;
    if (!options_.await_v4 && !options_.await_v6) list = random_list(Family::None);
    for (const Candidate& c : list)
      known(c.address.family()).push_back({c.address, false});
    if (!list.empty() && any_allowed()) first_answer_ = 0;
    race_.start(0, list);
    check_actions();
    for (int i = 0; i < 80 && !::testing::Test::HasFailure(); ++i)
      one_event();
    // Let it run dry: every lookup answered, every attempt left to its deadline.
    while (!race_.done() && !::testing::Test::HasFailure()) {
      if (race_.deadline() == kNever) {
        EXPECT_TRUE(pending_[0] || pending_[1]) << "stuck without a lookup to wait for";
        if (!pending_[0] && !pending_[1]) break;
        fail_lookup(pending_[0] ? Family::V6 : Family::V4);
      } else {
        now_ = std::max(now_, race_.deadline());
        race_.on_timer(now_);
        check_actions();
      }
    }
    EXPECT_EQ(terminals_, 1);
    // Nothing wakes a finished race.
    for (int i = 0; i < 5; ++i)
      one_event();
    EXPECT_EQ(terminals_, 1);
    EXPECT_EQ(running(), 0u);
    return !::testing::Test::HasFailure();
  }

 private:
  enum class S { Connecting, Connected, Securing, Ready, Gone };
  struct Known {
    SocketAddress address;
    bool tried;
  };
  struct Mine {
    SocketAddress address;
    S state = S::Connecting;
    Time started = 0;
    Time tls_began = kNever;
    Nanos delay = 0;
    Nanos rtt = 0;
  };

  const RaceOptions& make_options() {
    options_.await_v6 = rng_.up_to(4) != 0;
    options_.await_v4 = rng_.up_to(4) != 0;
    options_.first_family_count = static_cast<uint32_t>(rng_.between(1, 3));
    options_.family = static_cast<RaceFamily>(rng_.up_to(4));
    options_.max_concurrent = static_cast<uint32_t>(rng_.up_to(4));
    options_.max_candidates = static_cast<uint32_t>(rng_.between(1, 8));
    options_.uses_tls = rng_.up_to(2) != 0;
    options_.until = static_cast<RaceUntil>(rng_.up_to(1));
    options_.cert_error = static_cast<CertError>(rng_.up_to(1));
    options_.connect_timeout = ms(rng_.between(20, 1500));
    options_.tls_timeout = ms(rng_.between(20, 1500));
    options_.v6_routable = rng_.up_to(3) != 0;
    pending_[0] = options_.await_v6 && options_.family != RaceFamily::V4Only;
    pending_[1] = options_.await_v4 && options_.family != RaceFamily::V6Only;
    return options_;
  }
  bool tls() const { return options_.uses_tls && options_.until == RaceUntil::Tls; }
  bool allowed(Family family) const {
    if (options_.family == RaceFamily::V6Only) return family == Family::V6;
    if (options_.family == RaceFamily::V4Only) return family == Family::V4;
    return true;
  }
  std::vector<Known>& known(Family family) { return known_[family == Family::V6 ? 0 : 1]; }
  bool any_allowed() const {
    return (allowed(Family::V6) && !known_[0].empty()) ||
           (allowed(Family::V4) && !known_[1].empty());
  }
  std::vector<Candidate> random_list(Family family) {
    std::vector<Candidate> list;
    for (uint64_t n = rng_.up_to(4); n > 0; --n) {
      const auto last = static_cast<uint8_t>(rng_.between(1, 5));
      const bool v6 = family == Family::None ? rng_.up_to(1) == 0 : family == Family::V6;
      const SocketAddress address = v6 ? a6(last) : a4(last);
      const auto same = [&](const Candidate& c) { return c.address == address; };
      if (std::none_of(list.begin(), list.end(), same)) list.push_back({address, 0, 0, 0});
    }
    return list;
  }
  size_t running() const {
    size_t n = 0;
    for (const Mine& m : mine_)
      n += m.state != S::Gone && m.state != S::Ready ? 1 : 0;
    return n;
  }

  void one_event() {
    advance();
    const auto id = static_cast<AttemptId>(rng_.up_to(mine_.size() + 1));  // sometimes nobody's
    switch (rng_.up_to(9)) {
      case 0:
        answer(rng_.up_to(1) == 0 ? Family::V6 : Family::V4);
        break;
      case 1:
        fail_lookup(rng_.up_to(1) == 0 ? Family::V6 : Family::V4);
        break;
      case 2:
      case 3:
        connected(id);
        break;
      case 4:
        ready(id);
        break;
      case 5:
        failed(id);
        break;
      case 6:
        if (rng_.up_to(9) == 0) {
          cancelled_ = true;
          race_.cancel(now_, Failure{.status = Status::E_CANCELLED});
        }
        break;
      default:
        race_.on_timer(now_);
        break;  // often spurious
    }
    check_actions();
  }

  void advance() {
    const Nanos steps[] = {0, 0, 1, ms(1), ms(9), ms(10), ms(60), ms(300)};
    Time to = now_ + steps[rng_.up_to(7)];
    // Timers come in time, mostly; a busy loop is late.
    while (race_.deadline() < to && rng_.up_to(9) != 0) {
      now_ = std::max(now_, race_.deadline());
      race_.on_timer(now_);
      check_actions();
    }
    now_ = std::max(now_, to);
  }

  void answer(Family family) {
    const std::vector<Candidate> list = random_list(family);
    if (!race_.done()) {
      std::vector<Known> fresh;
      for (const Known& k : known(family)) {
        const auto same = [&](const Candidate& c) { return c.address == k.address; };
        if (k.tried && std::none_of(list.begin(), list.end(), same)) fresh.push_back(k);
      }
      for (const Candidate& c : list) {
        bool tried = false;
        for (const Known& k : known(family))
          tried |= k.tried && k.address == c.address;
        fresh.push_back({c.address, tried});
      }
      std::stable_partition(fresh.begin(), fresh.end(), [](const Known& k) { return k.tried; });
      if (allowed(family)) known(family) = fresh;
      pending_[family == Family::V6 ? 0 : 1] = false;
      if (first_answer_ == kNever && any_allowed()) first_answer_ = now_;
    }
    race_.on_answer(now_, family, list);
  }
  void fail_lookup(Family family) {
    if (!race_.done()) pending_[family == Family::V6 ? 0 : 1] = false;
    race_.on_answer_failed(now_, family, Failure{.status = Status::E_DNS_TIMEOUT});
    check_actions();
  }
  Mine* mine(AttemptId id) {
    if (id == 0 || id > mine_.size() || terminals_ > 0) return nullptr;
    return &mine_[id - 1];
  }
  void connected(AttemptId id) {
    Mine* m = mine(id);
    const Nanos rtt = ms(rng_.between(0, 900));
    if (m != nullptr && m->state == S::Connecting) {
      m->state = tls() ? S::Connected : S::Ready;
      m->rtt = rtt > 0 ? rtt : now_ - m->started;
    }
    race_.on_connected(now_, id, rtt);
  }
  void ready(AttemptId id) {
    Mine* m = mine(id);
    if (m != nullptr && m->state == S::Securing) m->state = S::Ready;
    race_.on_ready(now_, id);
  }
  void failed(AttemptId id) {
    const Status kinds[] = {Status::E_CONNECT_REFUSED, Status::E_CONNECTION_RESET,
                            Status::E_TLS_CERTIFICATE, Status::E_FD_LIMIT};
    const Status status = kinds[rng_.up_to(3)];
    Mine* m = mine(id);
    if (m != nullptr && m->state != S::Gone) {
      m->state = S::Gone;
      last_failure_ = now_;
      if (leader_ == id) leader_ = 0;
      if (status == Status::E_TLS_CERTIFICATE && options_.cert_error == CertError::Stop) {
        stopped_ = true;
      }
    }
    race_.on_failed(now_, id, Failure{.status = status});
  }

  // --- the naive rules ---------------------------------------------------------------------------

  Time window_end() const {
    if (leader_ == 0) return 0;
    const Mine& m = mine_[leader_ - 1];
    return m.tls_began + std::clamp(3 * m.rtt, m.delay, options_.delay_max);
  }
  bool v6_preferred() const {
    if (options_.family == RaceFamily::V4Only || options_.family == RaceFamily::V4First)
      return false;
    return options_.family == RaceFamily::V6Only || options_.v6_routable;
  }
  bool may_start_first() const {
    const bool waits = pending_[v6_preferred() ? 0 : 1];
    if (!waits) return true;
    return first_answer_ != kNever && now_ >= first_answer_ + options_.aaaa_timeout;
  }
  // First of the leading family's share, then turn by turn; the first untried one.
  std::optional<SocketAddress> next() const {
    std::vector<Known> lead = known_[0], other = known_[1], all;
    if (options_.family == RaceFamily::V6Only) other.clear();
    if (options_.family == RaceFamily::V4Only) lead.clear();
    if (options_.family == RaceFamily::V4First) std::swap(lead, other);
    for (size_t i = 0, j = 0; i < lead.size() || j < other.size();) {
      const size_t share = i == 0 ? options_.first_family_count : 1;
      for (size_t k = 0; k < share && i < lead.size(); ++k)
        all.push_back(lead[i++]);
      if (j < other.size()) all.push_back(other[j++]);
    }
    for (const Known& k : all) {
      if (!k.tried) return k.address;
    }
    return std::nullopt;
  }

  void check_actions() {
    drain();
    if (race_.deadline() <= now_) {
      // An event that nobody wanted came before the late timer.
      race_.on_timer(now_);
      drain();
    }
    if (race_.done()) {
      EXPECT_EQ(race_.deadline(), kNever);
    } else {
      EXPECT_GT(race_.deadline(), now_) << "the race spins";
      check_due();
    }
  }
  void drain() {
    std::vector<Action> actions;
    race_.take_actions(&actions);
    for (const Action& action : actions) {
      EXPECT_EQ(terminals_, 0) << "an action after the terminal one";
      switch (action.kind) {
        case ActionKind::Start:
          check_start(action.id);
          break;
        case ActionKind::BeginTls:
          check_tls(action.id);
          break;
        case ActionKind::Close:
          check_close(action.id);
          break;
        case ActionKind::Slow: {
          const Mine& m = mine_.at(action.id - 1);
          EXPECT_TRUE(m.state == S::Connecting && now_ >= m.started + m.delay);
          break;
        }
        case ActionKind::Won:
          EXPECT_EQ(mine_.at(action.id - 1).state, S::Ready);
          EXPECT_EQ(running(), 0u);
          ++terminals_;
          break;
        case ActionKind::Failed:
          check_failed();
          break;
        case ActionKind::Arm:
          EXPECT_EQ(action.deadline, race_.deadline());
          break;
      }
    }
  }
  void check_start(AttemptId id) {
    ASSERT_EQ(id, mine_.size() + 1);
    const SocketAddress address = race_.attempt(id).candidate.address;
    const std::optional<SocketAddress> expected = next();
    ASSERT_TRUE(expected.has_value());
    EXPECT_EQ(address, *expected) << address.text() << " instead of " << expected->text();
    for (const Mine& m : mine_)
      EXPECT_NE(m.address, address) << "tried twice";
    if (mine_.empty()) {
      EXPECT_TRUE(may_start_first()) << "the resolution delay was cut short";
    } else {
      const Mine& before = mine_.back();
      EXPECT_GE(now_, before.started + Race::kStartFloor);
      EXPECT_TRUE(now_ >= before.started + before.delay || last_failure_ >= before.started)
          << "an early start without a failure";
      EXPECT_GE(now_, window_end()) << "a start inside the leader's window";
    }
    EXPECT_LT(mine_.size(), options_.max_candidates);
    for (Known& k : known(address.family())) {
      if (k.address == address) k.tried = true;
    }
    mine_.push_back({.address = address, .started = now_, .delay = options_.connect_delay});
    EXPECT_TRUE(options_.max_concurrent == 0 || running() <= options_.max_concurrent);
  }
  void check_tls(AttemptId id) {
    Mine& m = mine_.at(id - 1);
    EXPECT_EQ(m.state, S::Connected);
    EXPECT_GE(now_, window_end()) << "a second ClientHello inside the leader's window";
    m.state = S::Securing;
    m.tls_began = now_;
    leader_ = id;
  }
  void check_close(AttemptId id) {
    Mine& m = mine_.at(id - 1);
    EXPECT_TRUE(m.state != S::Gone && m.state != S::Ready);
    const Time limit = m.state == S::Connecting ? m.started + options_.connect_timeout
                       : m.state == S::Securing ? m.tls_began + options_.tls_timeout
                                                : kNever;
    if (now_ >= limit) {
      last_failure_ = now_;
      if (leader_ == id) leader_ = 0;
    }
    m.state = S::Gone;
  }
  void check_failed() {
    ++terminals_;
    EXPECT_EQ(running(), 0u);
    if (cancelled_ || stopped_) return;
    EXPECT_FALSE(pending_[0] || pending_[1]) << "gave up before every family answered";
    EXPECT_TRUE(!next().has_value() || mine_.size() >= options_.max_candidates)
        << "gave up with an address left";
    EXPECT_NE(race_.failure().status, Status::OK);
  }
  // What is due has happened.
  void check_due() {
    bool standby = false;
    bool connecting = false;
    for (const Mine& m : mine_) {
      standby |= m.state == S::Connected;
      connecting |= m.state == S::Connecting;
      EXPECT_TRUE(m.state != S::Connecting || now_ < m.started + options_.connect_timeout);
      EXPECT_TRUE(m.state != S::Securing || now_ < m.tls_began + options_.tls_timeout);
    }
    EXPECT_TRUE(!standby || now_ < window_end()) << "a standby was forgotten";
    if (!next().has_value() || mine_.size() >= options_.max_candidates) return;
    if (options_.max_concurrent != 0 && running() >= options_.max_concurrent && !connecting) return;
    if (mine_.empty()) {
      EXPECT_FALSE(may_start_first()) << "the first attempt is overdue";
    } else {
      const Mine& last = mine_.back();
      EXPECT_TRUE(now_ < last.started + last.delay || now_ < window_end())
          << "the next attempt is overdue";
    }
  }

  Rng rng_;
  RaceOptions options_;
  bool pending_[2] = {false, false};
  Race race_;  // made of the members above
  Time now_ = 0;
  std::vector<Known> known_[2];
  Time first_answer_ = kNever;
  std::vector<Mine> mine_;
  AttemptId leader_ = 0;
  Time last_failure_ = -1;
  bool cancelled_ = false;
  bool stopped_ = false;
  int terminals_ = 0;
};

TEST(RandomRace, FollowsTheNaiveRules) {
  for (uint64_t seed = 1; seed <= 20'000; ++seed) {
    Reference reference(seed);
    ASSERT_TRUE(reference.run()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace conpool::racer
