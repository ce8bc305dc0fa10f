/* XDP in 30 instructions (xdp_program.h), written here as such: so nothing needs a compiler for
 * BPF, and no object file has to be found at run time. MAC and MTU are constants in it; when they
 * change, another program takes its place. Control thread. */
#include "vswitch/xdp_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* libbpf's option structs are made by a macro in GNU's own C. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#pragma clang diagnostic ignored "-Wgnu-statement-expression-from-macro-expansion"
#endif

#define TAG_LENGTH 4u

struct xdp_program {
	int map;  /* queue -> AF_XDP socket */
	int link; /* holds the program on the interface, as long as it is open */
	bool native;
	struct mac own;
	_Atomic uint32_t mtu; /* control writes, workers read; relaxed, it stands for itself */
};

/* Instructions (Linux: Documentation/bpf/standardization/instruction-set.rst). */
#define LOAD(size, to, from, offset)                                                               \
	{                                                                                          \
		BPF_LDX | BPF_MEM | (size), (to), (from), (int16_t)(offset), 0                     \
	}
#define MOVE(to, from)                                                                             \
	{                                                                                          \
		BPF_ALU64 | BPF_MOV | BPF_X, (to), (from), 0, 0                                    \
	}
#define MOVE_NUMBER(to, n)                                                                         \
	{                                                                                          \
		BPF_ALU64 | BPF_MOV | BPF_K, (to), 0, 0, (int32_t)(n)                              \
	}
#define ADD(to, n)                                                                                 \
	{                                                                                          \
		BPF_ALU64 | BPF_ADD | BPF_K, (to), 0, 0, (int32_t)(n)                              \
	}
#define LOAD_MAP(to, fd)                                                                           \
	{ BPF_LD | BPF_DW | BPF_IMM, (to), BPF_PSEUDO_MAP_FD, 0, (fd) },                           \
	{                                                                                          \
		0                                                                                  \
	}
#define CALL(function)                                                                             \
	{                                                                                          \
		BPF_JMP | BPF_CALL, 0, 0, 0, (function)                                            \
	}
#define EXIT                                                                                       \
	{                                                                                          \
		BPF_JMP | BPF_EXIT, 0, 0, 0, 0                                                     \
	}
#define JUMP(from, to) ((to) - (from)-1)
#define JUMP_IF(test, a, b, jump)                                                                  \
	{                                                                                          \
		BPF_JMP | (test) | BPF_X, (a), (b), (jump), 0                                      \
	}
#define JUMP_IF_NUMBER(test, a, k, jump)                                                           \
	{                                                                                          \
		BPF_JMP | (test) | BPF_K, (a), 0, (jump), (int32_t)(k)                             \
	}

enum {
	RESULT = BPF_REG_0,
	ARG1 = BPF_REG_1,
	ARG2 = BPF_REG_2,
	ARG3 = BPF_REG_3,
	BYTE = BPF_REG_4,
	LIMIT = BPF_REG_5,
	CONTEXT = BPF_REG_6,
	DATA = BPF_REG_7,
	END = BPF_REG_8,
};

