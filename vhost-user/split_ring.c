/* The split ring's indices and notifications, both ways: used entries become visible, the guest is
 * called or not, and it kicks us or not. Called by virtqueue_split.c on the worker that uses the
 * queue, and by control while it is stopped.
 *
 * Where each side writes one word and then reads the other's (used index and used_event;
 * avail_event and available index) both accesses are sequentially consistent: the store is a full
 * barrier, and the driver has one between its own pair. */
#include "vhost-user/split_ahead.h"

static bool split_guest_wants_call(struct virtqueue *vq, uint16_t old, uint16_t new);
static void split_log_used(struct virtqueue *vq, size_t offset, size_t length);
static void split_log_entries(struct virtqueue *vq, uint16_t first, uint16_t end);
static void split_set_field(struct virtqueue *vq, size_t offset, uint16_t value);

void split_used_publish(struct virtqueue *vq, uint16_t position)
{
	uint16_t old = vq->signalled_used;

	if (vq->log != NULL)
		split_log_entries(vq, vq->last_used, position);
	vq->last_used = position;
	/* Release for the entries and buffers; pairs with the driver's acquire of the index. */
	__atomic_store_n(split_field(vq->used, SPLIT_INDEX_OFFSET), position, __ATOMIC_SEQ_CST);
	/* A mark always follows its write: the page is then copied after it, or once more. */
	split_log_used(vq, SPLIT_INDEX_OFFSET, sizeof(uint16_t));
	vq->signalled_used = position;
	if (split_guest_wants_call(vq, old, position))
		virtqueue_call(vq);
}

bool split_arm(struct virtqueue *vq)
{
	/* A broken ring has nothing for us, and never will. */
	if (atomic_load_explicit(&vq->fault, memory_order_relaxed) != VIRTQUEUE_OK)
		return true;
	if (vq->event_idx)
		split_set_field(vq, SPLIT_RING_OFFSET + (size_t)vq->size * SPLIT_USED_ENTRY,
				vq->last_available);
	else
		split_set_field(vq, 0, 0);
	/* Partner: the driver moves its index, then reads avail_event or flags. */
	if (__atomic_load_n(split_field(vq->available, SPLIT_INDEX_OFFSET), __ATOMIC_SEQ_CST) ==
	    vq->last_available)
		return true;
	split_disarm(vq);
	return false;
}

void split_disarm(struct virtqueue *vq)
{
	/* With event indices there is no "never": the entry before the next one is the farthest
	 * away, and costs one needless kick in 65,536 entries. */
	if (vq->event_idx)
		split_set_field(vq, SPLIT_RING_OFFSET + (size_t)vq->size * SPLIT_USED_ENTRY,
				(uint16_t)(vq->last_available - 1));
	else
		split_set_field(vq, 0, SPLIT_USED_NO_KICK);
}

void split_flush(struct virtqueue *vq)
{
	uint64_t calls = atomic_load_explicit(&vq->calls, memory_order_relaxed);

	if (vq->used == NULL || vq->available == NULL)
		return;
	vq->ops->from_guest_done(vq);
	if (atomic_load_explicit(&vq->calls, memory_order_relaxed) == calls)
		virtqueue_call(vq);
}

uint16_t virtqueue_split_resume(struct virtqueue *vq)
{
	uint16_t index =
	    __atomic_load_n(split_field(vq->used, SPLIT_INDEX_OFFSET), __ATOMIC_ACQUIRE);

	vq->last_available = index;
	vq->last_used = index;
	vq->signalled_used = index;
	vq->signalled_valid = false;
	vq->pending = 0;
	vq->ahead->available = vq->ahead->asked = vq->ahead->end = index;
	vq->region_hint = 0;
	atomic_store_explicit(&vq->fault, VIRTQUEUE_OK, memory_order_relaxed);
	split_disarm(vq);
	return index;
}

/* 2.7.7.2 and 2.7.10: `old` is the used index at the last decision, `new` the one just stored. */
static bool split_guest_wants_call(struct virtqueue *vq, uint16_t old, uint16_t new)
{
	uint16_t event;

	/* Partner: the driver writes flags or used_event, then reads the used index. */
	if (!vq->event_idx)
		return (__atomic_load_n(split_field(vq->available, 0), __ATOMIC_SEQ_CST) &
			SPLIT_AVAILABLE_NO_CALL) == 0;
	event = __atomic_load_n(
	    split_field(vq->available,
			SPLIT_RING_OFFSET + (size_t)vq->size * SPLIT_AVAILABLE_ENTRY),
	    __ATOMIC_SEQ_CST);
	if (!vq->signalled_valid) {
		/* What was called before we came is not known: once too often does no harm. */
		vq->signalled_valid = true;
		return true;
	}
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/* Writes flags or avail_event of the used ring. */
static void split_set_field(struct virtqueue *vq, size_t offset, uint16_t value)
{
	__atomic_store_n(split_field(vq->used, offset), value, __ATOMIC_SEQ_CST);
	split_log_used(vq, offset, sizeof(value));
}

static void split_log_used(struct virtqueue *vq, size_t offset, size_t length)
{
	if (vq->log != NULL && vq->log_used)
		dirty_log_mark(vq->log, vq->log_used_address + offset, length);
}

/* Entries [first, end) of the used ring, which may pass its end. */
static void split_log_entries(struct virtqueue *vq, uint16_t first, uint16_t end)
{
	uint32_t slot = first & (vq->size - 1u);
	uint32_t count = (uint16_t)(end - first);
	uint32_t before_wrap = vq->size - slot;

	if (before_wrap > count)
		before_wrap = count;
	split_log_used(vq, SPLIT_RING_OFFSET + (size_t)slot * SPLIT_USED_ENTRY,
		       (size_t)before_wrap * SPLIT_USED_ENTRY);
	if (count > before_wrap)
		split_log_used(vq, SPLIT_RING_OFFSET,
			       (size_t)(count - before_wrap) * SPLIT_USED_ENTRY);
}
