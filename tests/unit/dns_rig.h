/* A DNS server under test: with a clock of the test's own, leases of a table, and resolvers on
 * loopback that answer what a test tells them to. */
#ifndef WEFT_TESTS_DNS_RIG_H
#define WEFT_TESTS_DNS_RIG_H

#include "route/dns.h"
#include "route/dns_name.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_RESOLVERS 2
#define RIG_RECORDS   8

enum rig_mode { RIG_ANSWER, RIG_SILENT, RIG_WRONG_ID, RIG_WRONG_NAME, RIG_GARBAGE };

/* What a resolver says to any question, records as text; "@" is the name asked for. */
struct rig_script {
	enum rig_mode mode;
	int rcode;
	bool truncated; /* over UDP */
	bool no_edns;	/* FORMERR to EDNS */
	const char *answer[RIG_RECORDS], *authority[RIG_RECORDS], *additional[RIG_RECORDS];
	uint32_t many; /* that many addresses more */
};

struct rig_resolver {
	int udp, tcp;
	struct event *udp_event, *tcp_event;
	struct rig_script script;
	uint32_t asked_udp, asked_tcp; /* questions that came */
	bool saw_edns, saw_dnssec_ok;
	char last_name[DNS_NAME_MAX * 4];
};

struct rig {
	struct event_base *base;
	uint64_t now;
	struct dns_config config;
	struct dns_host hosts[8];
	struct ip_prefix networks[2];
	struct dns_options options;
	struct dns_server *server;
	uint16_t port;
	struct rig_resolver resolvers[RIG_RESOLVERS];
};

/* One client's query. */
struct rig_query {
	struct dns_query *handle;
	int calls;
	ldns_pkt *packet; /* NULL: nothing was to be sent */
	size_t length;
};

static inline uint64_t rig_clock(void *context)
{
	return ((struct rig *)context)->now;
}

static inline struct ip rig_ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static const struct {
	const char *host, *ip;
} rig_leases[] = {
	{ "web", "10.9.0.20" },	 { "web", "fd00:9::20" },    { "mail", "10.9.0.21" },
	{ "wpad", "10.9.0.22" }, { "gateway", "10.9.0.23" },
};

static inline size_t rig_addresses(void *context, const char *host, struct ip *ips, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < sizeof(rig_leases) / sizeof(rig_leases[0]) && count < max; i++) {
		if (strcmp(rig_leases[i].host, host) == 0)
			ips[count++] = rig_ip(rig_leases[i].ip);
	}
	return count;
}

static inline bool rig_name(void *context, const struct ip *ip, char host[DHCP_NAME_MAX + 1])
{
	for (size_t i = 0; i < sizeof(rig_leases) / sizeof(rig_leases[0]); i++) {
		struct ip lease = rig_ip(rig_leases[i].ip);

		if (ip_equal(&lease, ip)) {
			snprintf(host, DHCP_NAME_MAX + 1, "%s", rig_leases[i].host);
			return true;
		}
	}
	return false;
}

static inline void rig_push(ldns_pkt *packet, ldns_pkt_section section, const char *const *records,
			    const char *name)
{
	for (int i = 0; i < RIG_RECORDS && records[i] != NULL; i++) {
		char text[1024];
		ldns_rr *rr;

		if (records[i][0] == '@')
			snprintf(text, sizeof(text), "%s%s", name, records[i] + 1);
		else
			snprintf(text, sizeof(text), "%s", records[i]);
		assert_int_equal(ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL), LDNS_STATUS_OK);
		ldns_pkt_push_rr(packet, section, rr);
	}
}

