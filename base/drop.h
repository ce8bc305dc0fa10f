/* The one table of drop reasons: every frame that is not sent or handed over ends in one of these
 * counters (design decision 8). Names, help texts, JSON keys and metrics all come from here.
 *
 * DROP(symbol, name, direction, error, text)
 *   direction  RECEIVE: counted at the port the frame came from; TRANSMIT: at the port it was meant
 * for error      1 when the peer broke a rule (counts as "errors" too), 0 when it is policy or
 * pressure */
#ifndef WEFT_BASE_DROP_H
#define WEFT_BASE_DROP_H

#include <stdbool.h>

#define DROP_TABLE(DROP)                                                                           \
	/* virtqueues, from the guest */                                                           \
	DROP(CHAIN_LOOP, "chain_loop", RECEIVE, 1, "descriptor chain longer than its table")       \
	DROP(CHAIN_INDEX, "chain_index", RECEIVE, 1, "descriptor index outside the table")         \
	DROP(CHAIN_ADDRESS, "chain_address", RECEIVE, 1, "buffer outside the guest's memory")      \
	DROP(CHAIN_WRITABLE, "chain_writable", RECEIVE, 1,                                         \
	     "device-writable descriptor where the guest sends")                                   \
	DROP(CHAIN_INDIRECT, "chain_indirect", RECEIVE, 1,                                         \
	     "indirect table nested, misaligned, of wrong size or not negotiated")                 \
	DROP(CHAIN_HEADER, "chain_header", RECEIVE, 1, "chain shorter than the virtio-net header") \
	DROP(FRAME_SHORT, "frame_short", RECEIVE, 1, "frame shorter than an Ethernet header")      \
	DROP(FRAME_LONG, "frame_long", RECEIVE, 1, "frame longer than 65,553 bytes")               \
	DROP(OFFLOAD_NOT_NEGOTIATED, "offload_not_negotiated", RECEIVE, 1,                         \
	     "offload asked for that was not negotiated")                                          \
	DROP(CSUM_RANGE, "csum_range", RECEIVE, 1, "checksum start or offset outside the headers") \
	DROP(GSO_TYPE, "gso_type", RECEIVE, 1, "unknown GSO type, or one that fits not the frame") \
	DROP(GSO_SIZE, "gso_size", RECEIVE, 1, "GSO size 0, or so small that segments explode")    \
	/* bridge, on the way in */                                                                \
	DROP(NO_NETWORK, "no_network", RECEIVE, 0, "port is in no network")                        \
	DROP(SOURCE_MULTICAST, "source_multicast", RECEIVE, 1,                                     \
	     "source address is multicast, broadcast or zero")                                     \
	DROP(VLAN_NOT_ALLOWED, "vlan_not_allowed", RECEIVE, 0, "VLAN not allowed on this port")    \
	DROP(VLAN_UNTAGGED, "vlan_untagged", RECEIVE, 0,                                           \
	     "untagged frame on a trunk without native")                                           \
	DROP(LINK_LOCAL, "link_local", RECEIVE, 0,                                                 \
	     "link-local control frame (802.1D, 01:80:c2:00:00:0x)")                               \
	DROP(HAIRPIN, "hairpin", RECEIVE, 0, "destination is behind the port it came from")        \
	DROP(ISOLATED, "isolated", RECEIVE, 0, "both ports are isolated")                          \
	DROP(NO_DESTINATION, "no_destination", RECEIVE, 0, "no other port to send to")             \
	DROP(VLAN_EGRESS, "vlan_egress", RECEIVE, 0, "destination's port is not in the VLAN")      \
	/* guard and gateway, on the way in */                                                     \
	DROP(SPOOFED_MAC, "spoofed_mac", RECEIVE, 1,                                               \
	     "source MAC is not the guest's, or is the gateway's")                                 \
	DROP(SPOOFED_ADDRESS, "spoofed_address", RECEIVE, 1,                                       \
	     "source address is not one this port has by lease or reservation")                    \
	DROP(                                                                                      \
	    SPOOFED_SERVER, "spoofed_server", RECEIVE, 1,                                          \
	    "guest poses as gateway: DHCP answer, router advertisement, ARP or ND of its address") \
	DROP(NOT_FORWARDED, "not_forwarded", RECEIVE, 0,                                           \
	     "from outside, neither an answer nor a declared forward")                             \
	DROP(NOT_FOR_GATEWAY, "not_for_gateway", RECEIVE, 0,                                       \
	     "reached the gateway, which has no use for it")                                       \
	/* gateway, on the way in */                                                               \
	DROP(IP_HEADER, "ip_header", RECEIVE, 1, "IP header truncated, or its lengths lie")        \
	DROP(IP_CHECKSUM, "ip_checksum", RECEIVE, 1, "IPv4 header checksum wrong")                 \
	DROP(IP_OPTIONS, "ip_options", RECEIVE, 1, "IP options broken, or source routing")         \
	DROP(IP_MARTIAN, "ip_martian", RECEIVE, 1,                                                 \
	     "source or destination that no packet between hosts has")                             \
	DROP(IP_LINK_LOCAL, "ip_link_local", RECEIVE, 0,                                           \
	     "link-local source or destination, never forwarded")                                  \
	DROP(IP_TTL, "ip_ttl", RECEIVE, 0, "time to live or hop limit used up")                    \
	DROP(IP_NO_ROUTE, "ip_no_route", RECEIVE, 0, "no route to the destination")                \
	DROP(IP_PROHIBITED, "ip_prohibited", RECEIVE, 0, "route to the destination says no")       \
	DROP(IP_TOO_BIG, "ip_too_big", RECEIVE, 0,                                                 \
	     "larger than the next link's MTU, and must not be fragmented")                        \
	DROP(NEIGHBOUR_UNRESOLVED, "neighbour_unresolved", RECEIVE, 0,                             \
	     "next hop does not answer ARP or neighbour discovery")                                \
	/* translator */                                                                           \
	DROP(NAT_FRAGMENT, "nat_fragment", RECEIVE, 0, "fragment that nobody put together")        \
	DROP(NAT_MALFORMED, "nat_malformed", RECEIVE, 1,                                           \
	     "truncated, source-routed or otherwise not to be translated")                         \
	DROP(NAT_NO_ADDRESS, "nat_no_address", RECEIVE, 0, "uplink has no address of this family") \
	DROP(NAT_SESSION_LIMIT, "nat_session_limit", RECEIVE, 0, "table of sessions is full")      \
	DROP(NAT_GUEST_LIMIT, "nat_guest_limit", RECEIVE, 0,                                       \
	     "guest has as many sessions as it may")                                               \
	DROP(NAT_NO_PORT, "nat_no_port", RECEIVE, 0,                                               \
	     "no outside port is left, or the guest's share of them is used up")                   \
	DROP(NAT_FILTERED, "nat_filtered", RECEIVE, 0, "from outside, and nobody inside asked")    \
	DROP(NAT_TCP_STATE, "nat_tcp_state", RECEIVE, 0,                                           \
	     "TCP segment of no connection that opens none")                                       \
	DROP(NAT_CONFLICT, "nat_conflict", RECEIVE, 0,                                             \
	     "two sessions would look the same to the guest")                                      \
	DROP(NAT_ICMP, "nat_icmp", RECEIVE, 0, "ICMP message of no session")                       \
	DROP(NAT_EMBEDDED, "nat_embedded", RECEIVE, 1,                                             \
	     "ICMP error whose embedded packet is cut off or lies")                                \
	/* on the way out */                                                                       \
	DROP(GATEWAY_SHARE, "gateway_share", TRANSMIT, 0,                                          \
	     "port used up its share of what the gateway looks at")                                \
	DROP(UPLINK_SHARE, "uplink_share", TRANSMIT, 0,                                            \
	     "port used up its share of the queue to the host's sockets")                          \
	DROP(PORT_DOWN, "port_down", TRANSMIT, 0, "port has no peer, or its queue is stopped")     \
	DROP(NO_BUFFERS, "no_buffers", TRANSMIT, 0, "receiver had no free buffers")                \
	DROP(BUFFER_ADDRESS, "buffer_address", TRANSMIT, 1,                                        \
	     "receive buffer outside the guest's memory")                                          \
	DROP(BUFFER_READONLY, "buffer_readonly", TRANSMIT, 1,                                      \
	     "receive buffer not device-writable")                                                 \
	DROP(BUFFER_CHAIN, "buffer_chain", TRANSMIT, 1,                                            \
	     "receive chain loops, or its indices are wild")                                       \
	DROP(BUFFER_SMALL, "buffer_small", TRANSMIT, 0, "frame larger than the receive buffer")    \
	DROP(FRAME_TOO_LONG_FOR_PORT, "frame_too_long_for_port", TRANSMIT, 0,                      \
	     "frame larger than the port can take, and not a GSO frame")                           \
	DROP(SEGMENT_FAILED, "segment_failed", TRANSMIT, 0,                                        \
	     "GSO frame or checksum could not be completed for this receiver")                     \
	DROP(WRITE_FAILED, "write_failed", TRANSMIT, 1, "the device or file refused the frame")

enum drop_reason {
#define DROP(symbol, name, direction, error, text) DROP_##symbol,
	DROP_TABLE(DROP)
#undef DROP
	    DROP_COUNT
};

enum drop_direction { DROP_RECEIVE, DROP_TRANSMIT };

struct drop_info {
	const char *name;
	const char *text;
	enum drop_direction direction;
	bool error;
};

/* Indexed by enum drop_reason; immutable. */
extern const struct drop_info drop_table[DROP_COUNT];

#endif
