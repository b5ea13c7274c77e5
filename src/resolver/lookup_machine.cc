// LookupMachine: see the header.
#include "resolver/lookup_machine.h"

#include <cassert>

namespace conpool::resolver {

using Kind = LookupAction::Kind;

void LookupMachine::transition(Side& side, State to) {
  assert(side.wanted);
  // Held goes back to Idle when the next name begins; an answer is given once.
  assert(side.state != State::Answered);
  assert(to != State::Idle || side.state == State::Held);
  assert(to != State::Asking || side.state == State::Idle);
  side.state = to;
}

void LookupMachine::start(Time now, std::vector<LookupAction>* actions) {
  assert(!plan_.names.empty() && (plan_.v6 || plan_.v4));
  v6_.wanted = plan_.v6;
  v4_.wanted = plan_.v4;
  begin_name(now, actions);
  advance(now, actions);
}

void LookupMachine::begin_name(Time now, std::vector<LookupAction>* actions) {
  for (Side* side : {&v6_, &v4_}) {
    if (side->wanted) begin_family(*side, now, actions);
  }
}

void LookupMachine::begin_family(Side& side, Time now, std::vector<LookupAction>* actions) {
  CacheFinding finding = cache_.find(name(), side.family, now);
  switch (finding.kind) {
    case CacheFinding::Kind::Fresh:
      side.awaited = finding.refresh;
      if (finding.refresh) actions->push_back({Kind::Refresh, side.family, name()});
      give(side, from_cache(finding, false), actions);
      return;
    case CacheFinding::Kind::Standing:
      give(side, from_cache(finding, true), actions);
      return;
    case CacheFinding::Kind::Negative:
      negative(side, from_cache(finding, false), actions);
      return;
    case CacheFinding::Kind::Failed:
      give(side, from_cache(finding, false), actions);
      return;
    case CacheFinding::Kind::Stale:
    case CacheFinding::Kind::Miss:
      break;
  }
  side.has_stale = finding.kind == CacheFinding::Kind::Stale;
  side.stale = std::move(finding);
  side.awaited = true;
  transition(side, State::Asking);
  actions->push_back({Kind::Ask, side.family, name()});
  if (side.has_stale && plan_.optimistic) give_stale(side, actions);
}

void LookupMachine::on_outcome(Family family, const Outcome& outcome, Time expires, Time now,
                               std::vector<LookupAction>* actions) {
  Side& side = of(family);
  if (!side.awaited) return;
  side.awaited = false;
  FamilyAnswer answer = from_outcome(outcome, expires);
  if (side.state == State::Answered) {
    late(side, outcome, std::move(answer), actions);
    return;
  }
  assert(side.state == State::Asking);
  if (outcome.positive()) {
    give(side, std::move(answer), actions);
  } else if (outcome.negative()) {
    negative(side, std::move(answer), actions);
  } else if (side.has_stale) {
    give_stale(side, actions);
  } else {
    give(side, std::move(answer), actions);
  }
  advance(now, actions);
}

// Goes on to the next name while every wanted family is negative for this one.
void LookupMachine::advance(Time now, std::vector<LookupAction>* actions) {
  for (;;) {
    if (settled_) return settle(actions);
    for (const Side* side : {&v6_, &v4_}) {
      if (side->wanted && side->state != State::Held) return;
    }
    assert(!last_name());
    if (now >= plan_.deadline) return time_out(now, actions);
    ++index_;
    for (Side* side : {&v6_, &v4_}) {
      if (side->wanted) transition(*side, State::Idle);
    }
    begin_name(now, actions);
  }
}

// The name is decided: what was held back can be told.
void LookupMachine::settle(std::vector<LookupAction>* actions) {
  for (Side* side : {&v6_, &v4_}) {
    if (side->state == State::Held) give(*side, std::move(side->held), actions);
  }
}

void LookupMachine::negative(Side& side, FamilyAnswer answer, std::vector<LookupAction>* actions) {
  Failure& failure = answer.addresses.error();
  side.no_data = side.no_data || failure.status == Status::E_DNS_NO_DATA;
  // Of a list of names, one that exists is worth more than the others that do not.
  if (side.no_data) failure.status = Status::E_DNS_NO_DATA;
  if (settled_ || last_name()) {
    give(side, std::move(answer), actions);
    return;
  }
  side.held = std::move(answer);
  transition(side, State::Held);
}

void LookupMachine::give(Side& side, FamilyAnswer answer, std::vector<LookupAction>* actions) {
  const bool negative_end =
      !answer.addresses && Outcome::is_negative(answer.addresses.error().status);
  // Negative answers come here only when the name is decided, or is the last.
  if (!negative_end || last_name()) settled_ = true;
  side.given_positive = answer.addresses.has_value();
  side.given_stale = answer.stale;
  side.has_stale = false;
  if (side.given_positive) side.given = *answer.addresses;
  transition(side, State::Answered);
  actions->push_back({Kind::Answer, side.family, name(), std::move(answer)});
}

void LookupMachine::give_stale(Side& side, std::vector<LookupAction>* actions) {
  side.has_stale = false;
  give(side, from_cache(side.stale, true), actions);
}

void LookupMachine::late(Side& side, const Outcome& outcome, FamilyAnswer answer,
                         std::vector<LookupAction>* actions) {
  if (outcome.positive()) {
    if (side.given_positive && !side.given_stale && side.given == outcome.addresses) return;
  } else if (!outcome.negative() || !side.given_positive) {
    return;
  }
  actions->push_back({Kind::Update, side.family, name(), std::move(answer)});
}

void LookupMachine::on_time(Time now, std::vector<LookupAction>* actions) {
  for (Side* side : {&v6_, &v4_}) {
    if (side->state == State::Asking && side->has_stale && now >= stale_at()) {
      give_stale(*side, actions);
    }
  }
  if (settled_) settle(actions);
  if (now >= plan_.deadline) time_out(now, actions);
}

// The deadline: what is still open ends with what there is. A negative answer held back holds only
// when the other family settled the name; else the rest of the list was never asked.
void LookupMachine::time_out(Time now, std::vector<LookupAction>* actions) {
  for (Side* side : {&v6_, &v4_}) {
    if (side->state == State::Asking && side->has_stale) give_stale(*side, actions);
  }
  if (settled_) settle(actions);
  for (Side* side : {&v6_, &v4_}) {
    if (!side->wanted || side->state == State::Answered) continue;
    give(*side, {.addresses = fail(Status::E_DNS_TIMEOUT), .expires = now, .name = name()},
         actions);
  }
}

Time LookupMachine::next_deadline() const {
  if (answered()) return kNever;
  Time next = plan_.deadline;
  for (const Side* side : {&v6_, &v4_}) {
    if (side->state == State::Asking && side->has_stale) next = std::min(next, stale_at());
  }
  return next;
}

bool LookupMachine::answered() const {
  return (!v6_.wanted || v6_.state == State::Answered) &&
         (!v4_.wanted || v4_.state == State::Answered);
}

FamilyAnswer LookupMachine::from_cache(const CacheFinding& finding, bool stale) const {
  FamilyAnswer answer{
      .expires = finding.expires, .from_cache = true, .stale = stale, .name = name()};
  if (finding.addresses.empty()) {
    answer.addresses = fail(finding.failure);
  } else {
    answer.addresses = finding.addresses;
  }
  return answer;
}

FamilyAnswer LookupMachine::from_outcome(const Outcome& outcome, Time expires) const {
  FamilyAnswer answer{.expires = expires, .name = name()};
  if (outcome.positive()) {
    answer.addresses = outcome.addresses;
  } else {
    answer.addresses = fail(outcome.failure);
  }
  return answer;
}

}  // namespace conpool::resolver
