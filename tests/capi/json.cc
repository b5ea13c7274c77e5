// A strict reader of JSON texts (RFC 8259).
#include "json.h"

namespace capi_test {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool whole(Json* out) {
    if (!value(out, 0)) return false;
    blanks();
    return at_ == text_.size();
  }
  size_t at() const { return at_; }

 private:
  static constexpr int kDepth = 64;

  void blanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos)
      ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }

  bool value(Json* out, int depth) {
    if (depth > kDepth) return false;
    blanks();
    if (at_ >= text_.size()) return false;
    switch (text_[at_]) {
      case '{':
        return object(out, depth);
      case '[':
        return list(out, depth);
      case '"':
        out->kind = Json::Kind::Text;
        return string(&out->text);
      case 't':
      case 'f':
        out->kind = Json::Kind::Bool;
        out->truth = text_[at_] == 't';
        return word(out->truth ? "true" : "false");
      case 'n':
        return word("null");
      default:
        return number(out);
    }
  }

  bool object(Json* out, int depth) {
    out->kind = Json::Kind::Object;
    take('{');
    blanks();
    if (take('}')) return true;
    do {
      std::string name;
      Json member;
      blanks();
      if (!string(&name)) return false;
      blanks();
      if (!take(':') || !value(&member, depth + 1)) return false;
      if (!out->members.emplace(name, std::move(member)).second) return false;  // twice
      blanks();
    } while (take(','));
    return take('}');
  }

  bool list(Json* out, int depth) {
    out->kind = Json::Kind::List;
    take('[');
    blanks();
    if (take(']')) return true;
    do {
      Json item;
      if (!value(&item, depth + 1)) return false;
      out->items.push_back(std::move(item));
      blanks();
    } while (take(','));
    return take(']');
  }

  bool string(std::string* out) {
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out->push_back(c);
        continue;
      }
      if (at_ >= text_.size()) return false;
      const char escape = text_[at_++];
      const size_t plain = std::string_view("\"\\/bfnrt").find(escape);
      if (plain != std::string_view::npos) {
        out->push_back("\"\\/\b\f\n\r\t"[plain]);
      } else if (escape == 'u' && text_.size() - at_ >= 4) {
        out->push_back(
            static_cast<char>(std::stoi(std::string(text_.substr(at_, 4)), nullptr, 16)));
        at_ += 4;
      } else {
        return false;
      }
    }
    return false;
  }

  bool digits() {
    const size_t from = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9')
      ++at_;
    return at_ > from;
  }

  bool number(Json* out) {
    const size_t from = at_;
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    out->kind = Json::Kind::Number;
    out->text = std::string(text_.substr(from, at_ - from));
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool parse_json(std::string_view text, Json* out, std::string* reason) {
  Reader reader(text);
  if (reader.whole(out)) return true;
  *reason = "not JSON at byte " + std::to_string(reader.at()) + ": " +
            std::string(text.substr(reader.at(), 40));
  return false;
}

}  // namespace capi_test
