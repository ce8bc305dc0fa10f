/* Signals to descriptors of a frontend (notifier.h). notifier_signal: workers and control.
 *
 * write() waits on a full eventfd unless its open file has O_NONBLOCK, and there is no flag for a
 * single call. The kernel itself signals eventfds without waiting: so a request for asynchronous
 * I/O that asks whether a file of ours can be read, which it always can, names the frontend's
 * eventfd as the one to tell of its completion (io_submit(2), IOCB_FLAG_RESFD). It completes within
 * the call. A pipe is opened once more, which gives us an O_NONBLOCK of our own. */
#include "vhost-user/notifier.h"

#include "base/log.h"
#include "vhost-user/foreign_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Completions nobody has read occupy places; they are thrown away when there are no more. */
#define PLACES	    1024
#define PLACES_READ 64
#define ATTEMPTS    8

/* One for all threads, made with the first notifier, and kept. */
static struct {
	pthread_once_t once;
	aio_context_t context;
	int file;
	int error; /* why there is none */
} signaller = { .once = PTHREAD_ONCE_INIT, .file = -1 };

static void signaller_open(void);
static void signaller_forget_completions(void);
static int stream_signal(int fd);

int notifier_check(int fd, struct error *error)
{
	if (!foreign_fd_is_event(fd) && !foreign_fd_is_pipe(fd) && !foreign_fd_is_local_socket(fd))
		return error_set(error, EINVAL,
				 "a notification fd is no eventfd, pipe or UNIX socket");
	return 0;
}

int notifier_own(int *fd, struct error *error)
{
	char path[32];
	int own, rc = notifier_check(*fd, error);

	if (rc < 0)
		return rc;
	pthread_once(&signaller.once, signaller_open);
	if (!foreign_fd_is_pipe(*fd)) {
		int flags = signaller.error != 0 ? fcntl(*fd, F_GETFL) : -1;

		if (flags >= 0)
			fcntl(*fd, F_SETFL, flags | O_NONBLOCK);
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (own < 0)
		return error_set(error, EINVAL, "a notification pipe cannot be written: %s",
				 strerror(errno));
	foreign_fd_close(*fd);
	*fd = own;
	return 0;
}

int notifier_signal(int fd)
{
	struct iocb request = { .aio_lio_opcode = IOCB_CMD_POLL,
				.aio_buf = POLLIN,
				.aio_flags = IOCB_FLAG_RESFD,
				.aio_resfd = (uint32_t)fd };
	struct iocb *requests[] = { &request };
	const uint64_t one = 1;

	pthread_once(&signaller.once, signaller_open);
	if (signaller.error != 0 && foreign_fd_is_event(fd))
		return write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one) ? 0 : -errno;
	request.aio_fildes = (uint32_t)signaller.file;
	for (int i = 0; i < ATTEMPTS; i++) {
		if (syscall(SYS_io_submit, signaller.context, 1L, requests) == 1)
			return 0;
		if (errno == EINVAL)
			return stream_signal(fd); /* no eventfd */
		if (errno != EAGAIN)
			return -errno;
		signaller_forget_completions();
	}
	return -EAGAIN;
}

static void signaller_open(void)
{
	signaller.file = memfd_create("weft-signaller", MFD_CLOEXEC);
	if (signaller.file < 0 || syscall(SYS_io_setup, PLACES, &signaller.context) != 0) {
		signaller.error = errno;
		log_warning(
		    "no asynchronous I/O to signal eventfds with (%s): weft writes to them, "
		    "which a hostile frontend can make wait",
		    strerror(errno));
	}
}

/* Several threads may do so at once: who finds nothing finds free places. */
static void signaller_forget_completions(void)
{
	struct timespec now = { 0, 0 };
	struct io_event events[PLACES_READ];

	while (syscall(SYS_io_getevents, signaller.context, 0L, (long)PLACES_READ, events, &now) ==
	       PLACES_READ)
		continue;
}

static int stream_signal(int fd)
{
	const uint64_t one = 1;

	struct stat status;
	ssize_t sent = send(fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);

	/* A pipe: an open file of our own (notifier_own), so that it does not wait. */
	if (sent < 0 && errno == ENOTSOCK && fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode))
		sent = write(fd, &one, sizeof(one));
	return sent == (ssize_t)sizeof(one) ? 0 : -errno;
}
