/* Life of a fake guest (fake_guest.h): memory, queues, connections and hot-plug. On the thread of
 * the test. */
#include "tests/lib/fake_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RING_ALIGN   4096u
#define BUFFER_ALIGN 64u

/* What a current Linux driver acknowledges. */
#define DEFAULT_FEATURES                                                                           \
	(FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_PROTOCOL_FEATURES) |                         \
	 FAKE_BIT(FAKE_F_MRG_RXBUF) | FAKE_BIT(FAKE_F_INDIRECT_DESC) |                             \
	 FAKE_BIT(FAKE_F_EVENT_IDX) | FAKE_BIT(FAKE_F_MQ) | FAKE_BIT(FAKE_F_CSUM) |                \
	 FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_HOST_TSO4) | FAKE_BIT(FAKE_F_HOST_TSO6) |   \
	 FAKE_BIT(FAKE_F_HOST_ECN) | FAKE_BIT(FAKE_F_GUEST_TSO4) | FAKE_BIT(FAKE_F_GUEST_TSO6) |   \
	 FAKE_BIT(FAKE_F_GUEST_ECN) | FAKE_BIT(FAKE_F_STATUS) | FAKE_BIT(FAKE_F_MTU))

#define DEFAULT_PROTOCOL_FEATURES                                                                  \
	(FAKE_BIT(FAKE_PROTOCOL_MQ) | FAKE_BIT(FAKE_PROTOCOL_LOG_SHMFD) |                          \
	 FAKE_BIT(FAKE_PROTOCOL_RARP) | FAKE_BIT(FAKE_PROTOCOL_REPLY_ACK) |                        \
	 FAKE_BIT(FAKE_PROTOCOL_NET_MTU) | FAKE_BIT(FAKE_PROTOCOL_BACKEND_REQ) |                   \
	 FAKE_BIT(FAKE_PROTOCOL_RESET_DEVICE) | FAKE_BIT(FAKE_PROTOCOL_CONFIGURE_MEM_SLOTS) |      \
	 FAKE_BIT(FAKE_PROTOCOL_STATUS))

static void fill_defaults(struct fake_guest_options *options)
{
	if (options->queue_pairs == 0)
		options->queue_pairs = 1;
	if (options->ring_size == 0)
		options->ring_size = 256;
	if (options->regions == 0)
		options->regions = 1;
	if (options->buffer_size == 0)
		options->buffer_size = 2048;
	if (options->indirect_entries == 0)
		options->indirect_entries = 64;
	if (options->features == 0)
		options->features = DEFAULT_FEATURES;
	if (options->protocol_features == 0)
		options->protocol_features = DEFAULT_PROTOCOL_FEATURES;
	if (options->timeout_ms == 0)
		options->timeout_ms = 10000;
}

static uint64_t table_bytes(const struct fake_guest_options *options)
{
	return (uint64_t)options->ring_size * options->indirect_entries *
	       sizeof(struct fake_descriptor);
}

static uint64_t slot_bytes(const struct fake_guest_options *options)
{
	return (uint64_t)options->ring_size * options->buffer_size;
}

/* Bytes of guest memory everything needs, roundings included. */
static uint64_t memory_needed(const struct fake_guest_options *options)
{
	uint64_t queue = fake_ring_descriptor_bytes(options->ring_size) +
			 fake_ring_available_bytes(options->ring_size) +
			 fake_ring_used_bytes(options->ring_size) + table_bytes(options) +
			 slot_bytes(options) + 5 * RING_ALIGN;

	return 2ull * options->queue_pairs * queue;
}

static int create_memory(struct fake_guest *guest)
{
	struct fake_guest_options *options = &guest->options;
	uint64_t size = options->region_size;
	int rc;

	if (size == 0)
		size = memory_needed(options) / options->regions + FAKE_MEMORY_PAGE;
	size = (size + FAKE_MEMORY_PAGE - 1) / FAKE_MEMORY_PAGE * FAKE_MEMORY_PAGE;
	rc = fake_memory_init(&guest->memory, size * options->regions + options->plug_room);
	for (uint32_t i = 0; rc >= 0 && i < options->regions; i++)
		rc = fake_memory_plug(&guest->memory, size);
	return rc < 0 ? rc : 0;
}

/* The parts of the rings first, then tables and slots, which may cross regions. */
static int create_ring(struct fake_guest *guest, struct fake_queue *queue)
{
	struct fake_memory *memory = &guest->memory;
	uint16_t size = guest->options.ring_size;

	queue->descriptors =
	    fake_memory_allocate_whole(memory, fake_ring_descriptor_bytes(size), 16);
	queue->available = fake_memory_allocate_whole(memory, fake_ring_available_bytes(size), 4);
	queue->used = fake_memory_allocate_whole(memory, fake_ring_used_bytes(size), 4);
	if (queue->descriptors == 0 || queue->available == 0 || queue->used == 0)
		return -ENOSPC;
	queue->log_address = queue->used;
	queue->base = 0x80008000; /* slot 0, wrap counter 1, twice */
	if (guest->options.packed)
		return fake_ring_init_packed(&queue->ring, size,
					     fake_memory_host(memory, queue->descriptors),
					     fake_memory_host(memory, queue->available),
					     fake_memory_host(memory, queue->used));
	return fake_ring_init(&queue->ring, size, fake_memory_host(memory, queue->descriptors),
			      fake_memory_host(memory, queue->available),
			      fake_memory_host(memory, queue->used));
}

