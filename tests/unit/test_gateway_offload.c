/* Offloads through the gateway: 64 KiB frames and partial checksums are translated whole, arrive
 * whole where the receiver takes them, and cut and completed where it does not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/gateway_lab.h"
#include "tests/unit/frame_check.h"

#include <stdlib.h>
#include <string.h>

#define MODERN                                                                                     \
	(FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_MRG_RXBUF) | FAKE_BIT(FAKE_F_EVENT_IDX) |    \
	 FAKE_BIT(FAKE_F_PROTOCOL_FEATURES))
#define SENDS                                                                                      \
	(FAKE_BIT(FAKE_F_CSUM) | FAKE_BIT(FAKE_F_HOST_TSO4) | FAKE_BIT(FAKE_F_HOST_TSO6) |         \
	 FAKE_BIT(FAKE_F_HOST_USO))
#define TAKES                                                                                      \
	(FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_GUEST_TSO4) | FAKE_BIT(FAKE_F_GUEST_TSO6))

#define GSO_SIZE 1400u
#define LARGE	 60000u

#define NAT(uplink) "networks:\n" LAB_NETWORK("nat", ", antispoof: false", uplink) LAB_GUESTS

static const struct datagram tcp4 = { .from = LAB_A4,
				      .to = LAB_FAR4,
				      .protocol = IPPROTO_TCP,
				      .from_port = 4000,
				      .to_port = 80,
				      .flags = 0x10,
				      .payload = LARGE,
				      .partial = true,
				      .gso_type = VNET_GSO_TCPV4,
				      .gso_size = GSO_SIZE };
static const struct datagram tcp6 = { .from = LAB_A6,
				      .to = LAB_FAR6,
				      .protocol = IPPROTO_TCP,
				      .from_port = 4000,
				      .to_port = 80,
				      .flags = 0x10,
				      .payload = LARGE,
				      .partial = true,
				      .gso_type = VNET_GSO_TCPV6,
				      .gso_size = GSO_SIZE };

static struct datagram translated(struct datagram datagram)
{
	datagram = lab_hop(datagram);
	datagram.from = strchr(datagram.from, ':') != NULL ? LAB_OUTER6 : LAB_OUTER4;
	return datagram;
}

static void offload_open(struct lab *lab, const char *yaml, uint64_t router)
{
	struct fake_guest_options sends = { .features = MODERN | SENDS,
					    .buffer_size = 68000,
					    .ring_size = 64 };
	struct fake_guest_options takes = { .features = MODERN | router, .ring_size = 256 };

	memset(lab, 0, sizeof(*lab));
	switch_fixture_open(&lab->fixture, yaml);
	lab->a = lab_guest(lab, "a", LAB_GUEST_A, LAB_A4, LAB_A6, &sends);
	lab->router = lab_router(lab, &takes);
}

/* Opens the session, and makes the neighbours known. */
static void begin(struct lab *lab, const struct datagram *stream)
{
	struct datagram syn = *stream, outside;

	syn.flags = 2;
	syn.payload = 0;
	syn.partial = false;
	syn.gso_type = 0;
	syn.gso_size = 0;
	outside = translated(syn);
	host_send(lab->a, &syn);
	host_expect(lab->router, &outside);
}

/* Segments of it, in order, until all of it is there. */
static void expect_segments(struct lab *lab, const struct datagram *stream, uint32_t size)
{
	uint32_t got = 0;

	while (got < stream->payload) {
		struct arrival *arrival = host_receive(lab->router);
		const uint8_t *tcp = arrival->bytes + arrival->l4;
		uint32_t length = arrival->length - arrival->l4 - 20;

		host_check_sums(lab->router, arrival);
		assert_int_equal(arrival->header.flags, 0);
		assert_int_equal(arrival->header.gso_type, 0);
		assert_int_equal(check_be16(tcp), stream->from_port);
		assert_int_equal(check_be32(tcp + 4), got);
		assert_int_equal(length,
				 stream->payload - got < size ? stream->payload - got : size);
		for (uint32_t i = 0; i < length; i++)
			assert_int_equal(tcp[20 + i],
					 (uint8_t)((got + i) * 7 + ((got + i) >> 8) * 13));
		got += length;
		free(arrival);
	}
}

