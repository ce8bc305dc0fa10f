/* Questions and changes over rtnetlink (netlink.h): each opens a socket of its own, as they are
 * rare. Answers are taken apart as they come, so that a host with a million routes costs no memory.
 * Control thread. */
#include "vswitch/netlink.h"

#include "vswitch/netlink_internal.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <string.h>

/* libnl has numbers of its own. */
static int errno_of(int rc)
{
	static const struct {
		int netlink, system;
	} table[] = {
		{ NLE_EXIST, EEXIST }, { NLE_PERM, EPERM },	    { NLE_NODEV, ENODEV },
		{ NLE_NOMEM, ENOMEM }, { NLE_OBJ_NOTFOUND, ESRCH }, { NLE_NOADDR, EADDRNOTAVAIL },
		{ NLE_INVAL, EINVAL }, { NLE_RANGE, ERANGE },
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (-rc == table[i].netlink)
			return table[i].system;
	}
	return EIO;
}

static int explain(int rc, const char *what, struct error *error)
{
	return rc >= 0 ? 0 : error_set(error, errno_of(rc), "%s: %s", what, nl_geterror(rc));
}

/* NULL with the error set. */
static struct nl_sock *open_socket(struct error *error)
{
	struct nl_sock *socket = nl_socket_alloc();
	int rc = socket ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;

	if (rc == 0)
		return socket;
	explain(rc, "netlink", error);
	nl_socket_free(socket);
	return NULL;
}

bool netlink_parse_link(struct nlmsghdr *message, struct netlink_link *link)
{
	static struct nla_policy policy[IFLA_MAX + 1] = {
		[IFLA_IFNAME] = { .type = NLA_STRING, .maxlen = IFNAMSIZ },
		[IFLA_MTU] = { .type = NLA_U32 },
	};
	struct nlattr *attributes[IFLA_MAX + 1];
	const struct ifinfomsg *info = nlmsg_data(message);

	if (nlmsg_parse(message, sizeof(*info), attributes, IFLA_MAX, policy) != 0 ||
	    !attributes[IFLA_IFNAME])
		return false;
	/* Of a bridge's or another family's own view of it there are messages too. */
	if (info->ifi_family != AF_UNSPEC)
		return false;
	memset(link, 0, sizeof(*link));
	nla_strlcpy(link->name, attributes[IFLA_IFNAME], sizeof(link->name));
	link->index = info->ifi_index;
	link->ethernet = info->ifi_type == ARPHRD_ETHER;
	link->up = (info->ifi_flags & IFF_UP) != 0;
	link->carrier = link->up && (info->ifi_flags & IFF_RUNNING) != 0;
	if (attributes[IFLA_MTU])
		link->mtu = nla_get_u32(attributes[IFLA_MTU]);
	if (attributes[IFLA_ADDRESS] && nla_len(attributes[IFLA_ADDRESS]) == MAC_LENGTH)
		memcpy(link->mac.bytes, nla_data(attributes[IFLA_ADDRESS]), MAC_LENGTH);
	return true;
}

static int on_link(struct nl_msg *message, void *context)
{
	netlink_parse_link(nlmsg_hdr(message), context);
	return NL_OK;
}

int netlink_get_link(const char *name, struct netlink_link *link, struct error *error)
{
	struct nl_sock *socket = open_socket(error);
	struct nl_msg *message;
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC };
	int rc = -NLE_NOMEM;

	if (!socket)
		return -EIO;
	memset(link, 0, sizeof(*link));
	message = nlmsg_alloc_simple(RTM_GETLINK, NLM_F_REQUEST);
	if (message && nlmsg_append(message, &info, sizeof(info), NLMSG_ALIGNTO) == 0 &&
	    nla_put_string(message, IFLA_IFNAME, name) == 0) {
		nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_link, link);
		rc = nl_send_auto(socket, message);
		if (rc >= 0)
			rc = nl_recvmsgs_default(socket);
	}
	nlmsg_free(message);
	nl_socket_free(socket);
	if (rc < 0 && rc != -NLE_NODEV && rc != -NLE_OBJ_NOTFOUND)
		return explain(rc, name, error);
	if (link->index == 0)
		return error_set(error, ENODEV,
				 "interface '%s' is not there; allowed: one of this host", name);
	return 0;
}

int netlink_set_up(int index, uint32_t mtu, struct error *error)
{
	struct nl_sock *socket = open_socket(error);
	struct rtnl_link *link = rtnl_link_alloc(), *change = rtnl_link_alloc();
	int rc = -NLE_NOMEM;

	if (socket && link && change) {
		rtnl_link_set_ifindex(link, index);
		rtnl_link_set_flags(change, IFF_UP);
		if (mtu != 0)
			rtnl_link_set_mtu(change, mtu);
		rc = rtnl_link_change(socket, link, change, 0);
	}
	if (link)
		rtnl_link_put(link);
	if (change)
		rtnl_link_put(change);
	nl_socket_free(socket);
	return explain(rc, "cannot be brought up", error);
}

