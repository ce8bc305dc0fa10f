/* Reading what a DHCP server gives (dhcp_client_lease.h). Control thread. */
#include "route/dhcp_client_lease.h"

#include <ctype.h>

#define LEASE_MIN 10u  /* seconds; less would be a message every few */
#define MTU_MIN	  576u /* every host takes that much (RFC 791, 3.1) */

/* Classless routes before routers (RFC 3442). */
const uint8_t dhcp_client_parameters[] = { DHCP_OPTION_MASK,   DHCP_OPTION_ROUTES,
					   DHCP_OPTION_ROUTER, DHCP_OPTION_DNS,
					   DHCP_OPTION_DOMAIN, DHCP_OPTION_MTU,
					   DHCP_OPTION_NTP,    DHCP_OPTION_LEASE_TIME,
					   DHCP_OPTION_T1,     DHCP_OPTION_T2 };
const size_t dhcp_client_parameter_count = sizeof(dhcp_client_parameters);

/* The mask as the number of its bits, 0 when it has holes. */
static uint8_t mask_bits(uint32_t mask)
{
	uint32_t holes = ~mask;

	return (holes & (holes + 1)) == 0 ? (uint8_t)__builtin_popcount(mask) : 0;
}

/* Without option 1: the class of the address (RFC 950, 2.1). */
static uint8_t class_bits(uint32_t address)
{
	return address < 0x80000000 ? 8 : address < 0xc0000000 ? 16 : 24;
}

static bool read_address(const struct dhcp_message *message, struct ip_prefix *address)
{
	struct ip ip = message->header.yiaddr;
	uint32_t number = ip_to_v4(&ip), mask, host;
	uint8_t bits = class_bits(number);

	if (!ip_is_host(&ip) || number >> 24 == 0)
		return false;
	if (dhcp_message_u32(message, DHCP_OPTION_MASK, &mask))
		bits = mask_bits(mask);
	if (bits == 0)
		return false;
	*address = (struct ip_prefix){ ip, (uint8_t)(IP_V4_LENGTH + bits) };
	/* Neither the network nor its broadcast, but where there are none (RFC 3021). */
	host = bits < 31 ? UINT32_MAX >> bits : 0;
	return host == 0 || ((number & host) != 0 && (number & host) != host);
}

static uint64_t time_after(uint64_t since, uint32_t seconds)
{
	return seconds == UINT32_MAX ? UINT64_MAX : since + seconds * 1000ull;
}

/* RFC 2131, 4.4.5: T1 and T2 are what the server says when they are in order, else half and seven
 * eighths of the lease. */
static bool read_times(const struct dhcp_message *message, uint64_t since,
		       struct dhcp_client_state *state)
{
	uint32_t lease, t1, t2;

	if (!dhcp_message_u32(message, DHCP_OPTION_LEASE_TIME, &lease) || lease < LEASE_MIN)
		return false;
	if (!dhcp_message_u32(message, DHCP_OPTION_T1, &t1) ||
	    !dhcp_message_u32(message, DHCP_OPTION_T2, &t2) || t1 < LEASE_MIN / 2 || t1 >= t2 ||
	    t2 >= lease) {
		t1 = lease == UINT32_MAX ? lease : lease / 2;
		t2 = lease == UINT32_MAX ? lease : lease - lease / 8;
	}
	state->lease_time = lease;
	state->renew_at = time_after(since, t1);
	state->rebind_at = time_after(since, t2);
	state->expires_at = time_after(since, lease);
	return true;
}

/* The hosts of a list. */
static void read_hosts(const struct dhcp_message *message, uint8_t code, struct ip_list *list)
{
	struct ip_list all;

	if (!dhcp_message_ips(message, code, &all))
		return;
	for (uint8_t i = 0; i < all.count; i++) {
		if (ip_is_host(&all.ips[i]))
			list->ips[list->count++] = all.ips[i];
	}
}

static void read_routes(const struct dhcp_message *message, struct dhcp_client_state *state)
{
	struct dhcp_route routes[DHCP_CLIENT_ROUTES_MAX];
	uint32_t count = dhcp_message_routes(message, routes, DHCP_CLIENT_ROUTES_MAX);

	for (uint32_t i = 0; i < count; i++) {
		if (ip_is_unspecified(&routes[i].via) || ip_is_host(&routes[i].via))
			state->routes[state->route_count++] = routes[i];
	}
	/* RFC 3442: routers do not count beside them. */
	if (state->route_count == 0)
		read_hosts(message, DHCP_OPTION_ROUTER, &state->routers);
}

static void read_domain(const struct dhcp_message *message, struct dhcp_client_state *state)
{
	if (!dhcp_message_text(message, DHCP_OPTION_DOMAIN, state->domain, sizeof(state->domain)))
		return;
	for (const char *p = state->domain; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c >= 0x80 || (!isalnum(c) && c != '-' && c != '.' && c != '_')) {
			state->domain[0] = '\0';
			return;
		}
	}
}

bool dhcp_client_read(const struct dhcp_message *message, uint64_t since,
		      struct dhcp_client_state *state)
{
	*state = (struct dhcp_client_state){ 0 };
	if (!dhcp_message_ip(message, DHCP_OPTION_SERVER_ID, &state->server) ||
	    !ip_is_host(&state->server) || !read_address(message, &state->address) ||
	    !read_times(message, since, state))
		return false;
	read_routes(message, state);
	read_hosts(message, DHCP_OPTION_DNS, &state->dns);
	read_hosts(message, DHCP_OPTION_NTP, &state->ntp);
	read_domain(message, state);
	if (!dhcp_message_u16(message, DHCP_OPTION_MTU, &state->mtu) || state->mtu < MTU_MIN)
		state->mtu = 0;
	return true;
}

static bool same_list(const struct ip_list *a, const struct ip_list *b)
{
	return a->count == b->count && memcmp(a->ips, b->ips, a->count * sizeof(a->ips[0])) == 0;
}

bool dhcp_client_same(const struct dhcp_client_state *a, const struct dhcp_client_state *b)
{
	if (!ip_equal(&a->address.ip, &b->address.ip) || a->address.length != b->address.length ||
	    !same_list(&a->routers, &b->routers) || !same_list(&a->dns, &b->dns) ||
	    !same_list(&a->ntp, &b->ntp) || strcmp(a->domain, b->domain) != 0 || a->mtu != b->mtu ||
	    a->route_count != b->route_count)
		return false;
	for (uint32_t i = 0; i < a->route_count; i++) {
		if (!ip_prefix_equal(&a->routes[i].to, &b->routes[i].to) ||
		    !ip_equal(&a->routes[i].via, &b->routes[i].via))
			return false;
	}
	return true;
}
