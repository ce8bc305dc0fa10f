/* What gateway_input.c hands to the services of gateway_services.c, beside their own inputs.
 * Control thread. */
#ifndef WEFT_VSWITCH_GATEWAY_SERVICES_H
#define WEFT_VSWITCH_GATEWAY_SERVICES_H

struct gateway;
struct packet;

/* A question by UDP to an address of the gateway's; gateway->dns is there. */
void gateway_dns_input(struct gateway *gateway, const struct packet *packet);

#endif
