/* The guard before libslirp (user_filter.h). Runs in the thread of user_stack.c. */
#include "vswitch/user_filter.h"

#include "base/parse.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#define ETHERNET_LENGTH 14u
#define ICMP_ECHO	8u
#define ICMP6_ECHO	128u
#define TCP_FLAGS	13u
#define TCP_SYN		0x02u
#define TCP_ACK		0x10u

/* By the first bytes of layer 4. A fragment that has none of them opens nothing by itself. */
static enum user_verdict verdict_of_l4(uint8_t protocol, const uint8_t *l4, uint32_t length,
				       struct user_end *end)
{
	if (protocol == IPPROTO_UDP) {
		end->port = length >= 2 ? read_be16(l4) : 0;
		return USER_OPENS;
	}
	if (protocol == IPPROTO_ICMP && length > 0 && l4[0] == ICMP_ECHO)
		return USER_OPENS;
	if (protocol == IPPROTO_TCP && length > TCP_FLAGS &&
	    (l4[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return USER_OPENS;
	return USER_PASS;
}

static enum user_verdict filter_v4(const uint8_t *packet, uint32_t length, struct user_end *end)
{
	uint32_t header = (packet[0] & 15u) * 4u;

	if (length < PARSE_IPV4_LENGTH || packet[0] >> 4 != 4 || header < PARSE_IPV4_LENGTH ||
	    header > length)
		return USER_DROP;
	if (packet[16] == 0 || packet[16] == 127)
		return USER_DROP;
	end->ip = ip_from_v4_bytes(packet + 12);
	return verdict_of_l4(packet[9], packet + header, length - header, end);
}

/* One of libslirp's own two hosts, by either of its addresses. */
static bool is_stack(const struct port_user_addresses *addresses, const uint8_t ip[16])
{
	static const uint8_t link_local[8] = { 0xfe, 0x80 };
	const uint8_t *gateway = addresses->gateway6.bytes, *dns = addresses->dns6.bytes;

	if (memcmp(ip, gateway, 8) != 0 && memcmp(ip, link_local, 8) != 0)
		return false;
	return memcmp(ip + 8, gateway + 8, 8) == 0 || memcmp(ip + 8, dns + 8, 8) == 0;
}

static enum user_verdict filter_v6(const struct port_user_addresses *addresses,
				   const uint8_t *packet, uint32_t length, struct user_end *end)
{
	static const uint8_t zeros[8];
	const uint8_t *destination = packet + 24;

	if (length < PARSE_IPV6_LENGTH || packet[0] >> 4 != 6)
		return USER_DROP;
	if (memcmp(destination, zeros, sizeof(zeros)) == 0)
		return USER_DROP;
	if (packet[6] == IPPROTO_ICMPV6)
		return length == PARSE_IPV6_LENGTH || (packet[PARSE_IPV6_LENGTH] == ICMP6_ECHO &&
						       !is_stack(addresses, destination))
			   ? USER_DROP
			   : USER_PASS;
	end->ip = ip_from_v6_bytes(packet + 8);
	return verdict_of_l4(packet[6], packet + PARSE_IPV6_LENGTH, length - PARSE_IPV6_LENGTH,
			     end);
}

enum user_verdict user_filter(const struct port_user_addresses *addresses, const uint8_t *frame,
			      uint32_t length, struct user_end *end)
{
	end->port = 0;
	if (length <= ETHERNET_LENGTH || length > FRAME_LENGTH_MAX)
		return USER_DROP;
	switch (read_be16(frame + 12)) {
	case ETHERTYPE_ARP:
		return USER_PASS;
	case ETHERTYPE_IPV4:
		return filter_v4(frame + ETHERNET_LENGTH, length - ETHERNET_LENGTH, end);
	case ETHERTYPE_IPV6:
		return filter_v6(addresses, frame + ETHERNET_LENGTH, length - ETHERNET_LENGTH, end);
	default:
		return USER_DROP;
	}
}
