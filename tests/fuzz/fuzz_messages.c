/* libFuzzer target for the vhost-user device as a frontend and its guest see it: a byte string
 * becomes a sequence of messages with file descriptors, writes into the rings, hang-ups and memory
 * that goes away, against a real device on a real socket. The worker takes and echoes frames after
 * each step. Every run begins with a frontend that behaves, which must be served whatever the runs
 * before did, and ends with all descriptors closed and all queues stopped. One thread. */
#include "base/log.h"
#include "tests/lib/device_harness.h"
#include "tests/lib/fake_guest.h"
#include "vhost-user/notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FD_KINDS 6u

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum shape {
	SHAPE_NONE,
	SHAPE_NUMBER,
	SHAPE_STATE,
	SHAPE_ADDRESS,
	SHAPE_TABLE,
	SHAPE_SLOT,
	SHAPE_LOG
};

/* What each request should look like; the input decides how far it does. */
static const struct {
	uint8_t request;
	uint8_t shape;
	uint8_t fds;
} requests[] = {
	{ FAKE_GET_FEATURES, SHAPE_NONE, 0 },
	{ FAKE_SET_FEATURES, SHAPE_NUMBER, 0 },
	{ FAKE_SET_OWNER, SHAPE_NONE, 0 },
	{ FAKE_RESET_OWNER, SHAPE_NONE, 0 },
	{ FAKE_SET_MEM_TABLE, SHAPE_TABLE, 1 },
	{ FAKE_SET_LOG_BASE, SHAPE_LOG, 1 },
	{ FAKE_SET_LOG_FD, SHAPE_NONE, 1 },
	{ FAKE_SET_VRING_NUM, SHAPE_STATE, 0 },
	{ FAKE_SET_VRING_ADDR, SHAPE_ADDRESS, 0 },
	{ FAKE_SET_VRING_BASE, SHAPE_STATE, 0 },
	{ FAKE_GET_VRING_BASE, SHAPE_STATE, 0 },
	{ FAKE_SET_VRING_KICK, SHAPE_NUMBER, 1 },
	{ FAKE_SET_VRING_CALL, SHAPE_NUMBER, 1 },
	{ FAKE_SET_VRING_ERR, SHAPE_NUMBER, 1 },
	{ FAKE_GET_PROTOCOL_FEATURES, SHAPE_NONE, 0 },
	{ FAKE_SET_PROTOCOL_FEATURES, SHAPE_NUMBER, 0 },
	{ FAKE_GET_QUEUE_NUM, SHAPE_NONE, 0 },
	{ FAKE_SET_VRING_ENABLE, SHAPE_STATE, 0 },
	{ FAKE_SEND_RARP, SHAPE_NUMBER, 0 },
	{ FAKE_NET_SET_MTU, SHAPE_NUMBER, 0 },
	{ FAKE_SET_BACKEND_REQ_FD, SHAPE_NONE, 1 },
	{ FAKE_RESET_DEVICE, SHAPE_NONE, 0 },
	{ FAKE_GET_MAX_MEM_SLOTS, SHAPE_NONE, 0 },
	{ FAKE_ADD_MEM_REG, SHAPE_SLOT, 1 },
	{ FAKE_REM_MEM_REG, SHAPE_SLOT, 0 },
	{ FAKE_SET_STATUS, SHAPE_NUMBER, 0 },
	{ FAKE_GET_STATUS, SHAPE_NONE, 0 },
	{ FAKE_IOTLB_MSG, SHAPE_LOG, 0 },
	{ FAKE_GET_INFLIGHT_FD, SHAPE_LOG, 0 },
	{ FAKE_SET_INFLIGHT_FD, SHAPE_LOG, 1 },
};
#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* Steps that are no request, after them in the numbering of steps. */
enum step {
	STEP_DESCRIPTOR,
	STEP_AVAILABLE,
	STEP_INDEX,
	STEP_EVENTS,
	STEP_SLOT,
	STEP_SEND,
	STEP_POST,
	STEP_PARTIAL,
	STEP_RECONNECT,
	STEP_HANDSHAKE,
	STEP_TRUNCATE,
	STEPS,
};

