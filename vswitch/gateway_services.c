/* The services of a gateway's inner address: DHCP, DHCPv6, router advertisements, DNS
 * (gateway_internal.h). Control thread.
 *
 * They hold nothing that must last but leases, which are in a table of their own, so a change of
 * the configuration ends and begins them anew. */
#include "vswitch/gateway_services.h"
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "base/parse.h"
#include "route/advertise.h"
#include "route/dhcp6_server.h"
#include "route/dhcp_client.h"
#include "route/dhcp_server.h"
#include "route/dns.h"
#include "route/dns_tcp.h"
#include "route/icmp.h"
#include "route/lease.h"
#include "route/neighbour.h"
#include "route/reassembly.h"
#include "route/slaac_client.h"
#include "vswitch/port_gateway.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#define ARP_LENGTH 28u
/* Leases of guests behind one port: containers and nested guests have some, an attack has more. */
#define PORT_LEASES 64u

static uint64_t read_clock(clockid_t clock, uint64_t per_second)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * per_second +
	       (uint64_t)now.tv_nsec / (1000000000u / per_second);
}

uint64_t gateway_now(void)
{
	return read_clock(CLOCK_BOOTTIME, 1000);
}

uint32_t gateway_boottime(void)
{
	return (uint32_t)read_clock(CLOCK_BOOTTIME, 1);
}

uint64_t gateway_wall(void)
{
	return read_clock(CLOCK_REALTIME, 1);
}

static uint64_t random_seed(void)
{
	uint64_t seed;

	return getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed) ? seed : gateway_now();
}

static size_t name_addresses(void *context, const char *host, struct ip *ips, size_t max)
{
	static const int families[] = { AF_INET, AF_INET6 };
	const struct gateway *gateway = context;
	const struct dhcp_config *config = &gateway->served->dhcp;
	size_t count = 0;

	for (size_t f = 0; f < 2 && count < max; f++) {
		const struct lease *lease = lease_find_host(gateway->leases, families[f], host);

		if (lease != NULL && lease->state == LEASE_BOUND)
			ips[count++] = lease->ip;
	}
	/* A reservation has its name before its guest has come. */
	for (uint32_t i = 0; i < config->host_count && count == 0; i++) {
		if (strcasecmp(config->hosts[i].name, host) != 0)
			continue;
		if (config->hosts[i].has_ip4 && count < max)
			ips[count++] = config->hosts[i].ip4;
		if (config->hosts[i].has_ip6 && count < max)
			ips[count++] = config->hosts[i].ip6;
	}
	return count;
}

static bool name_of_address(void *context, const struct ip *ip, char host[DHCP_NAME_MAX + 1])
{
	const struct gateway *gateway = context;
	const struct dhcp_config *config = &gateway->served->dhcp;
	const struct lease *lease = lease_find_ip(gateway->leases, ip);

	if (lease != NULL && lease->state == LEASE_BOUND && lease->host[0] != '\0') {
		memcpy(host, lease->host, sizeof(lease->host));
		return true;
	}
	for (uint32_t i = 0; i < config->host_count; i++) {
		const struct dhcp_host *entry = &config->hosts[i];

		if (!(entry->has_ip4 && ip_equal(&entry->ip4, ip)) &&
		    !(entry->has_ip6 && ip_equal(&entry->ip6, ip)))
			continue;
		memcpy(host, entry->name, sizeof(entry->name));
		return true;
	}
	return false;
}

/* An ARP probe (RFC 5227, 2.1.1): who has it answers, and neighbours learn nothing. */
static void probe(void *context, const struct ip *ip)
{
	struct gateway *gateway = context;
	struct gateway_leg *leg = &gateway->legs[GATEWAY_INNER];
	uint8_t frame[PACKET_ETHERNET_LENGTH + ARP_LENGTH] = { [12] = 0x08, 0x06, 0, 1, 0x08,
							       0,	    6,	  4, 0, 1 };

	memset(frame, 0xff, MAC_LENGTH);
	memcpy(frame + 6, leg->route.mac.bytes, MAC_LENGTH);
	memcpy(frame + 22, leg->route.mac.bytes, MAC_LENGTH);
	memcpy(frame + 38, ip_v4_bytes(ip), 4);
	route_send(&leg->route.output, frame, sizeof(frame));
}

