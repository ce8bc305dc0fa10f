/* Handlers of requests about the device as a whole: features, ownership, status, the network.
 * Called through the table in protocol.c, which has checked size, fds and queue index, and made
 * quiet what must be quiet. Control thread. */
#include "vhost-user/device_state.h"
#include "vhost-user/foreign_fd.h"
#include "vhost-user/ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* The smallest an IPv4 host must take (RFC 791), and the largest the field can say. */
#define MTU_MIN 68u
#define MTU_MAX 65535u

static int reply_number(struct vhost_message *message, uint64_t number)
{
	message->payload.number = number;
	message->header.size = sizeof(message->payload.number);
	return 0;
}

static uint64_t features_offered(const struct vhost_device *device)
{
	return vhost_features_offered(device->session.frontend, device->queue_pairs);
}

VHOST_HANDLER(get_features)
{
	struct session *session = &device->session;

	(void)error;
	if (!session->features_asked && session->owned)
		session->frontend = VHOST_FRONTEND_DRIVER;
	session->features_asked = true;
	return reply_number(message, features_offered(device));
}

/* May come while rings ran, to switch dirty logging: they are quiet now and start again with the
 * new features, where they were. */
VHOST_HANDLER(set_features)
{
	uint64_t features = message->payload.number;
	uint64_t unknown = features & ~features_offered(device);

	if (unknown != 0)
		return error_set(error, EINVAL, "features 0x%" PRIx64 " were not offered", unknown);
	device->session.features = features;
	device->session.features_set = true;
	vhost_socket_settled(device->socket);
	return 0;
}

VHOST_HANDLER(get_protocol_features)
{
	(void)device;
	(void)error;
	return reply_number(message, vhost_protocol_features_offered());
}

VHOST_HANDLER(set_protocol_features)
{
	uint64_t unknown = message->payload.number & ~vhost_protocol_features_offered();

	if (unknown != 0)
		return error_set(error, EINVAL, "protocol features 0x%" PRIx64 " were not offered",
				 unknown);
	device->session.protocol_features = message->payload.number;
	return 0;
}

VHOST_HANDLER(set_owner)
{
	(void)message;
	(void)error;
	device->session.owned = true;
	return 0;
}

/* Deprecated; the spec recommends to stop all rings and no more. */
VHOST_HANDLER(reset_owner)
{
	(void)message;
	(void)error;
	for (uint32_t i = 0; i < device->ring_count; i++)
		device->rings[i].kicked = false;
	return 0;
}

/* The state of the device goes; what belongs to the connection stays: memory (frontends that add
 * regions one by one do not send them again), protocol features, file descriptors. */
VHOST_HANDLER(reset_device)
{
	(void)message;
	(void)error;
	rings_reset(device);
	for (uint32_t i = 0; i < device->ring_count; i++)
		virtqueue_packed_forget(&device->rings[i].vq);
	dirty_log_close(device->log);
	device->log = NULL;
	device->session.features = 0;
	device->session.features_set = false;
	device->session.enable_used = false;
	device->session.status = 0;
	return 0;
}

VHOST_HANDLER(get_queue_num)
{
	(void)error;
	/* Of a network device: pairs. */
	return reply_number(message, device->queue_pairs);
}

VHOST_HANDLER(send_rarp)
{
	struct mac mac;

	memcpy(mac.bytes, message->payload.bytes, sizeof(mac.bytes));
	if (mac_is_multicast(mac.bytes) || mac_is_zero(mac.bytes))
		return error_set(error, EINVAL, "not the address of a guest");
	device->callbacks.announce(device->owner, mac);
	return 0;
}

VHOST_HANDLER(net_set_mtu)
{
	uint64_t mtu = message->payload.number;

	if (mtu < MTU_MIN || mtu > MTU_MAX)
		return error_set(error, EINVAL, "an MTU of %" PRIu64 ", %u to %u are allowed", mtu,
				 MTU_MIN, MTU_MAX);
	device->mtu = (uint16_t)mtu;
	return 0;
}

/* Nothing of ours goes out on this channel so far, so nothing that comes in is an answer, and it is
 * not read: the frontend shares the socket, and could be in the middle of reading from it. */
VHOST_HANDLER(set_backend_req_fd)
{
	int fd = vhost_message_take_fd(message, 0);

	if (!foreign_fd_is_local_socket(fd)) {
		foreign_fd_close(fd);
		return error_set(error, EINVAL, "no UNIX socket");
	}
	foreign_fd_close(device->backend_fd);
	device->backend_fd = fd;
	return 0;
}

/* Virtio 1.2, 2.1: status 0 resets the device, so all rings stop. They keep their positions: QEMU
 * asks for them afterwards. */
VHOST_HANDLER(set_status)
{
	if (message->payload.number > UINT8_MAX)
		return error_set(error, EINVAL, "a status of 0x%" PRIx64, message->payload.number);
	device->session.status = (uint8_t)message->payload.number;
	if (device->session.status != 0)
		return 0;
	rings_stop(device, 0, device->ring_count);
	for (uint32_t i = 0; i < device->ring_count; i++)
		device->rings[i].kicked = false;
	return 0;
}

VHOST_HANDLER(get_status)
{
	(void)error;
	return reply_number(message, device->session.status);
}