struct input {
	const uint8_t *data;
	size_t size;
};

static struct harness harness;
static struct fake_guest *guest;
static int kinds[FD_KINDS];
static unsigned baseline;
/* The guest's own hands are off its memory from then on. */
static bool memory_gone;

static uint8_t take(struct input *input)
{
	if (input->size == 0)
		return 0;
	input->size--;
	return *input->data++;
}

/* Small numbers as they are, the rest from a table of those that matter. */
static uint64_t take_number(struct input *input)
{
	const struct fake_region *region = &guest->memory.regions[0];
	const uint64_t table[] = {
		256,
		0x101,
		4095,
		4096,
		65535,
		65536,
		0x10001,
		1ull << 31,
		UINT32_MAX,
		1ull << 63,
		UINT64_MAX - 15,
		UINT64_MAX,
		guest->offered,
		FAKE_BIT(FAKE_F_LOG_ALL) | guest->features,
		region->guest_address,
		region->guest_address + region->size - 8,
		region->user_address,
		region->user_address + region->size - 16,
		guest->queues[0].descriptors,
		guest->queues[1].used,
		guest->queues[1].slots,
		guest->queues[1].tables,
		fake_memory_user(&guest->memory, guest->queues[1].available),
		fake_memory_user(&guest->memory, guest->queues[1].descriptors),
	};
	uint8_t byte = take(input);

	if (byte < 0x80)
		return byte;
	return table[(byte & 0x7f) % (sizeof(table) / sizeof(table[0]))];
}

static size_t build_region(struct input *input, uint8_t *to)
{
	const struct fake_region *from =
	    &guest->memory.regions[take(input) % guest->memory.region_count];
	uint64_t region[4] = { from->guest_address, from->size, from->user_address,
			       from->file_offset };
	uint8_t spoil = take(input);

	if (spoil < 4)
		region[spoil] = take_number(input);
	memcpy(to, region, sizeof(region));
	return sizeof(region);
}

static size_t build_address(struct input *input, uint8_t *to)
{
	uint32_t index = take(input);
	const struct fake_queue *queue = &guest->queues[index % guest->queue_count];
	uint64_t fields[4] = {
		fake_memory_user(&guest->memory, queue->descriptors),
		fake_memory_user(&guest->memory, queue->used),
		fake_memory_user(&guest->memory, queue->available),
		queue->log_address,
	};
	uint32_t head[2] = { index, 0 };
	uint8_t spoil = take(input);

	if (spoil < 4)
		fields[spoil] = take_number(input);
	else
		head[1] = spoil & 1;
	memcpy(to, head, 8);
	memcpy(to + 8, fields, 32);
	return 40;
}

/* A payload of the right shape with contents from the input; its size. */
static size_t build_payload(struct input *input, enum shape shape, uint8_t *to)
{
	uint64_t numbers[2];
	uint32_t states[2];
	size_t size = 8;

	switch (shape) {
	case SHAPE_NONE:
		return 0;
	case SHAPE_NUMBER:
		numbers[0] = take_number(input);
		memcpy(to, numbers, 8);
		return 8;
	case SHAPE_STATE:
		states[0] = (uint32_t)take_number(input);
		states[1] = (uint32_t)take_number(input);
		memcpy(to, states, 8);
		return 8;
	case SHAPE_ADDRESS:
		return build_address(input, to);
	case SHAPE_TABLE:
		states[0] = take(input) % 10;
		states[1] = 0;
		memcpy(to, states, 8);
		for (uint32_t i = 0; i < states[0] && i < 8; i++)
			size += build_region(input, to + size);
		return size;
	case SHAPE_SLOT:
		memset(to, 0, 8);
		return 8 + build_region(input, to + 8);
	case SHAPE_LOG:
		numbers[0] = take_number(input);
		numbers[1] = take_number(input);
		memcpy(to, numbers, 16);
		return 16;
	}
	return 0;
}

