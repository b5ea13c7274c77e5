// Which of the figures errors.* counts a failure.
#include "observe/error_counter.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace conpool::observe {
namespace {

TEST(ErrorCounter, TheErrnoDecidesWhereThereIsOne) {
  struct Row {
    int error;
    Counter counter;
  };
  for (const Row& row :
       {Row{ECONNREFUSED, Counter::ErrorECONNREFUSED}, Row{ECONNRESET, Counter::ErrorECONNRESET},
        Row{ECONNABORTED, Counter::ErrorECONNABORTED}, Row{ETIMEDOUT, Counter::ErrorETIMEDOUT},
        Row{EPIPE, Counter::ErrorEPIPE}, Row{EHOSTUNREACH, Counter::ErrorEHOSTUNREACH},
        Row{ENETUNREACH, Counter::ErrorENETUNREACH}, Row{ENETDOWN, Counter::ErrorENETDOWN},
        Row{EADDRNOTAVAIL, Counter::ErrorEADDRNOTAVAIL}, Row{EMFILE, Counter::ErrorEMFILE},
        Row{ENFILE, Counter::ErrorENFILE}, Row{ENOBUFS, Counter::ErrorENOBUFS},
        Row{ENOMEM, Counter::ErrorENOMEM}, Row{EACCES, Counter::ErrorEACCES},
        Row{EIO, Counter::ErrorEIO}, Row{EXDEV, Counter::ErrorOther}}) {
    // Whatever the status says.
    for (const Status status : {Status::E_CONNECT_FAILED, Status::E_STALL_TIMEOUT})
      EXPECT_EQ(error_counter({.status = status, .os_error = row.error}), row.counter) << row.error;
  }
}

TEST(ErrorCounter, WithoutOneTheKindOfFailure) {
  struct Row {
    Status status;
    Counter counter;
  };
  for (const Row& row : {Row{Status::E_CONNECT_TIMEOUT, Counter::ErrorETIMEDOUT},
                         Row{Status::E_DIAL_TIMEOUT, Counter::ErrorETIMEDOUT},
                         Row{Status::E_TLS_TIMEOUT, Counter::ErrorETIMEDOUT},
                         Row{Status::E_STALL_TIMEOUT, Counter::ErrorETIMEDOUT},
                         Row{Status::E_HTTP_FIRST_BYTE_TIMEOUT, Counter::ErrorETIMEDOUT},
                         Row{Status::E_H2_PING_TIMEOUT, Counter::ErrorETIMEDOUT},
                         Row{Status::E_TIMEOUT, Counter::ErrorETIMEDOUT},
                         Row{Status::E_CONNECT_REFUSED, Counter::ErrorECONNREFUSED},
                         Row{Status::E_CONNECTION_RESET, Counter::ErrorECONNRESET},
                         Row{Status::E_CONNECT_RESET, Counter::ErrorECONNRESET},
                         Row{Status::E_CONNECTION_CLOSED, Counter::ErrorEOF},
                         Row{Status::E_HTTP_TRUNCATED, Counter::ErrorEOF},
                         Row{Status::E_HTTP_NO_RESPONSE, Counter::ErrorEOF},
                         Row{Status::E_TLS_TRUNCATED, Counter::ErrorEOF},
                         Row{Status::E_FD_LIMIT, Counter::ErrorEMFILE},
                         Row{Status::E_HTTP_MALFORMED, Counter::ErrorProtocol},
                         Row{Status::E_H2_PROTOCOL, Counter::ErrorProtocol},
                         Row{Status::E_TLS_HANDSHAKE, Counter::ErrorProtocol},
                         Row{Status::E_CANCELLED, Counter::ErrorOther}})
    EXPECT_EQ(error_counter({.status = row.status}), row.counter) << status_name(row.status);
}

}  // namespace
}  // namespace conpool::observe
