/* The interface port's driver xdp on one end of a veth pair: with the program in the driver, and
 * with it in the stack, where it goes when the other end's MTU is too large for the driver. */
#include "tests/unit/interface_rig.h"

#include "vswitch/interface_driver.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <xdp/xsk.h>

/* Whether weft0 takes tags off. */
static void set_flags(uint32_t value)
{
	struct ethtool_value flags = { .cmd = ETHTOOL_SFLAGS, .data = value };
	struct ifreq request = { .ifr_name = "weft0", .ifr_data = (void *)&flags };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(ioctl(fd, SIOCETHTOOL, &request), 0);
	close(fd);
}

static int set_up_native(void **state)
{
	int rc = set_up(state);
	struct fixture *f = *state;

	f->port.config.options.interface.driver = INTERFACE_DRIVER_XDP;
	set_flags(0);
	return rc;
}

static int set_up_generic(void **state)
{
	int rc = set_up_native(state);

	link_set("peer0", 1, 9000);
	return rc;
}

static bool is_native(struct fixture *f)
{
	json_t *object = json_object();
	bool native;

	port_interface.show(&f->port, object);
	native = strcmp(json_string_value(json_object_get(object, "xdp_mode")), "native") == 0;
	json_decref(object);
	return native;
}

static void shows(struct fixture *f, const char *mode)
{
	json_t *object = json_object();

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(port_interface.offloads(&f->port.send_queues[0]), 0);
	port_interface.show(&f->port, object);
	assert_string_equal(json_string_value(json_object_get(object, "driver")), "xdp");
	assert_string_equal(json_string_value(json_object_get(object, "xdp_mode")), mode);
	assert_true(json_is_false(json_object_get(object, "zero_copy")));
	assert_int_equal(json_integer_value(json_object_get(object, "kernel_drops")), 0);
	json_decref(object);
	fixture_close(f);
}

static void test_is_native(void **state)
{
	shows(*state, "native");
}

static void test_is_generic(void **state)
{
	shows(*state, "generic");
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct netlink_link link;
	void *other[1];
	unsigned files;

	assert_int_equal(netlink_get_link("weft0", &link, &f->error), 0);
	assert_int_equal(driver_xdp.open(&link, other, 1, &f->error), 0);
	files = f->files;
	f->files = count_files();
	fixture_refused(f, EBUSY, "another XDP program");
	f->files = files;
	driver_xdp.close(other, 1);
	/* Another one, whose queue nobody had. */
	link_delete("weft0");
	veth_add("weft0", "peer0");
	set_flags(0);
	f->port.config.options.interface.queues = 2;
	fixture_refused(f, EINVAL,
			"interface 'weft0': AF_XDP socket: the interface has no queue 1");
	f->port.config.options.interface.queues = 1;
	set_flags(ETH_FLAG_RXVLAN);
	fixture_refused(f, EINVAL, "`ethtool -K weft0 rxvlan off` ends that");
	set_flags(0);
	link_set("weft0", 1, 9000);
	fixture_refused(f, EMSGSIZE, "its MTU of 9000 is more than XDP takes here (3822)");
	link_set("weft0", 1, 3000);
	assert_int_equal(fixture_open(f), 0);
	fixture_close(f);
}

static void test_receives(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 191, 192, 193, 1000, 1514 };
	static const struct vnet_header none;
	struct fixture *f = *state;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		peer_send(peer, &none, bytes, lengths[i]);
		assert_frame(receive_frame(f, 0), bytes, lengths[i]);
	}
	/* More than there are chunks, so that each is used again. */
	for (unsigned i = 0; i < 5000;) {
		for (unsigned j = 0; j < 50; j++)
			peer_send(peer, &none, bytes, 60 + (i + j) % 1000);
		for (unsigned j = 0; j < 50;) {
			receive_frame(f, 0);
			for (uint32_t k = 0; k < f->burst->count; k++) {
				if (is_ours(f, k))
					assert_frame(&f->burst->frames[k], bytes,
						     60 + (i + j++) % 1000);
			}
		}
		i += 50;
	}
	burst_reset(f->burst);
	f->burst->limit = 2;
	for (unsigned i = 0; i < 3; i++)
		peer_send(peer, &none, bytes, 60);
	while (port_interface.arm(&f->port.receive_queues[0]))
		wait_for(f->port.receive_queues[0].wake_fd);
	port_interface.receive(&f->port.receive_queues[0], f->burst, &f->counters);
	assert_true(f->burst->count <= 2);
	close(peer);
	fixture_close(f);
}

