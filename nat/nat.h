/* The translator of one network: NAPT for TCP, UDP and ICMP queries, other protocols by address;
 * NAT44 and NAT66 with the same code (docs/nat.md has the requirements of RFC 4787, 5382, 5508,
 * 6888 and 7857 one by one).
 *
 * Threads. Control creates, changes, lists and destroys; any number of workers translate at the
 * same time. Sessions are spread over shards by bits of the port that translation keeps, so that
 * both directions of a session find the same shard from the frame alone; a frame takes the shard's
 * spinlock once, and a new session also that of the accounts (guests, limits). Control may call the
 * worker functions too, for packets that it has reassembled. Nothing here calls a clock: `now` is
 * seconds of CLOCK_BOOTTIME in every call, since sessions that are kept in a file outlive the
 * process.
 *
 * Grace. What workers are told (addresses, forwards, limits, filtering) is one immutable object,
 * swapped by nat_update() and nat_set_addresses(). After either the caller waits until every worker
 * has been quiescent (rcu_wait()), then calls nat_settle(). A worker holds nothing of the
 * translator's from one frame to the next. */
#ifndef WEFT_NAT_NAT_H
#define WEFT_NAT_NAT_H

#include "base/drop.h"
#include "base/error.h"
#include "base/frame.h"
#include "base/ip.h"
#include "nat/config.h"

#include <stdbool.h>
#include <stdint.h>

#define NAT_SESSIONS_MAX  (1u << 22) /* what session_limit may be at most */
#define NAT_ADDRESSES_MAX 1024u	     /* of the pool, or of the uplink */

/* Seconds that a session lives without traffic that renews it. */
#define NAT_TIMEOUT_TCP 7440u /* established: 2 h 4 min (RFC 5382, REQ-5) */
#define NAT_TIMEOUT_TCP_TRANSITORY                                                                 \
	240u			     /* opening, closed, reset (RFC 5382, REQ-5; RFC 7857, 2)      \
				      */
#define NAT_TIMEOUT_UDP		300u /* answered (RFC 4787, REQ-5) */
#define NAT_TIMEOUT_UDP_ONE_WAY 120u /* not answered: the least that REQ-5 allows */
#define NAT_TIMEOUT_ICMP	60u  /* queries (RFC 5508, REQ-2) */
#define NAT_TIMEOUT_OTHER	300u /* other protocols */

struct nat;

/* How far a session is. TCP passes through the first six, all others know ONE_WAY and TWO_WAY. */
enum nat_state {
	NAT_TCP_SYN,	     /* one side's SYN was seen */
	NAT_TCP_SYN_BOTH,    /* both SYNs, not yet the last acknowledgement */
	NAT_TCP_ESTABLISHED, /* the handshake is complete */
	NAT_TCP_FIN,	     /* one side has closed */
	NAT_TCP_CLOSED,	     /* both have */
	NAT_TCP_RESET,	     /* RST seen; anything else brings the session back (RFC 6146) */
	NAT_ONE_WAY,	     /* only one side has sent */
	NAT_TWO_WAY,
	NAT_STATE_COUNT
};

/* Words for them, by value; ends with NULL. */
extern const char *const nat_state_names[];

/* What nat_visit() shows. Ports are in host order; for ICMP queries inside_port and outside_port
 * are the identifier and remote_port is 0; all are 0 for protocols without ports. */
struct nat_session {
	struct ip inside, outside, remote;
	uint16_t inside_port, outside_port, remote_port;
	uint8_t protocol;     /* IPPROTO_... */
	uint8_t state;	      /* enum nat_state */
	bool from_outside;    /* the remote began it */
	bool forward;	      /* goes through a port forward */
	uint32_t age;	      /* seconds since it was made */
	uint32_t left;	      /* seconds until it ends if nothing renews it */
	uint32_t packets_out; /* from inside; a GSO frame is one; stays at UINT32_MAX */
	uint32_t packets_in;
};

struct nat_stats {
	uint64_t sessions; /* now */
	uint64_t limit;
	uint64_t guests; /* inside addresses with sessions */
	uint64_t created;
	uint64_t expired;
	uint64_t evicted;	/* half-open (or closed) sessions that made room for newer ones */
	uint64_t refused_limit; /* by the limit of all sessions */
	uint64_t refused_guest; /* by the limit of a guest */
	uint64_t refused_port;	/* no outside port was left, or the guest's share was used up */
	uint64_t restored;	/* taken over from the file at the start */
	uint64_t bytes_per_session; /* memory for a session, its part of all indices included */
};

enum nat_result {
	NAT_TRANSLATED, /* the frame has been edited: forward it */
	NAT_LOCAL,	/* not for a session or forward, and unchanged: the gateway's own */
	NAT_DROP,	/* *reason says why; the frame is unchanged */
};

/* ---- control ---- */

