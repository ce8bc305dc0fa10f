/* A host interface's frames through an AF_PACKET socket (packet(7)) with the virtio-net header, so
 * that partial checksums and GSO frames pass whole both ways. Opened and closed by control; a queue
 * is used by one worker a direction. */
#ifndef WEFT_VSWITCH_PACKET_SOCKET_H
#define WEFT_VSWITCH_PACKET_SOCKET_H

#include "base/error.h"
#include "base/frame.h"

#include <stdint.h>

struct packet_socket;

/* Control. Opens `count` sockets on the interface, among which the kernel spreads flows, fills
 * `sockets` with them and starts them all; what came before is not seen. Promiscuous, as guests
 * have MACs of their own; what is for the interface's own MAC, or sent by the host, stays the
 * host's alone. 0, or -errno with the error set and nothing left. */
int packet_socket_open(int ifindex, struct packet_socket **sockets, uint16_t count,
		       struct error *error);
/* Control; no worker uses it any more. Takes NULL. */
void packet_socket_close(struct packet_socket *socket);

/* Becomes readable for frames, and for errors. */
int packet_socket_fd(const struct packet_socket *socket);

/* Worker. The contract of port_type.receive; frames of a burst stay until the next call. */
uint32_t packet_socket_receive(struct packet_socket *socket, struct burst *burst,
			       struct port_counters *counters);
/* Worker. The contract of port_type.send. */
uint32_t packet_socket_send(struct packet_socket *socket, struct frame *const *frames,
			    uint32_t count, struct port_counters *counters);
/* Worker. Whether nothing is there to be received. */
bool packet_socket_is_empty(const struct packet_socket *socket);

/* Control. Frames the kernel had no room for in this socket, since it was opened. */
uint64_t packet_socket_lost(struct packet_socket *socket);

#endif
