/* Reads a network's DNS server (config_gateway.h). Control thread, weftd --check, fuzzer. */
#include "vswitch/config_gateway.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define CACHE_DEFAULT 1000u
#define CACHE_MAX     1000000u
#define ADDRESSES_MAX 16u

/* A name and who gets its addresses. */
struct name_context {
	struct dns_config *dns;
	const char *name;
};

static int read_domain(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct network_draft *draft = out;

	return config_value_domain(file, value, draft->gateway->dns.domain, error);
}

static int read_host_address(const char *file, const struct config_node *value, void *out,
			     struct error *error)
{
	const struct name_context *context = out;
	struct dns_host *host = config_value_append(&context->dns->hosts, &context->dns->host_count,
						    sizeof(*host), error);

	if (host == NULL)
		return -ENOMEM;
	memcpy(host->name, context->name, sizeof(host->name));
	return config_value_ip(file, value, AF_UNSPEC, &host->ip, error);
}

static int read_host(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct config_node key = *value;
	char name[DHCP_DOMAIN_MAX + 1];
	struct name_context context = { out, name };
	int rc;

	/* The name stands in the key. */
	key.kind = CONFIG_SCALAR;
	key.scalar = value->key;
	rc = config_value_domain(file, &key, name, error);
	return rc < 0 ? rc
		      : config_value_each(file, value, "addresses", ADDRESSES_MAX,
					  read_host_address, &context, error);
}

static int read_hosts(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct network_draft *draft = out;

	return config_value_each_entry(file, value, "{NAME: ADDRESS or a list, ...}", read_host,
				       &draft->gateway->dns, error);
}

static int read_forwarders(const char *file, const struct config_node *value, void *out,
			   struct error *error)
{
	struct network_draft *draft = out;

	return config_value_ips(file, value, AF_UNSPEC, &draft->gateway->dns.forwarders, error);
}

static int read_cache(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u32(file, value, 0, CACHE_MAX, &draft->gateway->dns.cache_size, error);
}

static int read_forward(const char *file, const struct config_node *value, void *out,
			struct error *error)
{
	struct network_draft *draft = out;

	return config_node_bool(file, value, &draft->dns_forward, error);
}

int config_read_dns(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	static const struct config_key keys[] = {
		{ "domain", read_domain, false, "in which the guests' names are" },
		{ "hosts", read_hosts, false, "further names, {NAME: ADDRESS}" },
		{ "forwarders", read_forwarders, false, "addresses of resolvers" },
		{ "cache", read_cache, false, "answers kept, 0 to 1000000" },
		{ "forward", read_forward, false, "false: answers nothing but its own names" },
		{ NULL },
	};
	struct network_draft *draft = out;

	return config_read_service(file, value, "'dns'", keys, &draft->dns, draft, error);
}

/* The key stands in the file, or the mode decides. */
static bool is_given(const struct network_draft *draft, const char *key)
{
	const struct config_node *node = config_node_get(draft->node, "dns");

	return node != NULL && node->kind == CONFIG_MAPPING && config_node_get(node, key) != NULL;
}

int config_finish_dns(const char *file, struct network_draft *draft, struct error *error)
{
	const struct gateway_config *gateway = draft->gateway;
	struct dns_config *dns = &draft->gateway->dns;

	dns->enabled = draft->dns != CONFIG_OFF;
	if (!dns->enabled)
		return 0;
	if (!is_given(draft, "cache"))
		dns->cache_size = CACHE_DEFAULT;
	dns->no_forward = is_given(draft, "forward") ? !draft->dns_forward : !draft->mode->routes;
	if (dns->no_forward && dns->forwarders.count > 0)
		return config_error(file, config_draft_node(draft, "dns", "forwarders"), error,
				    "nothing is forwarded; allowed: together with forward: true");
	for (uint8_t i = 0; i < dns->forwarders.count; i++)
		for (uint8_t a = 0; a < gateway->address_count; a++)
			if (ip_equal(&dns->forwarders.ips[i], &gateway->addresses[a].ip))
				return config_error(
				    file, config_draft_node(draft, "dns", "forwarders"), error,
				    "the gateway would ask itself; allowed: other resolvers");
	return 0;
}
