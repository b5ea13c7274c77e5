// Questions to the application and their answers.
#include "pool/application_resolver.h"

#include <utility>

#include "base/limits.h"
#include "base/text.h"

namespace conpool::pool {

// The resolver's hold on a question.
class QuestionTicket final : public resolver::ApplicationResolver::Ticket {
 public:
  QuestionTicket(Question* question, resolver::ApplicationResolver::Done done)
      : question_(question), done_(std::move(done)) {
    question_->ticket_ = this;
  }
  ~QuestionTicket() override {
    if (question_ != nullptr) question_->ticket_ = nullptr;
  }
  // The question is over; `result` null: it was not answered.
  void end(Result<std::vector<SocketAddress>>* result) {
    question_ = nullptr;
    if (result == nullptr) return;  // it ends by its deadline
    resolver::ApplicationResolver::Done done = std::move(done_);
    done(std::move(*result));  // may destroy this ticket
  }

 private:
  Question* question_;
  resolver::ApplicationResolver::Done done_;
};

Result<std::vector<SocketAddress>> parse_answer(std::string_view text, Family family) {
  std::vector<SocketAddress> addresses;
  if (trimmed(text).empty()) return addresses;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view item = trimmed(text.substr(0, comma));
    Result<SocketAddress> address = parse_ip_literal(item);
    if (!address) return fail(std::move(address.error()));
    if (address->family() != family) {
      return fail(Status::E_BAD_ADDRESS,
                  in_quotes(item) + " is not of the family that was asked for");
    }
    if (addresses.size() >= limits::kAddressesPerName) {
      return fail(
          Status::E_BAD_ADDRESS,
          "an answer has at most " + std::to_string(limits::kAddressesPerName) + " addresses");
    }
    addresses.push_back(std::move(*address));
    if (comma == std::string_view::npos) return addresses;
    text.remove_prefix(comma + 1);
  }
}

Question::Question(ops::Port& port, std::string name, Family family)
    : port_(port), name_(std::move(name)), family_(family) {
  port_.ref();
}

Question::~Question() {
  port_.unref();
}

void Question::finish(bool answered, Result<std::vector<SocketAddress>> result) noexcept {
  answered_ = answered;
  result_ = std::move(result);
  mail_.question = this;
  mail_.run = [](ops::MailNode& node) { static_cast<Mail&>(node).question->run(); };
  ops::Port& port = port_;
  port.ref();
  port.post(mail_);
  port.unref();
}

void Question::run() {
  const std::unique_ptr<Question> last(this);
  if (QuestionTicket* ticket = std::exchange(ticket_, nullptr))
    ticket->end(answered_ ? &result_ : nullptr);
}

ApplicationResolver::~ApplicationResolver() {
  if (queue_ != nullptr) queue_->unref();
}

void ApplicationResolver::set_queue(ops::Queue* queue, uint64_t user_data) {
  if (queue != nullptr) queue->ref();
  if (ops::Queue* old = std::exchange(queue_, queue)) old->unref();
  user_data_ = user_data;
}

std::unique_ptr<resolver::ApplicationResolver::Ticket> ApplicationResolver::ask(
    const std::string& name, Family family, Time, Done done) {
  auto question = std::make_unique<Question>(
      port_, name.ends_with('.') ? name.substr(0, name.size() - 1) : name, family);
  auto ticket = std::make_unique<QuestionTicket>(question.get(), std::move(done));
  if (queue_ == nullptr) return ticket;
  Result<ops::Op*> op =
      ops::Op::begin(port_, queue_, CONPOOL_EVENT_LOOKUP, user_data_, in_flight_, limit_);
  if (!op) {
    // The question stays with its ticket until the deadline: nobody can answer it.
    ticket->end(nullptr);
    question->ticket_ = nullptr;
    return ticket;
  }
  (*op)->finish(Status::OK, question.release(), family == Family::V6 ? 6 : 4);
  return ticket;
}

}  // namespace conpool::pool
