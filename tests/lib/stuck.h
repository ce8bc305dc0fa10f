/* A descriptor whose last close() waits: a TCP connection over loopback with data on its way that
 * the peer does not take, told to linger until it does. It ends when the peer is closed. For cmocka
 * tests. */
#ifndef WEFT_TESTS_LIB_STUCK_H
#define WEFT_TESTS_LIB_STUCK_H

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct stuck {
	int fd, peer;
};

static inline struct stuck stuck_open(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger linger = { 1, 3600 };
	socklen_t size = sizeof(address);
	struct stuck stuck;
	char bytes[4096];
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int small = 4096;

	memset(bytes, 0, sizeof(bytes));
	stuck.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0 && stuck.fd >= 0);
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	setsockopt(stuck.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(bind(listener, (const struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(connect(stuck.fd, (const struct sockaddr *)&address, size), 0);
	stuck.peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(stuck.peer >= 0);
	close(listener);
	/* More than both buffers hold: sent until nothing goes, and more lies unsent. */
	while (send(stuck.fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		continue;
	assert_int_equal(setsockopt(stuck.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return stuck;
}

#endif
