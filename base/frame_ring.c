/* The queue of copied frames (frame_ring.h). One thread puts, another takes; both may be any.
 *
 * Entries lie one behind the other in a ring of bytes, each in one piece: where one does not fit
 * before the end, a filler takes the rest and the entry begins at the start. Positions only grow;
 * their low bits are the place. */
#include "base/frame_ring.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define RING_BYTES_MIN (256u * 1024u)
#define RING_BYTES_MAX ((size_t)1 << 40)
#define ENTRY_ALIGN    16u
#define FILLER	       UINT32_MAX /* in the place of an entry's length */

struct frame_ring {
	size_t size; /* of `bytes`, a power of two */
	int fd;
	/* The putter's. */
	uint64_t write;	     /* behind the last entry, published or not */
	uint64_t taken_seen; /* `taken` when it was last looked at */
	/* The taker's. */
	uint64_t read __attribute__((aligned(64))); /* before the oldest entry */
	uint64_t published_seen;
	/* The putter writes, the taker reads: entries before this may be taken. */
	_Atomic uint64_t published __attribute__((aligned(64)));
	/* The taker writes, the putter reads: room before this is free again. */
	_Atomic uint64_t taken __attribute__((aligned(64)));
	/* The taker sets it before it sleeps; who clears it wakes. */
	_Atomic bool armed;
	uint8_t bytes[] __attribute__((aligned(64)));
};

struct frame_ring *frame_ring_create(size_t bytes)
{
	size_t size = RING_BYTES_MIN;
	struct frame_ring *ring;

	while (size < bytes && size < RING_BYTES_MAX)
		size *= 2;
	/* mmap: what is never used never becomes resident. */
	ring = mmap(NULL, sizeof(*ring) + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (ring == MAP_FAILED)
		return NULL;
	ring->size = size;
	ring->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (ring->fd < 0) {
		munmap(ring, sizeof(*ring) + size);
		return NULL;
	}
	return ring;
}

void frame_ring_destroy(struct frame_ring *ring)
{
	if (ring == NULL)
		return;
	close(ring->fd);
	munmap(ring, sizeof(*ring) + ring->size);
}

static struct frame_ring_entry *entry_at(struct frame_ring *ring, uint64_t position)
{
	return (struct frame_ring_entry *)(void *)(ring->bytes + (position & (ring->size - 1)));
}

size_t frame_ring_entry_size(uint32_t length)
{
	return (sizeof(struct frame_ring_entry) + (size_t)length + ENTRY_ALIGN - 1) &
	       ~(size_t)(ENTRY_ALIGN - 1);
}

static uint64_t to_the_end(const struct frame_ring *ring, uint64_t position)
{
	return ring->size - (position & (ring->size - 1));
}

/* Putter. Makes room for an entry and fills all of it but its bytes; NULL: no room. */
static struct frame_ring_entry *put_entry(struct frame_ring *ring, uint32_t length,
					  const void *note, uint32_t note_length)
{
	uint64_t size = frame_ring_entry_size(length);
	uint64_t end = to_the_end(ring, ring->write);
	uint64_t filler = end < size ? end : 0;
	struct frame_ring_entry *entry;

	if (length > FRAME_LENGTH_MAX || note_length > FRAME_RING_NOTE)
		return NULL;
	if (ring->write + filler + size - ring->taken_seen > ring->size) {
		/* acquire: pairs with the release in frame_ring_pop(); the taker has read it all.
		 */
		ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
		if (ring->write + filler + size - ring->taken_seen > ring->size)
			return NULL;
	}
	if (filler > 0)
		entry_at(ring, ring->write)->length = FILLER;
	entry = entry_at(ring, ring->write + filler);
	entry->length = length;
	entry->note_length = note_length;
	if (note_length > 0)
		memcpy(entry->note, note, note_length);
	ring->write += filler + size;
	return entry;
}

bool frame_ring_put(struct frame_ring *ring, const struct frame *frame, const void *note,
		    uint32_t note_length)
{
	struct frame_ring_entry *entry = put_entry(ring, frame->length, note, note_length);

	if (entry == NULL)
		return false;
	frame_copy_out(frame, 0, frame->length, entry->bytes);
	return true;
}

bool frame_ring_put_bytes(struct frame_ring *ring, const uint8_t *bytes, uint32_t length,
			  const void *note, uint32_t note_length)
{
	struct frame_ring_entry *entry = put_entry(ring, length, note, note_length);

	if (entry == NULL)
		return false;
	if (length > 0)
		memcpy(entry->bytes, bytes, length);
	return true;
}

size_t frame_ring_room(const struct frame_ring *ring)
{
	/* acquire: as in put_entry(). */
	return ring->size -
	       (ring->write - atomic_load_explicit(&ring->taken, memory_order_acquire));
}

void frame_ring_flush(struct frame_ring *ring)
{
	uint64_t one = 1;

	/* relaxed: only the putter writes it. */
	if (atomic_load_explicit(&ring->published, memory_order_relaxed) == ring->write)
		return;
	/* Both in the one order of all, as the two in frame_ring_arm(): either the taker sees the
	 * entries there, or we see here that it is armed. The store also releases the entries. */
	atomic_store_explicit(&ring->published, ring->write, memory_order_seq_cst);
	if (atomic_load_explicit(&ring->armed, memory_order_seq_cst) &&
	    atomic_exchange_explicit(&ring->armed, false, memory_order_relaxed) &&
	    write(ring->fd, &one, sizeof(one)) < 0)
		return; /* EAGAIN after 2^64 of them */
}

/* Taker. The entry at or behind `position`, and in *at where it really begins. */
static struct frame_ring_entry *entry_from(struct frame_ring *ring, uint64_t position, uint64_t *at)
{
	struct frame_ring_entry *entry;

