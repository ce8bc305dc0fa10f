/* Questions about a leg's addresses (leg.h): control thread, for every engine of a gateway. */
#include "route/leg.h"

/* IPv4 prefixes longer than this have no broadcast address (RFC 3021). */
#define BROADCAST_LENGTH_MAX (IP_V4_LENGTH + 30)

static bool is_broadcast_of(const struct ip_prefix *prefix, const struct ip *ip)
{
	struct ip_prefix network = ip_prefix_network(prefix);
	struct ip last = ip_prefix_last(prefix);

	if (!ip_is_v4(&prefix->ip) || prefix->length > BROADCAST_LENGTH_MAX)
		return false;
	return ip_equal(ip, &last) || ip_equal(ip, &network.ip);
}

bool route_leg_owns(const struct route_leg *leg, const struct ip *ip)
{
	struct ip link_local = ip_link_local_of(leg->mac.bytes);

	for (unsigned i = 0; i < leg->address_count; i++) {
		if (ip_equal(&leg->addresses[i].ip, ip))
			return true;
	}
	return ip_equal(&link_local, ip);
}

bool route_leg_answers(const struct route_leg *leg, const struct ip *ip)
{
	return route_leg_owns(leg, ip) ||
	       (leg->proxy.has != NULL && leg->proxy.has(leg->proxy.context, ip));
}

bool route_leg_is_broadcast(const struct route_leg *leg, const struct ip *ip)
{
	if (!ip_is_v4(ip))
		return false;
	if (ip_to_v4(ip) == 0xffffffff)
		return true;
	for (unsigned i = 0; i < leg->address_count; i++) {
		if (is_broadcast_of(&leg->addresses[i], ip))
			return true;
	}
	return false;
}

bool route_leg_reaches(const struct route_leg *leg, const struct ip *ip)
{
	if (!ip_is_host(ip))
		return false;
	if (!ip_is_v4(ip) && ip_is_link_local(ip))
		return true;
	for (unsigned i = 0; i < leg->address_count; i++) {
		const struct ip_prefix *prefix = &leg->addresses[i];

		if (ip_is_v4(&prefix->ip) == ip_is_v4(ip) && ip_prefix_contains(prefix, ip))
			return !is_broadcast_of(prefix, ip);
	}
	return false;
}

bool route_leg_source(const struct route_leg *leg, const struct ip *ip, struct ip *source)
{
	bool v4 = ip_is_v4(ip), found = false;

	if (!v4 && ip_is_link_local(ip)) {
		*source = ip_link_local_of(leg->mac.bytes);
		return true;
	}
	for (unsigned i = 0; i < leg->address_count; i++) {
		const struct ip_prefix *prefix = &leg->addresses[i];

		if (ip_is_v4(&prefix->ip) != v4)
			continue;
		if (!found || ip_prefix_contains(prefix, ip))
			*source = prefix->ip;
		found = true;
		if (ip_prefix_contains(prefix, ip))
			return true;
	}
	if (!found && !v4) {
		*source = ip_link_local_of(leg->mac.bytes);
		found = true;
	}
	return found;
}