static void test_whole_to_one_that_takes_it(void **state)
{
	const struct datagram *const streams[] = { &tcp4, &tcp6 };
	struct datagram outside;
	struct lab lab;

	offload_open(&lab, NAT(""), TAKES);
	for (unsigned i = 0; i < 2; i++) {
		begin(&lab, streams[i]);
		host_send(lab.a, streams[i]);
		outside = translated(*streams[i]);
		host_expect(lab.router, &outside);
	}
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

static void test_cut_for_one_that_does_not(void **state)
{
	const struct datagram *const streams[] = { &tcp4, &tcp6 };
	struct lab lab;

	offload_open(&lab, NAT(""), 0);
	for (unsigned i = 0; i < 2; i++) {
		begin(&lab, streams[i]);
		host_send(lab.a, streams[i]);
		expect_segments(&lab, streams[i], GSO_SIZE);
	}
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

/* The way out is narrower than the guest thinks: TCP over IPv4 that may be fragmented is cut in
 * smaller segments, what may not be is refused. */
static void test_smaller_segments(void **state)
{
	struct datagram whole = tcp4, outside;
	struct lab lab;

	offload_open(&lab, NAT(", mtu: 1300"), TAKES);
	begin(&lab, &tcp4);
	host_send(lab.a, &tcp4);
	outside = translated(tcp4);
	outside.gso_size = 1300 - 40;
	host_expect(lab.router, &outside);
	whole.whole = true;
	host_send(lab.a, &whole);
	host_expect_error(lab.a, LAB_GATEWAY4, 3, 4, 1300, &whole);
	lab_close(&lab);
}

static void test_partial_checksums(void **state)
{
	static const uint64_t receivers[] = { 0, TAKES };

	for (unsigned r = 0; r < 2; r++) {
		struct datagram sent = { .from = LAB_A4,
					 .to = LAB_FAR4,
					 .protocol = IPPROTO_UDP,
					 .from_port = 5000,
					 .to_port = 53,
					 .payload = 1001,
					 .partial = true };
		struct datagram outside = translated(sent);
		struct arrival *arrival;
		struct lab lab;

		offload_open(&lab, NAT(""), receivers[r]);
		/* Waiting for its neighbour it is completed. */
		host_send(lab.a, &sent);
		host_expect(lab.router, &outside);
		host_send(lab.a, &sent);
		host_expect(lab.router, &outside);
		host_send(lab.a, &sent);
		arrival = host_receive(lab.router);
		assert_int_equal(arrival->header.flags & 1, r);
		free(arrival);
		lab_close(&lab);
	}
}

/* Datagrams of one USO frame, each translated. */
static void test_datagrams_are_cut(void **state)
{
	struct datagram sent = { .from = LAB_A4,
				 .to = LAB_FAR4,
				 .protocol = IPPROTO_UDP,
				 .from_port = 5000,
				 .to_port = 53,
				 .payload = 3000,
				 .partial = true,
				 .gso_type = VNET_GSO_UDP_L4,
				 .gso_size = 1000 };
	struct datagram first = sent, outside;
	struct lab lab;

	offload_open(&lab, NAT(""), 0);
	first.payload = 1;
	first.gso_type = 0;
	first.gso_size = 0;
	outside = translated(first);
	host_send(lab.a, &first);
	host_expect(lab.router, &outside);
	host_send(lab.a, &sent);
	for (unsigned i = 0; i < 3; i++) {
		struct arrival *arrival = host_receive(lab.router);

		host_check_sums(lab.router, arrival);
		assert_int_equal(arrival->length - arrival->l4, 1008);
		assert_int_equal(check_be16(arrival->bytes + arrival->l4), 5000);
		free(arrival);
	}
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_to_one_that_takes_it),
		cmocka_unit_test(test_cut_for_one_that_does_not),
		cmocka_unit_test(test_smaller_segments),
		cmocka_unit_test(test_partial_checksums),
		cmocka_unit_test(test_datagrams_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
