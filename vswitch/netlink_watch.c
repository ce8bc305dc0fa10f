/* Follows interfaces (netlink_watch() of netlink.h): one socket of the daemon, there as long as
 * somebody watches, whose messages go to those who asked for that name. Control thread. */
#include "vswitch/netlink.h"

#include "base/log.h"
#include "vswitch/netlink_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES (1 << 20) /* of the socket: a thousand interfaces may come at once */

struct netlink_watch {
	struct netlink_watch *next;
	char name[IFNAMSIZ];
	int index;		 /* of the interface that had the name last; 0: there is none */
	netlink_handler handler; /* NULL: ended, to be freed */
	void *context;
};

/* The one there is. */
static struct {
	struct nl_sock *socket;
	struct event *event;
	struct netlink_watch *watches;
	uint32_t walking; /* watches are not freed meanwhile */
} monitor;

static void monitor_close(void)
{
	if (monitor.event)
		event_free(monitor.event);
	nl_socket_free(monitor.socket);
	monitor.event = NULL;
	monitor.socket = NULL;
}

/* Frees what was ended; with the last one the monitor. */
static void sweep(void)
{
	struct netlink_watch **at = &monitor.watches;

	if (monitor.walking > 0)
		return;
	while (*at) {
		struct netlink_watch *watch = *at;

		if (watch->handler) {
			at = &watch->next;
			continue;
		}
		*at = watch->next;
		free(watch);
	}
	if (!monitor.watches)
		monitor_close();
}

static void tell(struct netlink_watch *watch, const struct netlink_link *link)
{
	watch->index = link ? link->index : 0;
	watch->handler(watch->context, link);
}

/* NULL: nothing is known of any, all are asked for. */
static void tell_all(const struct netlink_link *link, bool gone)
{
	monitor.walking++;
	for (struct netlink_watch *watch = monitor.watches; watch; watch = watch->next) {
		struct netlink_link now;

		if (!watch->handler)
			continue;
		if (!link) {
			bool there = netlink_get_link(watch->name, &now, NULL) == 0;

			tell(watch, there ? &now : NULL);
		} else if (!gone && strcmp(watch->name, link->name) == 0) {
			tell(watch, link);
		} else if (watch->index == link->index) {
			/* Deleted, moved to another namespace, or it has another name now. */
			tell(watch, NULL);
		}
	}
	monitor.walking--;
}

static int on_message(struct nl_msg *message, void *context)
{
	struct nlmsghdr *header = nlmsg_hdr(message);
	struct netlink_link link;

	if ((header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK) &&
	    netlink_parse_link(header, &link))
		tell_all(&link, header->nlmsg_type == RTM_DELLINK);
	return NL_OK;
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
	int rc;

	monitor.walking++;
	do
		rc = nl_recvmsgs_default(monitor.socket);
	while (rc >= 0);
	/* Some were lost. */
	if (rc != -NLE_AGAIN) {
		log_warning("netlink: %s; interfaces are looked at anew", nl_geterror(rc));
		tell_all(NULL, false);
	}
	monitor.walking--;
	sweep();
}

static int monitor_open(struct event_base *loop, struct error *error)
{
	int rc;

	monitor.socket = nl_socket_alloc();
	if (!monitor.socket)
		return error_set(error, ENOMEM, "netlink: out of memory");
	nl_socket_disable_seq_check(monitor.socket);
	nl_socket_modify_cb(monitor.socket, NL_CB_VALID, NL_CB_CUSTOM, on_message, NULL);
	rc = nl_connect(monitor.socket, NETLINK_ROUTE);
	if (rc == 0)
		rc = nl_socket_set_nonblocking(monitor.socket);
	if (rc == 0)
		rc = nl_socket_add_memberships(monitor.socket, RTNLGRP_LINK, 0);
	if (rc != 0) {
		rc = error_set(error, EIO, "netlink: %s", nl_geterror(rc));
		goto fail;
	}
	nl_socket_set_buffer_size(monitor.socket, BUFFER_BYTES, 0);
	monitor.event =
	    event_new(loop, nl_socket_get_fd(monitor.socket), EV_READ | EV_PERSIST, on_ready, NULL);
	if (monitor.event && event_add(monitor.event, NULL) == 0)
		return 0;
	rc = error_set(error, ENOMEM, "netlink: out of memory");
fail:
	monitor_close();
	return rc;
}

int netlink_watch(struct event_base *loop, const char *name, netlink_handler handler, void *context,
		  struct netlink_watch **out, struct error *error)
{
	struct netlink_watch *watch = calloc(1, sizeof(*watch));
	int rc = 0;

	if (!watch)
		return error_set(error, ENOMEM, "out of memory");
	if (!monitor.socket)
		rc = monitor_open(loop, error);
	if (rc != 0) {
		free(watch);
		return rc;
	}
	strncpy(watch->name, name, sizeof(watch->name) - 1);
	watch->index = (int)if_nametoindex(watch->name);
	watch->handler = handler;
	watch->context = context;
	watch->next = monitor.watches;
	monitor.watches = watch;
	*out = watch;
	return 0;
}

void netlink_unwatch(struct netlink_watch *watch)
{
	if (!watch)
		return;
	watch->handler = NULL;
	sweep();
}