/* The answer to a question by the script; NULL: none. */
static inline uint8_t *rig_respond(struct rig_resolver *resolver, const uint8_t *message,
				   size_t got, enum dns_transport transport, size_t *length)
{
	const struct rig_script *script = &resolver->script;
	ldns_pkt *query, *packet = ldns_pkt_new();
	uint8_t *wire = NULL;
	ldns_rr *question;
	char *name;

	assert_int_equal(ldns_wire2pkt(&query, message, got), LDNS_STATUS_OK);
	resolver->saw_edns = ldns_pkt_edns(query);
	resolver->saw_dnssec_ok = ldns_pkt_edns_do(query);
	question = ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(query), 0));
	name = ldns_rdf2str(ldns_rr_owner(question));
	snprintf(resolver->last_name, sizeof(resolver->last_name), "%s", name);
	ldns_pkt_set_id(packet, ldns_pkt_id(query));
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_set_ra(packet, true);
	ldns_pkt_set_rcode(packet, (uint8_t)script->rcode);
	if (script->mode == RIG_WRONG_ID)
		ldns_pkt_set_id(packet, (uint16_t)(ldns_pkt_id(query) + 1));
	if (script->mode == RIG_WRONG_NAME) {
		ldns_rdf_deep_free(ldns_rr_owner(question));
		ldns_rr_set_owner(question, ldns_dname_new_frm_str("other.example"));
	}
	ldns_pkt_push_rr(packet, LDNS_SECTION_QUESTION, question);
	if (script->no_edns && resolver->saw_edns) {
		ldns_pkt_set_rcode(packet, LDNS_RCODE_FORMERR);
	} else if (script->truncated && transport == DNS_UDP) {
		ldns_pkt_set_tc(packet, true);
	} else {
		rig_push(packet, LDNS_SECTION_ANSWER, script->answer, name);
		rig_push(packet, LDNS_SECTION_AUTHORITY, script->authority, name);
		rig_push(packet, LDNS_SECTION_ADDITIONAL, script->additional, name);
		for (uint32_t i = 0; i < script->many; i++) {
			char text[64];
			const char *record[RIG_RECORDS] = { text };

			snprintf(text, sizeof(text), "@ 60 IN A 192.0.2.%u", i % 250 + 1);
			rig_push(packet, LDNS_SECTION_ANSWER, record, name);
		}
	}
	assert_int_equal(ldns_pkt2wire(&wire, packet, length), LDNS_STATUS_OK);
	if (script->mode == RIG_GARBAGE && *length > 14)
		wire[12] = 0xc0, wire[13] = 0xff;
	if (script->mode == RIG_SILENT) {
		free(wire);
		wire = NULL;
	}
	free(name);
	ldns_pkt_free(query);
	ldns_pkt_free(packet);
	return wire;
}

static inline void rig_udp_ready(evutil_socket_t fd, short what, void *context)
{
	struct rig_resolver *resolver = context;
	struct sockaddr_in from;
	socklen_t from_length = sizeof(from);
	uint8_t message[65536];
	ssize_t got = recvfrom(fd, message, sizeof(message), 0, (void *)&from, &from_length);
	size_t length = 0;
	uint8_t *wire;

	if (got < 0)
		return;
	resolver->asked_udp++;
	wire = rig_respond(resolver, message, (size_t)got, DNS_UDP, &length);
	if (wire != NULL)
		assert_int_equal(sendto(fd, wire, length, 0, (void *)&from, from_length), length);
	free(wire);
}

/* The question comes in one piece, and the answer fits what the sockets hold. */
static inline void rig_tcp_asked(evutil_socket_t connection, short what, void *context)
{
	struct rig_resolver *resolver = context;
	uint8_t message[65536], prefix[2];
	size_t length = 0;
	uint8_t *wire;

	assert_int_equal(recv(connection, prefix, 2, MSG_WAITALL), 2);
	length = (size_t)(prefix[0] << 8 | prefix[1]);
	assert_int_equal(recv(connection, message, length, MSG_WAITALL), length);
	resolver->asked_tcp++;
	wire = rig_respond(resolver, message, length, DNS_TCP, &length);
	if (wire != NULL) {
		prefix[0] = (uint8_t)(length >> 8);
		prefix[1] = (uint8_t)length;
		assert_int_equal(send(connection, prefix, 2, MSG_NOSIGNAL), 2);
		assert_int_equal(send(connection, wire, length, MSG_NOSIGNAL), length);
	}
	free(wire);
	close(connection);
}

