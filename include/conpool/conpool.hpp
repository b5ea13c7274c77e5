// conpool in C++20: the C interface of conpool.h as values that own what they name.
//
//   conpool::Pool pool = conpool::Pool::create().value();
//   conpool::Result<conpool::Response> got = pool.get("https://example.org/");
//   if (got) std::cout << got->status() << ' ' << got->body();
//   else     std::cerr << got.error().report();
//
// Header-only, over the C interface alone: conpool.h is the contract, and what it says of a
// function holds here too. This header adds no behaviour; it adds
//
//   Result<T>   a value, or the Error why there is none. Nothing here throws, and it compiles
//               without exceptions and without run-time type information. An allocation of this
//               header's own that fails is std::bad_alloc, as everywhere in the standard library
//   handles     Pool, Endpoint, Request, ... can be moved and not copied, and free what they hold.
//               They may be destroyed in any order. A handle that was moved from, or default made,
//               is empty: functions on it answer CONPOOL_E_INVALID
//   three ways  each op can be waited for at once (`endpoint.acquire()`), be started and waited for
//               later (`endpoint.start_acquire()`, an Op<T>), or report to a Queue
//               (`endpoint.start_acquire({queue, 7})`, the op's id; its Events come from the queue)
//   Dispatcher  a queue whose events go to functions, or resume coroutines, on the thread that runs
//               it (cpp/dispatcher.hpp)
//   Task<T>     the plainest coroutine for it (cpp/task.hpp). Any other type of coroutine may await
//               a Pending<T> as well
//
// Threads: as in conpool.h. Const functions may be called concurrently, others one at a time on one
// object, except where a comment says "any thread".
//
// Texts are std::string_view; functions that take a `const char*` want a word that ends in NUL.
// Views that are returned live as long as the object they were asked of.
#pragma once

#include <conpool/cpp/dispatcher.hpp>
#include <conpool/cpp/objects.hpp>
#include <conpool/cpp/result.hpp>
#include <conpool/cpp/task.hpp>
