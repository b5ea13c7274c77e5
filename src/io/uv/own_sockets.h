// The sockets of this process's loops, by number, so that a forked child can let go of them.
//
// A child that kept its copies would hold every connection open after the parent has closed it, and
// a closed one would never be seen to end by its peer. Vocabulary: a socket is owned from right
// after the call that made it until right before the call that closes it, so that the child never
// closes a number that is somebody else's. A duplicate that is lent to the application is not
// owned: it is the application's to close, in the child too.
#pragma once

namespace conpool::io::uv {

// Any thread. `fd` is a socket that was just made. The first call registers the fork handler.
void own_socket(int fd) noexcept;
// Any thread. Closes a descriptor, owned or not; as close(2).
int close_socket(int fd) noexcept;

}  // namespace conpool::io::uv
