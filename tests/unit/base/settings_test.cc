// Config, the checks of the whole, files read once, interned ids.
#include "base/settings.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include "base/limits.h"

namespace conpool {
namespace {

using namespace std::string_literals;
using Entries = std::vector<std::pair<const char*, std::string>>;

Values with(const Entries& entries) {
  Config config;
  for (const auto& [name, value] : entries) {
    Result<void> set = config.set(name, value);
    EXPECT_TRUE(set) << set.error().detail;
  }
  Values values = default_values();
  config.apply(&values);
  return values;
}

TEST(Config, UnknownNameOffersTheNearest) {
  Config config;
  Result<void> set = config.set("connect.timout", "1s");
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().status, Status::E_UNKNOWN_OPTION);
  EXPECT_EQ(set.error().detail,
            R"(there is no option "connect.timout"; did you mean "connect.timeout"?)");
  set = config.set("a\nb", "1");
  EXPECT_EQ(set.error().detail, R"(there is no option "a\nb"; docs/options.md lists the options)");
  EXPECT_EQ(config.set(std::string(100000, 'x'), "").error().status, Status::E_UNKNOWN_OPTION);
  EXPECT_TRUE(config.entries().empty());
}

TEST(Config, KeepsTextsAsGivenAndAppliesThem) {
  Config config;
  ASSERT_TRUE(config.set("tls.alpn", "h2, http/1.1"));
  ASSERT_TRUE(config.set("connect.timeout", "1s"));
  ASSERT_TRUE(config.set("connect.timeout", "2s"));
  EXPECT_FALSE(config.set("connect.timeout", "never"));
  EXPECT_EQ(config.entries().find("tls.alpn")->second, "h2, http/1.1");
  EXPECT_EQ(config.entries().find("connect.timeout")->second, "2s");
  Values values = default_values();
  config.apply(&values);
  EXPECT_EQ(values.connect_timeout, 2 * kSecond);
  EXPECT_EQ(values.tls_alpn, "h2,http/1.1");
  EXPECT_EQ(values.dial_timeout, 30 * kSecond);
}

TEST(Config, EveryOptionKnowsItsPlaces) {
  for (const OptionInfo& option : option_table()) {
    Config config;
    ASSERT_TRUE(config.set(option.name, option.default_text));
    for (Scope place : {Scope::POOL, Scope::ENDPOINT, Scope::REQUEST}) {
      Result<void> checked = config.check_scope(place);
      EXPECT_EQ(checked.has_value(), option.scope >= place) << option.name;
      if (checked) continue;
      EXPECT_EQ(checked.error().status, Status::E_OPTION_SCOPE);
      EXPECT_TRUE(checked.error().detail.starts_with(option.name)) << checked.error().detail;
    }
  }
  Config config;
  ASSERT_TRUE(config.set("dns.servers", "192.0.2.1"));
  EXPECT_EQ(config.check_scope(Scope::ENDPOINT).error().detail,
            "dns.servers cannot be set for an endpoint; set it for the pool");
}

TEST(Config, AFileReplacesThePemBelowItAndTheOtherWayRound) {
  Values pool = default_values();
  pool.tls_ca_pem = "read from the pool's file";
  Config endpoint;
  ASSERT_TRUE(endpoint.set("tls.ca_file", "/own.pem"));
  endpoint.apply(&pool);
  EXPECT_EQ(pool.tls_ca_file, "/own.pem");
  EXPECT_EQ(pool.tls_ca_pem, "");
  EXPECT_TRUE(validate(pool));
  Config other;
  ASSERT_TRUE(other.set("tls.ca_pem", "text"));
  other.apply(&pool);
  EXPECT_EQ(pool.tls_ca_file, "");
  EXPECT_EQ(pool.tls_ca_pem, "text");
}

TEST(Validate, DefaultsAreValid) {
  EXPECT_TRUE(validate(default_values()));
}

TEST(Validate, AcceptsWhatBelongsTogether) {
  EXPECT_TRUE(validate(with({{"check.send", "PING\\r\\n"}, {"check.expect", "+PONG\\r\\n"}})));
  EXPECT_TRUE(validate(with({{"tls.cert_file", "/c"}, {"tls.key_pem", "k"}})));
  EXPECT_TRUE(validate(with({{"dns.servers", "192.0.2.1, 192.0.2.2:5353,2001:db8::1,[::1]:53"}})));
  EXPECT_TRUE(validate(with({{"tls.server_name", "db.example"}})));
  EXPECT_TRUE(validate(with({{"tls.server_name", "2001:db8::1"}})));
  EXPECT_TRUE(validate(with({{"tls.alpn", std::string(255, 'a') + ",h2"}})));
  EXPECT_TRUE(validate(with({{"race.delay_min", "2s"}})));  // equal to the greatest
}

TEST(Validate, RefusesWithWordsOfItsOwn) {
  struct Case {
    Entries entries;
    Status status;
    std::string detail;
  };
  const Case cases[] = {
      {{{"check.send", "x"}},
       Status::E_INVALID,
       "check.send is set without check.expect; set both or none"},
      {{{"check.expect", "x"}},
       Status::E_INVALID,
       "check.expect is set without check.send; set both or none"},
      {{{"race.delay_max", "99ms"}},
       Status::E_OPTION_RANGE,
       "race.delay_min (100ms) is greater than race.delay_max (99ms); lower the first or raise the "
       "second"},
      {{{"dns.max_ttl", "1ms"}},
       Status::E_OPTION_RANGE,
       "dns.min_ttl (1s) is greater than dns.max_ttl (1ms); lower the first or raise the second"},
      {{{"dns.failure_min", "1min"}},
       Status::E_OPTION_RANGE,
       "dns.failure_min (1min) is greater than dns.failure_max (30s); lower the first or raise the "
       "second"},
      {{{"balance.cooldown", "1h"}},
       Status::E_OPTION_RANGE,
       "balance.cooldown (1h) is greater than balance.cooldown_max (30s); lower the first or "
       "raise the second"},
      {{{"connect.retry_delay", "3s"}},
       Status::E_OPTION_RANGE,
       "connect.retry_delay (3s) is greater than connect.retry_delay_max (2s); lower the first or "
       "raise the second"},
      {{{"tls.cert_pem", "c"}},
       Status::E_TLS_CONFIG,
       "a client certificate is set without its key; set tls.key_file or tls.key_pem"},
      {{{"tls.key_file", "/k"}},
       Status::E_TLS_CONFIG,
       "a key is set without its certificate; set tls.cert_file or tls.cert_pem"},
      {{{"tls.ca_file", "/a"}, {"tls.ca_pem", "a"}},
       Status::E_TLS_CONFIG,
       "tls.ca_file and tls.ca_pem are both set; set one of them"},
      {{{"tls.key_file", "/a"}, {"tls.key_pem", "a"}},
       Status::E_TLS_CONFIG,
       "tls.key_file and tls.key_pem are both set; set one of them"},
      {{{"dns.servers", "192.0.2.1,dns.example:53"}},
       Status::E_BAD_ADDRESS,
       "dns.servers: \"dns.example\" is not an IP address: write IPv4 as four decimal numbers of 0 "
       "to 255 without leading zeros, as in 192.0.2.1"},
      {{{"dns.servers", "192.0.2.1:0"}},
       Status::E_BAD_PORT,
       "dns.servers: \"0\" is not a port: write a decimal number from 1 to 65535"},
      {{{"dns.servers", "[::1]:99999"}},
       Status::E_BAD_PORT,
       "dns.servers: \"99999\" is not a port: write a decimal number from 1 to 65535"},
      {{{"tls.server_name", "a..b"}},
       Status::E_BAD_NAME,
       "tls.server_name: \"a..b\" is not a host name: it has an empty label; write one dot between "
       "two labels"},
      {{{"tls.alpn", std::string(256, 'a')}},
       Status::E_OPTION_RANGE,
       "tls.alpn: \"aaaaaaaaaaaaaaaa...\" has 256 bytes; a protocol's name has 1 to 255"},
      {{{"proxy", "http://user:secret@proxy.example"}},
       Status::E_UNSUPPORTED,
       "proxy is not supported yet"},
  };
  for (const Case& c : cases) {
    Result<void> valid = validate(with(c.entries));
    ASSERT_FALSE(valid) << c.detail;
    EXPECT_EQ(valid.error().status, c.status) << c.detail;
    EXPECT_EQ(valid.error().detail, c.detail);
  }
}

class LoadFiles : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/conpool-settings-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    for (const std::string& path : paths_)
      ::unlink(path.c_str());
    ::rmdir(folder_.c_str());
  }
  std::string path(const std::string& name) {
    paths_.push_back(folder_ + "/" + name);
    return paths_.back();
  }
  std::string file(const std::string& name, const std::string& content) {
    std::string made = path(name);
    std::ofstream(made, std::ios::binary) << content;
    return made;
  }
  void expect_refused(const std::string& at, int os_error, const std::string& reason) {
    Result<Values> loaded = load_files(with({{"tls.ca_file", at}}));
    ASSERT_FALSE(loaded) << reason;
    EXPECT_EQ(loaded.error().status, Status::E_TLS_CONFIG);
    EXPECT_EQ(loaded.error().os_error, os_error);
    EXPECT_EQ(loaded.error().detail, "tls.ca_file = \"" + at + "\": " + reason);
  }
  std::string folder_;
  std::vector<std::string> paths_;
};