struct address_list {
	int index;
	struct ip_prefix *addresses;
	uint32_t room, count;
};

static int on_address(struct nl_msg *message, void *context)
{
	struct address_list *list = context;
	struct nlattr *attributes[IFA_MAX + 1], *local;
	const struct ifaddrmsg *info = nlmsg_data(nlmsg_hdr(message));
	struct ip_prefix *out = &list->addresses[list->count];
	bool v4 = info->ifa_family == AF_INET;

	if (nlmsg_parse(nlmsg_hdr(message), sizeof(*info), attributes, IFA_MAX, NULL) != 0 ||
	    (int)info->ifa_index != list->index || list->count == list->room)
		return NL_OK;
	/* Of a point-to-point link IFA_ADDRESS is the other side. */
	local = attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
	if (!local || (!v4 && info->ifa_family != AF_INET6) || nla_len(local) != (v4 ? 4 : 16))
		return NL_OK;
	out->ip = v4 ? ip_from_v4_bytes(nla_data(local)) : ip_from_v6_bytes(nla_data(local));
	out->length = (uint8_t)(info->ifa_prefixlen + (v4 ? IP_V4_LENGTH : 0));
	list->count++;
	return NL_OK;
}

/* Asks for all objects of a kind; each answer goes to `on_answer`. */
static int dump(int request, int family, nl_recvmsg_msg_cb_t on_answer, void *context,
		const char *what, struct error *error)
{
	struct nl_sock *socket = open_socket(error);
	int rc;

	if (!socket)
		return -EIO;
	nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_answer, context);
	rc = nl_rtgen_request(socket, request, family, NLM_F_DUMP);
	if (rc >= 0)
		rc = nl_recvmsgs_default(socket);
	nl_socket_free(socket);
	return explain(rc, what, error);
}

int netlink_interface_addresses(int index, struct ip_prefix *addresses, uint32_t room,
				uint32_t *count, struct error *error)
{
	struct address_list list = { .index = index, .addresses = addresses, .room = room };
	int rc = dump(RTM_GETADDR, AF_UNSPEC, on_address, &list, "addresses", error);

	*count = list.count;
	return rc;
}

static struct nl_addr *make_addr(const struct ip *ip, uint8_t length)
{
	bool v4 = ip_is_v4(ip);
	struct nl_addr *addr = v4 ? nl_addr_build(AF_INET, ip_v4_bytes(ip), 4)
				  : nl_addr_build(AF_INET6, ip->bytes, 16);

	if (addr)
		nl_addr_set_prefixlen(addr, v4 ? length - (int)IP_V4_LENGTH : length);
	return addr;
}

/* Adds or removes an address: `change` is libnl's function for it. */
static int change_address(int (*change)(struct nl_sock *, struct rtnl_addr *, int), int flags,
			  int index, const struct ip_prefix *address, struct error *error)
{
	struct nl_sock *socket = open_socket(error);
	struct rtnl_addr *object = rtnl_addr_alloc();
	struct nl_addr *local = make_addr(&address->ip, address->length);
	char text[IP_PREFIX_TEXT_LENGTH];
	int rc = -NLE_NOMEM;

	if (socket && object && local) {
		rtnl_addr_set_ifindex(object, index);
		rc = rtnl_addr_set_local(object, local);
		if (!ip_is_v4(&address->ip))
			rtnl_addr_set_flags(object, IFA_F_NODAD);
	}
	if (rc == 0)
		rc = change(socket, object, flags);
	if (local)
		nl_addr_put(local);
	if (object)
		rtnl_addr_put(object);
	nl_socket_free(socket);
	return explain(rc, ip_prefix_to_text(address, text), error);
}

int netlink_add_address(int index, const struct ip_prefix *address, struct error *error)
{
	return change_address(rtnl_addr_add, NLM_F_EXCL, index, address, error);
}

int netlink_remove_address(int index, const struct ip_prefix *address, struct error *error)
{
	return change_address(rtnl_addr_delete, 0, index, address, error);
}

static int change_route(int (*change)(struct nl_sock *, struct rtnl_route *, int), int flags,
			int index, const struct ip_prefix *to, const struct ip *via,
			struct error *error)
{
	struct nl_sock *socket = open_socket(error);
	struct ip_prefix network = ip_prefix_network(to);
	struct rtnl_route *route = rtnl_route_alloc();
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_addr *destination = make_addr(&network.ip, network.length);
	struct nl_addr *gateway = make_addr(via, 128);
	char text[IP_PREFIX_TEXT_LENGTH], what[IP_PREFIX_TEXT_LENGTH + 16];
	int rc = -NLE_NOMEM;

