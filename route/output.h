/* Where a control service's packets go: out of the leg of the gateway it serves. Control thread. */
#ifndef WEFT_ROUTE_OUTPUT_H
#define WEFT_ROUTE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

struct route_output {
	/* A whole Ethernet frame, copied. It may be dropped when the way is full, as on any wire.
	 */
	void (*send)(void *context, const uint8_t *frame, size_t length);
	void *context;
};

static inline void route_send(const struct route_output *output, const uint8_t *frame,
			      size_t length)
{
	output->send(output->context, frame, length);
}

#endif
