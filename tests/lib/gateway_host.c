/* Hosts on the legs of a gateway (gateway_host.h). The thread of the test. */
#include "tests/lib/gateway_host.h"

#include "base/clock.h"
#include "tests/unit/frame_check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* After setjmp.h and stdarg.h. */
#include <cmocka.h>

#define WAIT_SECONDS 10u
#define ETHERNET     14u

static void write16(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static void write_mac(uint8_t *to, uint64_t mac)
{
	for (int i = 0; i < 6; i++)
		to[i] = (uint8_t)(mac >> (40 - 8 * i));
}

static int read_ip(const char *text, uint8_t bytes[16])
{
	if (inet_pton(AF_INET, text, bytes) == 1)
		return 4;
	assert_int_equal(inet_pton(AF_INET6, text, bytes), 1);
	return 6;
}

static uint8_t pattern(uint32_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13);
}

struct host *host_create(struct switch_fixture *fixture, const char *name, uint64_t mac,
			 uint64_t gateway_mac, const struct fake_guest_options *options)
{
	struct host *host = calloc(1, sizeof(*host));

	assert_non_null(host);
	host->fixture = fixture;
	host->mac = mac;
	host->gateway_mac = gateway_mac;
	host->last = &host->first;
	host->guest = switch_fixture_guest(fixture, name, options, 256);
	return host;
}

static struct arrival *host_take(struct host *host)
{
	struct arrival *arrival = host->first;

	if (arrival == NULL)
		return NULL;
	host->first = arrival->next;
	if (host->first == NULL)
		host->last = &host->first;
	host->kept--;
	return arrival;
}

void host_destroy(struct host *host)
{
	struct arrival *arrival;

	if (host == NULL)
		return;
	while ((arrival = host_take(host)) != NULL)
		free(arrival);
	fake_guest_destroy(host->guest);
	free(host);
}

static uint32_t write_ip(const struct datagram *datagram, uint32_t length, uint8_t *ip)
{
	uint8_t from[16], to[16];
	int version = read_ip(datagram->from, from);
	uint8_t hops = datagram->hops != 0 ? datagram->hops : 64;

	assert_int_equal(read_ip(datagram->to, to), version);
	if (version == 6) {
		memset(ip, 0, 40);
		ip[0] = 0x60;
		write16(ip + 4, length);
		ip[6] = datagram->protocol;
		ip[7] = hops;
		memcpy(ip + 8, from, 16);
		memcpy(ip + 24, to, 16);
		return 40;
	}
	memset(ip, 0, 20);
	ip[0] = 0x45;
	write16(ip + 2, 20 + length);
	write16(ip + 4, datagram->from_port);
	write16(ip + 6, datagram->whole ? 0x4000 : 0);
	ip[8] = hops;
	ip[9] = datagram->protocol;
	memcpy(ip + 12, from, 4);
	memcpy(ip + 16, to, 4);
	write16(ip + 10, ~check_sum(0, ip, 20));
	return 20;
}

static uint32_t l4_header(const struct datagram *datagram)
{
	return datagram->protocol == IPPROTO_TCP ? 20 : 8;
}

static uint32_t sum_place(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2;
}

static void write_l4(const struct datagram *datagram, uint8_t *l4)
{
	memset(l4, 0, l4_header(datagram));
	if (datagram->protocol == IPPROTO_ICMP || datagram->protocol == IPPROTO_ICMPV6) {
		l4[0] = datagram->type;
		write16(l4 + 4, datagram->from_port);
		write16(l4 + 6, datagram->to_port);
	} else {
		write16(l4, datagram->from_port);
		write16(l4 + 2, datagram->to_port);
	}
	if (datagram->protocol == IPPROTO_UDP)
		write16(l4 + 4, 8 + datagram->payload);
	if (datagram->protocol == IPPROTO_TCP) {
		l4[12] = 0x50;
		l4[13] = datagram->flags;
		write16(l4 + 14, 0x4000);
	}
	for (uint32_t i = 0; i < datagram->payload; i++)
		l4[l4_header(datagram) + i] = pattern(i);
}

uint32_t host_build(const struct host *host, const struct datagram *datagram, uint8_t *frame,
		    struct fake_header *header)
{
	uint32_t length = l4_header(datagram) + datagram->payload, field, l4;
	uint8_t *ip = frame + ETHERNET;
	uint32_t sum = 0;

