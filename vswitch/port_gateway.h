/* A leg of a network's gateway as a port of its segment: the door between workers and control.
 *
 * What workers send to it is copied into a ring for control; what control writes into the other
 * ring comes into the segment as if from a guest. Ports of this type are not in any configuration:
 * a network that has a gateway gets them (gateway.h). */
#ifndef WEFT_VSWITCH_PORT_GATEWAY_H
#define WEFT_VSWITCH_PORT_GATEWAY_H

#include "vswitch/port.h"

/* Why a frame goes to control: in frame->punt, and in the note beside its copy. */
enum gateway_punt {
	GATEWAY_PUNT_LOCAL,	/* for the gateway itself: ARP, ND, DHCP, DNS, ping */
	GATEWAY_PUNT_HOP_LIMIT, /* its hop limit ends here */
	GATEWAY_PUNT_NO_ROUTE,
	GATEWAY_PUNT_PROHIBITED, /* a route says no */
	GATEWAY_PUNT_TOO_BIG,	 /* for the way out, and must not be fragmented */
	GATEWAY_PUNT_FRAGMENT,	 /* to be put together before it can be translated */
	GATEWAY_PUNT_NEIGHBOUR, /* all done but for the next hop's MAC; sent to the leg it leaves by
				 */
	GATEWAY_PUNT_UNBOUND,	/* an address not seen behind its port before (guard.h) */
};

#define GATEWAY_NO_ARRIVAL UINT16_MAX

/* What control is told of a frame. */
struct gateway_note {
	uint16_t arrival; /* index of the port it came in by; GATEWAY_NO_ARRIVAL: gone since */
	uint8_t punt;	  /* enum gateway_punt */
};

/* Control. Called with each frame that came, oldest first; it is gone afterwards. */
typedef void (*gateway_handler)(void *context, const struct gateway_note *note,
				const uint8_t *frame, size_t length);

/* Control. Hands at most `limit` frames to the handler; returns how many. */
uint32_t port_gateway_take(struct port *port, uint32_t limit, gateway_handler handler,
			   void *context);

/* Control. The port with this index is in no worker's sight any more, and another may get its
 * index: what has come by it and waits for control is nobody's. */
void port_gateway_orphan(struct port *port, uint16_t arrival);

/* Control. Calls `ready` on the event loop whenever there is something to take. */
int port_gateway_listen(struct port *port, void (*ready)(void *context), void *context);
/* Control. Ends that: `ready` is not called any more. */
void port_gateway_deafen(struct port *port);

/* Control. IP packets that are put and are longer leave in fragments. */
void port_gateway_set_mtu(struct port *port, uint16_t mtu);

/* Control. Queues a whole frame into the segment; it is on its way with port_gateway_flush(). An IP
 * packet longer than `mtu` (0: any) is cut to fit it, wherever it goes. False: no room, it is lost,
 * as on any wire. */
bool port_gateway_put(struct port *port, const uint8_t *frame, size_t length, uint16_t mtu);
void port_gateway_flush(struct port *port);

extern const struct port_type port_gateway;

#endif
