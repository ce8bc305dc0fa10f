/* The packed ring's used descriptors and notifications, both ways
 * (virtio 1.2, 2.8.6, 2.8.9, 2.8.10), and where the ring goes on after a stop, or after a life that
 * was cut short. Called by virtqueue_packed.c on the worker that uses the queue, and by control
 * while it is stopped.
 *
 * Where each side writes one word and then reads the other's (flags of a slot and an event area)
 * both accesses are sequentially consistent, as in split_ring.c. */
#include "vhost-user/packed_chain.h"

#include <emmintrin.h>
#include <stdatomic.h>
#include <sys/random.h>

static void packed_write_batch(struct virtqueue *vq, uint16_t position, uint32_t count,
			       uint32_t descriptors);
static bool packed_guest_wants_call(struct virtqueue *vq, uint16_t new, uint32_t count);
static void packed_set_event(struct virtqueue *vq, uint16_t position, uint16_t flags);
static void packed_log(struct virtqueue *vq, uint16_t first, uint32_t count);
static bool packed_journal_adopt(struct virtqueue *vq, uint64_t address, uint16_t base,
				 uint16_t *position);
static bool packed_journal_is_sound(const struct virtqueue *vq, uint64_t batch);
static bool packed_shows_batch(const struct virtqueue *vq, uint16_t position);
static void packed_journal_begin(struct virtqueue *vq, uint64_t address, uint16_t base);

static uint32_t *packed_event(void *area)
{
	return area;
}

static uint64_t packed_batch_word(uint16_t begin, uint16_t end, uint32_t count, uint16_t previous)
{
	return begin | (uint64_t)end << 16 | (uint64_t)count << 32 | (uint64_t)previous << 48;
}

/* Length, id and flags of a slot. */
static uint64_t *packed_second_word(const struct virtqueue *vq, uint16_t position)
{
	return (uint64_t *)(void *)(packed_slot_at(vq, position) + 8);
}

/* Asks for the lines of `count` slots from `position` on, to be written: the guest, which looks for
 * used descriptors one by one, most likely has them again. */
GUEST_PREFETCH void packed_ask_slots(const struct virtqueue *vq, uint16_t position, uint32_t count)
{
	uint32_t slot = packed_slot(position), to_end = vq->size - slot;
	uint64_t *ring = packed_second_word(vq, 0);

	for (uint32_t i = 0; i < count && i < to_end; i += PACKED_LINE)
		__builtin_prefetch(ring + 2 * (size_t)(slot + i), 1);
	for (uint32_t i = to_end; i < count; i += PACKED_LINE)
		__builtin_prefetch(ring + 2 * (size_t)(i - to_end), 1);
}