/* One of the kinds of descriptors, or a region's file. */
static int pick_fd(uint8_t byte)
{
	if (byte < 0x80)
		return guest->memory.regions[byte % guest->memory.region_count].fd;
	return kinds[byte % FD_KINDS];
}

static void drain(void)
{
	uint8_t trash[4096];

	while (guest->fd >= 0 && recv(guest->fd, trash, sizeof(trash), MSG_DONTWAIT) > 0)
		;
}

static void step_request(struct input *input, uint32_t number)
{
	uint8_t payload[FAKE_MESSAGE_MAX] = { 0 };
	size_t size = build_payload(input, requests[number].shape, payload);
	uint32_t request = requests[number].request, flags = FAKE_VERSION, claimed;
	uint32_t count = requests[number].fds;
	uint8_t oddities = take(input);
	int fds[16];

	if (requests[number].shape == SHAPE_TABLE)
		count = payload[0];
	if (oddities & 1)
		flags |= FAKE_NEED_REPLY;
	if (oddities & 2)
		count = take(input) % 16;
	claimed = (uint32_t)size;
	if (oddities & 4)
		claimed = (uint32_t)take_number(input);
	if (oddities & 8)
		flags = take(input);
	if (oddities & 16)
		request = take(input);
	if (claimed <= sizeof(payload))
		size = claimed;
	for (uint32_t i = 0; i < count; i++)
		fds[i] = pick_fd(requests[number].shape == SHAPE_TABLE && !(oddities & 32)
				     ? (uint8_t)i
				     : take(input));
	if (fake_guest_send_message(guest, request, flags, claimed, payload, size, fds, count) != 0)
		fake_guest_connect(guest);
}

static struct fake_queue *pick_queue(struct input *input, uint32_t *index)
{
	*index = take(input) % guest->queue_count;
	return &guest->queues[*index];
}

static void step_ring(struct input *input, enum step step)
{
	uint32_t index;
	struct fake_queue *queue = pick_queue(input, &index);
	struct fake_ring *ring = &queue->ring;
	struct fake_descriptor *descriptor;
	uint8_t which;

	switch (step) {
	case STEP_DESCRIPTOR:
		which = take(input);
		descriptor = which & 0x80 ? fake_memory_host(&guest->memory, queue->tables)
					  : ring->descriptors;
		descriptor += which % ring->size;
		descriptor->address = take_number(input);
		descriptor->length = (uint32_t)take_number(input);
		descriptor->flags = take(input) & 7;
		descriptor->next = take(input);
		return;
	case STEP_AVAILABLE:
		which = take(input);
		ring->available->ring[which % ring->size] = take(input);
		return;
	case STEP_INDEX:
		ring->published = (uint16_t)(ring->published + (int8_t)take(input));
		ring->next_available = ring->published;
		atomic_store(&ring->available->index, ring->published);
		fake_guest_kick(guest, index);
		return;
	case STEP_EVENTS:
		atomic_store(fake_ring_used_event(ring), (uint16_t)take_number(input));
		atomic_store(&ring->available->flags, take(input) & 1);
		return;
	default: /* STEP_SLOT: header and frame */
		which = take(input);
		for (uint8_t *to = fake_guest_slot(guest, index, which % ring->size);
		     which > 0 && input->size > 0; which--)
			*to++ = take(input);
		return;
	}
}