	write_mac(frame, host->gateway_mac);
	write_mac(frame + 6, host->mac);
	l4 = write_ip(datagram, length, ip);
	write16(frame + 12, l4 == 40 ? 0x86dd : 0x0800);
	assert_true(ETHERNET + l4 + length <= HOST_FRAME_MAX);
	write_l4(datagram, ip + l4);
	field = l4 + sum_place(datagram->protocol);
	memset(header, 0, sizeof(*header));
	if (datagram->protocol != IPPROTO_ICMP)
		sum = check_pseudo(ip, datagram->protocol, length);
	if (datagram->partial) {
		write16(ip + field, sum);
		header->flags = 1;
		header->csum_start = (uint16_t)(ETHERNET + l4);
		header->csum_offset = (uint16_t)(field - l4);
	} else {
		write16(ip + field, ~check_sum(sum, ip + l4, length));
	}
	header->gso_type = datagram->gso_type;
	header->gso_size = datagram->gso_size;
	if (datagram->gso_type != 0)
		header->hdr_len = (uint16_t)(ETHERNET + l4 + l4_header(datagram));
	return ETHERNET + l4 + length;
}

void host_send_frame(struct host *host, const struct fake_header *header, const uint8_t *frame,
		     uint32_t length)
{
	static const struct fake_header none;

	if (header == NULL)
		header = &none;
	assert_return_code(fake_guest_send(host->guest, 0, header, frame, length), 0);
	assert_return_code(fake_guest_wait_sent(host->guest, 0), 0);
}

void host_send(struct host *host, const struct datagram *datagram)
{
	static uint8_t frame[HOST_FRAME_MAX];
	struct fake_header header;
	uint32_t length = host_build(host, datagram, frame, &header);

	host_send_frame(host, &header, frame, length);
}

void host_send_fragments(struct host *host, const struct datagram *datagram, uint32_t first)
{
	static uint8_t frame[HOST_FRAME_MAX], part[HOST_FRAME_MAX];
	struct fake_header header;
	uint32_t length = host_build(host, datagram, frame, &header);
	uint32_t data = length - ETHERNET - 20;

	assert_int_equal(frame[ETHERNET], 0x45);
	assert_true(first % 8 == 0 && first < data);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t at = i == 0 ? first : 0, size = i == 0 ? data - first : first;
		uint8_t *ip = part + ETHERNET;

		memcpy(part, frame, ETHERNET + 20);
		memcpy(ip + 20, frame + ETHERNET + 20 + at, size);
		write16(ip + 2, 20 + size);
		write16(ip + 6, i == 0 ? at / 8 : 0x2000);
		write16(ip + 10, 0);
		write16(ip + 10, ~check_sum(0, ip, 20));
		host_send_frame(host, NULL, part, ETHERNET + 20 + size);
	}
}

void host_send_arp(struct host *host, uint16_t operation, uint64_t sender_mac, const char *sender,
		   const char *target)
{
	uint8_t frame[60] = { [12] = 0x08, 0x06, 0, 1, 0x08, 0, 6, 4 };

	memset(frame, 0xff, 6);
	write_mac(frame + 6, host->mac);
	write16(frame + 20, operation);
	write_mac(frame + 22, sender_mac);
	assert_int_equal(inet_pton(AF_INET, sender, frame + 28), 1);
	assert_int_equal(inet_pton(AF_INET, target, frame + 38), 1);
	host_send_frame(host, NULL, frame, sizeof(frame));
}

void host_solicit(struct host *host, uint64_t mac)
{
	static const uint8_t all_routers[16] = { 0xff, 2, [15] = 2 };
	uint8_t frame[ETHERNET + 40 + 8] = { 0x33, 0x33, 0, 0, 0, 2 };
	uint8_t *ip = frame + ETHERNET, *icmp = ip + 40;

	write_mac(frame + 6, mac);
	write16(frame + 12, 0x86dd);
	ip[0] = 0x60;
	ip[5] = 8;
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 24, all_routers, 16);
	icmp[0] = 133;
	write16(icmp + 2, ~check_sum(check_pseudo(ip, IPPROTO_ICMPV6, 8), icmp, 8));
	host_send_frame(host, NULL, frame, sizeof(frame));
}

