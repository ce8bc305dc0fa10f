/* Reads port forwards, as a list of a network's mapping (config_gateway.h) or one by itself
 * (config_forward.h). Control thread, weftd --check, fuzzer. */
#include "vswitch/config_forward.h"

#include "vswitch/config_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char *const protocols[] = {
	[NAT_FORWARD_TCP] = "tcp",
	[NAT_FORWARD_UDP] = "udp",
	[NAT_FORWARD_BOTH] = "both",
};

/* An address and ports, of which either can be missing. */
struct endpoint {
	bool has_address;
	struct ip address;
	uint16_t first, last; /* 0: no ports */
};

/* A forward that is being read. */
struct forward_draft {
	struct nat_forward *forward;
	uint16_t to_last; /* as it is written; 0: no ports */
};

const char *config_forward_protocol(const struct nat_forward *forward)
{
	return protocols[forward->protocol];
}

static char *endpoint_to_text(const struct ip *address, uint16_t first, uint16_t last, char *text)
{
	char ip[IP_TEXT_LENGTH] = "";
	bool v4 = address != NULL && ip_is_v4(address);
	int n;

	if (address != NULL)
		ip_to_text(address, ip);
	n = snprintf(text, CONFIG_LISTEN_TEXT_LENGTH, "%s%s%s%u", address != NULL && !v4 ? "[" : "",
		     ip,
		     address == NULL ? ""
		     : v4	     ? ":"
				     : "]:",
		     first);
	if (last != first)
		snprintf(text + n, CONFIG_LISTEN_TEXT_LENGTH - (size_t)n, "-%u", last);
	return text;
}

char *config_forward_listen(const struct nat_forward *forward, char text[CONFIG_LISTEN_TEXT_LENGTH])
{
	return endpoint_to_text(forward->has_address ? &forward->address : NULL,
				forward->listen_first, forward->listen_last, text);
}

char *config_forward_to(const struct nat_forward *forward, char text[CONFIG_LISTEN_TEXT_LENGTH])
{
	return endpoint_to_text(&forward->to, forward->to_first, forward->to_first, text);
}

/* A port's number at *text, which moves behind it. */
static bool take_port(const char **text, uint16_t *port)
{
	uint32_t n = 0;
	const char *p = *text;

	while (*p >= '0' && *p <= '9' && n <= 65535)
		n = n * 10 + (uint32_t)(*p++ - '0');
	if (p == *text || n < 1 || n > 65535)
		return false;
	*text = p;
	*port = (uint16_t)n;
	return true;
}

/* "N", "N-M". */
static bool take_ports(const char *text, struct endpoint *endpoint)
{
	if (!take_port(&text, &endpoint->first))
		return false;
	endpoint->last = endpoint->first;
	if (*text == '-') {
		text++;
		if (!take_port(&text, &endpoint->last))
			return false;
	}
	return *text == '\0' && endpoint->first <= endpoint->last;
}

/* PORTS, or IPV4, IPV4:PORTS, [IPV6], [IPV6]:PORTS. */
static bool take_endpoint(const char *text, struct endpoint *endpoint)
{
	char address[IP_TEXT_LENGTH] = "";
	bool v6 = text[0] == '[';
	const char *start = text + v6;
	size_t length = strcspn(start, v6 ? "]" : ":");
	const char *rest = start + length + (v6 && start[length] == ']');

	memset(endpoint, 0, sizeof(*endpoint));
	if (!v6 && *rest == '\0' && strchr(text, '.') == NULL)
		return take_ports(text, endpoint);
	if (length >= sizeof(address) || (v6 && start[length] != ']'))
		return false;
	memcpy(address, start, length);
	endpoint->has_address = true;
	return ip_from_text(address, &endpoint->address) == 0 &&
	       (ip_is_host(&endpoint->address) || ip_is_loopback(&endpoint->address)) &&
	       ip_is_v4(&endpoint->address) != v6 &&
	       (*rest == '\0' || (*rest == ':' && take_ports(rest + 1, endpoint)));
}

