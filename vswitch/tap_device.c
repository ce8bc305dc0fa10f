/* Getting hold of a tap interface (tap_device.h). Control thread. */
#include "vswitch/tap_device.h"

#include "base/vnet_header.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TUN_DEVICE "/dev/net/tun"

/* Since Linux 6.2; the headers we build with may be older. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* What to ask of the kernel, from the most to the least. TUNSETOFFLOAD is about what we take from
 * it; a kernel that knows a kind in one direction knows it in the other, so it also tells what it
 * takes from us. */
static const struct offer {
	unsigned kernel;
	uint32_t offloads;
} offers[] = {
#define TCP_KERNEL   (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define TCP_OFFLOADS (OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN)
	{ TCP_KERNEL | TUN_F_UFO | TUN_F_USO4 | TUN_F_USO6,
	  TCP_OFFLOADS | OFFLOAD_UFO | OFFLOAD_USO4 | OFFLOAD_USO6 },
	{ TCP_KERNEL | TUN_F_UFO, TCP_OFFLOADS | OFFLOAD_UFO },
	{ TCP_KERNEL, TCP_OFFLOADS },
	{ TUN_F_CSUM, OFFLOAD_CSUM },
	{ 0, 0 },
};

static const struct {
	uint32_t offload;
	const char *name;
} offload_names[] = {
	{ OFFLOAD_CSUM, "csum" },	{ OFFLOAD_TSO4, "tso4" }, { OFFLOAD_TSO6, "tso6" },
	{ OFFLOAD_TSO_ECN, "tso_ecn" }, { OFFLOAD_UFO, "ufo" },	  { OFFLOAD_USO4, "uso4" },
	{ OFFLOAD_USO6, "uso6" },
};

static int take_given(const struct tap_options *options, struct tap_device *device,
		      struct error *error);
static int attach(const struct tap_options *options, struct tap_device *device,
		  struct error *error);
static int set_up_file(struct tap_device *device, int fd, struct error *error);
static int bring_up(const char *name, struct error *error);

int tap_device_open(const struct tap_options *options, struct tap_device *device,
		    struct error *error)
{
	int rc;

	memset(device, 0, sizeof(*device));
	device->offloads = OFFLOAD_ALL;
	if (options->queues > CONFIG_TAP_QUEUES_MAX)
		return error_set(error, EINVAL, "queues: too many; allowed: 1 to %u",
				 CONFIG_TAP_QUEUES_MAX);
	if (options->fd_count > 0)
		rc = take_given(options, device, error);
	else
		rc = attach(options, device, error);
	for (uint16_t i = 0; rc == 0 && i < device->queues; i++)
		rc = set_up_file(device, device->fds[i], error);
	if (rc == 0 && !device->given && !options->existing)
		rc = bring_up(device->name, error);
	if (rc != 0)
		tap_device_close(device);
	return rc;
}

void tap_device_close(struct tap_device *device)
{
	for (uint16_t i = 0; i < device->queues; i++)
		close(device->fds[i]);
	device->queues = 0;
}

/* The interface's description from netlink, or NULL. */
static struct rtnl_link *get_link(struct nl_sock *socket, const char *name, int *rc)
{
	struct rtnl_link *link = NULL;

	*rc = nl_connect(socket, NETLINK_ROUTE);
	if (*rc == 0)
		*rc = rtnl_link_get_kernel(socket, 0, name, &link);
	return link;
}

void tap_device_show(const struct tap_device *device, json_t *object)
{
	struct nl_sock *socket = nl_socket_alloc();
	json_t *offloads = json_array();
	struct rtnl_link *link = NULL;
	int rc;

	json_object_set_new(object, "interface", json_string(device->name));
	/* By its name a given one may be another in our network namespace. */
	if (socket && !device->given)
		link = get_link(socket, device->name, &rc);
	if (link) {
		json_object_set_new(object, "ifindex", json_integer(rtnl_link_get_ifindex(link)));
		json_object_set_new(object, "mtu", json_integer(rtnl_link_get_mtu(link)));
		rtnl_link_put(link);
	}
	nl_socket_free(socket);
	for (unsigned i = 0; i < sizeof(offload_names) / sizeof(offload_names[0]); i++) {
		if (device->offloads & offload_names[i].offload)
			json_array_append_new(offloads, json_string(offload_names[i].name));
	}
	json_object_set_new(object, "offloads", offloads);
}

