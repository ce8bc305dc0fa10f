/* Configurations that tests of the gateway share: addresses and MACs of a network with a gateway,
 * its guests and the router that is its uplink. '@' is the fixture's directory. */
#ifndef WEFT_TESTS_LIB_GATEWAY_LAB_H
#define WEFT_TESTS_LIB_GATEWAY_LAB_H

#include "tests/lib/gateway_host.h"

#define LAB_GUEST_A  UINT64_C(0x5200000000a1)
#define LAB_GUEST_B  UINT64_C(0x5200000000b1)
#define LAB_ROUTER   UINT64_C(0x520000000fff)
#define LAB_INSIDE   UINT64_C(0x020000000101)
#define LAB_OUTSIDE  UINT64_C(0x020000000102)
#define LAB_GATEWAY4 "10.1.0.1"
#define LAB_GATEWAY6 "fd00:1::1"
#define LAB_A4	     "10.1.0.10"
#define LAB_A6	     "fd00:1::10"
#define LAB_B4	     "10.1.0.11"
#define LAB_B6	     "fd00:1::11"
#define LAB_OUTER4   "192.0.2.2"
#define LAB_OUTER6   "fd00:f::2"
#define LAB_ROUTER4  "192.0.2.1"
#define LAB_ROUTER6  "fd00:f::1"
#define LAB_FAR4     "198.51.100.7" /* somewhere behind the router */
#define LAB_FAR6     "2001:db8::7"

/* Nothing that speaks by itself. */
#define LAB_QUIET "dhcp: false, dhcp6: false, ra: false, dns: false"

/* A network "lab" of a mode that has an uplink: further keys of the network, and of the uplink,
 * each behind a comma. */
#define LAB_NETWORK(mode, keys, uplink)                                                            \
	"  lab: { mode: " mode ", ipv4: " LAB_GATEWAY4 "/24, ipv6: " LAB_GATEWAY6                  \
	"/64, mac: \"02:00:00:00:01:01\", " LAB_QUIET keys                                         \
	", uplink: { vhost-user: @/up, address: [" LAB_OUTER4 "/24, " LAB_OUTER6                   \
	"/64], gateway: [" LAB_ROUTER4 ", " LAB_ROUTER6 "], mac: \"02:00:00:00:01:02\"" uplink     \
	" } }\n"

#define LAB_GUESTS                                                                                 \
	"ports:\n"                                                                                 \
	"  a: { network: lab, vhost-user: @/a }\n"                                                 \
	"  b: { network: lab, vhost-user: @/b }\n"

/* Guests a and b, and the router; each may be NULL. */
struct lab {
	struct switch_fixture fixture;
	struct host *a, *b, *router;
};

static inline struct host *lab_guest(struct lab *lab, const char *name, uint64_t mac,
				     const char *ip4, const char *ip6,
				     const struct fake_guest_options *options)
{
	struct host *host = host_create(&lab->fixture, name, mac, LAB_INSIDE, options);

	host->ip4 = ip4;
	host->ip6 = ip6;
	host->gateway4 = LAB_GATEWAY4;
	return host;
}

static inline struct host *lab_router(struct lab *lab, const struct fake_guest_options *options)
{
	struct host *host = host_create(&lab->fixture, "up", LAB_ROUTER, LAB_OUTSIDE, options);

	host->ip4 = LAB_ROUTER4;
	host->ip6 = LAB_ROUTER6;
	host->gateway4 = LAB_OUTER4;
	return host;
}

static inline void lab_open(struct lab *lab, const char *yaml)
{
	switch_fixture_open(&lab->fixture, yaml);
	lab->a = lab_guest(lab, "a", LAB_GUEST_A, LAB_A4, LAB_A6, NULL);
	lab->b = lab_guest(lab, "b", LAB_GUEST_B, LAB_B4, LAB_B6, NULL);
	lab->router = lab_router(lab, NULL);
}

static inline void lab_close(struct lab *lab)
{
	host_destroy(lab->a);
	host_destroy(lab->b);
	host_destroy(lab->router);
	switch_fixture_close(&lab->fixture);
}

/* All begin anew, for ports that were closed and opened. */
static inline void lab_reconnect(struct lab *lab)
{
	host_destroy(lab->a);
	host_destroy(lab->b);
	host_destroy(lab->router);
	lab->a = lab_guest(lab, "a", LAB_GUEST_A, LAB_A4, LAB_A6, NULL);
	lab->b = lab_guest(lab, "b", LAB_GUEST_B, LAB_B4, LAB_B6, NULL);
	lab->router = lab_router(lab, NULL);
	host_barrier(lab->router);
}

/* What it becomes on its way: one hop less. */
static inline struct datagram lab_hop(struct datagram datagram)
{
	datagram.hops = (uint8_t)((datagram.hops != 0 ? datagram.hops : 64) - 1);
	return datagram;
}

static inline struct datagram lab_back(struct datagram datagram)
{
	struct datagram back = datagram;

	back.from = datagram.to;
	back.to = datagram.from;
	back.from_port = datagram.to_port;
	back.to_port = datagram.from_port;
	back.hops = 0;
	return back;
}

#endif
