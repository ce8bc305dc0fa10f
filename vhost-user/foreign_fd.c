/* Checks and closes file descriptors sent by frontends (foreign_fd.h). Control thread; a thread of
 * its own, started when first needed, closes those that might wait. */
#include "vhost-user/foreign_fd.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Regular files on these may be mapped: their pages come from a disk of this machine. */
static const char *const local_file_systems[] = {
	"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs",
};

struct closing {
	struct closing *next;
	int fd;
};

static pthread_mutex_t closer_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t closer_wake = PTHREAD_COND_INITIALIZER;
static struct closing *closer_queue;
static bool closer_started;

static bool fd_is_event(int fd);
static bool fd_is_shared_memory(int fd);
static int fd_mode(int fd, mode_t *mode);
static bool fd_closes_at_once(int fd);
static int fd_mount_id(int fd);
static bool mount_type(int mount_id, char *type, size_t size);
static bool closer_start(void);

int foreign_fd_prepare_notifier(int fd, struct error *error)
{
	mode_t mode;
	int flags;

	if (!fd_is_event(fd)) {
		int rc = fd_mode(fd, &mode);

		if (rc < 0 || !(S_ISFIFO(mode) || S_ISSOCK(mode)))
			return error_set(error, EINVAL,
					 "a notification fd is no eventfd, pipe or socket");
	}
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return error_set(error, EINVAL, "a notification fd cannot be made non-blocking");
	return 0;
}

int foreign_fd_check_memory(int fd, struct error *error)
{
	char type[32];
	mode_t mode;
	int mount_id;

	if (fd_is_shared_memory(fd))
		return 0;
	if (fd_mode(fd, &mode) < 0 || !S_ISREG(mode))
		return error_set(error, EINVAL, "a memory fd is no regular file");
	mount_id = fd_mount_id(fd);
	if (mount_id < 0 || !mount_type(mount_id, type, sizeof(type)))
		return error_set(error, EINVAL, "a memory fd is on an unknown file system");
	for (size_t i = 0; i < sizeof(local_file_systems) / sizeof(local_file_systems[0]); i++) {
		if (strcmp(type, local_file_systems[i]) == 0)
			return 0;
	}
	return error_set(error, EINVAL,
			 "a memory fd is on a %s file system; tmpfs, memfd and hugetlbfs are "
			 "accepted, and files of local disks",
			 type);
}

void foreign_fd_signal(int fd)
{
	const struct timespec now = { 0, 0 };
	const uint64_t one = 1;
	sigset_t pipe_signal, before;

	if (fd < 0)
		return;
	/* A pipe nobody reads any more raises SIGPIPE in this thread: it is taken back. */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
	if (write(fd, &one, sizeof(one)) < 0 && errno == EPIPE)
		(void)sigtimedwait(&pipe_signal, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void foreign_fd_close(int fd)
{
	struct closing *closing;

	if (fd < 0)
		return;
	if (fd_closes_at_once(fd)) {
		close(fd);
		return;
	}
	closing = malloc(sizeof(*closing));
	if (closing == NULL) {
		close(fd);
		return;
	}
	closing->fd = fd;
	pthread_mutex_lock(&closer_lock);
	if (!closer_started)
		closer_started = closer_start();
	if (closer_started) {
		closing->next = closer_queue;
		closer_queue = closing;
		closing = NULL;
		pthread_cond_signal(&closer_wake);
	}
	pthread_mutex_unlock(&closer_lock);
	if (closing != NULL) {
		close(fd);
		free(closing);
	}
}

/* The name of an anonymous inode is made by the kernel alone. */
static bool fd_is_event(int fd)
{
	static const char event[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(event) + 1];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target));
	return length == (ssize_t)sizeof(event) - 1 &&
	       memcmp(target, event, sizeof(event) - 1) == 0;
}

/* Only files of tmpfs and hugetlbfs (a memfd is on one of them) know seals. */
static bool fd_is_shared_memory(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0;
}

static int fd_mode(int fd, mode_t *mode)
{
	struct statx status;

	/* DONT_SYNC: what the kernel knows, without asking the file system's server. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) < 0)
		return -errno;
	*mode = status.stx_mode;
	return 0;
}

/* Not so: files of FUSE (flush), sockets of the network (SO_LINGER), devices, and what else there
 * may be. */
static bool fd_closes_at_once(int fd)
{
	int domain = -1;
	socklen_t size = sizeof(domain);
	mode_t mode;

	if (fd_is_event(fd) || fd_is_shared_memory(fd))
		return true;
	if (fd_mode(fd, &mode) < 0)
		return false;
	if (S_ISSOCK(mode))
		return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
		       domain == AF_UNIX;
	return S_ISFIFO(mode) || foreign_fd_check_memory(fd, NULL) == 0;
}

static int fd_mount_id(int fd)
{
	char path[40], line[128];
	int mount_id = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "mnt_id: %d", &mount_id) == 1)
			break;
	}
	fclose(file);
	return mount_id;
}

/* proc(5): "36 35 98:0 /mnt1 /mnt2 rw shared:1 - ext4 /dev/root rw"; lines may be long. */
static bool mount_type(int mount_id, char *type, size_t size)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *separator;
	size_t capacity = 0;
	bool found = false;
	int id;

	if (file == NULL)
		return false;
	while (!found && getline(&line, &capacity, file) > 0) {
		if (sscanf(line, "%d ", &id) != 1 || id != mount_id)
			continue;
		separator = strstr(line, " - ");
		if (separator == NULL)
			break;
		separator += 3;
		separator[strcspn(separator, " \n")] = '\0';
		snprintf(type, size, "%s", separator);
		found = true;
	}
	free(line);
	fclose(file);
	return found;
}

static void *closer_run(void *argument)
{
	(void)argument;
	for (;;) {
		struct closing *closing;

		pthread_mutex_lock(&closer_lock);
		while (closer_queue == NULL)
			pthread_cond_wait(&closer_wake, &closer_lock);
		closing = closer_queue;
		closer_queue = closing->next;
		pthread_mutex_unlock(&closer_lock);
		close(closing->fd);
		free(closing);
	}
	return NULL;
}

static bool closer_start(void)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	bool started;

	/* Signals are for the threads that handle them. */
	sigfillset(&all);
	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&thread, &attributes, closer_run, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (!started)
		log_warning("cannot start the thread that closes foreign files: they are closed "
			    "at once");
	return started;
}