/* The flags a tap was attached with. In the kernel's answer the bit of IFF_NO_PI also says that no
 * filter is attached, so for that moment one is that passes everything; unless the giver has set
 * one of his own, which is his to keep. 0 or -errno. */
static int get_flags(int fd, struct ifreq *request)
{
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog program = { 0 };
	int rc;

	if (ioctl(fd, TUNGETIFF, request) != 0)
		return -errno;
	if (!(request->ifr_flags & IFF_TAP) || !(request->ifr_flags & IFF_NO_PI) ||
	    ioctl(fd, TUNGETFILTER, &program) != 0 || program.len > 0)
		return 0;
	program = (struct sock_fprog){ .len = 1, .filter = &pass };
	if (ioctl(fd, TUNATTACHFILTER, &program) != 0)
		return -errno;
	rc = ioctl(fd, TUNGETIFF, request) != 0 ? -errno : 0;
	if (ioctl(fd, TUNDETACHFILTER, NULL) != 0 && rc == 0)
		rc = -errno;
	/* The kernel remembers the last program it was given, attached or not. It refuses an empty
	 * one, and remembers that: TUNGETFILTER shall not take ours for the giver's next time. */
	program = (struct sock_fprog){ 0 };
	ioctl(fd, TUNATTACHFILTER, &program);
	return rc;
}

/* A file of a tap somebody else opened: it must speak as we do, for that was settled when it was
 * attached, and of several each must be a queue of the same one. */
static int take_file(int given, uint16_t count, struct tap_device *device, struct error *error)
{
	const unsigned needed = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq request = { 0 };
	int fd = fcntl(given, F_DUPFD_CLOEXEC, 3);
	int rc;

	if (fd < 0)
		return error_set(error, errno, "%s", strerror(errno));
	device->fds[device->queues++] = fd;
	rc = get_flags(fd, &request);
	if (rc != 0)
		return error_set(error, EINVAL, "not an open file of a tap: %s", strerror(-rc));
	if (((unsigned)request.ifr_flags & (needed | IFF_TUN)) != needed)
		return error_set(error, EINVAL,
				 "'%.15s' was attached as%s%s%s; allowed: "
				 "IFF_TAP | IFF_NO_PI | IFF_VNET_HDR",
				 request.ifr_name,
				 request.ifr_flags & IFF_TAP ? " a tap" : " a tun",
				 request.ifr_flags & IFF_NO_PI ? "" : " without IFF_NO_PI",
				 request.ifr_flags & IFF_VNET_HDR ? "" : " without IFF_VNET_HDR");
	request.ifr_name[IFNAMSIZ - 1] = '\0';
	if (device->queues > 1 && strcmp(device->name, request.ifr_name) != 0)
		return error_set(error, EINVAL,
				 "is of '%s', those before it of '%s'; allowed: files of one tap",
				 request.ifr_name, device->name);
	if (count > 1 && !(request.ifr_flags & IFF_MULTI_QUEUE))
		return error_set(error, EINVAL,
				 "'%s' was attached without IFF_MULTI_QUEUE; allowed: one file",
				 request.ifr_name);
	memcpy(device->name, request.ifr_name, IFNAMSIZ);
	return 0;
}

static int take_given(const struct tap_options *options, struct tap_device *device,
		      struct error *error)
{
	int rc;

	if (options->queues > 1 && options->queues != options->fd_count)
		return error_set(error, EINVAL,
				 "queues: each file given is one; allowed: %u, or not to say",
				 options->fd_count);
	device->given = true;
	for (uint16_t i = 0; i < options->fd_count; i++) {
		rc = take_file(options->fds[i], options->fd_count, device, error);
		if (rc == 0)
			continue;
		if (options->passed)
			error_prefix(error, "descriptor %u of those passed (--tap-fd): ", i + 1u);
		else
			error_prefix(error, "fd %d: ", options->fds[i]);
		return rc;
	}
	return 0;
}