static void test_sends(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 192, 193, 1514 };
	struct fixture *f = *state;
	static struct frame_segment segments[2000];
	static uint8_t copy[FRAME_LENGTH_MAX];
	struct vnet_header header;
	struct frame big = make_frame(1515, segments);
	uint16_t tci;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct frame frame = make_frame(lengths[i], segments);

		assert_int_equal(fixture_send(f, &frame), 1);
		assert_int_equal(peer_receive(peer, &header, copy, &tci), lengths[i]);
		assert_memory_equal(copy, bytes, lengths[i]);
	}
	/* More than there are chunks, so that each is used again. */
	for (unsigned i = 0; i < 5000; i += 50) {
		struct frame made[50], *frames[50];

		for (unsigned j = 0; j < 50; j++) {
			made[j] = make_frame(60 + j, segments);
			made[j].segment_count = 0;
			frames[j] = &made[j];
		}
		assert_int_equal(
		    port_interface.send(&f->port.send_queues[0], frames, 50, &f->counters), 50);
		for (unsigned j = 0; j < 50; j++)
			assert_int_equal(peer_receive(peer, &header, copy, &tci), 60 + j);
	}
	assert_int_equal(fixture_send(f, &big), 0);
	assert_int_equal(fixture_drops(f, DROP_FRAME_TOO_LONG_FOR_PORT), 1);
	assert_int_equal(atomic_load(&f->counters.transmit_packets), 5005);
	close(peer);
	fixture_close(f);
}

/* The peer's stack has no checksum in it, and XDP does not say so. */
static void test_half_checksums(void **state)
{
	struct fixture *f = *state;
	struct vnet_header header = make_tcp();
	struct frame *received;
	int peer;

	/* 986 bytes of IP, and the pseudo-header's sum for it */
	write_be16(bytes + 16, 1000 - 14);
	{
		struct frame frame = { .head = bytes, .head_length = 192, .length = 1000 };
		uint16_t sum;

		memset(bytes + 24, 0, 2);
		sum = checksum_finish(checksum_add(0, bytes + 14, 20));
		memcpy(bytes + 24, &sum, 2);
		parse_frame(&frame);
		sum = (uint16_t)~checksum_finish(
		    checksum_pseudo_header(&frame, IPPROTO_TCP, 1000 - 34));
		memcpy(bytes + 50, &sum, 2);
	}
	header.gso_type = 0;
	header.gso_size = 0;
	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("peer0", ETHERTYPE_IPV4);
	peer_send(peer, &header, bytes, 1000);
	received = receive_frame(f, 0);
	assert_int_equal(received->length, 1000);
	assert_true(received->flags & FRAME_NEEDS_CSUM);
	assert_int_equal(received->csum_start, 34);
	assert_int_equal(received->csum_offset, 16);
	/* A whole one is left alone. */
	bytes[50] ^= 1;
	memset(&header, 0, sizeof(header));
	peer_send(peer, &header, bytes, 1000);
	received = receive_frame(f, 0);
	assert_int_equal(received->flags, 0);
	close(peer);
	fixture_close(f);
}

/* What the peer's stack would have a device cut comes cut, or whole by way of the kernel. */
static void test_coalesced(void **state)
{
	struct fixture *f = *state;
	struct vnet_header header = make_tcp();
	uint32_t left = TCP_LENGTH - 54;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("peer0", ETHERTYPE_IPV4);
	peer_send(peer, &header, bytes, TCP_LENGTH);
	while (left > 0) {
		receive_frame(f, 0);
		for (uint32_t i = 0; i < f->burst->count; i++) {
			const struct frame *frame = &f->burst->frames[i];

			if (!is_ours(f, i))
				continue;
			if (is_native(f))
				assert_int_equal(frame->length, left < 1448 ? left + 54 : 1502);
			else
				assert_int_equal(frame->gso, FRAME_GSO_TCP4);
			left -= frame->length - 54;
		}
	}
	close(peer);
	fixture_close(f);
}

static void link_set_mac(const char *name, const uint8_t *mac)
{
	struct nl_sock *socket = namespace_socket();
	struct rtnl_link *change = rtnl_link_alloc(), *link;
	struct nl_addr *address = nl_addr_build(AF_LLC, mac, 6);

	assert_int_equal(rtnl_link_get_kernel(socket, 0, name, &link), 0);
	rtnl_link_set_addr(change, address);
	assert_int_equal(rtnl_link_change(socket, link, change, 0), 0);
	nl_addr_put(address);
	rtnl_link_put(change);
	rtnl_link_put(link);
	nl_socket_free(socket);
}

