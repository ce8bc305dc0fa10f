/* MAC tables from one weftd to the next, so that a restart, SIGKILL too, floods nothing to guests
 * that it does not concern (mac_state.c). Control thread. Both do nothing without a store. */
#ifndef WEFT_VSWITCH_MAC_STATE_H
#define WEFT_VSWITCH_MAC_STATE_H

struct vswitch;

/* Once, when the first configuration runs: learns again what ports of the same names in the same
 * networks had. What has moved meanwhile moves with its first frame, what is gone ages. */
void mac_state_load(struct vswitch *vswitch);

/* Writes what has changed since it was last written. */
void mac_state_save(struct vswitch *vswitch);

#endif