	if (position == ring->published_seen) {
		/* acquire: pairs with the store in frame_ring_flush(). */
		ring->published_seen = atomic_load_explicit(&ring->published, memory_order_acquire);
		if (position == ring->published_seen)
			return NULL;
	}
	entry = entry_at(ring, position);
	if (entry->length == FILLER) {
		position += to_the_end(ring, position);
		entry = entry_at(ring, position);
	}
	*at = position;
	return entry;
}

const struct frame_ring_entry *frame_ring_peek(struct frame_ring *ring)
{
	uint64_t at;

	return entry_from(ring, ring->read, &at);
}

const struct frame_ring_entry *frame_ring_next(struct frame_ring *ring,
					       const struct frame_ring_entry *entry)
{
	uint64_t place = (uint64_t)((const uint8_t *)entry - ring->bytes);
	uint64_t position = ring->read + ((place - ring->read) & (ring->size - 1));

	return entry_from(ring, position + frame_ring_entry_size(entry->length), &position);
}

void frame_ring_pop(struct frame_ring *ring, uint32_t count)
{
	const struct frame_ring_entry *entry;
	uint64_t at;

	while (count-- > 0 && (entry = entry_from(ring, ring->read, &at)) != NULL)
		ring->read = at + frame_ring_entry_size(entry->length);
	/* release: pairs with the acquire in put_entry() and frame_ring_room(). */
	atomic_store_explicit(&ring->taken, ring->read, memory_order_release);
}

int frame_ring_fd(const struct frame_ring *ring)
{
	return ring->fd;
}

bool frame_ring_arm(struct frame_ring *ring)
{
	/* See frame_ring_flush(). */
	atomic_store_explicit(&ring->armed, true, memory_order_seq_cst);
	if (atomic_load_explicit(&ring->published, memory_order_seq_cst) == ring->read)
		return true;
	atomic_store_explicit(&ring->armed, false, memory_order_relaxed);
	return false;
}

void frame_ring_disarm(struct frame_ring *ring)
{
	uint64_t count;

	atomic_store_explicit(&ring->armed, false, memory_order_relaxed);
	if (read(ring->fd, &count, sizeof(count)) < 0)
		return; /* EAGAIN: it was not this that woke us */
}
