// SIGINT and SIGTERM as a wish to end: seen by the run that they interrupt.
#pragma once

#include <csignal>

namespace conpool::cli {

// While there is one, the first such signal is noted and does nothing else; a second of its kind
// ends the process, should the run not. Signals that were ignored before (nohup) stay so.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // SIGINT, SIGTERM or, so far, 0.
  int signal() const;
  // "SIGINT".
  const char* name() const { return signal() == SIGINT ? "SIGINT" : "SIGTERM"; }

 private:
  struct sigaction before_[2];
};

}  // namespace conpool::cli
