/* Checks and closes file descriptors sent by frontends (foreign_fd.h). Control thread; threads of
 * their own, started when needed, close those that might wait. */
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

/* How long a close() may take before another thread is given what waits behind it, and how many
 * threads there may be. */
#define CLOSER_STUCK_SECONDS 1
#define CLOSER_THREADS_MAX   16u

#define CLOSER_WAITING_MAX 1024u

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct closing *first, **end; /* the queue */
	uint32_t waiting;	      /* in it */
	uint32_t threads;
	time_t progress; /* when something was last taken from the queue, or a thread started */
} closer = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER,
	.end = &closer.first,
};

static bool fd_is_shared_memory(int fd);
static int fd_mode(int fd, mode_t *mode);
static bool fd_closes_at_once(int fd);
static int fd_mount_id(int fd);
static bool mount_type(int mount_id, char *type, size_t size);
static bool closer_take(struct closing *closing);
static bool closer_start(void);
static time_t seconds_now(void);

/* The name of an anonymous inode is made by the kernel alone. */
bool foreign_fd_is_event(int fd)
{
	static const char event[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(event) + 1];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target));
	return length == (ssize_t)sizeof(event) - 1 &&
	       memcmp(target, event, sizeof(event) - 1) == 0;
}

bool foreign_fd_is_local_socket(int fd)
{
	int domain = -1;
	socklen_t size = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
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
	if (closing != NULL)
		closing->fd = fd;
	if (closing == NULL || !closer_take(closing)) {
		close(fd);
		free(closing);
	}
}

bool foreign_fd_overloaded(void)
{
	bool overloaded;

	pthread_mutex_lock(&closer.lock);
	overloaded = closer.waiting >= CLOSER_WAITING_MAX;
	pthread_mutex_unlock(&closer.lock);
	return overloaded;
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

/* Not so: files of FUSE (flush), sockets of the network (SO_LINGER), UNIX sockets (such files may
 * be on their way in them), pipes (somebody else's page fault may hold their lock), devices, and
 * what else there may be. */
static bool fd_closes_at_once(int fd)
{
	return foreign_fd_is_event(fd) || foreign_fd_check_memory(fd, NULL) == 0;
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

/* False when there is no thread to give it to. */
static bool closer_take(struct closing *closing)
{
	bool taken;

	pthread_mutex_lock(&closer.lock);
	if (closer.threads == 0 || (closer.first != NULL && closer.threads < CLOSER_THREADS_MAX &&
				    seconds_now() - closer.progress > CLOSER_STUCK_SECONDS)) {
		closer.threads += closer_start() ? 1 : 0;
		closer.progress = seconds_now();
	}
	taken = closer.threads > 0;
	if (taken) {
		closing->next = NULL;
		*closer.end = closing;
		closer.end = &closing->next;
		closer.waiting++;
		pthread_cond_signal(&closer.wake);
	}
	pthread_mutex_unlock(&closer.lock);
	return taken;
}

static void *closer_run(void *argument)
{
	(void)argument;
	for (;;) {
		struct closing *closing;

		pthread_mutex_lock(&closer.lock);
		while (closer.first == NULL)
			pthread_cond_wait(&closer.wake, &closer.lock);
		closing = closer.first;
		closer.first = closing->next;
		if (closer.first == NULL)
			closer.end = &closer.first;
		closer.waiting--;
		closer.progress = seconds_now();
		pthread_mutex_unlock(&closer.lock);
		close(closing->fd);
		free(closing);
	}
	return NULL;
}

static time_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
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
