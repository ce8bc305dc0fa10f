/* Reads the reservations and the further options of a network's DHCP servers (config_gateway.h).
 * Control thread, weftd --check, fuzzer. */
#include "vswitch/config_gateway.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What can be had by one reservation only. */
enum claim_kind { CLAIM_NAME, CLAIM_MAC, CLAIM_CLIENT, CLAIM_IP, CLAIM_IP6, CLAIM_KINDS };

static const struct {
	const char *key; /* NULL: the reservation's own */
	const char *what;
} claim_kinds[CLAIM_KINDS] = {
	[CLAIM_NAME] = { NULL, "name" },
	[CLAIM_MAC] = { "mac", "MAC address" },
	[CLAIM_CLIENT] = { "client-id", "client identifier" },
	[CLAIM_IP] = { "ip", "address" },
	[CLAIM_IP6] = { "ip6", "address" },
};

struct claim {
	enum claim_kind kind;
	uint8_t length;
	uint8_t bytes[DHCP_CLIENT_MAX > DHCP_NAME_MAX ? DHCP_CLIENT_MAX : DHCP_NAME_MAX];
	uint32_t host;
};

static int read_mac(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct dhcp_host *host = out;

	host->has_mac = true;
	return config_value_mac(file, value, &host->mac, error);
}

static int read_client(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct dhcp_host *host = out;

	return config_value_bytes(file, value, host->client, DHCP_CLIENT_MAX, &host->client_length,
				  error);
}

static int read_ip(const char *file, const struct config_node *value, void *out,
		   struct error *error)
{
	struct dhcp_host *host = out;

	host->has_ip4 = true;
	return config_value_ip(file, value, AF_INET, &host->ip4, error);
}

static int read_ip6(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct dhcp_host *host = out;

	host->has_ip6 = true;
	return config_value_ip(file, value, AF_INET6, &host->ip6, error);
}

