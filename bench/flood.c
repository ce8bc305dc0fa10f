/* Sends frames out of an interface, as many as it can: `bench-flood INTERFACE MAC BYTES SECONDS`
 * prints how many they were. All are the same, 64 with a system call. Case taps of bench.py runs it
 * in a namespace; in the other one the kernel receives, which counts them and drops them. */
#include "bench/cycles.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define BATCH	   64
#define BYTES_MAX  9014
#define ETHER_TYPE 0x88b5 /* for local experiments: nobody takes it */

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_socket(const char *interface)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_ifindex = (int)if_nametoindex(interface) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0); /* of no protocol: it receives nothing */

	if (fd < 0)
		fail("socket");
	if (address.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		fail(interface);
	return fd;
}

static void own_address(int fd, const char *interface, uint8_t *address)
{
	struct ifreq request = { 0 };

	strncpy(request.ifr_name, interface, sizeof(request.ifr_name) - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &request) != 0)
		fail(interface);
	memcpy(address, request.ifr_hwaddr.sa_data, ETH_ALEN);
}

/* Waits where the socket's buffer is full; what the interface has no room for is lost. */
static uint64_t flood(int fd, struct mmsghdr *messages, double seconds)
{
	uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9), sent = 0;

	do {
		int n = sendmmsg(fd, messages, BATCH, 0);

		if (n < 0 && errno != ENOBUFS && errno != EINTR)
			fail("send");
		if (n > 0)
			sent += (uint64_t)n;
	} while (clock_ns() < end);
	return sent;
}

int main(int argc, char **argv)
{
	static uint8_t frame[BYTES_MAX];
	struct ether_addr to;
	struct iovec part = { .iov_base = frame };
	struct mmsghdr messages[BATCH];
	uint64_t start, sent;
	int fd;

	if (argc == 5)
		part.iov_len = (size_t)strtoul(argv[3], NULL, 10);
	if (part.iov_len < ETH_HLEN || part.iov_len > BYTES_MAX || !ether_aton_r(argv[2], &to)) {
		fprintf(stderr, "usage: bench-flood INTERFACE MAC BYTES SECONDS\n");
		return 2;
	}
	memcpy(frame, &to, ETH_ALEN);
	frame[12] = ETHER_TYPE >> 8;
	frame[13] = ETHER_TYPE & 0xff;
	memset(messages, 0, sizeof(messages));
	for (unsigned i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &part;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	fd = open_socket(argv[1]);
	own_address(fd, argv[1], frame + ETH_ALEN);
	start = clock_ns();
	sent = flood(fd, messages, atof(argv[4]));
	printf("{\"sent\": %lu, \"seconds\": %.4f}\n", sent, (double)(clock_ns() - start) / 1e9);
	return 0;
}
