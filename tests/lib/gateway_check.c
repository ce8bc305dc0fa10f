/* What has arrived at a host is what should have (gateway_host.h). The thread of the test. */
#include "base/clock.h"
#include "tests/lib/gateway_host.h"
#include "tests/unit/frame_check.h"

#include <arpa/inet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* After setjmp.h and stdarg.h. */
#include <cmocka.h>

#define WAIT_SECONDS 10u
#define BARRIER	     0xbaaau /* identifier of the echoes of barriers */
#define ETHERNET     14u

static uint64_t read_mac(const uint8_t *from)
{
	return (uint64_t)check_be16(from) << 32 | check_be32(from + 2);
}

static void check_address(int version, const uint8_t *bytes, const char *text)
{
	char found[INET6_ADDRSTRLEN];

	inet_ntop(version == 4 ? AF_INET : AF_INET6, bytes, found, sizeof(found));
	assert_string_equal(found, text);
}

void host_check_sums(const struct host *host, const struct arrival *arrival)
{
	const uint8_t *ip = arrival->bytes + arrival->l3, *l4 = arrival->bytes + arrival->l4;
	uint32_t length = arrival->length - arrival->l4;

	assert_int_equal(read_mac(arrival->bytes), host->mac);
	assert_int_equal(read_mac(arrival->bytes + 6), host->gateway_mac);
	assert_int_not_equal(arrival->version, 0);
	if (arrival->version == 4) {
		assert_int_equal(check_be16(ip + 2), arrival->length - arrival->l3);
		assert_true(check_ipv4_sum(ip));
	} else {
		assert_int_equal(check_be16(ip + 4), arrival->length - arrival->l3 - 40);
	}
	if (arrival->fragment)
		return;
	if (arrival->protocol == IPPROTO_ICMP) {
		assert_int_equal(check_sum(0, l4, length), 0xffff);
	} else if (arrival->header.flags & 1) {
		uint32_t field = arrival->protocol == IPPROTO_TCP ? 16 : 6;

		assert_int_equal(arrival->header.csum_start, arrival->l4);
		assert_int_equal(arrival->header.csum_offset, field);
		assert_int_equal(check_be16(l4 + field),
				 check_pseudo(ip, arrival->protocol, length));
	} else {
		assert_true(check_l4_sum(ip, arrival->protocol, l4, length));
	}
}

/* Addresses and ports of the packet at `ip`. */
static void check_ends(int version, const uint8_t *ip, const uint8_t *l4,
		       const struct datagram *datagram)
{
	bool icmp = datagram->protocol == IPPROTO_ICMP || datagram->protocol == IPPROTO_ICMPV6;

	assert_int_equal(ip[0] >> 4, version);
	check_address(version, ip + (version == 4 ? 12 : 8), datagram->from);
	check_address(version, ip + (version == 4 ? 16 : 24), datagram->to);
	assert_int_equal(ip[version == 4 ? 9 : 6], datagram->protocol);
	if (icmp)
		assert_int_equal(l4[0], datagram->type);
	assert_int_equal(check_be16(l4 + (icmp ? 4 : 0)), datagram->from_port);
	assert_int_equal(check_be16(l4 + (icmp ? 6 : 2)), datagram->to_port);
}

void host_expect(struct host *host, const struct datagram *datagram)
{
	struct arrival *arrival = host_receive(host);
	const uint8_t *ip = arrival->bytes + arrival->l3, *l4 = arrival->bytes + arrival->l4;
	uint32_t header = datagram->protocol == IPPROTO_TCP ? 20 : 8;

	host_check_sums(host, arrival);
	check_ends(arrival->version, ip, l4, datagram);
	if (datagram->hops != 0)
		assert_int_equal(ip[arrival->version == 4 ? 8 : 7], datagram->hops);
	assert_int_equal(arrival->length - arrival->l4, header + datagram->payload);
	for (uint32_t i = 0; i < datagram->payload; i++)
		assert_int_equal(l4[header + i], (uint8_t)(i * 7 + (i >> 8) * 13));
	assert_int_equal(arrival->header.gso_type, datagram->gso_type);
	assert_int_equal(arrival->header.gso_size, datagram->gso_size);
	free(arrival);
}

void host_expect_error(struct host *host, const char *from, uint8_t type, uint8_t code,
		       uint32_t value, const struct datagram *about)
{
	struct arrival *arrival = host_receive(host);
	const uint8_t *ip = arrival->bytes + arrival->l3, *l4 = arrival->bytes + arrival->l4;
	uint32_t inner = arrival->version == 4 ? 20 : 40;

	host_check_sums(host, arrival);
	check_address(arrival->version, ip + (arrival->version == 4 ? 12 : 8), from);
	assert_int_equal(arrival->protocol, arrival->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	assert_int_equal(l4[0], type);
	assert_int_equal(l4[1], code);
	if (value != 0)
		assert_int_equal(check_be32(l4 + 4), value);
	assert_true(arrival->length >= arrival->l4 + 8 + inner + 8);
	check_ends(arrival->version, l4 + 8, l4 + 8 + inner, about);
	free(arrival);
}

static bool is_barrier(const struct arrival *arrival, uint16_t number)
{
	const uint8_t *l4 = arrival->bytes + arrival->l4;

	return arrival->version == 4 && arrival->protocol == IPPROTO_ICMP && l4[0] == 0 &&
	       check_be16(l4 + 4) == BARRIER && check_be16(l4 + 6) == number;
}

/* Takes the answer out of what was kept; true when it was there. */
static bool passed(struct host *host, uint16_t number)
{
	for (struct arrival **at = &host->first; *at != NULL; at = &(*at)->next) {
		struct arrival *arrival = *at;

		if (!is_barrier(arrival, number))
			continue;
		*at = arrival->next;
		if (host->last == &arrival->next)
			host->last = at;
		host->kept--;
		free(arrival);
		return true;
	}
	return false;
}

void host_barrier(struct host *host)
{
	struct datagram ping = {
		.from = host->ip4,
		.to = host->gateway4,
		.protocol = IPPROTO_ICMP,
		.type = 8,
		.from_port = BARRIER,
		.to_port = ++host->barriers,
	};
	uint32_t start = clock_seconds();

	host_send(host, &ping);
	while (!passed(host, host->barriers)) {
		if (clock_seconds() - start > WAIT_SECONDS)
			fail_msg("the gateway does not answer");
		host_poll(host);
		sched_yield();
	}
}

void host_expect_nothing(struct host *host)
{
	host_barrier(host);
	if (host->first != NULL)
		fail_msg("a packet of %u bytes, type %04x, protocol %u came", host->first->length,
			 check_be16(host->first->bytes + 12), host->first->protocol);
}