static inline void rig_tcp_ready(evutil_socket_t fd, short what, void *context)
{
	struct rig_resolver *resolver = context;
	int connection = accept(fd, NULL, NULL);

	assert_true(connection >= 0);
	event_base_once(event_get_base(resolver->udp_event), connection, EV_READ, rig_tcp_asked,
			resolver, NULL);
}

static inline void rig_open_resolver(struct rig *rig, uint32_t index)
{
	struct rig_resolver *resolver = &rig->resolvers[index];
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(rig->port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK + index) };
	socklen_t length = sizeof(address);
	int on = 1;

	resolver->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(resolver->udp, (void *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(resolver->udp, (void *)&address, &length), 0);
	rig->port = ntohs(address.sin_port);
	resolver->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(resolver->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(resolver->tcp, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(resolver->tcp, 4), 0);
	resolver->udp_event =
	    event_new(rig->base, resolver->udp, EV_READ | EV_PERSIST, rig_udp_ready, resolver);
	resolver->tcp_event =
	    event_new(rig->base, resolver->tcp, EV_READ | EV_PERSIST, rig_tcp_ready, resolver);
	event_add(resolver->udp_event, NULL);
	event_add(resolver->tcp_event, NULL);
}

static inline void rig_add_host(struct rig *rig, const char *name, const char *ip)
{
	struct dns_host *host = &rig->hosts[rig->config.host_count++];

	snprintf(host->name, sizeof(host->name), "%s", name);
	host->ip = rig_ip(ip);
}

/* Makes all but the server: a test may change config and options before rig_start(). */
static inline void rig_open(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	alarm(120); /* a test that waits for what never comes must not wait for ever */
	rig->now = 1000000;
	rig->base = event_base_new();
	for (uint32_t i = 0; i < RIG_RESOLVERS; i++) {
		rig_open_resolver(rig, i);
		rig->config.forwarders.ips[i] = ip_from_v4(INADDR_LOOPBACK + i);
		rig->resolvers[i].script.answer[0] = "@ 60 IN A 192.0.2.1";
	}
	rig->config.forwarders.count = RIG_RESOLVERS;
	rig->config.enabled = true;
	rig->config.cache_size = 100;
	snprintf(rig->config.domain, sizeof(rig->config.domain), "Lab.Internal");
	rig->config.hosts = rig->hosts;
	rig_add_host(rig, "printer", "10.9.0.9");
	rig_add_host(rig, "Printer", "fd00:9::9");
	rig_add_host(rig, "db.example.org", "10.9.0.10");
	rig_add_host(rig, "a.deep.lab.internal", "10.9.0.11");
	assert_int_equal(ip_prefix_from_text("10.9.0.1/24", &rig->networks[0]), 0);
	assert_int_equal(ip_prefix_from_text("fd00:9::1/64", &rig->networks[1]), 0);
	rig->options.networks = rig->networks;
	rig->options.network_count = 2;
	rig->options.port = rig->port;
	rig->options.clock = (struct dns_clock){ rig_clock, rig };
}

static inline void rig_start(struct rig *rig)
{
	struct dns_names names = { rig_addresses, rig_name, NULL };

	rig->server = dns_server_create(&rig->config, rig->base, &names, &rig->options);
	assert_non_null(rig->server);
}

static inline void rig_close(struct rig *rig)
{
	dns_server_destroy(rig->server);
	for (uint32_t i = 0; i < RIG_RESOLVERS; i++) {
		event_free(rig->resolvers[i].udp_event);
		event_free(rig->resolvers[i].tcp_event);
		close(rig->resolvers[i].udp);
		close(rig->resolvers[i].tcp);
	}
	event_base_free(rig->base);
}

static inline void rig_answered(void *context, const uint8_t *message, size_t length)
{
	struct rig_query *query = context;

	query->calls++;
	query->handle = NULL;
	query->length = length;
	ldns_pkt_free(query->packet);
	query->packet = NULL;
	if (message != NULL)
		assert_int_equal(ldns_wire2pkt(&query->packet, message, length), LDNS_STATUS_OK);
}

static inline void rig_query_free(struct rig_query *query)
{
	ldns_pkt_free(query->packet);
	memset(query, 0, sizeof(*query));
}

static inline void rig_send(struct rig *rig, struct rig_query *query, const uint8_t *message,
			    size_t length, enum dns_transport transport, const char *client)
{
	struct dns_client asker = { transport, rig_ip(client), rig_answered, query };
	struct dns_query *handle;

	rig_query_free(query);
	handle = dns_server_query(rig->server, message, length, &asker);
	if (query->calls == 0) {
		assert_non_null(handle);
		query->handle = handle;
	} else {
		assert_null(handle);
	}
}

/* A query as a test wants it: NAME TYPE, recursion desired, with EDNS of 1232 bytes. */
static inline ldns_pkt *rig_packet(const char *name, ldns_rr_type type)
{
	ldns_pkt *packet =
	    ldns_pkt_query_new(ldns_dname_new_frm_str(name), type, LDNS_RR_CLASS_IN, LDNS_RD);

	assert_non_null(packet);
	ldns_pkt_set_id(packet, 0x1234);
	ldns_pkt_set_edns_udp_size(packet, 1232);
	return packet;
}

/* Frees the packet. */
static inline void rig_send_packet(struct rig *rig, struct rig_query *query, ldns_pkt *packet,
				   enum dns_transport transport, const char *client)
{
	uint8_t *wire;
	size_t length;

	assert_int_equal(ldns_pkt2wire(&wire, packet, &length), LDNS_STATUS_OK);
	ldns_pkt_free(packet);
	rig_send(rig, query, wire, length, transport, client);
	free(wire);
}

static inline void rig_start_ask(struct rig *rig, struct rig_query *query, const char *name,
				 ldns_rr_type type)
{
	rig_send_packet(rig, query, rig_packet(name, type), DNS_UDP, "10.9.0.50");
}

static inline void rig_wait(struct rig *rig, struct rig_query *query)
{
	while (query->calls == 0)
		event_base_loop(rig->base, EVLOOP_ONCE);
	assert_int_equal(query->calls, 1);
}

static inline void rig_wait_asked(struct rig *rig, const uint32_t *asked, uint32_t count)
{
	while (*asked < count)
		event_base_loop(rig->base, EVLOOP_ONCE);
	assert_int_equal(*asked, count);
}

/* Asks and waits. */
static inline void rig_ask(struct rig *rig, struct rig_query *query, const char *name,
			   ldns_rr_type type)
{
	rig_start_ask(rig, query, name, type);
	rig_wait(rig, query);
}

/* The rdata of the answer's records of a type, in order, each followed by a space. */
static inline const char *rig_data(const struct rig_query *query, ldns_rr_type type)
{
	static char text[4096];
	const ldns_rr_list *list = ldns_pkt_answer(query->packet);

	text[0] = '\0';
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		char *data;

		if (ldns_rr_get_type(rr) != type)
			continue;
		data = ldns_rdf2str(ldns_rr_rdf(rr, 0));
		strncat(text, data, sizeof(text) - strlen(text) - 2);
		strcat(text, " ");
		free(data);
	}
	return text;
}

static inline uint32_t rig_ttl(const struct rig_query *query)
{
	return ldns_rr_ttl(ldns_rr_list_rr(ldns_pkt_answer(query->packet), 0));
}

static inline int rig_rcode(const struct rig_query *query)
{
	assert_non_null(query->packet);
	return ldns_pkt_get_rcode(query->packet);
}

static inline const struct dns_counters *rig_counters(const struct rig *rig)
{
	return dns_server_counters(rig->server);
}

#endif