/* Runs the loop until the port has heard of that MAC. */
static void run_until_mac(struct fixture *f, struct mac mac)
{
	char text[MAC_TEXT_LENGTH];

	for (;;) {
		json_t *object = json_object();
		bool same;

		port_interface.show(&f->port, object);
		same = strcmp(json_string_value(json_object_get(object, "interface_mac")),
			      mac_to_text(mac, text)) == 0;
		json_decref(object);
		if (same)
			return;
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	}
}

static void assert_host_has(int host, const uint8_t *frame)
{
	uint8_t copy[10 + 100];

	wait_for(host);
	assert_int_equal(recv(host, copy, sizeof(copy), 0), sizeof(copy));
	assert_memory_equal(copy + 10, frame, 12);
}

/* What is for its MAC is the host's, also when that changes; what is for all is everybody's. */
static void test_the_hosts_own(void **state)
{
	static const struct vnet_header none;
	struct fixture *f = *state;
	struct netlink_link link;
	uint8_t frame[100];
	int peer, host;

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(netlink_get_link("weft0", &link, &f->error), 0);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	host = open_peer("weft0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < 2; i++) {
		memcpy(frame, bytes, sizeof(frame));
		memcpy(frame, link.mac.bytes, 6);
		peer_send(peer, &none, frame, sizeof(frame)); /* for the host */
		peer_send(peer, &none, bytes, 61);	      /* for a guest */
		assert_frame(receive_frame(f, 0), bytes, 61);
		assert_host_has(host, frame);
		/* Another one from here. */
		memcpy(link.mac.bytes, "\x52\x54\0\xaa\xbb\xcc", 6);
		link_set_mac("weft0", link.mac.bytes);
		run_until_mac(f, link.mac);
	}
	memset(bytes, 0xff, 6);
	peer_send(peer, &none, bytes, sizeof(frame));
	assert_frame(receive_frame(f, 0), bytes, sizeof(frame));
	assert_host_has(host, bytes);
	close(host);
	close(peer);
	fixture_close(f);
}

static void test_tags(void **state)
{
	static const uint8_t tag[] = { 0x81, 0, 0x60, 7 };
	static const struct vnet_header none;
	static uint8_t copy[FRAME_LENGTH_MAX];
	static struct frame_segment segments[2000];
	struct fixture *f = *state;
	struct vnet_header header;
	struct frame frame;
	uint32_t length;
	uint16_t tci;
	int peer;

	memcpy(bytes + 12, tag, 4);
	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("peer0", ETH_P_ALL);
	/* The longest there is. */
	peer_send(peer, &none, bytes, 1518);
	assert_frame(receive_frame(f, 0), bytes, 1518);
	frame = make_frame(1518, segments);
	assert_int_equal(fixture_send(f, &frame), 1);
	do
		length = peer_receive(peer, &header, copy, &tci);
	while (memcmp(copy, bytes, 12) != 0);
	assert_int_equal(length, 1514);
	assert_int_equal(tci, 0x6007);
	close(peer);
	fixture_close(f);
}

static void test_follows_the_interface(void **state)
{
	static const struct vnet_header none;
	struct fixture *f = *state;
	struct frame frame = make_frame(60, NULL);
	int peer;

	assert_int_equal(fixture_open(f), 0);
	link_set("weft0", 1, 3000);
	link_set("peer0", 1, 3000);
	while (port_interface_mtu(&f->port) != 3000)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	peer_send(peer, &none, bytes, 3014);
	assert_frame(receive_frame(f, 0), bytes, 3014);
	close(peer);
	link_delete("weft0");
	while (!f->port.fault || strcmp(f->port.fault, "interface gone") != 0)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	assert_false(atomic_load(&f->port.send_queues[0].running));
	/* Another one, which is not yet as it has to be. */
	veth_add("weft0", "peer0");
	while (!strstr(f->port.fault, "rxvlan off"))
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	set_flags(0);
	run_until_link(f, true);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	peer_send(peer, &none, bytes, 80);
	assert_frame(receive_frame(f, 0), bytes, 80);
	assert_int_equal(fixture_send(f, &frame), 1);
	close(peer);
	fixture_close(f);
}

/* An AF_XDP socket of somebody else, who has no program on the interface. */
struct stranger {
	uint8_t *memory;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_ring_prod fill, transmit;
	struct xsk_ring_cons received, completed;
};

#define STRANGER_BYTES ((size_t)16 * 4096)

