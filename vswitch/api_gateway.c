/* The methods of the API about gateways: the lists with filters, forwards, leases, sessions
 * (api_methods.c has the table, docs/api.md the words). Control thread. */
#include "vswitch/api_internal.h"

#include "nat/nat.h"
#include "route/lease.h"
#include "vswitch/config_forward.h"
#include "vswitch/gateway_internal.h"
#include "vswitch/show.h"

#include <errno.h>
#include <string.h>

#define LIMIT_MAX 1000000

static const struct {
	const char *name;
	json_t *(*show)(const struct vswitch *vswitch, const struct show_filter *filter);
	bool protocol; /* may be filtered by it */
} lists[] = {
	{ "neighbours", show_neighbours, false },
	{ "routes", show_routes, false },
	{ "sessions", show_sessions, true },
	{ "leases", show_leases, false },
};

bool api_gateway_has(const char *what)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (strcmp(lists[i].name, what) == 0)
			return true;
	}
	return false;
}

static int read_filter(const struct vswitch *vswitch, json_t *params, bool protocol_allowed,
		       struct show_filter *filter, struct error *error)
{
	const char *what, *name = NULL, *guest = NULL, *protocol = NULL;
	json_int_t limit = 0;
	json_error_t why;
	int result;

	show_filter_init(filter);
	if (json_unpack_ex(params, &why, JSON_STRICT, "{s:s, s?s, s?s, s?s, s?I}", "what", &what,
			   "name", &name, "guest", &guest, "protocol", &protocol, "limit",
			   &limit) != 0)
		return error_set(error, EINVAL, "wrong parameters: %s", why.text);
	if (json_object_get(params, "limit") != NULL) {
		if (limit < 1 || limit > LIMIT_MAX)
			return error_set(error, EINVAL, "'limit' is %lld; allowed: 1 to %d",
					 (long long)limit, LIMIT_MAX);
		filter->limit = (size_t)limit;
	}
	if (protocol != NULL && !protocol_allowed)
		return error_set(error, EINVAL, "%s have no protocol to choose by", what);
	if (name != NULL && vswitch_find_network(vswitch, name) == NULL)
		return error_set(error, ENOENT, "there is no network '%.80s'", name);
	filter->network = name;
	result = guest != NULL ? show_filter_guest(vswitch, filter, guest, error) : 0;
	if (result == 0 && protocol != NULL)
		result = show_filter_protocol(filter, protocol, error);
	return result;
}

json_t *api_gateway_show(const struct vswitch *vswitch, const char *what, json_t *params,
			 struct error *error)
{
	struct show_filter filter;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (strcmp(lists[i].name, what) != 0)
			continue;
		if (read_filter(vswitch, params, lists[i].protocol, &filter, error) != 0)
			return NULL;
		return lists[i].show(vswitch, &filter);
	}
	error_set(error, EINVAL, "'%.80s' is no list of gateways", what);
	return NULL;
}

/* Applies the running configuration after `change`, which returns a count or -errno. */
static int edit(struct vswitch *vswitch, struct config *next, int changed, struct error *error)
{
	int result = changed < 0 ? changed : vswitch_apply(vswitch, NULL, next, error);

	config_clear(next);
	return result < 0 ? result : changed;
}

json_t *api_forward_add(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			struct error *error)
{
	const char *name, *text;
	struct config next;
	json_error_t why;

	if (json_unpack_ex(params, &why, JSON_STRICT, "{s:s, s:s}", "name", &name, "config",
			   &text) != 0) {
		error_set(error, EINVAL, "wrong parameters: %s", why.text);
		return NULL;
	}
	if (config_copy(&next, &vswitch->config) != 0) {
		error_set(error, ENOMEM, "out of memory");
		return NULL;
	}
	if (edit(vswitch, &next, config_add_forward(&next, name, text, error), error) < 0)
		return NULL;
	return json_object();
}

