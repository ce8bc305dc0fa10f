/* Hosts on the legs of a gateway, for cmocka tests: a fake guest each, with a MAC and addresses,
 * that answers ARP and neighbour solicitations and keeps everything else for the test to look at.
 * Packets are written and checked byte by byte, with nothing of the project's own.
 *
 * Nothing here waits for time to pass. host_barrier() is how a test knows that what has not come
 * will not come: an echo through workers and control, behind all that was sent before it. */
#ifndef WEFT_TESTS_LIB_GATEWAY_HOST_H
#define WEFT_TESTS_LIB_GATEWAY_HOST_H

#include "tests/lib/switch_fixture.h"

#include <netinet/in.h>

#define HOST_FRAME_MAX 66000u
#define HOST_KEPT_MAX  256u

struct arrival {
	struct arrival *next;
	struct fake_header header;
	uint32_t length;
	/* Of an IP packet: version 4 or 6, else 0. Offsets into bytes. */
	int version;
	uint8_t protocol;
	uint32_t l3, l4;
	bool fragment;
	uint8_t bytes[];
};

struct host {
	struct switch_fixture *fixture;
	struct fake_guest *guest;
	uint64_t mac;
	uint64_t gateway_mac;  /* where its packets go */
	const char *ip4, *ip6; /* those that it answers for; NULL: none */
	const char *gateway4;  /* what host_barrier() asks */
	bool silent;	       /* answers nobody */
	uint32_t asked;	       /* requests and solicitations for its addresses */
	uint32_t kept;
	struct arrival *first, **last;
	uint16_t barriers;
};

/* A packet of UDP, TCP, or an ICMP echo. ICMP has its identifier and sequence number in the place
 * of ports. */
struct datagram {
	const char *from, *to;
	uint8_t protocol; /* IPPROTO_UDP, TCP, ICMP or ICMPV6 */
	uint16_t from_port, to_port;
	uint8_t type;	  /* of ICMP */
	uint8_t hops;	  /* 0: 64 */
	uint8_t flags;	  /* of TCP */
	bool whole;	  /* IPv4: don't fragment */
	uint32_t payload; /* bytes of a pattern */
	/* virtio-net: with a GSO type, or with the checksum left to whoever comes. */
	bool partial;
	uint8_t gso_type;
	uint16_t gso_size;
};

/* Connects to the port @/NAME; options NULL: a modern driver without offloads. */
struct host *host_create(struct switch_fixture *fixture, const char *name, uint64_t mac,
			 uint64_t gateway_mac, const struct fake_guest_options *options);
/* Takes NULL. */
void host_destroy(struct host *host);

/* The frame of a datagram; its length. */
uint32_t host_build(const struct host *host, const struct datagram *datagram, uint8_t *frame,
		    struct fake_header *header);
/* Sends it and waits until workers are done with it. */
void host_send(struct host *host, const struct datagram *datagram);
void host_send_frame(struct host *host, const struct fake_header *header, const uint8_t *frame,
		     uint32_t length);
/* An IPv4 packet in two fragments, the first with `first` bytes behind its header (a multiple of
 * 8); the later one is sent first. */
void host_send_fragments(struct host *host, const struct datagram *datagram, uint32_t first);
/* An ARP message (1: request, 2: reply) to everybody, that says what it is told to. */
void host_send_arp(struct host *host, uint16_t operation, uint64_t sender_mac, const char *sender,
		   const char *target);

/* A router solicitation from nowhere (RFC 4861, 4.1), from this MAC: what a guest says first. */
void host_solicit(struct host *host, uint64_t mac);

/* The next packet that is not ARP, neighbour discovery or a router's; the caller frees it. */
struct arrival *host_receive(struct host *host);
/* MACs, lengths and checksums of a packet are right; a partial one's, where its header says so. */
void host_check_sums(const struct host *host, const struct arrival *arrival);
/* That packet is this one: addressed to us by the gateway, its checksums right, the pattern whole.
 * `hops` is compared when it is not 0. */
void host_expect(struct host *host, const struct datagram *datagram);
/* It is an ICMP error from `from` about a packet with these addresses and ports. `value` is that of
 * its second word (the MTU); compared when it is not 0. */
void host_expect_error(struct host *host, const char *from, uint8_t type, uint8_t code,
		       uint32_t value, const struct datagram *about);
/* Nothing but what is to be ignored has come, once a barrier has been passed. */
void host_expect_nothing(struct host *host);

/* Everything that was sent before it has been handled, and what came of it for this host has
 * arrived. */
void host_barrier(struct host *host);

/* Runs control and takes what has come; for waits of the caller's own. */
void host_poll(struct host *host);

#endif
