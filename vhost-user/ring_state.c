/* Files of journals (ring_state.h). Called by ring.c when a packed ring starts, and by device.c at
 * the end. Control thread. */
#include "vhost-user/ring_state.h"

#include "base/log.h"
#include "vhost-user/virtqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct mapping {
	struct packed_journal *journal; /* NULL: none */
	size_t length;
};

struct ring_state {
	int fd;
	char *path; /* NULL: in memory only */
	uint64_t owner;
	uint32_t ring_count;
	struct mapping mappings[];
};

static int open_file(const char *directory, const char *path);
static uint64_t hash_path(const char *path);
static void unmap(struct mapping *mapping);

/* The same place for a ring whatever its size and page size; holes cost nothing. */
static off_t ring_offset(uint32_t ring)
{
	const size_t align = 65536;

	return (off_t)(ring *
		       ((packed_journal_bytes(VIRTQUEUE_SIZE_MAX) + align - 1) / align * align));
}

int ring_state_open(const char *directory, const char *socket, const char *name,
		    uint32_t ring_count, struct ring_state **out)
{
	struct ring_state *state =
	    calloc(1, sizeof(*state) + ring_count * sizeof(state->mappings[0]));

	if (state == NULL)
		return -ENOMEM;
	state->fd = -1;
	state->ring_count = ring_count;
	state->owner = hash_path(socket);
	if (directory != NULL &&
	    asprintf(&state->path, "%s/%016" PRIx64 ".rings", directory, state->owner) < 0)
		state->path = NULL;
	if (state->path != NULL) {
		state->fd = open_file(directory, state->path);
		if (state->fd < 0) {
			log_warning("port %s: %s: %s; its packed rings will not outlive weftd",
				    name, state->path, strerror(-state->fd));
			free(state->path);
			state->path = NULL;
		}
	}
	if (state->path == NULL)
		state->fd = memfd_create("weft-rings", MFD_CLOEXEC);
	if (state->fd < 0) {
		ring_state_close(state);
		return -ENOMEM;
	}
	*out = state;
	return 0;
}

void ring_state_close(struct ring_state *state)
{
	bool useful = false;

	if (state == NULL)
		return;
	for (uint32_t i = 0; i < state->ring_count; i++) {
		struct mapping *mapping = &state->mappings[i];

		useful |= mapping->journal != NULL && mapping->journal->tag != 0;
		unmap(mapping);
	}
	if (state->path != NULL && !useful)
		unlink(state->path);
	if (state->fd >= 0)
		close(state->fd);
	free(state->path);
	free(state);
}

struct packed_journal *ring_state_journal(struct ring_state *state, uint32_t ring, uint16_t size)
{
	struct mapping *mapping = &state->mappings[ring];
	size_t length = packed_journal_bytes(size);
	void *address;

	if (mapping->journal != NULL && mapping->length == length)
		return mapping->journal;
	unmap(mapping);
	/* Room first: a page that a full file system cannot give would be a SIGBUS later. */
	if (posix_fallocate(state->fd, ring_offset(ring), (off_t)length) != 0)
		return NULL;
	address =
	    mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, state->fd, ring_offset(ring));
	if (address == MAP_FAILED)
		return NULL;
	mapping->journal = address;
	mapping->length = length;
	if (mapping->journal->owner != state->owner) {
		mapping->journal->tag = 0;
		mapping->journal->owner = state->owner;
	}
	return mapping->journal;
}

/* A file for us alone: nobody else may write it, or have it open. */
static int open_file(const char *directory, const char *path)
{
	struct stat status;
	int fd, rc = 0;

	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0)
		rc = -errno;
	else if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || status.st_nlink != 1 ||
		 (status.st_mode & 022) != 0)
		rc = -EPERM;
	else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		rc = -errno;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_path(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (; *path != '\0'; path++)
		hash = (hash ^ (uint8_t)*path) * 0x100000001b3ull;
	return hash;
}

static void unmap(struct mapping *mapping)
{
	if (mapping->journal != NULL)
		munmap(mapping->journal, mapping->length);
	mapping->journal = NULL;
}
