/* Signals to descriptors of a frontend (notifier.h). notifier_signal: workers and control.
 *
 * write() waits on a full eventfd unless its open file has O_NONBLOCK, and there is no flag for a
 * single call. The kernel itself signals eventfds without waiting: so a request for asynchronous
 * I/O that reads nothing from a file of ours names the frontend's eventfd as the one to tell of its
 * completion (io_submit(2), IOCB_FLAG_RESFD). It completes within the call. */
#include "vhost-user/notifier.h"

#include "vhost-user/foreign_fd.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
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
static int socket_signal(int fd);

int notifier_check(int fd, struct error *error)
{
	if (!foreign_fd_is_event(fd) && !foreign_fd_is_local_socket(fd))
		return error_set(error, EINVAL, "a notification fd is no eventfd or UNIX socket");
	pthread_once(&signaller.once, signaller_open);
	if (signaller.error != 0)
		return error_set(error, signaller.error,
				 "no asynchronous I/O to signal eventfds with: %s",
				 strerror(signaller.error));
	return 0;
}

int notifier_signal(int fd)
{
	struct iocb request = { .aio_lio_opcode = IOCB_CMD_PREAD,
				.aio_flags = IOCB_FLAG_RESFD,
				.aio_resfd = (uint32_t)fd };
	struct iocb *requests[] = { &request };

	pthread_once(&signaller.once, signaller_open);
	request.aio_fildes = (uint32_t)signaller.file;
	for (int i = 0; i < ATTEMPTS; i++) {
		if (syscall(SYS_io_submit, signaller.context, 1L, requests) == 1)
			return 0;
		if (errno == EINVAL)
			return socket_signal(fd); /* no eventfd */
		if (errno != EAGAIN)
			return -errno;
		signaller_forget_completions();
	}
	return -EAGAIN;
}

static void signaller_open(void)
{
	signaller.file = memfd_create("weft-signaller", MFD_CLOEXEC);
	if (signaller.file < 0 || syscall(SYS_io_setup, PLACES, &signaller.context) != 0)
		signaller.error = errno;
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

static int socket_signal(int fd)
{
	const uint64_t one = 1;

	if (send(fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(one))
		return 0;
	return -errno;
}
