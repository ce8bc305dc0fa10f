/* The state of the switch as JSON, for `weft show`; every key is documented in docs/api.md. Control
 * thread. Each returns a new reference: an array of objects. */
#ifndef WEFT_VSWITCH_SHOW_H
#define WEFT_VSWITCH_SHOW_H

#include <jansson.h>

struct vswitch;

json_t *show_networks(const struct vswitch *vswitch);
json_t *show_ports(const struct vswitch *vswitch);
json_t *show_macs(const struct vswitch *vswitch);
json_t *show_drops(const struct vswitch *vswitch);
json_t *show_workers(const struct vswitch *vswitch);

/* Every reason there is, counted or not. */
json_t *show_drop_reasons(const struct vswitch *vswitch);

#endif