/* Loads the program; its fd or -errno. */
static int load(const struct xdp_program *p, const struct netlink_link *link)
{
	uint32_t longest = link->mtu + ETH_HLEN;
	uint16_t part[3];
	LIBBPF_OPTS(bpf_prog_load_opts, options);

	memcpy(part, link->mac.bytes, sizeof(part)); /* as a load of two bytes sees them */
	struct bpf_insn code[] = {
		/* 0 */ MOVE(CONTEXT, ARG1),
		/* 1 */ LOAD(BPF_W, DATA, CONTEXT, offsetof(struct xdp_md, data)),
		/* 2 */ LOAD(BPF_W, END, CONTEXT, offsetof(struct xdp_md, data_end)),
		/* 3 */ MOVE(LIMIT, DATA),
		/* 4 */ ADD(LIMIT, ETH_HLEN),
		/* 5 */ JUMP_IF(BPF_JGT, LIMIT, END, JUMP(5, 27)),
		/* Longer than the MTU: coalesced or never segmented, and only the kernel knows its
		 * parts. */
		/* 6 */ LOAD(BPF_H, BYTE, DATA, 12),
		/* 7 */ MOVE(LIMIT, DATA),
		/* 8 */ ADD(LIMIT, longest),
		/* 9 */ JUMP_IF_NUMBER(BPF_JEQ, BYTE, htons(ETH_P_8021Q), JUMP(9, 11)),
		/* 10 */ JUMP_IF_NUMBER(BPF_JNE, BYTE, htons(ETH_P_8021AD), JUMP(10, 12)),
		/* 11 */ ADD(LIMIT, TAG_LENGTH),
		/* 12 */ JUMP_IF(BPF_JLT, LIMIT, END, JUMP(12, 27)),
		/* For several: the host is one of them. */
		/* 13 */ LOAD(BPF_B, BYTE, DATA, 0),
		/* 14 */ JUMP_IF_NUMBER(BPF_JSET, BYTE, 1, JUMP(14, 27)),
		/* For the host alone. */
		/* 15 */ LOAD(BPF_H, BYTE, DATA, 0),
		/* 16 */ JUMP_IF_NUMBER(BPF_JNE, BYTE, part[0], JUMP(16, 21)),
		/* 17 */ LOAD(BPF_H, BYTE, DATA, 2),
		/* 18 */ JUMP_IF_NUMBER(BPF_JNE, BYTE, part[1], JUMP(18, 21)),
		/* 19 */ LOAD(BPF_H, BYTE, DATA, 4),
		/* 20 */ JUMP_IF_NUMBER(BPF_JEQ, BYTE, part[2], JUMP(20, 27)),
		/* For others: to the queue's socket, or to the kernel if there is none. */
		/* 21 */ LOAD(BPF_W, ARG2, CONTEXT, offsetof(struct xdp_md, rx_queue_index)),
		/* 22 */ LOAD_MAP(ARG1, p->map),
		/* 24 */ MOVE_NUMBER(ARG3, XDP_PASS),
		/* 25 */ CALL(BPF_FUNC_redirect_map),
		/* 26 */ EXIT,
		/* 27 */ MOVE_NUMBER(RESULT, XDP_PASS),
		/* 28 */ EXIT,
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "weft", "BSD", code, sizeof(code) / sizeof(code[0]),
			     &options);
}

int xdp_error(struct error *error, const char *what, int code)
{
	switch (code) {
	case EPERM:
	case EACCES:
		return error_set(error, code,
				 "%s: XDP needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF", what);
	case EBUSY:
	case EEXIST:
		return error_set(error, code, "%s: another XDP program is there", what);
	case EAFNOSUPPORT:
	case ENOSYS:
		return error_set(error, code, "%s: this kernel has no AF_XDP", what);
	case EOPNOTSUPP:
		return error_set(error, code, "%s: not with this interface", what);
	case ENOBUFS:
		return error_set(error, code,
				 "%s: no memory that may be locked; XDP needs 16 MiB a queue "
				 "(RLIMIT_MEMLOCK), or CAP_IPC_LOCK",
				 what);
	default:
		return error_set(error, code, "%s: %s", what, strerror(code));
	}
}

/* In the driver; where it cannot, in the stack. Another's program stays where it is. 0 or -errno.
 */
static int attach(struct xdp_program *p, int program, int ifindex)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);

	p->native = true;
	p->link = bpf_link_create(program, ifindex, BPF_XDP, &options);
	if (p->link < 0 && p->link != -EPERM && p->link != -EBUSY && p->link != -EEXIST) {
		options.flags = XDP_FLAGS_SKB_MODE;
		p->native = false;
		p->link = bpf_link_create(program, ifindex, BPF_XDP, &options);
	}
	return p->link < 0 ? p->link : 0;
}