static void step_other(struct input *input, enum step step)
{
	uint8_t frame[200] = { 0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x08, 0x00, 0x45 };
	struct fake_header header;
	uint8_t byte = take(input);

	switch (step) {
	case STEP_SEND:
		for (size_t i = 0; i < sizeof(header); i++)
			((uint8_t *)&header)[i] = take(input);
		fake_guest_send(guest, 0, &header, frame, byte % sizeof(frame));
		return;
	case STEP_POST:
		fake_guest_post(guest, 0, 1 + byte % 4, 16 + byte);
		return;
	case STEP_TRUNCATE:
		memory_gone = true;
		fake_guest_truncate(guest, byte % guest->memory.region_count, 0);
		return;
	case STEP_PARTIAL:
		fake_guest_send_bytes(guest, frame, 1 + byte % 60, kinds, byte % FD_KINDS);
		return;
	case STEP_HANDSHAKE:
		fake_guest_connect(guest);
		guest->message_limit = 1 + byte % 40;
		fake_guest_handshake(guest, (enum fake_order)(byte % 3));
		guest->message_limit = 0;
		return;
	default: /* STEP_RECONNECT */
		fake_guest_connect(guest);
		return;
	}
}

static void one_step(struct input *input)
{
	uint32_t number = take(input) % (REQUESTS + STEPS);

	if (number < REQUESTS) {
		step_request(input, number);
	} else {
		enum step step = (enum step)(number - REQUESTS);
		bool own_memory = step <= STEP_POST || step == STEP_HANDSHAKE;

		if (own_memory && memory_gone)
			return;
		if (step <= STEP_SLOT)
			step_ring(input, step);
		else
			step_other(input, step);
	}
}

static void settle(void)
{
	for (int i = 0; i < 4; i++)
		harness_pump(&harness);
	vhost_device_check_faults(harness.device);
	drain();
}

enum ring_format { SPLIT, PACKED };

/* A frontend that behaves; it must be served. */
static void begin(enum fake_order order, enum ring_format format)
{
	const struct fake_guest_options options = {
		.path = harness.path,
		.ring_size = 8,
		.packed = format == PACKED,
		.regions = 2,
		.buffer_size = 512,
		.indirect_entries = 8,
		.plug_room = 16384,
		.timeout_ms = 5000,
		.pump = harness_pump,
		.pump_context = &harness,
	};

	memory_gone = false;
	CHECK(fake_guest_create(&options, &guest) == 0);
	CHECK(fake_guest_start(guest, order) == 0);
	CHECK(fake_guest_sync(guest) == 0);
	CHECK(harness.link);
}

static void leave(void)
{
	fake_guest_destroy(guest);
	for (int i = 0; i < 64 && harness_status(&harness).connected; i++)
		harness_pump(&harness);
	CHECK(!harness_status(&harness).connected);
}

static void end(void)
{
	leave();
	CHECK(harness.started == harness.stopping);
	CHECK(!harness.link);
	for (uint32_t i = 0; i < vhost_device_queue_count(harness.device); i++)
		CHECK(!atomic_load(&vhost_device_queue(harness.device, i)->running));
	CHECK(footprint_fds_settled(baseline) <= baseline);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct vhost_device_config config = { .name = "fuzz", .queue_pairs = 2 };
	int pipe_fds[2];

	(void)argc;
	(void)argv;
	log_set_level(LOG_LEVEL_ERROR);
	CHECK(harness_open(&harness, HARNESS_SAME_THREAD, &config, NULL) == 0);
	CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0);
	kinds[0] = eventfd(0, EFD_CLOEXEC);
	kinds[1] = pipe_fds[0];
	kinds[2] = pipe_fds[1];
	kinds[3] = memfd_create("log", MFD_CLOEXEC);
	kinds[4] = open("/dev/null", O_RDWR | O_CLOEXEC);
	kinds[5] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(ftruncate(kinds[3], 1 << 16) == 0);
	/* What the first notifier makes stays, and so does the file that the first packed ring
	 * needs. */
	CHECK(notifier_own(&kinds[0], NULL) == 0);
	begin(FAKE_ORDER_QEMU, PACKED);
	leave();
	baseline = footprint_take().fds;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	begin((enum fake_order)(take(&input) % 3), SPLIT);
	while (input.size > 0) {
		one_step(&input);
		settle();
	}
	end();
	return 0;
}