static int read_proto(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	static const char *const words[] = { "tcp", "udp", "both", NULL };
	struct forward_draft *draft = out;
	unsigned word;
	int rc = config_node_word(file, value, words, &word, error);

	if (rc == 0)
		draft->forward->protocol = (uint8_t)(NAT_FORWARD_TCP + word);
	return rc;
}

static int read_listen(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct forward_draft *draft = out;
	struct endpoint endpoint;

	if (value->kind != CONFIG_SCALAR || !take_endpoint(value->scalar, &endpoint) ||
	    endpoint.first == 0)
		return config_error(file, value, error,
				    "'%.80s' is no port to listen on; allowed: PORT, FIRST-LAST, "
				    "IP:PORT or [IPV6]:PORT, ports from 1 to 65535",
				    value->kind == CONFIG_SCALAR ? value->scalar : "");
	draft->forward->has_address = endpoint.has_address;
	draft->forward->address = endpoint.address;
	draft->forward->listen_first = endpoint.first;
	draft->forward->listen_last = endpoint.last;
	return 0;
}

static int read_to(const char *file, const struct config_node *value, void *out,
		   struct error *error)
{
	struct forward_draft *draft = out;
	struct endpoint endpoint;

	if (value->kind != CONFIG_SCALAR || !take_endpoint(value->scalar, &endpoint) ||
	    !endpoint.has_address)
		return config_error(file, value, error,
				    "'%.80s' is no guest's port; allowed: IP:PORT, IP:FIRST-LAST, "
				    "or IP for what is listened on; IPv6 as [IPV6]",
				    value->kind == CONFIG_SCALAR ? value->scalar : "");
	draft->forward->to = endpoint.address;
	draft->forward->to_first = endpoint.first;
	draft->to_last = endpoint.last;
	return 0;
}

static int read_source(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct forward_draft *draft = out;

	draft->forward->has_source = true;
	return config_value_network(file, value, &draft->forward->source, error);
}

/* *forward is all zero. */
static int read_forward(const char *file, const struct config_node *value,
			struct nat_forward *forward, struct error *error)
{
	static const struct config_key keys[] = {
		{ "proto", read_proto, false, "tcp, udp or both" },
		{ "listen", read_listen, true, "port, range of ports, or IP:PORT" },
		{ "to", read_to, true, "IP:PORT of a guest" },
		{ "source", read_source, false, "prefix of those who may use it" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };
	struct forward_draft draft = { .forward = forward };
	uint32_t more;
	bool v4;
	int rc;

	forward->line = value->line;
	forward->protocol = NAT_FORWARD_TCP;
	rc = config_node_read(file, value, "a forward", tables, 1, &draft, error);
	if (rc < 0)
		return rc;
	v4 = ip_is_v4(&forward->to);
	more = (uint32_t)forward->listen_last - forward->listen_first;
	/* Of a range its first port is enough. */
	if (draft.to_last != forward->to_first && draft.to_last != forward->to_first + more)
		return config_error(file, value, error,
				    "'listen' has %u ports and 'to' %u; allowed: as many", more + 1,
				    draft.to_last - forward->to_first + 1u);
	if (forward->to_first == 0)
		forward->to_first = forward->listen_first;
	if (forward->to_first + more > 65535)
		return config_error(file, value, error,
				    "the range ends behind port 65535 of the guest; allowed: as "
				    "many ports from 'to' on as 'listen' has");
	if ((forward->has_address && ip_is_v4(&forward->address) != v4) ||
	    (forward->has_source && ip_is_v4(&forward->source.ip) != v4))
		return config_error(file, value, error,
				    "'listen', 'to' and 'source' are of two families; allowed: "
				    "all IPv4 or all IPv6");
	return 0;
}

static int append_forward(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct nat_config *nat = &((struct network_draft *)out)->gateway->nat;
	struct nat_forward *forward =
	    config_value_append(&nat->forwards, &nat->forward_count, sizeof(*forward), error);

	return forward == NULL ? -ENOMEM : read_forward(file, value, forward, error);
}

int config_read_forwards(const char *file, const struct config_node *value, void *draft,
			 struct error *error)
{
	if (value->kind == CONFIG_SEQUENCE && value->count == 0)
		return 0;
	if (value->kind != CONFIG_SEQUENCE)
		return config_error(file, value, error,
				    "is no list of forwards; allowed: [{proto: tcp, listen: PORT, "
				    "to: IP:PORT}]");
	return config_value_each(file, value, "forwards", CONFIG_FORWARDS_MAX, append_forward,
				 draft, error);
}

/* ---- single ones ---- */

/* The network of *config, with a gateway of its own to be edited. */
static struct network_config *edit_network(struct config *config, const char *name,
					   struct error *error)
{
	struct network_config *network = NULL;
	struct gateway_config *copy;