static int create_slots(struct fake_guest *guest, struct fake_queue *queue)
{
	uint16_t size = guest->options.ring_size;

	queue->tables = fake_memory_allocate(&guest->memory, table_bytes(&guest->options), 16);
	queue->slots =
	    fake_memory_allocate(&guest->memory, slot_bytes(&guest->options), BUFFER_ALIGN);
	if (queue->tables == 0 || queue->slots == 0)
		return -ENOSPC;
	queue->free_slots = calloc(size, sizeof(*queue->free_slots));
	queue->layouts = calloc(size, sizeof(*queue->layouts));
	queue->lengths = calloc(size, sizeof(*queue->lengths));
	queue->held = calloc(size, sizeof(*queue->held));
	if (queue->free_slots == NULL || queue->layouts == NULL || queue->lengths == NULL ||
	    queue->held == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++)
		queue->free_slots[i] = size - 1 - i;
	queue->free_slot_count = size;
	queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return queue->kick_fd < 0 || queue->call_fd < 0 || queue->error_fd < 0 ? -errno : 0;
}

static int create_queues(struct fake_guest *guest)
{
	int rc = 0;

	guest->queue_count = 2u * guest->options.queue_pairs;
	guest->queues = calloc(guest->queue_count, sizeof(*guest->queues));
	guest->pieces = calloc(FAKE_RING_SIZE_MAX, sizeof(*guest->pieces));
	if (guest->queues == NULL || guest->pieces == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < guest->queue_count; i++)
		guest->queues[i].kick_fd = guest->queues[i].call_fd = guest->queues[i].error_fd =
		    -1;
	for (uint32_t i = 0; rc == 0 && i < guest->queue_count; i++)
		rc = create_ring(guest, &guest->queues[i]);
	for (uint32_t i = 0; rc == 0 && i < guest->queue_count; i++)
		rc = create_slots(guest, &guest->queues[i]);
	return rc;
}

static int create_listener(struct fake_guest *guest)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(guest->options.path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, guest->options.path);
	guest->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (guest->listen_fd < 0)
		return -errno;
	unlink(guest->options.path);
	if (bind(guest->listen_fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(guest->listen_fd, 8) != 0)
		return -errno;
	return 0;
}

int fake_guest_create(const struct fake_guest_options *options, struct fake_guest **out)
{
	struct fake_guest *guest = calloc(1, sizeof(*guest));
	int rc;

	if (guest == NULL)
		return -ENOMEM;
	guest->options = *options;
	guest->listen_fd = guest->fd = guest->backend_fd = -1;
	guest->header_size = 12;
	fill_defaults(&guest->options);
	rc = create_memory(guest);
	if (rc == 0)
		rc = create_queues(guest);
	if (rc == 0 && options->role == FAKE_LISTENS)
		rc = create_listener(guest);
	if (rc != 0) {
		fake_guest_destroy(guest);
		return rc;
	}
	*out = guest;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void fake_guest_destroy(struct fake_guest *guest)
{
	if (guest == NULL)
		return;
	fake_guest_disconnect(guest);
	if (guest->listen_fd >= 0)
		unlink(guest->options.path);
	close_fd(guest->listen_fd);
	for (uint32_t i = 0; guest->queues != NULL && i < guest->queue_count; i++) {
		struct fake_queue *queue = &guest->queues[i];

		fake_ring_release(&queue->ring);
		free(queue->free_slots);
		free(queue->layouts);
		free(queue->lengths);
		free(queue->held);
		close_fd(queue->kick_fd);
		close_fd(queue->call_fd);
		close_fd(queue->error_fd);
	}
	free(guest->queues);
	free(guest->pieces);
	fake_memory_release(&guest->memory);
	free(guest);
}

int fake_guest_start(struct fake_guest *guest, enum fake_order order)
{
	int rc = fake_guest_connect(guest);

	return rc != 0 ? rc : fake_guest_handshake(guest, order);
}

int fake_guest_reconnect(struct fake_guest *guest, enum fake_order order)
{
	fake_guest_disconnect(guest);
	return fake_guest_start(guest, order);
}

int fake_guest_plug(struct fake_guest *guest, uint64_t size)
{
	int region = fake_memory_plug(&guest->memory, size);
	int rc;

	if (region < 0)
		return region;
	rc = fake_guest_send_region(guest, FAKE_ADD_MEM_REG, (uint32_t)region);
	return rc != 0 ? rc : region;
}

int fake_guest_unplug(struct fake_guest *guest, uint32_t region)
{
	int rc;

	/* The newer form of the request carries no file descriptor. */
	fake_memory_unplug(&guest->memory, region);
	rc = fake_guest_send_region(guest, FAKE_REM_MEM_REG, region);
	return rc;
}

int fake_guest_truncate(struct fake_guest *guest, uint32_t region, uint64_t size)
{
	return ftruncate(guest->memory.regions[region].fd,
			 (off_t)(FAKE_MEMORY_FILE_OFFSET + size)) != 0
		   ? -errno
		   : 0;
}
