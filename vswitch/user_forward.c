/* Forwards from the host to the guest of a user port (user_stack.h): sockets that libslirp listens
 * on. Control thread; the list is control's own, the sockets are libslirp's, under its lock. */
#include "vswitch/user_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORWARDS_MAX 4096u /* of one port */
#define WORDS_LENGTH (IP_TEXT_LENGTH + 16)

/* "tcp 127.0.0.1:2222", for errors. */
static const char *describe(const struct user_forward *forward, char text[WORDS_LENGTH])
{
	char ip[IP_TEXT_LENGTH];

	snprintf(text, WORDS_LENGTH, ip_is_v4(&forward->host) ? "%s %s:%u" : "%s [%s]:%u",
		 forward->protocol == IPPROTO_TCP ? "tcp" : "udp", ip_to_text(&forward->host, ip),
		 forward->host_port);
	return text;
}

static socklen_t make_address(const struct ip *ip, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (ip_is_v4(ip)) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)out;

		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, ip_v4_bytes(ip), sizeof(v4->sin_addr));
		return sizeof(*v4);
	}
	{
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, ip->bytes, sizeof(v6->sin6_addr));
		return sizeof(*v6);
	}
}

/* IPv6 alone also where it listens on all addresses, so that both families can. */
static int slirp_flags(const struct user_forward *forward)
{
	return (forward->protocol == IPPROTO_UDP ? SLIRP_HOSTFWD_UDP : 0) |
	       (ip_is_v4(&forward->host) ? 0 : SLIRP_HOSTFWD_V6ONLY);
}

static struct user_forward *find(const struct user_stack *stack, const struct user_forward *wanted)
{
	for (uint32_t i = 0; i < stack->forward_count; i++) {
		struct user_forward *forward = &stack->forwards[i];

		if (forward->protocol == wanted->protocol &&
		    forward->host_port == wanted->host_port &&
		    ip_equal(&forward->host, &wanted->host))
			return forward;
	}
	return NULL;
}

static int refuse(const struct user_forward *forward, int code, struct error *error)
{
	char words[WORDS_LENGTH];

	describe(forward, words);
	switch (code) {
	case EADDRINUSE:
		return error_set(error, code, "%s: the port is taken on the host", words);
	case EACCES:
		return error_set(error, code,
				 "%s: a port below 1024 needs CAP_NET_BIND_SERVICE on the host; "
				 "allowed: 1024 to 65535",
				 words);
	case EADDRNOTAVAIL:
		return error_set(error, code, "%s: not an address of the host", words);
	default:
		return error_set(error, code, "%s: %s", words, strerror(code));
	}
}

static int check(const struct user_stack *stack, const struct user_forward *forward,
		 struct error *error)
{
	char words[WORDS_LENGTH];

	describe(forward, words);
	if (forward->protocol != IPPROTO_TCP && forward->protocol != IPPROTO_UDP)
		return error_set(error, EINVAL, "protocol %u; allowed: TCP or UDP",
				 forward->protocol);
	if (ip_is_v4(&forward->host) != ip_is_v4(&forward->guest))
		return error_set(error, EINVAL,
				 "%s: listens in one family for a guest of the other; allowed: "
				 "both IPv4 or both IPv6",
				 words);
	if (forward->host_port == 0 || forward->guest_port == 0)
		return error_set(error, EINVAL, "%s: no port; allowed: 1 to 65535", words);
	if (find(stack, forward))
		return refuse(forward, EADDRINUSE, error);
	if (stack->forward_count == FORWARDS_MAX)
		return error_set(error, ENOSPC, "%s: too many forwards; allowed: %u", words,
				 FORWARDS_MAX);
	return 0;
}

int user_stack_add_forward(struct user_stack *stack, const struct user_forward *forward,
			   struct error *error)
{
	struct sockaddr_storage host, guest;
	socklen_t host_length = make_address(&forward->host, forward->host_port, &host);
	socklen_t guest_length = make_address(&forward->guest, forward->guest_port, &guest);
	struct user_forward *more;
	int rc = check(stack, forward, error);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&user_slirp_lock);
	more = realloc(stack->forwards, (stack->forward_count + 1) * sizeof(*more));
	if (!more) {
		pthread_mutex_unlock(&user_slirp_lock);
		return error_set(error, ENOMEM, "out of memory");
	}
	stack->forwards = more;
	rc = slirp_add_hostxfwd(stack->slirp, (struct sockaddr *)&host, host_length,
				(struct sockaddr *)&guest, guest_length, slirp_flags(forward)) == 0
		 ? 0
		 : errno;
	if (rc == 0) {
		stack->forwards[stack->forward_count++] = *forward;
		user_loopback_set_forwards(stack->loopback, stack->forwards, stack->forward_count);
	}
	pthread_mutex_unlock(&user_slirp_lock);
	if (rc != 0)
		return refuse(forward, rc, error);
	user_stack_wake(stack);
	return 0;
}

int user_stack_remove_forward(struct user_stack *stack, const struct user_forward *forward,
			      struct error *error)
{
	struct user_forward *found = find(stack, forward);
	struct sockaddr_storage host;
	char words[WORDS_LENGTH];
	socklen_t length;

	if (!found)
		return error_set(error, ENOENT, "%s: there is no such forward",
				 describe(forward, words));
	length = make_address(&found->host, found->host_port, &host);
	pthread_mutex_lock(&user_slirp_lock);
	slirp_remove_hostxfwd(stack->slirp, (struct sockaddr *)&host, length, slirp_flags(found));
	/* poll() holds on to a socket that is closed, and it would go on to listen. */
	user_stack_end_round(stack);
	if ((uint32_t)(found - stack->forwards) < stack->forwards_begun)
		stack->forwards_begun--;
	memmove(found, found + 1,
		(size_t)(stack->forwards + stack->forward_count - found - 1) * sizeof(*found));
	stack->forward_count--;
	user_loopback_set_forwards(stack->loopback, stack->forwards, stack->forward_count);
	pthread_mutex_unlock(&user_slirp_lock);
	return 0;
}

const struct user_forward *user_stack_forwards(const struct user_stack *stack, uint32_t *count)
{
	*count = stack->forward_count;
	return stack->forwards;
}
