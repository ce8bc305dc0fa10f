/* The packed ring's used descriptors and notifications, both ways
 * (virtio 1.2, 2.8.6, 2.8.9, 2.8.10), and where the ring goes on after a stop, or after a life that
 * was cut short. Called by virtqueue_packed.c on the worker that uses the queue, and by control
 * while it is stopped.
 *
 * Where each side writes one word and then reads the other's (flags of a slot and an event area)
 * both accesses are sequentially consistent, as in split_ring.c. */
#include "vhost-user/packed_ring.h"

#include <stdatomic.h>
#include <sys/random.h>

static void packed_write_batch(struct virtqueue *vq, uint16_t position, uint32_t count);
static bool packed_guest_wants_call(struct virtqueue *vq, uint16_t new, uint32_t count);
static void packed_set_event(struct virtqueue *vq, uint16_t position, uint16_t flags);
static void packed_log(struct virtqueue *vq, uint16_t first, uint32_t count);
static bool packed_journal_adopt(struct virtqueue *vq, uint64_t address, uint16_t *position);
static void packed_journal_begin(struct virtqueue *vq, uint64_t address, uint16_t position);

static uint32_t *packed_event(void *area)
{
	return area;
}

static uint64_t packed_batch_word(uint16_t begin, uint16_t end, uint32_t count)
{
	return begin | (uint64_t)end << 16 | (uint64_t)count << 32;
}

