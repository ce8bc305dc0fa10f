/* Descriptor chains against the split ring, both directions. The input lays out a ring, an indirect
 * table and memory; whatever it says, weft stays within the guest's memory (regions are heap blocks
 * of their own, so the address sanitizer guards their edges), comes to an end, accounts for each
 * frame and returns each chain.
 *
 * Input: 8 bytes of settings, then descriptors of 8 bytes for the ring and RECORDS_INDIRECT for the
 * table, then one byte for each head; the last 64 bytes fill the memory, again and again. Missing
 * bytes are 0. */
#include "vhost-user/virtqueue.h"

#include <stdlib.h>
#include <string.h>

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
#define FILL		 64u

struct input {
	const uint8_t *bytes;
	size_t left;
};

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

static void require(bool condition)
{
	if (!condition)
		abort();
}

static uint8_t next_byte(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->bytes++;
}

static uint16_t next_word(struct input *input)
{
	uint16_t low = next_byte(input);

	return (uint16_t)(low | next_byte(input) << 8);
}

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

static void add_region(struct guest *guest, uint64_t address, uint64_t size)
{
	struct guest_memory_region *region = &guest->memory->regions[guest->memory->region_count++];

	region->guest_address = address;
	region->size = size;
	region->host_address = malloc(size);
	require(region->host_address != NULL);
}

static void lay_out_memory(struct guest *guest, struct input *input)
{
	guest->memory = calloc(1, sizeof(*guest->memory) + 3 * sizeof(guest->memory->regions[0]));
	require(guest->memory != NULL);
	add_region(guest, REGION0, SIZE0);
	add_region(guest, REGION1, SIZE1);
	add_region(guest, REGION2, SIZE2);
	for (uint32_t r = 0; r < 3; r++) {
		struct guest_memory_region *region = &guest->memory->regions[r];
		const size_t fill = input->left < FILL ? input->left : FILL;

		memset(region->host_address, 0, region->size);
		memcpy(region->host_address, input->bytes + input->left - fill, fill);
		for (size_t done = FILL; done < region->size; done += FILL)
			memcpy(region->host_address + done, region->host_address,
			       region->size - done < FILL ? region->size - done : FILL);
	}
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

static void set_index(void *ring, uint16_t index)
{
	memcpy((uint8_t *)ring + 2, &index, sizeof(index));
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
	vq->ops = &virtqueue_split_ops;
	vq->call_fd = -1;
	lay_out_memory(guest, input);
	vq->memory = guest->memory;
	lay_out_ring(guest, input);
	require(virtqueue_prepare(vq) == 0);
}

static void guest_destroy(struct guest *guest)
{
	virtqueue_release(&guest->vq);
	for (uint32_t i = 0; i < guest->memory->region_count; i++)
		free(guest->memory->regions[i].host_address);
	free(guest->memory);
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

static uint64_t dropped(const struct guest *guest)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP_COUNT; i++)
		sum += guest->counters.drops[i];
	return sum;
}

static void check_frame(const struct guest *guest, const struct frame *frame)
{
	static uint8_t copy[FRAME_LENGTH_MAX];
	uint64_t sum = frame->head_length;

	require(frame->length >= FRAME_LENGTH_MIN && frame->length <= FRAME_LENGTH_MAX);
	for (uint32_t i = 0; i < frame->segment_count; i++) {
		const struct frame_segment *segment = &frame->segments[i];
		bool inside = false;

		for (uint32_t r = 0; r < guest->memory->region_count; r++) {
			const struct guest_memory_region *region = &guest->memory->regions[r];

			inside |=
			    segment->base >= region->host_address &&
			    segment->base + segment->length <= region->host_address + region->size;
		}
		require(inside && segment->length > 0);
		sum += segment->length;
	}
	require(sum == frame->length);
	frame_copy_out(frame, 0, frame->length, copy);
}

static void fuzz_from_guest(struct guest *guest, struct burst *burst)
{
	uint32_t taken = 0, frames = 0;

	offer(guest);
	for (uint32_t n;; taken += n) {
		burst_reset(burst);
		n = virtqueue_from_guest(&guest->vq, burst, &guest->counters);
		for (uint32_t i = 0; i < burst->count; i++)
			check_frame(guest, &burst->frames[i]);
		frames += burst->count;
		require(guest->vq.pending == n);
		virtqueue_from_guest_done(&guest->vq);
		require(guest->vq.pending == 0);
		require((uint16_t)(guest->vq.last_used - guest->start) == (uint16_t)(taken + n));
		if (n == 0)
			break;
	}
	require(taken == (guest->waiting <= guest->vq.size ? guest->waiting : 0));
	require(frames + dropped(guest) == taken);
	require(guest->counters.receive_packets == frames);
	virtqueue_arm(&guest->vq);
	virtqueue_flush(&guest->vq);
}

static void fuzz_to_guest(struct guest *guest, uint16_t lengths)
{
	static uint8_t payload[FRAME_LENGTH_MAX];
	static uint8_t slot[FRAME_SLOT];
	static const uint32_t choices[] = { 14, 60, 192, 193, 700, 1514, 9000, FRAME_LENGTH_MAX };
	struct frame store[5];
	struct frame *frames[5];
	struct frame_segment segments[5][2];
	uint32_t sent;

	for (uint32_t i = 0; i < 5; i++, lengths >>= 3) {
		struct frame *frame = frames[i] = &store[i];
		uint32_t length = choices[lengths % 8], rest;

		*frame = (struct frame){ .head = slot + FRAME_HEADROOM, .length = length };
		frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
		frame->segments = segments[i];
		rest = length - frame->head_length;
		if (rest > 0)
			segments[i][frame->segment_count++] =
			    (struct frame_segment){ payload, (rest + 1) / 2 };
		if (rest > 1)
			segments[i][frame->segment_count++] =
			    (struct frame_segment){ payload + (rest + 1) / 2, rest / 2 };
	}
	offer(guest);
	sent = virtqueue_to_guest(&guest->vq, frames, 5, &guest->counters);
	require(sent + dropped(guest) == 5);
	require(guest->counters.transmit_packets == sent);
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
	fuzz_from_guest(&guest, burst);
	fuzz_to_guest(&guest, lengths);
	guest_destroy(&guest);
	return 0;
}
