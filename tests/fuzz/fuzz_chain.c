/* Descriptor chains against the split ring, both directions. The input lays out a ring, an indirect
 * table and memory; whatever it says, weft stays within the guest's memory (regions are heap blocks
 * of their own, so the address sanitizer guards their edges), comes to an end, accounts for each
 * frame and returns each chain.
 *
 * Input: 8 bytes of settings, then descriptors of 8 bytes for the ring and RECORDS_INDIRECT for the
 * table, then one byte for each head; then what the guest, which may not, changes of them between
 * two calls; the last 64 bytes fill the memory, again and again. Missing bytes are 0. */
#include "tests/fuzz/ring_input.h"

#define REGION0	  0x10000u
#define SIZE0	  0x4000u
#define REGION1	  (REGION0 + SIZE0) /* touches region 0 */
#define SIZE1	  0x1000u
#define REGION2	  0x100000000u
#define SIZE2	  0x1003u
#define TABLE	  (REGION0 + 0x2000u) /* indirect; the rings are before it, data behind */
#define DATA	  (REGION0 + 0x3000u)
#define LOG_BYTES 5u

#define RECORDS_INDIRECT 32u

struct guest {
	struct guest_memory *memory;
	struct virtqueue vq;
	struct dirty_log log;
	struct port_counters counters;
	uint16_t waiting; /* entries the guest offers */
	uint16_t start;	  /* index of the first */
};

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

/* Addresses near every edge, lengths of every size, flags and indices of all kinds. */
static struct descriptor next_descriptor(struct input *input)
{
	static const uint64_t bases[] = {
		DATA, REGION1, REGION1 + SIZE1, REGION2, REGION2 + SIZE2, TABLE, REGION0, 0
	};
	uint8_t where = next_byte(input), flags = next_byte(input);
	uint64_t address = bases[where % 8] + (uint64_t)(int16_t)next_word(input);
	uint32_t length = next_word(input);

	if (where & 0x80)
		length |= 0xffff0000u;
	if (where & 0x40)
		length <<= 4; /* whole entries, for tables */
	return (struct descriptor){ address, length, flags, next_word(input) };
}

static void lay_out_ring(struct guest *guest, struct input *input)
{
	struct virtqueue *vq = &guest->vq;
	uint8_t *ring = guest->memory->regions[0].host_address;
	uint8_t *table = ring + (TABLE - REGION0);
	uint16_t heads[128];

	vq->descriptors = ring;
	vq->available = ring + 16u * vq->size;
	vq->used = ring + 18u * vq->size + 8;
	for (uint32_t i = 0; i < vq->size; i++) {
		struct descriptor d = next_descriptor(input);

		memcpy(ring + 16u * i, &d, sizeof(d));
	}
	for (uint32_t i = 0; i < RECORDS_INDIRECT; i++) {
		struct descriptor d = next_descriptor(input);

		memcpy(table + 16u * i, &d, sizeof(d));
	}
	for (uint32_t i = 0; i < vq->size; i++)
		heads[i] = next_byte(input);
	memcpy((uint8_t *)vq->available + 4, heads, vq->size * sizeof(heads[0]));
}

/* Changes up to 7 descriptors of the ring or of the table. */
static void change_ring(struct guest *guest, struct input *input)
{
	uint8_t *ring = guest->memory->regions[0].host_address;

	for (uint32_t left = next_byte(input) % 8; left > 0; left--) {
		uint32_t i = next_byte(input) % (guest->vq.size + RECORDS_INDIRECT);
		struct descriptor d = next_descriptor(input);

		memcpy(i < guest->vq.size ? ring + 16u * i
					  : ring + (TABLE - REGION0) + 16u * (i - guest->vq.size),
		       &d, sizeof(d));
	}
}

static void set_index(void *ring, uint16_t index)
{
	memcpy((uint8_t *)ring + 2, &index, sizeof(index));
}

static uint16_t get_index(const void *ring)
{
	uint16_t index;

	memcpy(&index, (const uint8_t *)ring + 2, sizeof(index));
	return index;
}