TEST_F(LoadFiles, ContentsTakeThePathsPlace) {
  Result<Values> loaded = load_files(with({{"tls.ca_file", file("ca", "CA")},
                                           {"tls.cert_file", file("cert", "CERT\n")},
                                           {"tls.key_file", file("key", "KEY")}}));
  ASSERT_TRUE(loaded) << loaded.error().detail;
  EXPECT_EQ(loaded->tls_ca_pem, "CA");
  EXPECT_EQ(loaded->tls_cert_pem, "CERT\n");
  EXPECT_EQ(loaded->tls_key_pem, "KEY");
  EXPECT_EQ(loaded->tls_ca_file + loaded->tls_cert_file + loaded->tls_key_file, "");
  EXPECT_TRUE(validate(*loaded));
}

TEST_F(LoadFiles, NoFilesChangeNothing) {
  Result<Values> loaded = load_files(default_values());
  ASSERT_TRUE(loaded);
  EXPECT_EQ(identity_text(*loaded), identity_text(default_values()));
}

TEST_F(LoadFiles, UnusableFilesAreNamed) {
  expect_refused(path("missing"), ENOENT, "the file cannot be opened");
  expect_refused(folder_, 0, "it is not a regular file");
  expect_refused(file("empty", ""), 0, "the file is empty");
  expect_refused(file("nul", "a\0b"s), 0, "the file has a NUL byte; write it as PEM text");
  std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_refused(fifo, 0, "it is not a regular file");  // and does not wait for a writer
}