	for (uint32_t i = 0; i < config->network_count && network == NULL; i++)
		if (strcmp(config->networks[i].name, name) == 0)
			network = &config->networks[i];
	if (network == NULL) {
		error_set(error, ENOENT, "there is no network '%.80s'", name);
		return NULL;
	}
	if (network->gateway == NULL || !network->gateway->nat.enabled) {
		error_set(error, EINVAL,
			  "network '%s' is of mode %s, which does not translate addresses; "
			  "allowed: networks of mode nat",
			  name, config_mode_name(network->mode));
		return NULL;
	}
	copy = gateway_config_copy(network->gateway);
	if (copy == NULL) {
		error_set(error, ENOMEM, "out of memory");
		return NULL;
	}
	gateway_config_unref(network->gateway);
	network->gateway = copy;
	return network;
}

int config_add_forward(struct config *config, const char *name, const char *text,
		       struct error *error)
{
	struct network_config *network = edit_network(config, name, error);
	struct nat_forward *forward;
	struct config_node *root = NULL;
	struct nat_config *nat;
	int rc;

	if (network == NULL)
		return config_find_network(config, name) == NULL ? -ENOENT : -EINVAL;
	nat = &network->gateway->nat;
	if (nat->forward_count >= CONFIG_FORWARDS_MAX)
		return error_set(error, EINVAL,
				 "network '%s' has too many forwards; allowed: at most %u", name,
				 CONFIG_FORWARDS_MAX);
	rc = config_node_parse(NULL, text, strlen(text), &root, error);
	if (rc < 0)
		return rc;
	forward = config_value_append(&nat->forwards, &nat->forward_count, sizeof(*forward), error);
	rc = forward == NULL ? -ENOMEM : read_forward(NULL, root, forward, error);
	if (rc == 0)
		forward->line = 0;
	config_node_free(root);
	return rc;
}

static bool is_meant(const struct nat_forward *forward, const struct endpoint *listen,
		     const char *protocol)
{
	return forward->listen_first == listen->first && forward->listen_last == listen->last &&
	       forward->has_address == listen->has_address &&
	       (!listen->has_address || ip_equal(&forward->address, &listen->address)) &&
	       (protocol == NULL || strcmp(protocol, protocols[forward->protocol]) == 0);
}

int config_remove_forward(struct config *config, const char *name, const char *listen,
			  const char *protocol, struct error *error)
{
	struct network_config *network;
	struct endpoint endpoint;
	struct nat_config *nat;
	uint32_t kept = 0;
	int removed;

	if (!take_endpoint(listen, &endpoint) || endpoint.first == 0)
		return error_set(error, EINVAL,
				 "'%.80s' is no port to listen on; allowed: PORT, FIRST-LAST, "
				 "IP:PORT or [IPV6]:PORT",
				 listen);
	network = edit_network(config, name, error);
	if (network == NULL)
		return config_find_network(config, name) == NULL ? -ENOENT : -EINVAL;
	nat = &network->gateway->nat;
	for (uint32_t i = 0; i < nat->forward_count; i++) {
		if (is_meant(&nat->forwards[i], &endpoint, protocol))
			continue;
		memmove(&nat->forwards[kept++], &nat->forwards[i], sizeof(nat->forwards[0]));
	}
	removed = (int)(nat->forward_count - kept);
	nat->forward_count = kept;
	if (removed == 0)
		return error_set(error, ENOENT,
				 "network '%s' has no forward that listens on "
				 "%.80s%s%.20s",
				 name, listen, protocol != NULL ? "/" : "",
				 protocol != NULL ? protocol : "");
	return removed;
}