static int explain_refusal(const struct tap_options *options, int code, struct error *error)
{
	const char *name = options->name;

	if (code == EPERM && options->existing)
		return error_set(error, code,
				 "interface '%s': it belongs to somebody else; weftd needs "
				 "CAP_NET_ADMIN, or a tap made for its user (ip tuntap add)",
				 name);
	if (code == EPERM)
		return error_set(error, code,
				 "interface '%s': making a tap needs CAP_NET_ADMIN; without it, "
				 "have one made for weftd's user (ip tuntap add dev %s mode tap "
				 "user USER%s) and say `tap: {name: %s, existing: true}`",
				 name, name, options->queues > 1 ? " multi_queue" : "", name);
	if (code == EBUSY && options->existing)
		return error_set(error, code, "interface '%s': somebody else has it open", name);
	if (code == EBUSY || code == EEXIST)
		return error_set(error, EEXIST,
				 "interface '%s' exists already; say `tap: {name: %s, existing: "
				 "true}` to attach to it",
				 name, name);
	if (code == EINVAL && options->existing)
		return error_set(error, code, "interface '%s': not a tap%s", name,
				 options->queues > 1 ? ", or not made with multi_queue" : "");
	return error_set(error, code, "interface '%s': %s", name, strerror(code));
}

/* Opens one more file of the tap `options->name`. */
static int add_file(const struct tap_options *options, unsigned flags, struct tap_device *device)
{
	struct ifreq request = { .ifr_flags = (short)flags };
	int fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int code;

	if (fd < 0)
		return -errno;
	memcpy(request.ifr_name, options->name, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &request) != 0) {
		code = errno;
		close(fd);
		return -code;
	}
	device->fds[device->queues++] = fd;
	return 0;
}

static int attach(const struct tap_options *options, struct tap_device *device, struct error *error)
{
	unsigned flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	int rc;

	memcpy(device->name, options->name, IFNAMSIZ);
	if (access(TUN_DEVICE, R_OK | W_OK) != 0)
		return error_set(error, errno, "%s: %s", TUN_DEVICE, strerror(errno));
	if (options->existing && if_nametoindex(options->name) == 0)
		return error_set(
		    error, ENODEV,
		    "interface '%s' is not there; without `existing: true` weftd makes "
		    "it",
		    options->name);
	if (options->queues > 1)
		flags |= IFF_MULTI_QUEUE;
	rc = add_file(options, flags | (options->existing ? 0 : IFF_TUN_EXCL), device);
	/* One queue of a tap of many. */
	if (rc == -EINVAL && options->existing && options->queues == 1)
		rc = add_file(options, flags | IFF_MULTI_QUEUE, device);
	while (rc == 0 && device->queues < options->queues)
		rc = add_file(options, flags, device);
	return rc == 0 ? 0 : explain_refusal(options, -rc, error);
}

static int set_up_file(struct tap_device *device, int fd, struct error *error)
{
	int size = VNET_HEADER_SIZE;
	int little = 1;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return error_set(error, errno, "interface '%s': %s", device->name, strerror(errno));
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) != 0 || ioctl(fd, TUNSETVNETLE, &little) != 0)
		return error_set(error, errno, "interface '%s': virtio-net header refused: %s",
				 device->name, strerror(errno));
	for (unsigned i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
		if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)offers[i].kernel) == 0) {
			device->offloads &= offers[i].offloads;
			return 0;
		}
	}
	return error_set(error, errno, "interface '%s': offloads refused: %s", device->name,
			 strerror(errno));
}

static int bring_up(const char *name, struct error *error)
{
	struct nl_sock *socket = nl_socket_alloc();
	struct rtnl_link *change = rtnl_link_alloc();
	struct rtnl_link *link = NULL;
	int rc = -NLE_NOMEM;

	if (socket && change)
		link = get_link(socket, name, &rc);
	if (link) {
		rtnl_link_set_flags(change, IFF_UP);
		rc = rtnl_link_change(socket, link, change, 0);
		rtnl_link_put(link);
	}
	if (change)
		rtnl_link_put(change);
	nl_socket_free(socket);
	if (rc < 0)
		return error_set(error, EIO, "interface '%s': cannot be brought up: %s", name,
				 nl_geterror(rc));
	return 0;
}
