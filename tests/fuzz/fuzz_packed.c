/* Descriptors and journals against the packed ring, both directions. The input lays out a ring, an
 * indirect table, memory and what an earlier life of weft left in the journal; whatever it says,
 * weft stays within the guest's memory and the journal (each a heap block of its own, so the
 * address sanitizer guards their edges), comes to an end, accounts for each frame and returns each
 * chain.
 *
 * Input: 8 bytes of settings, 16 of journal, then descriptors of 10 bytes for the ring and
 * RECORDS_INDIRECT for the table; then what the guest, which may not, changes of them between two
 * calls; the last 64 bytes fill the memory and the journal's entries, again and again. Missing
 * bytes are 0. */
#include "tests/fuzz/ring_input.h"
#include "vhost-user/packed_journal.h"

#define REGION0	  0x10000u
#define SIZE0	  0x4000u
#define REGION1	  (REGION0 + SIZE0) /* touches region 0 */
#define SIZE1	  0x1003u
#define TABLE	  (REGION0 + 0x2000u) /* indirect; the ring is before it, data behind */
#define DATA	  (REGION0 + 0x3000u)
#define LOG_BYTES 5u
#define SIZE_MAX_ 128u

#define RECORDS_INDIRECT 32u

struct guest {
	struct guest_memory *memory;
	struct virtqueue vq;
	struct dirty_log log;
	struct port_counters counters;
	uint16_t base;
};

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	uint16_t flags;
};

/* Addresses near every edge, lengths of every size; available in the first round unless the input
 * says which flags it wants. */
static struct descriptor next_descriptor(struct input *input)
{
	static const uint64_t bases[] = { DATA,	   REGION1, REGION1 + SIZE1, 0x100000000,
					  REGION0, TABLE,   UINT64_MAX,	     0 };
	uint8_t where = next_byte(input), flags = next_byte(input);
	struct descriptor d = { .address = bases[where % 8] + (uint64_t)(int16_t)next_word(input),
				.length = next_word(input),
				.id = next_word(input),
				.flags = (flags & 7) | 0x80 };
	uint16_t raw = next_word(input);

	if (where & 0x80)
		d.length |= 0xffff0000u;
	if (where & 0x40)
		d.length <<= 4; /* whole entries, for tables */
	if (flags & 0x80)
		d.flags = raw;
	return d;
}

static void lay_out_journal(struct guest *guest, struct input *input)
{
	struct virtqueue *vq = &guest->vq;
	struct packed_journal *journal = malloc(packed_journal_bytes(vq->size));
	uint64_t batch = 0;

	require(journal != NULL);
	journal->owner = next_byte(input);
	journal->address = next_byte(input);
	journal->tag = next_word(input);
	journal->size = (uint16_t)(vq->size ^ next_byte(input));
	journal->base = (uint16_t)(guest->base ^ next_byte(input));
	for (int i = 0; i < 4; i++)
		batch |= (uint64_t)next_word(input) << (16 * i);
	atomic_init(&journal->batch, batch);
	fill(input, journal->entries, vq->size * sizeof(journal->entries[0]));
	/* Counts that can be right: small ones. */
	for (uint32_t i = 0; i < vq->size; i++)
		journal->entries[i].count %= 7;
	vq->journal = journal;
}

static void lay_out_ring(struct guest *guest, struct input *input)
{
	uint8_t *ring = guest->memory->regions[0].host_address;

	guest->vq.descriptors = ring;
	guest->vq.available = ring + 16u * SIZE_MAX_;
	guest->vq.used = ring + 16u * SIZE_MAX_ + 4;
	for (uint32_t i = 0; i < guest->vq.size + RECORDS_INDIRECT; i++) {
		struct descriptor d = next_descriptor(input);

		memcpy(i < guest->vq.size ? ring + 16u * i
					  : ring + (TABLE - REGION0) + 16u * (i - guest->vq.size),
		       &d, sizeof(d));
	}
}

/* Changes up to 7 descriptors of the ring or of the table; what is available stays so. */
static void change_ring(struct guest *guest, struct input *input)
{
	uint8_t *ring = guest->memory->regions[0].host_address;

	for (uint32_t left = next_byte(input) % 8; left > 0; left--) {
		uint32_t i = next_byte(input) % (guest->vq.size + RECORDS_INDIRECT);
		struct descriptor d = next_descriptor(input), was;
		uint8_t *at = i < guest->vq.size
				  ? ring + 16u * i
				  : ring + (TABLE - REGION0) + 16u * (i - guest->vq.size);

		memcpy(&was, at, sizeof(was));
		d.flags = (d.flags & 7) | (was.flags & 0x8080);
		memcpy(at, &d, sizeof(d));
	}
}

