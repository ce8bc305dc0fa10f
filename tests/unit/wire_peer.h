/* The far side of a port that is an interface of the kernel: packet sockets with the virtio-net
 * header, and the frames that tests send through them. Include it in one file of a program, after
 * cmocka. */
#ifndef WEFT_TESTS_WIRE_PEER_H
#define WEFT_TESTS_WIRE_PEER_H

#include "base/checksum.h"
#include "base/frame.h"
#include "base/packet.h"
#include "base/parse.h"
#include "base/vnet_header.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define ETHERTYPE_TEST 0x88b5 /* for local experiments: nobody else on the interface speaks it */
#define PATIENCE       60000  /* milliseconds until a test gives up waiting for an event */

static uint8_t bytes[FRAME_LENGTH_MAX + 4]; /* a tag more */

/* What tests send: bytes that differ, from `from` to `to`. */
static void bytes_fill(const char *to, const char *from)
{
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13 + i / 256);
	memcpy(bytes, to, 6);
	memcpy(bytes + 6, from, 6);
	write_be16(bytes + 12, ETHERTYPE_TEST);
}

/* All frames of this type that come to the interface. */
static int open_peer(const char *name, uint16_t type)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htobe16(type) };
	struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };
	int on = 1, size = 4 << 20;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
	assert_true(address.sll_ifindex > 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void wait_for(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&wait, 1, PATIENCE), 1);
}

/* *tci (unless NULL): of the tag the kernel took off, 0 if there was none. */
static uint32_t peer_receive(int peer, struct vnet_header *header, uint8_t *frame, uint16_t *tci)
{
	struct iovec parts[] = { { header, VNET_HEADER_LEGACY }, { frame, FRAME_LENGTH_MAX } };
	uint8_t control[256] __attribute__((aligned(16)));
	struct msghdr message = { .msg_iov = parts,
				  .msg_iovlen = 2,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct tpacket_auxdata aux = { 0 };
	struct cmsghdr *first;
	ssize_t n;

	wait_for(peer);
	n = recvmsg(peer, &message, 0);
	assert_true(n >= (ssize_t)VNET_HEADER_LEGACY);
	first = CMSG_FIRSTHDR(&message);
	if (first != NULL)
		memcpy(&aux, CMSG_DATA(first), sizeof(aux));
	if (tci != NULL)
		*tci = aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci : 0;
	return (uint32_t)n - VNET_HEADER_LEGACY;
}

static void peer_send(int peer, const struct vnet_header *header, const uint8_t *frame,
		      uint32_t length)
{
	struct iovec parts[] = { { (void *)(uintptr_t)header, VNET_HEADER_LEGACY },
				 { (void *)(uintptr_t)frame, length } };

	assert_int_equal(writev(peer, parts, 2), VNET_HEADER_LEGACY + length);
}

static void assert_frame(const struct frame *frame, const uint8_t *wanted, uint32_t length)
{
	static uint8_t copy[FRAME_LENGTH_MAX + 4];

	assert_int_equal(frame->length, length);
	frame_copy_out(frame, 0, length, copy);
	assert_memory_equal(copy, wanted, length);
}

/* In pieces of 50 bytes, more than a system call takes when the frame is long. */
static struct frame make_frame(uint32_t length, struct frame_segment *segments)
{
	struct frame frame = { .head = bytes, .length = length, .segments = segments };
	uint32_t at = length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX;

	frame.head_length = (uint16_t)at;
	while (at < length) {
		uint32_t n = length - at < 50 ? length - at : 50;

		segments[frame.segment_count++] = (struct frame_segment){ bytes + at, n };
		at += n;
	}
	return frame;
}

#define TCP_LENGTH 40054u /* 40,000 bytes behind Ethernet, IPv4 and TCP */

/* A TSO frame in `bytes`, and the header that says so. */
static struct vnet_header make_tcp(void)
{
	static const uint8_t ip[] = { 0x45, 0, 0,  0, 0, 1, 0x40, 0, 64, 6,
				      0,    0, 10, 9, 8, 1, 10,	  9, 8,	 2 };
	struct vnet_header header = { .flags = VNET_FLAG_NEEDS_CSUM,
				      .gso_type = VNET_GSO_TCPV4,
				      .hdr_len = 54,
				      .gso_size = 1448,
				      .csum_start = 34,
				      .csum_offset = 16 };
	struct frame frame = { .head = bytes, .head_length = 192, .length = 192 };
	uint16_t sum;

	write_be16(bytes + 12, ETHERTYPE_IPV4);
	memcpy(bytes + 14, ip, sizeof(ip));
	write_be16(bytes + 16, TCP_LENGTH - 14);
	sum = checksum_finish(checksum_add(0, bytes + 14, 20));
	memcpy(bytes + 24, &sum, 2);
	memset(bytes + 34, 0, 20);
	bytes[35] = 80;
	bytes[37] = 81;
	bytes[46] = 0x50;
	bytes[47] = 0x10;
	parse_frame(&frame);
	sum = (uint16_t)~checksum_finish(
	    checksum_pseudo_header(&frame, IPPROTO_TCP, TCP_LENGTH - 34));
	memcpy(bytes + 50, &sum, 2);
	return header;
}

#endif