void packed_used_publish(struct virtqueue *vq, uint32_t count, uint16_t position)
{
	uint16_t begin = vq->last_used;
	uint32_t descriptors = packed_distance(begin, position, vq->size);
	/* Only we write it. */
	uint64_t last = atomic_load_explicit(&vq->journal->batch, memory_order_relaxed);

	if (count > 1)
		packed_ask_slots(vq, begin, descriptors);
	/* Release: after the entries, before the ring. Partner: packed_journal_adopt(), in
	 * another life. */
	atomic_store_explicit(&vq->journal->batch,
			      packed_batch_word(begin, position, count, (uint16_t)last),
			      memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	packed_write_batch(vq, begin, count, descriptors);
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
	if (vq->event_idx)
		packed_set_event(vq, vq->last_available, PACKED_EVENT_DESCRIPTOR);
	else
		packed_set_event(vq, 0, PACKED_EVENT_ENABLE);
	/* Partner: the driver writes the flags of a slot, then reads our event area. */
	if (!packed_descriptor_read(packed_slot_at(vq, vq->last_available),
				    vq->last_available & PACKED_WRAP, &ignored))
		return true;
	packed_disarm(vq);
	return false;
}

void packed_disarm(struct virtqueue *vq)
{
	packed_set_event(vq, 0, PACKED_EVENT_DISABLE);
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
	if (!packed_journal_adopt(vq, address, base, &position)) {
		position = base;
		packed_journal_begin(vq, address, base);
	}
	vq->last_available = position;
	vq->last_used = position;
	*vq->cursor = (struct packed_cursor){ .position = position };
	packed_disarm(vq);
	return position;
}

void virtqueue_packed_forget(struct virtqueue *vq)
{
	if (vq->journal != NULL)
		vq->journal->tag = 0;
}

/* Length, id and flags of a used descriptor; `both` are the two flags that say so, in their place.
 */
static inline uint64_t packed_used_word(const struct packed_used *entry, uint64_t both)
{
	uint64_t write = entry->length > 0 ? (uint64_t)PACKED_DESCRIPTOR_WRITE << 48 : 0;

	return entry->length | (uint64_t)entry->id << 32 | write | both;
}

/* The n entries at *entry, each one descriptor, to *at and the slots behind it: nearly all go this
 * way, two at a time. Such an entry becomes a used descriptor by a rotation: its count of 1 makes
 * way for the flags. */
static __attribute__((noinline)) void
packed_write_singles(uint64_t *at, const struct packed_used *entry, uint32_t n, uint64_t flags)
{
	const uint64_t count = (uint64_t)1 << 48, write = (uint64_t)PACKED_DESCRIPTOR_WRITE << 48;
	const __m128i change = _mm_set1_epi64x((int64_t)(flags ^ count));
	const __m128i written = _mm_set1_epi64x((int64_t)write);
	uint32_t i;

	for (i = 0; i + 2 <= n; i += 2, at += 4) {
		__m128i word = _mm_loadu_si128((const __m128i *)(const void *)(entry + i)), empty;

		word = _mm_shuffle_epi32(word, _MM_SHUFFLE(2, 3, 0, 1));
		/* Of the two halves only the lower one, the length, can be 0. */
		empty = _mm_slli_epi64(_mm_cmpeq_epi32(word, _mm_setzero_si128()), 32);
		word = _mm_xor_si128(word, change);
		word = _mm_or_si128(word, _mm_andnot_si128(empty, written));
		_mm_storel_epi64((__m128i *)(void *)at, word);
		_mm_storeh_pd((double *)(void *)(at + 2), _mm_castsi128_pd(word));
	}
	if (i < n)
		__atomic_store_n(at, packed_used_word(entry + i, flags), __ATOMIC_RELAXED);
}

/* Writes `count` used descriptors from `position` on, as the journal says, the first one last: the
 * driver looks at no other before it (2.8.9). */
static void packed_write_batch(struct virtqueue *vq, uint16_t position, uint32_t count,
			       uint32_t descriptors)
{
	const uint64_t both = (uint64_t)(PACKED_DESCRIPTOR_AVAILABLE | PACKED_DESCRIPTOR_USED)
			      << 48;
	const struct packed_used *entry = vq->journal->entries, *last = entry + count - 1;
	uint64_t *first = packed_second_word(vq, position), *at = first;
	uint64_t *ring = packed_second_word(vq, 0), *end = ring + 2 * (size_t)vq->size;
	uint64_t flags = (position & PACKED_WRAP) != 0 ? both : 0;
	uint64_t first_word = packed_used_word(entry, flags);

	if (count == descriptors) {
		uint32_t to_end = vq->size - packed_slot(position);
		uint32_t run = count < to_end ? count : to_end;

		packed_write_singles(first + 2, entry + 1, run - 1, flags);
		packed_write_singles(ring, entry + run, count - run, flags ^ both);
	} else {
		while (entry < last) {
			at += 2 * (size_t)entry++->count;
			if (at >= end) {
				at -= 2 * (size_t)vq->size;
				flags ^= both;
			}
			__atomic_store_n(at, packed_used_word(entry, flags), __ATOMIC_RELAXED);
		}
	}
	__atomic_store_n(first - 1, vq->journal->tag, __ATOMIC_RELAXED);
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

/* Does the journal tell of this very ring, which the frontend says is at `base`? Then *position is
 * where it stands, and its last batch is visible. */
static bool packed_journal_adopt(struct virtqueue *vq, uint64_t address, uint16_t base,
				 uint16_t *position)
{
	const struct packed_journal *journal = vq->journal;
	/* Acquire: partner of the store in packed_used_publish(). */
	uint64_t batch = atomic_load_explicit(&journal->batch, memory_order_acquire);
	uint16_t begin = (uint16_t)batch, end = (uint16_t)(batch >> 16);
	uint16_t previous = (uint16_t)(batch >> 48);
	bool visible, proof;

	if (journal->address != address || !packed_journal_is_sound(vq, batch))
		return false;
	/* Only a device changes this flag, so it tells whether the batch was seen, even when the
	 * slot was filled again since. */
	visible = ((__atomic_load_n(packed_second_word(vq, begin), __ATOMIC_ACQUIRE) >> 48) &
		   PACKED_DESCRIPTOR_USED) == (begin & PACKED_WRAP);
	proof = visible ? packed_shows_batch(vq, begin)
			: previous != begin && packed_shows_batch(vq, previous);
	/* A new ring would not begin there. */
	if (!proof && (base == VIRTQUEUE_PACKED_START || base != journal->base))
		return false;
	*position = end;
	if (visible)
		return true;
	packed_write_batch(vq, begin, (uint16_t)(batch >> 32),
			   packed_distance(begin, end, vq->size));
	if (vq->log != NULL)
		packed_log(vq, begin, packed_distance(begin, end, vq->size));
	return true;
}

/* The journal is a file, so it is checked like anybody's word; a guest whose ring says something
 * else changes only what it sees itself. */
static bool packed_journal_is_sound(const struct virtqueue *vq, uint64_t batch)
{
	const struct packed_journal *journal = vq->journal;
	uint16_t begin = (uint16_t)batch, end = (uint16_t)(batch >> 16);
	uint32_t count = (uint16_t)(batch >> 32), sum = 0;

	if (journal->tag == 0 || journal->size != vq->size || packed_slot(begin) >= vq->size ||
	    packed_slot((uint16_t)(batch >> 48)) >= vq->size || count == 0 || count > vq->size)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (journal->entries[i].count == 0 || journal->entries[i].count > vq->size - sum)
			return false;
		sum += journal->entries[i].count;
	}
	return packed_advance(begin, sum, vq->size) == end;
}

/* Is there a trace of our batch from `position` on? */
static bool packed_shows_batch(const struct virtqueue *vq, uint16_t position)
{
	uint64_t *second = packed_second_word(vq, position);
	uint16_t flags = (uint16_t)(__atomic_load_n(second, __ATOMIC_ACQUIRE) >> 48);
	bool wrap = (position & PACKED_WRAP) != 0;

	if (((flags & PACKED_DESCRIPTOR_USED) != 0) != wrap)
		return false;
	if (((flags & PACKED_DESCRIPTOR_AVAILABLE) != 0) == wrap)
		return __atomic_load_n(second - 1, __ATOMIC_RELAXED) == vq->journal->tag;
	/* Filled again since. In the first round of a new ring no driver sets USED; after a round
	 * with wrap counter 1, the last chain of it at least has it still. */
	for (uint16_t slot = 0; !wrap && slot < vq->size; slot++) {
		if ((__atomic_load_n(packed_second_word(vq, slot), __ATOMIC_RELAXED) >> 48) &
		    PACKED_DESCRIPTOR_USED)
			return true;
	}
	return wrap;
}

static void packed_journal_begin(struct virtqueue *vq, uint64_t address, uint16_t base)
{
	struct packed_journal *journal = vq->journal;
	uint64_t tag = 0;

	journal->tag = 0;
	/* Without randomness anything but 0 will do: the path's hash. */
	if (getrandom(&tag, sizeof(tag), GRND_NONBLOCK) != sizeof(tag) || tag == 0)
		tag = journal->owner | 1;
	atomic_store_explicit(&journal->batch, packed_batch_word(base, base, 0, base),
			      memory_order_relaxed);
	journal->address = address;
	journal->size = vq->size;
	journal->base = base;
	atomic_signal_fence(memory_order_seq_cst);
	journal->tag = tag;
}