void packed_used_publish(struct virtqueue *vq, uint32_t count, uint16_t position)
{
	uint16_t begin = vq->last_used;
	uint32_t descriptors = packed_distance(begin, position, vq->size);

	/* Release: after the entries, before the ring. Partner: packed_journal_adopt(), in
	 * another life. */
	atomic_store_explicit(&vq->journal->batch, packed_batch_word(begin, position, count),
			      memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	packed_write_batch(vq, begin, count);
	vq->last_used = position;
	if (vq->log != NULL)
		packed_log(vq, begin, descriptors);
	if (packed_guest_wants_call(vq, position, descriptors))
		virtqueue_call(vq);
}

bool packed_arm(struct virtqueue *vq)
{
	struct packed_descriptor ignored;

	if (atomic_load_explicit(&vq->fault, memory_order_relaxed) != VIRTQUEUE_OK)
		return true;
	/* With chains still out, the position would not be the one that the journal knows. */
	if (vq->event_idx && vq->last_available == vq->last_used)
		packed_set_event(vq, vq->last_available, PACKED_EVENT_DESCRIPTOR);
	else
		packed_set_event(vq, vq->journal->stamp, PACKED_EVENT_ENABLE);
	/* Partner: the driver writes the flags of a slot, then reads our event area. */
	if (!packed_descriptor_read(vq, vq->last_available, &ignored))
		return true;
	packed_disarm(vq);
	return false;
}

/* The position has no meaning then (2.8.10), so the stamp can stand there. */
void packed_disarm(struct virtqueue *vq)
{
	packed_set_event(vq, vq->journal->stamp, PACKED_EVENT_DISABLE);
}

void packed_flush(struct virtqueue *vq)
{
	uint64_t calls = atomic_load_explicit(&vq->calls, memory_order_relaxed);

	if (vq->descriptors == NULL || vq->journal == NULL)
		return;
	vq->ops->from_guest_done(vq);
	if (atomic_load_explicit(&vq->calls, memory_order_relaxed) == calls)
		virtqueue_call(vq);
}

uint16_t virtqueue_packed_resume(struct virtqueue *vq, uint64_t address, uint16_t base)
{
	uint16_t position;

	vq->signalled_valid = false;
	vq->pending = 0;
	vq->region_hint = 0;
	atomic_store_explicit(&vq->fault, VIRTQUEUE_OK, memory_order_relaxed);
	if (!packed_journal_adopt(vq, address, &position)) {
		position = base;
		packed_journal_begin(vq, address, position);
	}
	vq->last_available = position;
	vq->last_used = position;
	packed_disarm(vq);
	return position;
}

void virtqueue_packed_forget(struct virtqueue *vq)
{
	if (vq->journal != NULL)
		vq->journal->stamp = 0;
}

/* Writes `count` used descriptors from `position` on, as the journal says, the first one last: the
 * driver looks at no other before it (2.8.9). */
static void packed_write_batch(struct virtqueue *vq, uint16_t position, uint32_t count)
{
	const struct packed_used *entry = vq->journal->entries;
	uint64_t *first = (uint64_t *)(void *)(packed_slot_at(vq, position) + 8);
	uint64_t first_word = 0;

	for (uint32_t i = 0; i < count; i++, entry++) {
		uint64_t flags = (position & PACKED_WRAP) != 0
				     ? PACKED_DESCRIPTOR_AVAILABLE | PACKED_DESCRIPTOR_USED
				     : 0;
		uint64_t word;

		if (entry->length > 0)
			flags |= PACKED_DESCRIPTOR_WRITE;
		word = entry->length | (uint64_t)entry->id << 32 | flags << 48;
		if (i == 0)
			first_word = word;
		else
			__atomic_store_n((uint64_t *)(void *)(packed_slot_at(vq, position) + 8),
					 word, __ATOMIC_RELAXED);
		position = packed_advance(position, entry->count, vq->size);
	}
	/* Release for the rest and the buffers; pairs with the driver's acquire of the flags. */
	__atomic_store_n(first, first_word, __ATOMIC_SEQ_CST);
}

/* 2.8.10, 2.8.22: `count` descriptors up to `new` have just become used. */
static bool packed_guest_wants_call(struct virtqueue *vq, uint16_t new, uint32_t count)
{
	/* Partner: the driver writes its event area, then reads the flags of a slot. */
	uint32_t event = __atomic_load_n(packed_event(vq->available), __ATOMIC_SEQ_CST);
	uint32_t flags = (event >> 16) & 3, behind;

	if (flags == PACKED_EVENT_DISABLE)
		return false;
	if (flags != PACKED_EVENT_DESCRIPTOR || !vq->event_idx)
		return true;
	if (!vq->signalled_valid) {
		/* What was called before we came is not known: once too often does no harm. */
		vq->signalled_valid = true;
		return true;
	}
	/* How far the event's slot lies behind `new`: 1 .. size in the round before it. Any 16 bits
	 * may stand there; what makes no sense is far away. */
	behind = packed_distance((uint16_t)event, new, vq->size);
	return behind - 1 < count;
}

static void packed_set_event(struct virtqueue *vq, uint16_t position, uint16_t flags)
{
	__atomic_store_n(packed_event(vq->used), position | (uint32_t)flags << 16,
			 __ATOMIC_SEQ_CST);
	if (vq->log != NULL && vq->log_used)
		dirty_log_mark(vq->log, vq->log_used_address, PACKED_EVENT_AREA);
}

/* `count` slots from that of `first` on, which may pass the end of the ring. A mark follows its
 * write. */
static void packed_log(struct virtqueue *vq, uint16_t first, uint32_t count)
{
	const uint64_t bytes = sizeof(struct packed_descriptor);
	uint32_t slot = packed_slot(first), before_wrap = vq->size - slot;

	if (!vq->log_used)
		return;
	if (before_wrap > count)
		before_wrap = count;
	dirty_log_mark(vq->log, vq->log_descriptors_address + slot * bytes, before_wrap * bytes);
	dirty_log_mark(vq->log, vq->log_descriptors_address, (count - before_wrap) * bytes);
}

/* Does the journal tell of this very ring? Then *position is where it stands, and its last batch
 * is visible. The journal is a file, so it is checked like anybody's word; the ring's own words
 * only decide what the guest itself sees. */
static bool packed_journal_adopt(struct virtqueue *vq, uint64_t address, uint16_t *position)
{
	const struct packed_journal *journal = vq->journal;
	uint32_t event = __atomic_load_n(packed_event(vq->used), __ATOMIC_RELAXED);
	/* Acquire: partner of the store in packed_used_publish(). */
	uint64_t batch = atomic_load_explicit(&journal->batch, memory_order_acquire);
	uint16_t begin = (uint16_t)batch, end = (uint16_t)(batch >> 16);
	uint32_t count = (uint16_t)(batch >> 32), sum = 0;
	uint16_t expected = journal->stamp;
	uint64_t first;

	if (event >> 16 == PACKED_EVENT_DESCRIPTOR)
		expected = end;
	if (journal->stamp == 0 || journal->address != address || journal->size != vq->size ||
	    (uint16_t)event != expected || event >> 16 > PACKED_EVENT_DESCRIPTOR ||
	    packed_slot(begin) >= vq->size || packed_slot(end) >= vq->size || count > vq->size)
		return false;
	*position = end;
	if (count == 0)
		return begin == end;
	for (uint32_t i = 0; i < count; i++) {
		if (journal->entries[i].count == 0 || journal->entries[i].count > vq->size)
			return false;
		sum += journal->entries[i].count;
		if (sum > vq->size)
			return false;
	}
	if (packed_advance(begin, sum, vq->size) != end)
		return false;
	/* Only a device changes this flag, so it tells whether the batch was seen, even when the
	 * slot was filled again since. */
	first =
	    __atomic_load_n((uint64_t *)(void *)(packed_slot_at(vq, begin) + 8), __ATOMIC_ACQUIRE);
	if (((first >> 48) & PACKED_DESCRIPTOR_USED) == (begin & PACKED_WRAP))
		return true;
	packed_write_batch(vq, begin, count);
	if (vq->log != NULL)
		packed_log(vq, begin, sum);
	return true;
}

static void packed_journal_begin(struct virtqueue *vq, uint64_t address, uint16_t position)
{
	struct packed_journal *journal = vq->journal;
	uint16_t stamp = 0;

	journal->stamp = 0;
	/* 0 is what a driver clears the event area to; without randomness, any other will do. */
	if (getrandom(&stamp, sizeof(stamp), GRND_NONBLOCK) != sizeof(stamp) || stamp == 0)
		stamp = 0x5765;
	atomic_store_explicit(&journal->batch, packed_batch_word(position, position, 0),
			      memory_order_relaxed);
	journal->address = address;
	journal->size = vq->size;
	atomic_signal_fence(memory_order_seq_cst);
	journal->stamp = stamp;
}