/* Makes a translator. It has no addresses outside, unless the configuration has a pool, until
 * nat_set_addresses().
 *
 * state_path: a file of the caller's run directory (tmpfs) that sessions are kept in, so that they
 * survive the process, however it ends; NULL: not kept. Sessions found in it are taken over, with
 * the outside addresses they use; what is invalid, expired or over a limit is left out. A file that
 * is not ours or damaged is moved aside (".bad") with a warning, one of another boot emptied; when
 * no file can be made, sessions are not kept, with a warning too. Only one translator may have a
 * file: else -EBUSY. Sessions on addresses that are not given again end with the first
 * nat_set_addresses() and nat_settle() that awaits no others of their family.
 *
 * Copies the configuration. 0, -EINVAL (limits beyond NAT_SESSIONS_MAX or NAT_ADDRESSES_MAX,
 * forwards that clash), -EBUSY or -ENOMEM with words in *error. */
int nat_create(const struct nat_config *config, const char *state_path, uint32_t now,
	       struct nat **nat, struct error *error);

/* After the last worker has let go of it. The file stays, for the next nat_create(). Takes NULL. */
void nat_destroy(struct nat *nat);

/* The uplink's current addresses, of either family, at most NAT_ADDRESSES_MAX; without meaning
 * while the configuration has a pool. New sessions use them at once; those on an address that is
 * gone end in nat_settle(). Grace: see above. 0, -EINVAL, or -ENOMEM (nothing has changed then). */
int nat_set_addresses(struct nat *nat, const struct ip *addresses, uint32_t count);

/* Of these families addresses are still to come, by DHCP or SLAAC: until they have, sessions on any
 * other one stay. Grace: see above. */
enum nat_family { NAT_IPV4 = 1, NAT_IPV6 = 2 };
void nat_await_addresses(struct nat *nat, unsigned families);

/* New forwards, limits, filtering, pool; sessions stay, but those of forwards that are gone, or
 * that stand on a new forward's port, end in nat_settle(). A lower limit ends nothing, it only
 * refuses. Grace: see above. Errors as of nat_create(); nothing has changed then. */
int nat_update(struct nat *nat, const struct nat_config *config, struct error *error);

/* Once every worker has been quiescent after nat_update() or nat_set_addresses(): ends the sessions
 * that do not fit any more and frees what was replaced. Costs nothing when there is nothing. */
void nat_settle(struct nat *nat);

/* About once a second: ends what has timed out. Work is bounded; true when some of it is left, and
 * the next call should not wait. */
bool nat_tick(struct nat *nat, uint32_t now);

/* Shows every session to `visit` until that returns false. No lock is held meanwhile; sessions that
 * come or go during the visit may or may not be seen. */
void nat_visit(struct nat *nat, uint32_t now,
	       bool (*visit)(void *context, const struct nat_session *session), void *context);

/* Ends the sessions of an inside address, or all for NULL; returns how many. */
uint32_t nat_flush(struct nat *nat, const struct ip *guest);

/* Whether `ip` is one of the addresses translated to (control; workers have it in their FIB). */
bool nat_is_address(const struct nat *nat, const struct ip *ip);

void nat_get_stats(struct nat *nat, struct nat_stats *stats);

/* ---- workers ----
 *
 * The frame has been parsed (parse_frame()) and is unicast IP; its head is the worker's own and is
 * edited in place: addresses, ports or identifiers, their checksums, the IPv4 identification of
 * datagrams that may be fragmented (RFC 6864, 5.3), and in ICMP errors the same of the packet
 * within. Nothing beyond the head changes, no length, no offset; TTL is the caller's. GSO frames
 * are translated whole; with FRAME_NEEDS_CSUM the checksum field goes on holding the sum of the
 * pseudo-header, and stays to be completed.
 *
 * After a drop for nat_session_limit, nat_guest_limit or nat_no_port the sender should be told by
 * ICMP "administratively prohibited", within the gateway's rate limit (RFC 5508, REQ-8).
 *
 * Frames of a network without an address of their family outside are dropped. *reason is written
 * for NAT_DROP only. Constant time. */

/* A frame from inside that leaves to the outside; makes a session when there is none. Never
 * NAT_LOCAL. */
enum nat_result nat_outbound(struct nat *nat, struct frame *frame, uint32_t now,
			     enum drop_reason *reason);

/* A frame that arrived from outside for one of the translator's addresses. NAT_LOCAL: echo
 * requests, UDP (a DHCP client's, say) and other protocols that nobody inside asked for; a frame
 * for any other address. TCP that nobody asked for is dropped, since it must not be answered (RFC
 * 5382, REQ-4). */
enum nat_result nat_inbound(struct nat *nat, struct frame *frame, uint32_t now,
			    enum drop_reason *reason);

/* A frame from inside to one of the translator's addresses: goes back inside, and each end sees
 * the other's outside address and port (RFC 4787, REQ-9). After NAT_TRANSLATED the destination is
 * an inside address: route it again. NAT_LOCAL: no session and no forward is there, the host meant
 * the gateway. */
enum nat_result nat_hairpin(struct nat *nat, struct frame *frame, uint32_t now,
			    enum drop_reason *reason);

#endif
