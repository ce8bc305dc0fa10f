/* What a DHCP server's OFFER or ACK gives to a client, checked (RFC 2131, 2132, 3442). Part of
 * dhcp_client.c; pure functions, control thread. */
#ifndef WEFT_ROUTE_DHCP_CLIENT_LEASE_H
#define WEFT_ROUTE_DHCP_CLIENT_LEASE_H

#include "route/dhcp_client.h"
#include "route/dhcp_message.h"

/* The options that dhcp_client_read() takes, for option 55 of what we send. */
extern const uint8_t dhcp_client_parameters[];
extern const size_t dhcp_client_parameter_count;

/* Fills *state with what the message gives, times counted from `since` (ms). False when the
 * address, its mask or the lease time is missing or impossible, or the server does not say who it
 * is; other options that make no sense are left out. */
bool dhcp_client_read(const struct dhcp_message *message, uint64_t since,
		      struct dhcp_client_state *state);

/* Whether two states differ in nothing but times. */
bool dhcp_client_same(const struct dhcp_client_state *a, const struct dhcp_client_state *b);

#endif