	if (socket && route && hop && destination && gateway) {
		rtnl_route_set_family(route, (uint8_t)nl_addr_get_family(destination));
		rtnl_route_set_table(route, RT_TABLE_MAIN);
		rtnl_route_set_protocol(route, RTPROT_STATIC);
		rtnl_route_set_dst(route, destination);
		rtnl_route_nh_set_ifindex(hop, index);
		rtnl_route_nh_set_gateway(hop, gateway);
		rtnl_route_add_nexthop(route, hop);
		hop = NULL; /* the route's now */
		rc = change(socket, route, flags);
	}
	if (hop)
		rtnl_route_nh_free(hop);
	if (route)
		rtnl_route_put(route);
	if (destination)
		nl_addr_put(destination);
	if (gateway)
		nl_addr_put(gateway);
	nl_socket_free(socket);
	snprintf(what, sizeof(what), "route to %s", ip_prefix_to_text(&network, text));
	return explain(rc, what, error);
}

int netlink_add_route(int index, const struct ip_prefix *to, const struct ip *via,
		      struct error *error)
{
	return change_route(rtnl_route_add, NLM_F_EXCL, index, to, via, error);
}

int netlink_remove_route(int index, const struct ip_prefix *to, const struct ip *via,
			 struct error *error)
{
	return change_route(rtnl_route_delete, 0, index, to, via, error);
}

/* What a walk over the routes is for: is one of the default routes by `index`, and which is the
 * best? */
struct default_search {
	int index;
	bool found;
	int best_index; /* 0: none */
	uint32_t best_metric;
};

static void look_at_hop(struct default_search *search, int index, uint32_t metric)
{
	search->found = search->found || index == search->index;
	if (search->best_index == 0 || metric < search->best_metric) {
		search->best_index = index;
		search->best_metric = metric;
	}
}

static int on_route(struct nl_msg *message, void *context)
{
	static struct nla_policy policy[RTA_MAX + 1] = {
		[RTA_OIF] = { .type = NLA_U32 },
		[RTA_PRIORITY] = { .type = NLA_U32 },
		[RTA_TABLE] = { .type = NLA_U32 },
	};
	struct nlattr *attributes[RTA_MAX + 1];
	const struct rtmsg *info = nlmsg_data(nlmsg_hdr(message));
	uint32_t metric = 0, table = info->rtm_table;

	if (nlmsg_parse(nlmsg_hdr(message), sizeof(*info), attributes, RTA_MAX, policy) != 0)
		return NL_OK;
	if (attributes[RTA_TABLE])
		table = nla_get_u32(attributes[RTA_TABLE]);
	if (info->rtm_dst_len != 0 || info->rtm_type != RTN_UNICAST || table != RT_TABLE_MAIN)
		return NL_OK;
	if (attributes[RTA_PRIORITY])
		metric = nla_get_u32(attributes[RTA_PRIORITY]);
	if (attributes[RTA_OIF])
		look_at_hop(context, (int)nla_get_u32(attributes[RTA_OIF]), metric);
	if (attributes[RTA_MULTIPATH]) {
		struct rtnexthop *hop = nla_data(attributes[RTA_MULTIPATH]);
		int left = nla_len(attributes[RTA_MULTIPATH]);

		for (; RTNH_OK(hop, left); hop = RTNH_NEXT(hop)) {
			look_at_hop(context, hop->rtnh_ifindex, metric);
			left -= (int)NLMSG_ALIGN(hop->rtnh_len);
		}
	}
	return NL_OK;
}

int netlink_is_default_route(int index, struct error *error)
{
	struct default_search search = { .index = index };
	int rc = dump(RTM_GETROUTE, AF_INET, on_route, &search, "routes", error);

	if (rc == 0)
		rc = dump(RTM_GETROUTE, AF_INET6, on_route, &search, "routes", error);
	return rc != 0 ? rc : search.found;
}

int netlink_default_route(int family, char name[IFNAMSIZ], struct error *error)
{
	struct default_search search = { 0 };
	int rc = dump(RTM_GETROUTE, family, on_route, &search, "routes", error);

	if (rc != 0)
		return rc;
	if (search.best_index == 0 || !if_indextoname((unsigned)search.best_index, name))
		return error_set(error, ENOENT, "the host has no default route for %s",
				 family == AF_INET ? "IPv4" : "IPv6");
	return 0;
}
