/* The connections of guests that DNS over TCP knows. Called by dns_tcp.c, on the control thread. */
#include "route/dns_flow.h"

#define PRIVATE_PORT_LEAST 1024u

struct dns_flow *dns_flow_find(const struct dns_flows *flows, const struct packet *packet,
			       const struct dns_segment *segment)
{
	for (struct dns_flow *flow = flows->rows; flow < flows->rows + flows->count; flow++) {
		if (flow->state != DNS_FLOW_FREE && flow->port == segment->from_port &&
		    ip_equal(&flow->header.destination, &packet->source) &&
		    ip_equal(&flow->header.source, &packet->destination))
			return flow;
	}
	return NULL;
}

struct dns_flow *dns_flow_find_private(const struct dns_flows *flows, uint16_t port)
{
	for (struct dns_flow *flow = flows->rows; flow < flows->rows + flows->count; flow++) {
		if (flow->state != DNS_FLOW_FREE && flow->private_port == port)
			return flow;
	}
	return NULL;
}

struct dns_flow *dns_flow_oldest(const struct dns_flows *flows, enum dns_flow_state state)
{
	struct dns_flow *oldest = NULL;

	for (struct dns_flow *flow = flows->rows; flow < flows->rows + flows->count; flow++) {
		if (flow->state == state && (oldest == NULL || flow->ends < oldest->ends))
			oldest = flow;
	}
	return oldest;
}

uint32_t dns_flow_count(const struct dns_flows *flows, const struct ip *client)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < flows->count; i++) {
		const struct dns_flow *flow = &flows->rows[i];

		if (flow->state == DNS_FLOW_HANDSHAKE || flow->state == DNS_FLOW_OPEN)
			count += client == NULL || ip_equal(&flow->header.destination, client);
	}
	return count;
}

uint16_t dns_flow_take_port(struct dns_flows *flows)
{
	do {
		if (flows->last_port < PRIVATE_PORT_LEAST || flows->last_port == UINT16_MAX)
			flows->last_port = PRIVATE_PORT_LEAST;
		else
			flows->last_port++;
	} while (dns_flow_find_private(flows, flows->last_port) != NULL);
	return flows->last_port;
}
