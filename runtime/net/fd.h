/*
 * What the I/O calls tell the netpoller about a descriptor. Internal: not installed.
 */
#ifndef GOJOBD_RUNTIME_NET_FD_H
#define GOJOBD_RUNTIME_NET_FD_H

#include "runtime/net/poll.h"

/* fd was just made by this library: whatever is known of its number is history, and from
 * now on only go_fd_close() or go_fd_forget() end it, so waits need not ask the kernel
 * whether it is still the same file. 0 or -ENOMEM. Never parks. */
int rt_fd_adopt(int fd);

/* An attempt at event on fd follows: an edge seen before it carries no news. */
void rt_fd_prepare(int fd, enum go_fd_event event);

#endif