static int read_host(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	static const struct config_key keys[] = {
		{ "mac", read_mac, false, "the guest's MAC address" },
		{ "client-id", read_client, false, "else its client identifier or DUID" },
		{ "ip", read_ip, false, "its IPv4 address" },
		{ "ip6", read_ip6, false, "its IPv6 address" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };
	struct dhcp_config *dhcp = out;
	struct dhcp_host *host =
	    config_value_append(&dhcp->hosts, &dhcp->host_count, sizeof(*host), error);
	int rc;

	if (host == NULL)
		return -ENOMEM;
	rc = config_value_label(file, value, value->key, host->name, error);
	if (rc == 0)
		rc = config_node_read(file, value, "a reservation", tables, 1, host, error);
	if (rc == 0 && value->count == 0)
		rc = config_error(file, value, error,
				  "reserves nothing; allowed: 'ip' or 'ip6', and 'mac' or "
				  "'client-id'");
	return rc;
}

int config_read_dhcp_hosts(const char *file, const struct config_node *value, void *out,
			   struct error *error)
{
	struct network_draft *draft = out;

	return config_value_each_entry(file, value,
				       "reservations by name, NAME: {mac: MAC, ip: ADDRESS}",
				       read_host, &draft->gateway->dhcp, error);
}

/* ---- other options ---- */

/* Options that are the server's business, or have keys of their own. */
static bool is_own_option(uint64_t code)
{
	static const uint8_t own[] = { 1,  3,  6,  12, 15, 26, 28, 42, 50, 51, 52,  53,	 54,
				       55, 56, 57, 58, 59, 61, 66, 67, 82, 90, 118, 119, 121 };

	return memchr(own, (int)code, sizeof(own)) != NULL;
}

static int read_option(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct dhcp_config *dhcp = out;
	struct dhcp_option *option;
	uint64_t code = 0;

	for (const char *p = value->key; code < 1000 && *p >= '0' && *p <= '9'; p++)
		code = code * 10 + (uint64_t)(*p - '0');
	if (strspn(value->key, "0123456789") != strlen(value->key) || value->key[0] == '0' ||
	    code < 1 || code > 254)
		return config_error(file, value, error,
				    "'%.80s' is no option's number; allowed: 1 to 254", value->key);
	if (is_own_option(code))
		return config_error(file, value, error,
				    "the server sets option %u itself; allowed: those that have "
				    "no key of their own",
				    (unsigned)code);
	option = config_value_append(&dhcp->options, &dhcp->option_count, sizeof(*option), error);
	if (option == NULL)
		return -ENOMEM;
	option->code = (uint8_t)code;
	return config_value_bytes(file, value, option->bytes, sizeof(option->bytes),
				  &option->length, error);
}

int config_read_dhcp_options(const char *file, const struct config_node *value, void *out,
			     struct error *error)
{
	struct network_draft *draft = out;

	return config_value_each_entry(file, value, "{CODE: TEXT or 0xHEX, ...}", read_option,
				       &draft->gateway->dhcp, error);
}

/* ---- afterwards ---- */

/* Where the i-th reservation was written: those of 'dhcp' and those of 'dhcp6' stand in one list,
 * in the order of the file. */
static const struct config_node *host_node(const struct network_draft *draft, uint32_t i)
{
	for (uint32_t k = 0; k < draft->node->count; k++) {
		const struct config_node *service = &draft->node->children[k], *hosts = NULL;

		if (service->kind == CONFIG_MAPPING && strncmp(service->key, "dhcp", 4) == 0)
			hosts = config_node_get(service, "hosts");
		if (hosts == NULL)
			continue;
		if (i < hosts->count)
			return &hosts->children[i];
		i -= hosts->count;
	}
	return draft->node;
}

/* Where a key of it was written, or the reservation itself. */
static const struct config_node *claim_node(const struct network_draft *draft, uint32_t host,
					    enum claim_kind kind)
{
	const struct config_node *node = host_node(draft, host), *inner = NULL;

	if (node->kind == CONFIG_MAPPING && claim_kinds[kind].key != NULL)
		inner = config_node_get(node, claim_kinds[kind].key);
	return inner != NULL ? inner : node;
}

static void add_claim(struct claim *claim, enum claim_kind kind, uint32_t host, const void *bytes,
		      size_t length)
{
	claim->kind = kind;
	claim->host = host;
	claim->length = (uint8_t)length;
	memcpy(claim->bytes, bytes, length);
	for (size_t i = 0; i < length && kind == CLAIM_NAME; i++)
		claim->bytes[i] = (uint8_t)tolower(claim->bytes[i]);
}

static uint32_t claim_host(struct claim *claims, uint32_t index, const struct dhcp_host *host)
{
	uint32_t n = 0;

	add_claim(&claims[n++], CLAIM_NAME, index, host->name, strlen(host->name));
	if (host->has_mac)
		add_claim(&claims[n++], CLAIM_MAC, index, host->mac.bytes, sizeof(host->mac.bytes));
	if (host->client_length > 0)
		add_claim(&claims[n++], CLAIM_CLIENT, index, host->client, host->client_length);
	if (host->has_ip4)
		add_claim(&claims[n++], CLAIM_IP, index, host->ip4.bytes, sizeof(host->ip4.bytes));
	if (host->has_ip6)
		add_claim(&claims[n++], CLAIM_IP6, index, host->ip6.bytes, sizeof(host->ip6.bytes));
	return n;
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = (int)x->kind - (int)y->kind;

	if (order == 0)
		order = (int)x->length - (int)y->length;
	if (order == 0)
		order = memcmp(x->bytes, y->bytes, x->length);
	if (order == 0)
		order = (x->host > y->host) - (x->host < y->host);
	return order;
}

static int check_duplicates(const char *file, const struct network_draft *draft,
			    struct error *error)
{
	const struct dhcp_config *dhcp = &draft->gateway->dhcp;
	struct claim *claims = calloc((size_t)dhcp->host_count * CLAIM_KINDS + 1, sizeof(*claims));
	struct error all = { "" };
	uint32_t count = 0;
	int rc = 0;

	if (claims == NULL)
		return error_set(error, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < dhcp->host_count; i++)
		count += claim_host(&claims[count], i, &dhcp->hosts[i]);
	qsort(claims, count, sizeof(*claims), compare_claims);
	for (uint32_t i = 1; i < count; i++) {
		const struct claim *a = &claims[i - 1], *b = &claims[i];
		struct error one;

		if (a->kind != b->kind || a->length != b->length ||
		    memcmp(a->bytes, b->bytes, a->length) != 0)
			continue;
		rc = config_error(file, claim_node(draft, b->host, b->kind), &one,
				  "the %s is reserved twice, '%s' has it too; allowed: one "
				  "reservation for each",
				  claim_kinds[a->kind].what, dhcp->hosts[a->host].name);
		config_error_join(&all, &one);
	}
	free(claims);
	if (rc < 0 && error != NULL)
		*error = all;
	return rc;
}

/* Whether each address is one that a guest can have; the gateway has its MAC already. */
static int check_host(const char *file, const struct network_draft *draft, uint32_t i,
		      struct error *all)
{
	const struct gateway_config *gateway = draft->gateway;
	const struct dhcp_host *host = &gateway->dhcp.hosts[i];
	const struct ip *ips[CLAIM_KINDS] = {
		[CLAIM_IP] = host->has_ip4 ? &host->ip4 : NULL,
		[CLAIM_IP6] = host->has_ip6 ? &host->ip6 : NULL,
	};
	struct error one;
	int rc = 0;

	if (host->has_mac && memcmp(&host->mac, &gateway->mac, sizeof(host->mac)) == 0) {
		rc = config_error(file, claim_node(draft, i, CLAIM_MAC), &one,
				  "is the gateway's own address; allowed: a guest's");
		config_error_join(all, &one);
	}
	for (enum claim_kind kind = 0; kind < CLAIM_KINDS; kind++) {
		const char *fault = ips[kind] != NULL ? config_guest_fault(gateway, ips[kind]) : "";
		char text[IP_TEXT_LENGTH];

		if (fault[0] == '\0')
			continue;
		rc = config_error(file, claim_node(draft, i, kind), &one,
				  "%s %s; allowed: a host of the network",
				  ip_to_text(ips[kind], text), fault);
		config_error_join(all, &one);
	}
	return rc;
}

int config_finish_dhcp_hosts(const char *file, struct network_draft *draft, struct error *error)
{
	struct error all = { "" };
	int result = 0;

	for (uint32_t i = 0; i < draft->gateway->dhcp.host_count; i++)
		if (check_host(file, draft, i, &all) < 0)
			result = -EINVAL;
	if (result == 0)
		return check_duplicates(file, draft, error);
	if (error != NULL)
		*error = all;
	return result;
}
