/* Writing frames to a pcapng file (pcapng.h). Blocks are put together in a buffer and written where
 * the last whole block ended; what a full disk cut off is taken off the file again and kept. Used
 * by port_pcap.c: control makes and closes, a worker writes. */
#include "vswitch/pcapng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE (256u * 1024u)

#define BLOCK_SECTION	0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET	6u
#define BYTE_ORDER_MARK 0x1a2b3c4du
#define LINK_ETHERNET	1u

#define OPTION_END	   0u
#define OPTION_APPLICATION 4u /* shb_userappl */
#define OPTION_NAME	   2u /* if_name */
#define OPTION_RESOLUTION  9u /* if_tsresol */
#define OPTION_FLAGS	   2u /* epb_flags */

#define PACKET_OVERHEAD (7 * 4 + 8 + 4 + 4) /* fixed part, flags, end of options, length again */

struct pcapng {
	int fd;
	off_t end;     /* of the last whole block in the file */
	uint32_t used; /* bytes of whole blocks in the buffer */
	uint8_t buffer[BUFFER_SIZE];
};

static uint32_t padded(uint32_t length)
{
	return (length + 3) & ~3u;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_option(uint8_t *at, uint16_t code, const void *value, uint16_t length)
{
	memcpy(at, &code, 2);
	memcpy(at + 2, &length, 2);
	memset(at + 4, 0, padded(length));
	if (length > 0)
		memcpy(at + 4, value, length);
	return at + 4 + padded(length);
}

/* Fills in both lengths of the block that starts at `block`, and counts it in. */
static void end_block(struct pcapng *file, uint8_t *block, uint8_t *at)
{
	uint32_t length = (uint32_t)(at + 4 - block);

	put32(block + 4, length);
	put32(at, length);
	file->used += length;
}

static void put_headers(struct pcapng *file, const char *interface)
{
	static const char application[] = "weft " WEFT_VERSION;
	static const uint8_t nanoseconds = 9;
	uint8_t *block = file->buffer;
	uint8_t *at = put32(block, BLOCK_SECTION) + 4;

	at = put32(at, BYTE_ORDER_MARK);
	at = put32(at, 1);   /* version 1.0 */
	memset(at, 0xff, 8); /* section of unknown length */
	at = put_option(at + 8, OPTION_APPLICATION, application, sizeof(application) - 1);
	at = put_option(at, OPTION_END, NULL, 0);
	end_block(file, block, at);

	block = file->buffer + file->used;
	at = put32(block, BLOCK_INTERFACE) + 4;
	at = put32(at, LINK_ETHERNET);
	at = put32(at, 0); /* frames are never cut */
	at = put_option(at, OPTION_NAME, interface, (uint16_t)strlen(interface));
	at = put_option(at, OPTION_RESOLUTION, &nanoseconds, 1);
	at = put_option(at, OPTION_END, NULL, 0);
	end_block(file, block, at);
}

/* Opens a plain file only: a pipe or a device would block the worker, or cannot be cut. */
static int open_file(const char *path, struct error *error)
{
	struct stat status;
	int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
	int rc;

	if (fd < 0)
		return error_set(error, errno, "%s: cannot be written: %s", path, strerror(errno));
	if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode)) {
		rc = error_set(error, EINVAL, "%s: not a plain file", path);
		goto fail;
	}
	if (ftruncate(fd, 0) != 0) {
		rc = error_set(error, errno, "%s: cannot be written: %s", path, strerror(errno));
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return rc;
}

int pcapng_create(const char *path, const char *interface, struct pcapng **out, struct error *error)
{
	struct pcapng *file = malloc(sizeof(*file));
	int rc;

	if (!file)
		return error_set(error, ENOMEM, "%s: out of memory", path);
	file->end = 0;
	file->used = 0;
	file->fd = open_file(path, error);
	if (file->fd < 0) {
		rc = file->fd;
		free(file);
		return rc;
	}
	put_headers(file, interface);
	rc = pcapng_flush(file);
	if (rc != 0) {
		error_set(error, -rc, "%s: cannot be written: %s", path, strerror(-rc));
		pcapng_close(file);
		return rc;
	}
	*out = file;
	return 0;
}

int pcapng_write(struct pcapng *file, const struct frame *frame, enum pcapng_direction direction,
		 uint64_t time)
{
	uint32_t room = PACKET_OVERHEAD + padded(frame->length);
	uint32_t flags = direction;
	uint8_t *block, *at;

	if (frame->length > FRAME_LENGTH_MAX)
		return -EMSGSIZE;
	if (file->used + room > BUFFER_SIZE) {
		int rc = pcapng_flush(file);

		if (file->used + room > BUFFER_SIZE)
			return rc;
	}
	block = file->buffer + file->used;
	at = put32(block, BLOCK_PACKET) + 4;
	at = put32(at, 0); /* interface */
	at = put32(at, (uint32_t)(time >> 32));
	at = put32(at, (uint32_t)time);
	at = put32(at, frame->length);
	at = put32(at, frame->length);
	frame_copy_out(frame, 0, frame->length, at);
	memset(at + frame->length, 0, padded(frame->length) - frame->length);
	at = put_option(at + padded(frame->length), OPTION_FLAGS, &flags, sizeof(flags));
	at = put_option(at, OPTION_END, NULL, 0);
	end_block(file, block, at);
	return 0;
}

/* The end of the last block of the buffer that is within its first `written` bytes. */
static uint32_t whole_blocks(const struct pcapng *file, uint32_t written)
{
	uint32_t end = 0;

	for (;;) {
		uint32_t length;

		if (end == file->used)
			return end;
		memcpy(&length, file->buffer + end + 4, sizeof(length));
		if (end + length > written)
			return end;
		end += length;
	}
}

int pcapng_flush(struct pcapng *file)
{
	uint32_t written = 0;
	uint32_t whole;
	int rc = 0;

	while (written < file->used) {
		ssize_t n = pwrite(file->fd, file->buffer + written, file->used - written,
				   file->end + written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n < 0 ? -errno : -ENOSPC;
			break;
		}
		written += (uint32_t)n;
	}
	whole = whole_blocks(file, written);
	/* Taking bytes off needs no room; should it fail all the same, the next flush writes over
	 * them. */
	if (written > whole && ftruncate(file->fd, file->end + whole) != 0)
		rc = rc != 0 ? rc : -errno;
	memmove(file->buffer, file->buffer + whole, file->used - whole);
	file->used -= whole;
	file->end += whole;
	return rc;
}

uint32_t pcapng_close(struct pcapng *file)
{
	uint32_t lost = 0;

	if (!file)
		return 0;
	pcapng_flush(file);
	for (uint32_t end = 0; end < file->used; lost++) {
		uint32_t length;

		memcpy(&length, file->buffer + end + 4, sizeof(length));
		end += length;
	}
	close(file->fd);
	free(file);
	return lost;
}