static void guest_create(struct guest *guest, struct input *input)
{
	uint8_t settings = next_byte(input), more = next_byte(input);
	struct virtqueue *vq = &guest->vq;

	memset(guest, 0, sizeof(*guest));
	vq->size = (uint16_t)(1u + next_byte(input) % SIZE_MAX_);
	vq->indirect = settings & 1;
	vq->mergeable = settings & 2;
	vq->event_idx = settings & 4;
	vq->header_size = settings & 8 ? 10 : 12;
	vq->log = settings & 16 ? &guest->log : NULL;
	vq->log_used = settings & 32;
	vq->log_used_address = settings & 64 ? UINT64_MAX - 16 : REGION0;
	vq->log_descriptors_address = vq->log_used_address;
	vq->offloads_from_guest = settings & 128 ? 0xff : 0;
	vq->in_order = more & 1;
	vq->region_hint = more >> 4;
	guest->base = next_word(input);
	/* A position outside the ring is refused before (ring.c). */
	guest->base = (uint16_t)((guest->base & 0x8000) | (guest->base & 0x7fff) % vq->size);
	guest->log.size = LOG_BYTES;
	guest->log.bits = calloc(1, LOG_BYTES);
	require(guest->log.bits != NULL);
	vq->ops = virtqueue_ops_best(VIRTQUEUE_PACKED);
	vq->call_fd = -1;
	guest->memory = memory_create(2);
	memory_add(guest->memory, input, REGION0, SIZE0);
	memory_add(guest->memory, input, REGION1, SIZE1);
	vq->memory = guest->memory;
	lay_out_journal(guest, input);
	lay_out_ring(guest, input);
	require(virtqueue_prepare(vq) == 0);
}

static void guest_destroy(struct guest *guest)
{
	memory_destroy(guest->memory);
	virtqueue_release(&guest->vq);
	free(guest->vq.journal);
	free((void *)guest->log.bits);
}

static void resume(struct guest *guest)
{
	uint16_t position = virtqueue_packed_resume(&guest->vq, 1, guest->base);

	require((position & 0x7fff) < guest->vq.size);
	require(guest->vq.last_available == position && guest->vq.last_used == position);
	memset(&guest->counters, 0, sizeof(guest->counters));
}

static void fuzz_from_guest(struct guest *guest, struct burst *burst, struct input *input)
{
	const uint32_t limit = next_byte(input) % 16;
	struct virtqueue *vq = &guest->vq;
	uint32_t taken = 0, frames = 0;

	resume(guest);
	for (;;) {
		uint32_t n;

		burst_reset(burst);
		if (limit > 0)
			burst->limit = limit;
		n = virtqueue_from_guest(vq, burst, &guest->counters);
		require(burst->count <= n && vq->pending == n);
		for (uint32_t i = 0; i < burst->count; i++)
			check_frame(guest->memory, &burst->frames[i]);
		frames += burst->count;
		taken += n;
		/* What is used is not available, so a round is all there is. */
		require(taken <= vq->size);
		virtqueue_from_guest_done(vq);
		require(vq->pending == 0 && vq->last_used == vq->last_available);
		require((vq->last_used & 0x7fff) < vq->size);
		if (n == 0)
			break;
		change_ring(guest, input);
	}
	require(frames + dropped(&guest->counters) == taken);
	require(guest->counters.receive_packets == frames);
	virtqueue_arm(vq);
	virtqueue_flush(vq);
}

static void fuzz_to_guest(struct guest *guest, uint16_t lengths, struct input *input)
{
	struct frames_to_guest made;
	uint32_t sent = 0, n;

	frames_make(&made, lengths);
	resume(guest);
	for (uint32_t i = 0; i < FRAMES_TO_GUEST; i += n) {
		n = 1 + next_byte(input) % (FRAMES_TO_GUEST - i);
		sent += virtqueue_to_guest(&guest->vq, made.frames + i, n, &guest->counters);
		change_ring(guest, input);
	}
	require(sent + dropped(&guest->counters) == FRAMES_TO_GUEST);
	require(guest->counters.transmit_packets == sent);
	require(guest->vq.last_used == guest->vq.last_available);
	require((guest->vq.last_used & 0x7fff) < guest->vq.size);
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
	burst->shallow = are_shallow(lengths);
	fuzz_from_guest(&guest, burst, &input);
	/* To_guest writes over the ring if the descriptors say so. */
	fuzz_to_guest(&guest, lengths, &input);
	resume(&guest);
	guest_destroy(&guest);
	return 0;
}