static void stranger_open(struct stranger *s)
{
	const struct xsk_umem_config umem = { .fill_size = 16,
					      .comp_size = 16,
					      .frame_size = 4096 };
	const struct xsk_socket_config socket = {
		.rx_size = 16, .tx_size = 16, .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD
	};

	s->memory =
	    mmap(NULL, STRANGER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(s->memory != MAP_FAILED);
	assert_int_equal(
	    xsk_umem__create(&s->umem, s->memory, STRANGER_BYTES, &s->fill, &s->completed, &umem),
	    0);
	assert_int_equal(xsk_socket__create(&s->socket, "weft0", 0, s->umem, &s->received,
					    &s->transmit, &socket),
			 0);
}

static void stranger_close(struct stranger *s)
{
	xsk_socket__delete(s->socket);
	xsk_umem__delete(s->umem);
	munmap(s->memory, STRANGER_BYTES);
}

static bool shows_mode(struct fixture *f)
{
	json_t *object = json_object();
	bool shown;

	port_interface.show(&f->port, object);
	shown = json_object_get(object, "xdp_mode") != NULL;
	json_decref(object);
	return shown;
}

/* While the queue is another's the port is down, control goes on, and it opens when it can. */
static void test_waits_for_its_queue(void **state)
{
	static const struct vnet_header none;
	struct fixture *f = *state;
	unsigned files = f->files;
	struct stranger s;
	int peer;

	stranger_open(&s);
	f->files = count_files();
	assert_int_equal(fixture_open(f), 0);
	assert_false(atomic_load(&f->port.link));
	assert_non_null(
	    strstr(f->port.fault, "interface 'weft0': AF_XDP socket: queue 0 is another's"));
	assert_false(atomic_load(&f->port.receive_queues[0].running));
	assert_false(shows_mode(f));
	fixture_close(f);

	assert_int_equal(fixture_open(f), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	assert_false(atomic_load(&f->port.link));
	stranger_close(&s);
	run_until_link(f, true);
	f->files = files;
	assert_null(f->port.fault);
	assert_true(shows_mode(f));
	peer = open_peer("peer0", ETHERTYPE_TEST);
	peer_send(peer, &none, bytes, 80);
	assert_frame(receive_frame(f, 0), bytes, 80);
	close(peer);
	fixture_close(f);
}

/* An interface that goes while it is waited for, and another that comes. */
static void test_waits_no_longer(void **state)
{
	struct fixture *f = *state;
	unsigned files = f->files;
	struct stranger s;

	stranger_open(&s);
	assert_int_equal(fixture_open(f), 0);
	link_delete("weft0");
	while (strcmp(f->port.fault, "interface gone") != 0)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	veth_add("weft0", "peer0");
	set_flags(0);
	run_until_link(f, true);
	stranger_close(&s);
	f->files = files;
	fixture_close(f);
}

/* 0, or -errno when this kernel will not have it, or not of us. */
static int try_xdp(void)
{
	struct netlink_link link;
	struct error error;
	void *queues[1];
	int rc;

	veth_add("weft0", "peer0");
	set_flags(0);
	assert_int_equal(netlink_get_link("weft0", &link, &error), 0);
	rc = driver_xdp.open(&link, queues, 1, &error);
	if (rc == 0)
		driver_xdp.close(queues, 1);
	else
		printf("skipped: %s\n", error.text);
	link_delete("weft0");
	return rc;
}

#define NATIVE(name)                                                                               \
	{                                                                                          \
#name " (native)", name, set_up_native, tear_down, NULL                            \
	}
#define GENERIC(name)                                                                              \
	{                                                                                          \
#name " (generic)", name, set_up_generic, tear_down, NULL                          \
	}
#define BOTH(name) NATIVE(name), GENERIC(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NATIVE(test_is_native),
		GENERIC(test_is_generic),
		NATIVE(test_refused),
		BOTH(test_receives),
		BOTH(test_sends),
		BOTH(test_half_checksums),
		BOTH(test_coalesced),
		BOTH(test_the_hosts_own),
		BOTH(test_tags),
		NATIVE(test_follows_the_interface),
		NATIVE(test_waits_for_its_queue),
		NATIVE(test_waits_no_longer),
	};
	int rc = namespace_enter();

	if (rc != 0) {
		printf("skipped: no network namespace (%s)\n", strerror(-rc));
		return 77; /* meson: skipped */
	}
	rc = try_xdp();
	if (rc == -EPERM || rc == -EACCES || rc == -EAFNOSUPPORT || rc == -ENOBUFS)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