static void start_dhcp(struct gateway *gateway)
{
	const struct gateway_config *config = gateway->served;
	struct gateway_leg *leg = &gateway->legs[GATEWAY_INNER];

	if (gateway->dhcp == NULL && config->dhcp.enabled && gateway_config_has_ipv4(config)) {
		struct dhcp_probe probing = { probe, gateway };
		struct dhcp_leg facts = { .network = gateway->network,
					  .mac = leg->route.mac,
					  .mtu = config->mtu,
					  .serves_dns = config->dns.enabled };

		for (unsigned i = 0; i < config->address_count; i++) {
			if (ip_is_v4(&config->addresses[i].ip))
				facts.prefixes[facts.prefix_count++] = config->addresses[i];
		}
		memcpy(facts.domain, config->dns.domain, sizeof(facts.domain));
		gateway->dhcp = dhcp_server_create(&config->dhcp, &facts, gateway->leases,
						   &leg->route.output, &probing);
	}
	if (gateway->dhcp6 == NULL && config->dhcp6.mode != DHCP6_OFF &&
	    gateway_config_has_ipv6(config)) {
		struct dhcp6_settings settings = {
			.config = &config->dhcp6,
			.host_count = config->dhcp.host_count,
			.hosts = config->dhcp.hosts,
			.mac = leg->route.mac,
			.prefix_count = config->address_count,
			.prefixes = config->addresses,
			.serves_dns = config->dns.enabled,
			.domain = config->dns.domain,
			.port_limit = PORT_LEASES,
		};

		gateway->dhcp6 =
		    dhcp6_server_create(&settings, gateway->leases, &leg->route.output);
	}
}

static void start_advertise(struct gateway *gateway)
{
	const struct gateway_config *config = gateway->served;
	struct gateway_leg *leg = &gateway->legs[GATEWAY_INNER];
	struct advertise_settings settings = {
		.config = &config->advertise,
		.dhcp6 = config->dhcp6.mode,
		.mac = leg->route.mac,
		.mtu = config->mtu,
		.prefix_count = config->address_count,
		.prefixes = config->addresses,
		.serves_dns = config->dns.enabled,
		.seed = random_seed(),
	};

	if (gateway->advertise == NULL && config->advertise.enabled &&
	    gateway_config_has_ipv6(config))
		gateway->advertise = advertise_create(&settings, &leg->route.output, gateway_now());
}

static void start_dns(struct gateway *gateway)
{
	const struct gateway_config *config = gateway->served;
	struct gateway_leg *leg = &gateway->legs[GATEWAY_INNER];
	struct dns_names names = { name_addresses, name_of_address, gateway };
	struct dns_options options = { .networks = config->addresses,
				       .network_count = config->address_count };
	struct dns_tcp_options tcp = { .mtu = config->mtu,
				       .directory = gateway->vswitch->state_directory };
	int result;

	if (gateway->dns != NULL || !config->dns.enabled)
		return;
	gateway->dns = dns_server_create(&config->dns, gateway->vswitch->loop, &names, &options);
	if (gateway->dns == NULL) {
		log_error("network %s: out of memory, no DNS", gateway->network);
		return;
	}
	result = dns_tcp_create(gateway->dns, gateway->vswitch->loop, &leg->route.output, &tcp,
				&gateway->dns_tcp);
	if (result != 0)
		log_warning("network %s: DNS answers by UDP only: %s", gateway->network,
			    strerror(-result));
}

/* What runs already by this configuration, because only the uplink was exchanged, runs on. */
void gateway_services_start(struct gateway *gateway)
{
	if (gateway->legs[GATEWAY_INNER].port == NULL)
		return;
	/* They read it as long as they live. */
	gateway->served = gateway_config_ref(gateway->config);
	start_dhcp(gateway);
	start_advertise(gateway);
	start_dns(gateway);
}

