/* File descriptors that came from a frontend: what they are, and how to be rid of them.
 *
 * A descriptor may belong to a file system served by the attacker's own process (FUSE), which can
 * let almost every system call on it wait for ever, close() included. Control has one thread for
 * all ports and must not be caught by that: a descriptor is looked at only in ways that do not ask
 * its file system, and one that is not known to be harmless is closed by a thread that may wait.
 * Control thread. */
#ifndef WEFT_VHOST_USER_FOREIGN_FD_H
#define WEFT_VHOST_USER_FOREIGN_FD_H

#include "base/error.h"

#include <stdbool.h>

/* What the kernel alone can make. */
bool foreign_fd_is_event(int fd);
bool foreign_fd_is_local_socket(int fd); /* AF_UNIX */

/* 0 when `fd` is a file that can be mapped without trusting anybody but the kernel: tmpfs, memfd,
 * hugetlbfs, or a regular file of a local disk file system. fd stays the caller's. */
int foreign_fd_check_memory(int fd, struct error *error);

/* Closes fd; a no-op for a negative one. Never waits. */
void foreign_fd_close(int fd);

/* More descriptors wait to be closed than should: somebody's do not let themselves be closed, and
 * no more may be taken from anybody. */
bool foreign_fd_overloaded(void);

#endif