TEST_F(LoadFiles, SizeHasALimit) {
  std::string most(limits::kOptionValueBytes, 'x');
  EXPECT_TRUE(load_files(with({{"tls.ca_file", file("most", most)}})));
  expect_refused(file("more", most + "x"), 0, "the file is larger than 1048576 bytes");
}

TEST(InternSettings, EqualValuesShareAnId) {
  SettingsPtr a = intern_settings(with({{"partition", "tenant"}}));
  SettingsPtr b = intern_settings(with({{"partition", "tenant"}}));
  EXPECT_GE(a->id(), 1u);
  EXPECT_EQ(a->id(), b->id());
  EXPECT_EQ((*b)->partition, "tenant");
}

TEST(InternSettings, EveryRowButRequestScopeTellsThemApart) {
  SettingsPtr base = intern_settings(default_values());
  std::vector<SettingsPtr> kept = {base};
  std::set<uint64_t> ids = {base->id()};
  for (const OptionInfo& option : option_table()) {
    Values values = default_values();
    bool changed = false;
    std::vector<std::string_view> candidates = choices(option);
    for (std::string_view more : {option.least, option.most})
      candidates.push_back(more);
    for (std::string_view more : {"true", "false", "x"})
      candidates.push_back(more);
    for (std::string_view text : candidates) {
      if (!set_value(&values, option, text)) continue;
      changed = option_value_text(option, values) != option_value_text(option, default_values());
      if (changed) break;
    }
    ASSERT_TRUE(changed) << option.name;
    SettingsPtr other = intern_settings(values);
    kept.push_back(other);
    if (option.scope == Scope::REQUEST) {
      EXPECT_EQ(other->id(), base->id()) << option.name;
      EXPECT_EQ(option_value_text(option, other->values()), option_value_text(option, values));
    } else {
      EXPECT_TRUE(ids.insert(other->id()).second) << option.name;
    }
  }
}

TEST(InternSettings, TextsCannotImitateEachOther) {
  SettingsPtr a =
      intern_settings(with({{"check.send", "1"}, {"check.expect", "2\\ncheck.after=1:0"}}));
  SettingsPtr b =
      intern_settings(with({{"check.send", "1\\ncheck.expect=1:2"}, {"check.expect", "2"}}));
  EXPECT_NE(a->id(), b->id());
}

TEST(InternSettings, AnIdIsNeverGivenAgain) {
  Values values = with({{"partition", "gone"}});
  uint64_t first = intern_settings(values)->id();  // dropped at once
  SettingsPtr second = intern_settings(values);
  EXPECT_GT(second->id(), first);
  SettingsPtr copy = second;
  second.reset();
  EXPECT_EQ(intern_settings(values)->id(), copy->id());
}

TEST(InternSettings, FromManyThreads) {
  SettingsPtr kept = intern_settings(with({{"partition", "threads"}}));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&kept] {
      Values same = with({{"partition", "threads"}});
      Values other = with({{"partition", "come and go"}});
      for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(intern_settings(same)->id(), kept->id());
        EXPECT_NE(intern_settings(other)->id(), kept->id());
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
}

}  // namespace
}  // namespace conpool
