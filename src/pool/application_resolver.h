// The application as resolver: questions go out as events of a queue, answers come back by mail.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "ops/op.h"
#include "ops/queue.h"
#include "resolver/resolver.h"

namespace conpool::pool {

// "192.0.2.1,192.0.2.2" of one family; empty text: none. E_BAD_ADDRESS, naming the item.
Result<std::vector<SocketAddress>> parse_answer(std::string_view text, Family family);

// The public handle of one question. Answered, failed or freed once, on any thread.
class Question final : public ops::Object {
 public:
  Question(ops::Port& port, std::string name, Family family);
  ~Question() override;

  void dispose() noexcept override { finish(false, fail(Status::E_DNS_TIMEOUT)); }
  const std::string& name() const { return name_; }
  Family family() const { return family_; }
  // `answered` false: the question was freed without an answer. Frees the handle.
  void finish(bool answered, Result<std::vector<SocketAddress>> result) noexcept;

 private:
  friend class ApplicationResolver;
  friend class QuestionTicket;
  struct Mail : ops::MailNode {
    Question* question = nullptr;
  };
  void run();

  ops::Port& port_;
  const std::string name_;
  const Family family_;
  Mail mail_;
  bool answered_ = false;
  Result<std::vector<SocketAddress>> result_ = fail(Status::E_DNS_TIMEOUT);
  class QuestionTicket* ticket_ = nullptr;  // loop thread; null once withdrawn
};

class ApplicationResolver final : public resolver::ApplicationResolver {
 public:
  // `in_flight` and `limit` as for every op.
  ApplicationResolver(ops::Port& port, std::atomic<int64_t>& in_flight, int64_t limit)
      : port_(port), in_flight_(in_flight), limit_(limit) {}
  ~ApplicationResolver();

  // Loop thread. Takes a reference to the queue; null ends it.
  void set_queue(ops::Queue* queue, uint64_t user_data);
  std::unique_ptr<Ticket> ask(const std::string& name, Family family, Time deadline,
                              Done done) override;

 private:
  ops::Port& port_;
  std::atomic<int64_t>& in_flight_;
  const int64_t limit_;
  ops::Queue* queue_ = nullptr;
  uint64_t user_data_ = 0;
};

}  // namespace conpool::pool