static void answer_arp(struct host *host, const uint8_t *frame)
{
	uint8_t ours[16], answer[60] = { 0 };

	if (host->ip4 == NULL || check_be16(frame + 20) != 1)
		return;
	read_ip(host->ip4, ours);
	if (memcmp(frame + 38, ours, 4) != 0)
		return;
	host->asked++;
	if (host->silent)
		return;
	memcpy(answer, frame, 42);
	memcpy(answer, frame + 6, 6);
	write_mac(answer + 6, host->mac);
	write16(answer + 20, 2);
	write_mac(answer + 22, host->mac);
	memcpy(answer + 28, ours, 4);
	memcpy(answer + 32, frame + 22, 10);
	host_send_frame(host, NULL, answer, sizeof(answer));
}

/* RFC 4861, 4.4: solicited, override. */
static void answer_solicitation(struct host *host, const uint8_t *frame)
{
	uint8_t ours[16], answer[ETHERNET + 40 + 32] = { 0 };
	uint8_t *ip = answer + ETHERNET, *icmp = ip + 40;

	if (host->ip6 == NULL)
		return;
	read_ip(host->ip6, ours);
	if (memcmp(frame + ETHERNET + 48, ours, 16) != 0)
		return;
	host->asked++;
	if (host->silent)
		return;
	memcpy(answer, frame + 6, 6);
	write_mac(answer + 6, host->mac);
	memcpy(answer + 12, frame + 12, 2);
	ip[0] = 0x60;
	write16(ip + 4, 32);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 8, ours, 16);
	memcpy(ip + 24, frame + ETHERNET + 8, 16);
	icmp[0] = 136;
	icmp[4] = 0x60;
	memcpy(icmp + 8, ours, 16);
	icmp[24] = 2;
	icmp[25] = 1;
	write_mac(icmp + 26, host->mac);
	write16(icmp + 2, ~check_sum(check_pseudo(ip, IPPROTO_ICMPV6, 32), icmp, 32));
	host_send_frame(host, NULL, answer, sizeof(answer));
}

static void find_headers(struct arrival *arrival)
{
	const uint8_t *ip = arrival->bytes + ETHERNET;
	uint32_t type = check_be16(arrival->bytes + 12);

	arrival->l3 = ETHERNET;
	if (type == 0x0800 && arrival->length >= ETHERNET + 20) {
		arrival->version = 4;
		arrival->protocol = ip[9];
		arrival->l4 = ETHERNET + (ip[0] & 15u) * 4u;
		arrival->fragment = (check_be16(ip + 6) & 0x3fff) != 0;
	} else if (type == 0x86dd && arrival->length >= ETHERNET + 40) {
		arrival->version = 6;
		arrival->protocol = ip[6];
		arrival->l4 = ETHERNET + 40;
		arrival->fragment = ip[6] == IPPROTO_FRAGMENT;
	}
}

/* Neighbours and routers among themselves. */
static bool handle(struct host *host, const struct arrival *arrival)
{
	const uint8_t *frame = arrival->bytes;
	uint8_t type;

	if (check_be16(frame + 12) == 0x0806) {
		answer_arp(host, frame);
		return true;
	}
	if (arrival->version != 6 || arrival->protocol != IPPROTO_ICMPV6)
		return false;
	type = frame[arrival->l4];
	if (type == 135)
		answer_solicitation(host, frame);
	return type >= 133 && type <= 137;
}

void host_poll(struct host *host)
{
	static uint8_t bytes[HOST_FRAME_MAX];
	struct fake_header header;
	int length;

	switch_fixture_pump(host->fixture);
	while ((length = fake_guest_receive(host->guest, 0, &header, bytes, sizeof(bytes))) !=
	       -EAGAIN) {
		struct arrival *arrival;

		assert_return_code(length, 0);
		(void)fake_guest_post(host->guest, 0, header.num_buffers,
				      host->guest->options.buffer_size);
		arrival = calloc(1, sizeof(*arrival) + (size_t)length);
		assert_non_null(arrival);
		arrival->header = header;
		arrival->length = (uint32_t)length;
		memcpy(arrival->bytes, bytes, (size_t)length);
		find_headers(arrival);
		if (handle(host, arrival)) {
			free(arrival);
			continue;
		}
		assert_true(++host->kept <= HOST_KEPT_MAX);
		*host->last = arrival;
		host->last = &arrival->next;
	}
}

struct arrival *host_receive(struct host *host)
{
	uint32_t start = clock_seconds();
	struct arrival *arrival;

	while ((arrival = host_take(host)) == NULL) {
		if (clock_seconds() - start > WAIT_SECONDS)
			fail_msg("a packet never came");
		host_poll(host);
		sched_yield();
	}
	return arrival;
}
