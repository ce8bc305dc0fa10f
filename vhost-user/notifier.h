/* Notifiers that came from a frontend: kick, call and error descriptors. We share the open file
 * with the frontend, which can change its flags at any time, O_NONBLOCK among them, and fill it:
 * nothing here depends on either. */
#ifndef WEFT_VHOST_USER_NOTIFIER_H
#define WEFT_VHOST_USER_NOTIFIER_H

#include "base/error.h"

/* Control. 0 when `fd` is a descriptor that can be signalled without ever waiting: an eventfd or a
 * UNIX socket. -errno and the reason otherwise; fd stays the caller's, untouched. */
int notifier_check(int fd, struct error *error);

/* Any thread. Signals once, and never waits: 0, or -errno (-EAGAIN: a socket that is full; an
 * eventfd that is full has its signal already). */
int notifier_signal(int fd);

#endif