/* A tag that the device takes off is not in the bytes that XDP sees, and a frame of a VLAN would
 * pass for an untagged one. */
static int check_tags(const struct netlink_link *link, struct error *error)
{
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	struct ifreq request = { .ifr_data = (void *)&flags };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return error_set(error, errno, "socket: %s", strerror(errno));
	memcpy(request.ifr_name, link->name, sizeof(request.ifr_name));
	rc = ioctl(fd, SIOCETHTOOL, &request);
	close(fd);
	/* A device that does not know the question takes nothing off. */
	if (rc != 0 || !(flags.data & ETH_FLAG_RXVLAN))
		return 0;
	return error_set(
	    error, EINVAL,
	    "it takes VLAN tags off frames where XDP does not see them; `ethtool -K %s "
	    "rxvlan off` ends that, and `driver: packet` does not mind",
	    link->name);
}

static int check_mtu(const struct netlink_link *link, struct error *error)
{
	if (link->mtu <= XDP_MTU_MAX)
		return 0;
	return error_set(
	    error, EMSGSIZE,
	    "its MTU of %u is more than XDP takes here (%u); `driver: packet` takes any", link->mtu,
	    XDP_MTU_MAX);
}

static int check(const struct netlink_link *link, struct error *error)
{
	int rc = check_mtu(link, error);

	return rc == 0 ? check_tags(link, error) : rc;
}

static void remember(struct xdp_program *p, const struct netlink_link *link)
{
	p->own = link->mac;
	atomic_store_explicit(&p->mtu, link->mtu, memory_order_relaxed);
}

int xdp_program_open(const struct netlink_link *link, uint16_t queues, struct xdp_program **out,
		     struct error *error)
{
	struct xdp_program *p;
	int program, rc = check(link, error);

	if (rc != 0)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_set(error, ENOMEM, "out of memory");
	remember(p, link);
	libbpf_set_print(NULL); /* it writes to standard error; what matters is in the errno */
	p->link = -1;
	p->map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "weft", sizeof(uint32_t), sizeof(uint32_t),
				queues, NULL);
	if (p->map < 0) {
		rc = xdp_error(error, "BPF map", -p->map);
		goto fail;
	}
	program = load(p, link);
	if (program < 0) {
		rc = xdp_error(error, "XDP program", -program);
		goto fail;
	}
	rc = attach(p, program, link->index);
	close(program); /* the link has it */
	if (rc != 0) {
		xdp_error(error, "XDP program", -rc);
		goto fail;
	}
	*out = p;
	return 0;
fail:
	xdp_program_close(p);
	return rc;
}

void xdp_program_close(struct xdp_program *p)
{
	if (!p)
		return;
	if (p->link >= 0)
		close(p->link);
	if (p->map >= 0)
		close(p->map);
	free(p);
}

int xdp_program_follow(struct xdp_program *p, const struct netlink_link *link, struct error *error)
{
	int rc = check(link, error), program;

	if (rc != 0 ||
	    (link->mtu == xdp_program_mtu(p) && memcmp(&link->mac, &p->own, sizeof(p->own)) == 0))
		return rc;
	program = load(p, link);
	if (program < 0)
		return xdp_error(error, "XDP program", -program);
	rc = bpf_link_update(p->link, program, NULL);
	close(program);
	if (rc != 0)
		return xdp_error(error, "XDP program", -rc);
	remember(p, link);
	return 0;
}

uint32_t xdp_program_mtu(const struct xdp_program *p)
{
	return atomic_load_explicit(&p->mtu, memory_order_relaxed);
}

int xdp_program_add(struct xdp_program *p, uint32_t queue, int socket, struct error *error)
{
	int rc = bpf_map_update_elem(p->map, &queue, &socket, BPF_ANY);

	return rc == 0 ? 0 : xdp_error(error, "AF_XDP socket", -rc);
}

bool xdp_program_is_native(const struct xdp_program *p)
{
	return p->native;
}