void gateway_services_stop(struct gateway *gateway)
{
	advertise_destroy(gateway->advertise);
	gateway->advertise = NULL;
	dhcp_server_destroy(gateway->dhcp);
	gateway->dhcp = NULL;
	dhcp6_server_destroy(gateway->dhcp6);
	gateway->dhcp6 = NULL;
	dns_tcp_destroy(gateway->dns_tcp);
	gateway->dns_tcp = NULL;
	dns_server_destroy(gateway->dns);
	gateway->dns = NULL;
	gateway_config_unref(gateway->served);
	gateway->served = NULL;
}

void gateway_services_farewell(struct gateway *gateway)
{
	struct gateway_leg *leg = &gateway->legs[GATEWAY_INNER];

	if (gateway->advertise != NULL && leg->port != NULL) {
		advertise_end(gateway->advertise);
		port_gateway_flush(leg->port);
	}
	gateway_services_stop(gateway);
}

/* Calls tick(engine, now) when it is due, and notes when it is next. */
#define TICK(name, engine)                                                                         \
	do {                                                                                       \
		if ((engine) == NULL)                                                              \
			break;                                                                     \
		if (name##_deadline(engine) <= now)                                                \
			name##_tick(engine, now);                                                  \
		if (name##_deadline(engine) < next)                                                \
			next = name##_deadline(engine);                                            \
	} while (0)

uint64_t gateway_services_tick(struct gateway *gateway, uint64_t now)
{
	uint64_t next = UINT64_MAX, wall = gateway_wall(), expiry;

	TICK(neighbour, gateway->neighbours);
	TICK(reassembly, gateway->reassembly);
	if (gateway->dhcp != NULL) {
		if (dhcp_server_deadline(gateway->dhcp) <= now)
			dhcp_server_tick(gateway->dhcp, now, wall);
		if (dhcp_server_deadline(gateway->dhcp) < next)
			next = dhcp_server_deadline(gateway->dhcp);
	}
	TICK(advertise, gateway->advertise);
	TICK(dhcp_client, gateway->dhcp_client);
	TICK(slaac_client, gateway->slaac_client);
	lease_expire(gateway->leases, wall);
	expiry = lease_next_expiry(gateway->leases);
	if (expiry != UINT64_MAX && expiry > wall && expiry - wall < (UINT64_MAX - now) / 1000 &&
	    now + (expiry - wall) * 1000 < next)
		next = now + (expiry - wall) * 1000;
	return next;
}

/* A question by UDP on its way to an answer. */
struct dns_request {
	struct gateway *gateway;
	struct packet_header back;
};

static void dns_answer(void *context, const uint8_t *message, size_t length)
{
	struct dns_request *request = context;
	struct gateway_leg *leg = &request->gateway->legs[GATEWAY_INNER];
	uint8_t frame[PACKET_ETHERNET_LENGTH + PARSE_IPV6_LENGTH + PARSE_UDP_LENGTH + DNS_UDP_SIZE];
	size_t size = 0;

	if (message != NULL && leg->port != NULL)
		size = packet_write_udp(&request->back, message, length, frame, sizeof(frame));
	if (size > 0)
		route_send(&leg->route.output, frame, size);
	gateway_finish_later(request->gateway);
	free(request);
}

void gateway_dns_input(struct gateway *gateway, const struct packet *packet)
{
	struct dns_request *request = calloc(1, sizeof(*request));
	struct dns_client client = {
		.transport = DNS_UDP, .ip = packet->source, .answer = dns_answer, .context = request
	};

	if (request == NULL)
		return;
	request->gateway = gateway;
	request->back = (struct packet_header){
		.from = packet->to,
		.to = packet->from,
		.source = packet->destination,
		.destination = packet->source,
		.source_port = packet->destination_port,
		.destination_port = packet->source_port,
	};
	dns_server_query(gateway->dns, packet->data, packet->data_length, &client);
}