static void guest_create(struct guest *guest, struct input *input)
{
	uint8_t settings = next_byte(input), more = next_byte(input);
	struct virtqueue *vq = &guest->vq;

	memset(guest, 0, sizeof(*guest));
	/* 2 to 128: then the parts are aligned as they must be. */
	vq->size = (uint16_t)(2u << more % 7);
	vq->indirect = settings & 1;
	vq->mergeable = settings & 2;
	vq->event_idx = settings & 4;
	vq->header_size = settings & 8 ? 10 : 12;
	vq->log = settings & 16 ? &guest->log : NULL;
	vq->log_used = settings & 32;
	vq->log_used_address = settings & 64 ? UINT64_MAX - 16 : REGION0;
	vq->offloads_from_guest = settings & 128 ? 0xff : 0;
	vq->region_hint = more >> 4;
	guest->start = next_word(input);
	guest->waiting = next_word(input);
	guest->log.size = LOG_BYTES;
	guest->log.bits = calloc(1, LOG_BYTES);
	require(guest->log.bits != NULL);
	vq->ops = virtqueue_ops_best(VIRTQUEUE_SPLIT);
	vq->call_fd = -1;
	guest->memory = memory_create(3);
	memory_add(guest->memory, input, REGION0, SIZE0);
	memory_add(guest->memory, input, REGION1, SIZE1);
	memory_add(guest->memory, input, REGION2, SIZE2);
	vq->memory = guest->memory;
	lay_out_ring(guest, input);
	require(virtqueue_prepare(vq) == 0);
}

static void guest_destroy(struct guest *guest)
{
	virtqueue_release(&guest->vq);
	memory_destroy(guest->memory);
	free((void *)guest->log.bits);
}

/* The ring anew, with all its entries to come. */
static void offer(struct guest *guest)
{
	set_index(guest->vq.used, guest->start);
	set_index(guest->vq.available, (uint16_t)(guest->start + guest->waiting));
	require(virtqueue_split_resume(&guest->vq) == guest->start);
	memset(&guest->counters, 0, sizeof(guest->counters));
}

static void fuzz_from_guest(struct guest *guest, struct burst *burst, struct input *input)
{
	const uint32_t limit = next_byte(input) % 16;
	uint32_t taken = 0, frames = 0;

	offer(guest);
	for (uint32_t n;; taken += n) {
		burst_reset(burst);
		if (limit > 0)
			burst->limit = limit;
		n = virtqueue_from_guest(&guest->vq, burst, &guest->counters);
		for (uint32_t i = 0; i < burst->count; i++)
			check_frame(guest->memory, &burst->frames[i]);
		frames += burst->count;
		require(guest->vq.pending == n);
		virtqueue_from_guest_done(&guest->vq);
		require(guest->vq.pending == 0);
		require((uint16_t)(guest->vq.last_used - guest->start) == (uint16_t)(taken + n));
		if (n == 0)
			break;
		change_ring(guest, input);
	}
	require(taken == (guest->waiting <= guest->vq.size ? guest->waiting : 0));
	require(frames + dropped(&guest->counters) == taken);
	require(guest->counters.receive_packets == frames);
	virtqueue_arm(&guest->vq);
	virtqueue_flush(&guest->vq);
}

static void fuzz_to_guest(struct guest *guest, uint16_t lengths, struct input *input)
{
	struct frames_to_guest made;
	uint32_t sent = 0, n;

	frames_make(&made, lengths);
	offer(guest);
	for (uint32_t i = 0; i < FRAMES_TO_GUEST; i += n) {
		n = 1 + next_byte(input) % (FRAMES_TO_GUEST - i);
		sent += virtqueue_to_guest(&guest->vq, made.frames + i, n, &guest->counters);
		change_ring(guest, input);
	}
	require(sent + dropped(&guest->counters) == FRAMES_TO_GUEST);
	require(guest->counters.transmit_packets == sent);
	/* Unless the frames went over the ring itself, and said that there are more. */
	if (get_index(guest->vq.available) == (uint16_t)(guest->start + guest->waiting))
		require((uint16_t)(guest->vq.last_used - guest->start) <= guest->waiting);
	require(guest->vq.last_used == guest->vq.last_available);
	virtqueue_disarm(&guest->vq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct burst *burst;
	static struct guest guest;
	struct input input = { data, size };
	uint16_t lengths = next_word(&input);

	if (burst == NULL)
		burst = burst_create();
	require(burst != NULL);
	guest_create(&guest, &input);
	/* What from_guest leaves in memory (used entries) is there for to_guest, and to_guest
	 * writes over the ring if the descriptors say so. */
	burst->shallow = are_shallow(lengths);
	fuzz_from_guest(&guest, burst, &input);
	fuzz_to_guest(&guest, lengths, &input);
	guest_destroy(&guest);
	return 0;
}