json_t *api_forward_del(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			struct error *error)
{
	const char *name, *listen, *protocol = NULL;
	struct config next;
	json_error_t why;
	int removed;

	if (json_unpack_ex(params, &why, JSON_STRICT, "{s:s, s:s, s?s}", "name", &name, "listen",
			   &listen, "protocol", &protocol) != 0) {
		error_set(error, EINVAL, "wrong parameters: %s", why.text);
		return NULL;
	}
	if (config_copy(&next, &vswitch->config) != 0) {
		error_set(error, ENOMEM, "out of memory");
		return NULL;
	}
	removed = edit(vswitch, &next, config_remove_forward(&next, name, listen, protocol, error),
		       error);
	return removed < 0 ? NULL : json_pack("{s:i}", "removed", removed);
}

static struct gateway *find_gateway(struct vswitch *vswitch, const char *name, struct error *error)
{
	struct network *network = vswitch_find_network(vswitch, name);

	if (network == NULL) {
		error_set(error, ENOENT, "there is no network '%.80s'", name);
		return NULL;
	}
	if (network->gateway == NULL)
		error_set(error, EINVAL, "network '%.80s' has no gateway", name);
	return network->gateway;
}

/* The gateway of the network that has leased the address; prefixes of two never overlap. */
static struct gateway *find_lessor(const struct vswitch *vswitch, const struct ip *ip)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		if (network != NULL && network->gateway != NULL &&
		    lease_find_ip(network->gateway->leases, ip) != NULL)
			return network->gateway;
	}
	return NULL;
}

json_t *api_lease_release(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			  struct error *error)
{
	const char *name = NULL, *text;
	struct gateway *gateway = NULL;
	json_error_t why;
	struct ip ip;

	if (json_unpack_ex(params, &why, JSON_STRICT, "{s?s, s:s}", "name", &name, "ip", &text) !=
	    0) {
		error_set(error, EINVAL, "wrong parameters: %s", why.text);
		return NULL;
	}
	if (name != NULL && (gateway = find_gateway(vswitch, name, error)) == NULL)
		return NULL;
	if (ip_from_text(text, &ip) != 0) {
		error_set(error, EINVAL, "'%.80s' is no IP address", text);
		return NULL;
	}
	if (name == NULL)
		gateway = find_lessor(vswitch, &ip);
	if (gateway == NULL || lease_remove(gateway->leases, &ip) != 0) {
		error_set(error, ENOENT, "%s%s%snobody has leased %s",
			  name != NULL ? "network '" : "", name != NULL ? name : "",
			  name != NULL ? "': " : "", text);
		return NULL;
	}
	gateway_finish_later(gateway);
	return json_object();
}

/* Every address of a filter, or all sessions without a guest. */
static uint32_t flush(struct gateway *gateway, const struct show_filter *filter)
{
	uint32_t flushed = 0;

	if (gateway->nat == NULL)
		return 0;
	if (!filter->has_guest)
		return nat_flush(gateway->nat, NULL);
	for (uint32_t i = 0; i < filter->ip_count; i++)
		flushed += nat_flush(gateway->nat, &filter->ips[i]);
	return flushed;
}

json_t *api_sessions_flush(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			   struct error *error)
{
	const char *name = NULL, *guest = NULL;
	struct show_filter filter;
	uint64_t flushed = 0;
	json_error_t why;

	if (json_unpack_ex(params, &why, JSON_STRICT, "{s?s, s?s}", "name", &name, "guest",
			   &guest) != 0) {
		error_set(error, EINVAL, "wrong parameters: %s", why.text);
		return NULL;
	}
	show_filter_init(&filter);
	filter.network = name;
	if ((name != NULL && find_gateway(vswitch, name, error) == NULL) ||
	    (guest != NULL && show_filter_guest(vswitch, &filter, guest, error) != 0))
		return NULL;
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		if (network != NULL && network->gateway != NULL &&
		    (name == NULL || strcmp(name, network->config.name) == 0))
			flushed += flush(network->gateway, &filter);
	}
	return json_pack("{s:I}", "flushed", (json_int_t)flushed);
}
